r"""Rows on a grid: cubic B-splines carry them to the nodes and read the nodes back.

A row at t grid steps from the first node gives the four nodes around it the weights of the
centred cubic B-spline :math:`B_3`, and reading uses the same weights. A kernel applied between the
nodes is then seen through :math:`B_3 * B_3`, which has the variance

.. math:: \tfrac13 + \tfrac13 = \tfrac23 \text{ steps}^2

*wherever the row lies between nodes*. Smoothing the nodes with the variance
:math:`h^2 - \tfrac23 \text{step}^2`, scaled to the same integral, thus gives the Gaussian of
bandwidth h up to its fourth cumulant. (Linear weights widen a kernel by an amount that depends on
the position, so no bandwidth corrects it.)

Source: the B-spline weights are those of U. Essmann et al., "A smooth particle mesh Ewald method",
Journal of Chemical Physics 103, 1995, equation 4.1, for order 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from operator import mul

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.ndimage import correlate1d
from scipy.sparse import csr_array

from sk_arcal._validation import FloatArray

# Variance of B_3 * B_3 in squared steps.
_WIDENING = 2 / 3
# Beyond so many bandwidths a kernel value is below 1e-17.
_REACH = 9.0
# Up to so many nodes a dense product of all pairs is faster than a loop over the kernel.
_LARGEST_DENSE = 768
_BLOCK_ROWS = 1 << 14
# Fewer rows to a block would touch the whole grid too often.
_NODES_TO_A_ROW = 4


@dataclass(frozen=True, slots=True)
class GridAxis:
    """Equidistant nodes, with room for the spline on both sides.

    Attributes
    ----------
    low : float
        Position of the first node.
    step : float
        Distance of the nodes.
    n_nodes : int
        Number of nodes.
    """

    low: float
    step: float
    n_nodes: int

    @classmethod
    def covering(cls, low: float, high: float, step: float) -> "GridAxis":
        """Return the nodes that rows between two positions need."""
        return cls(low - 1.5 * step, step, int((high - low) / step) + 6)

    def smoother(self, bandwidth: float, widening: float = 0.0) -> FloatArray:
        """Return the kernel between nodes 0, 1, 2, ... steps apart; one-sided, cut where it ends.

        The bandwidth must exceed 1.25 steps; from 3 steps on the error is that of the fourth
        cumulant. `widening` is the variance, in squared steps, of what else moves rows.
        """
        variance = (bandwidth / self.step) ** 2 - _WIDENING - widening
        distance = np.arange(min(self.n_nodes, int(_REACH * np.sqrt(variance)) + 2))
        height = bandwidth / self.step / np.sqrt(variance)
        return height * np.exp(-(distance**2) / (2 * variance))

    def locate(self, positions: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Return the first of the four nodes of every row, and their weights (4, n_rows).

        Rows beyond the nodes have no weight.
        """
        steps = (positions - self.low) / self.step
        is_inside = self._has_room(steps)
        all_inside = bool(is_inside.all())
        if not all_inside:
            steps = np.where(is_inside, steps, 1.0)
        left = steps.astype(np.intp)
        weights = _cubic_weights(steps - left)
        if not all_inside:
            weights *= is_inside
        left -= 1
        return left, weights

    def reaches(self, positions: FloatArray) -> NDArray[np.bool_]:
        """Tell which rows have weight."""
        return self._has_room((positions - self.low) / self.step)

    def _has_room(self, steps: FloatArray) -> NDArray[np.bool_]:
        """Tell which rows have all four nodes around them; NaN has not."""
        return (steps >= 1) & (steps < self.n_nodes - 2)


def _cubic_weights(u: FloatArray) -> FloatArray:
    """Weights of nodes -1, 0, 1, 2 for a row u in [0, 1) steps behind node 0."""
    v, weights = 1 - u, np.empty((4, len(u)))
    square, other = u * u, v * v
    weights[0] = other * v / 6
    weights[1] = 2 / 3 - square * (1 - u / 2)
    weights[2] = 2 / 3 - other * (1 - v / 2)
    weights[3] = square * u / 6
    return weights


@dataclass(frozen=True, slots=True)
class Grid:
    """The product of some axes."""

    axes: tuple[GridAxis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of nodes on each axis."""
        return tuple(axis.n_nodes for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return prod(self.shape)

    def spread(self, positions: FloatArray, columns: FloatArray) -> FloatArray:
        """Sum rows up on the nodes.

        Parameters
        ----------
        positions : ndarray of shape (n_rows, n_axes)
            Where the rows lie.
        columns : ndarray of shape (n_rows, n_columns)
            What they carry.

        Returns
        -------
        table : ndarray of shape (n_columns, *shape)
            One sum per node and column.
        """
        size = self.size
        if size > _NODES_TO_A_ROW * len(positions):
            # Most nodes stay empty: counting them 4^d times would cost more than the rows.
            table = self.spline_matrix(positions).T @ columns
            return np.ascontiguousarray(table.T).reshape(-1, *self.shape)
        table = np.zeros((columns.shape[1], size))
        for rows in self._blocks(len(positions)):
            values = np.ascontiguousarray(columns[rows].T)
            for nodes, weights in self._stencils(positions[rows]):
                for k, value in enumerate(values):
                    table[k] += np.bincount(nodes, weights * value, size)
        return table.reshape(-1, *self.shape)

    def read(self, table: FloatArray, positions: FloatArray) -> FloatArray:
        """Read a table (n_columns, *shape) at positions: (n_rows, n_columns)."""
        columns = table.reshape(len(table), -1)
        found = np.empty((len(positions), len(table)))
        for rows in self._blocks(len(positions)):
            block = np.zeros((len(table), len(positions[rows])))
            for nodes, weights in self._stencils(positions[rows]):
                for k, column in enumerate(columns):
                    block[k] += weights * column[nodes]
            found[rows] = block.T
        return found

    def spline_matrix(self, positions: FloatArray) -> csr_array:
        """Return the weights of all nodes at positions, shape (n_rows, size)."""
        stencils = list(self._stencils(positions))
        nodes, weights = (np.stack(parts, axis=1).ravel() for parts in zip(*stencils, strict=True))
        starts = np.arange(0, nodes.size + 1, len(stencils))
        return csr_array((weights, nodes, starts), shape=(len(positions), self.size))

    def _blocks(self, n_rows: int) -> list[slice]:
        size = max(_BLOCK_ROWS, self.size // _NODES_TO_A_ROW)
        return [slice(start, start + size) for start in range(0, n_rows, size)]

    def _stencils(self, positions: FloatArray) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
        """Yield every node that a row touches, for all rows at once, and its weight."""
        located = [axis.locate(x) for axis, x in zip(self.axes, positions.T, strict=True)]
        first = located[0][0]
        for axis, (left, _) in zip(self.axes[1:], located[1:], strict=True):
            first = first * axis.n_nodes + left
        strides = [prod(self.shape[d + 1 :]) for d in range(len(self.axes))]
        for corner in product(range(4), repeat=len(self.axes)):
            weights = located[0][1][corner[0]]
            for k, (_, splines) in zip(corner[1:], located[1:], strict=True):
                weights = weights * splines[k]
            yield first + sum(map(mul, corner, strides)), weights

    def smooth(self, table: FloatArray, bandwidth: FloatArray, widening: float = 0.0) -> FloatArray:
        """Apply the Gaussian of the given bandwidths to a table (n_columns, *shape)."""
        for d, (axis, h) in enumerate(zip(self.axes, bandwidth, strict=True)):
            table = along_axis(table, d + 1, axis.smoother(float(h), widening))
        return table

    def own_share(self, positions: FloatArray, bandwidth: FloatArray) -> FloatArray:
        """Return what a row of weight one adds to the smoothed table read at its own place."""
        share = np.ones(len(positions))
        for axis, column, h in zip(self.axes, positions.T, bandwidth, strict=True):
            taps = axis.smoother(float(h))[:4]
            kernel = toeplitz(np.pad(taps, (0, 4 - len(taps))))
            _, weights = axis.locate(column)
            share *= np.einsum("ji,ji->i", kernel @ weights, weights)
        return share


def along_axis(table: FloatArray, axis: int, taps: FloatArray) -> FloatArray:
    """Convolve one axis with a symmetric kernel, given from its centre outwards.

    All terms are positive, so that ratios keep their digits where there are few rows; a Fourier
    transform would leave rounding errors of the densest places everywhere.
    """
    n_nodes = table.shape[axis]
    if n_nodes > _LARGEST_DENSE:
        return correlate1d(table, np.r_[taps[:0:-1], taps], axis=axis, mode="constant")
    kernel = toeplitz(np.pad(taps, (0, n_nodes - len(taps))))
    if axis == table.ndim - 1:
        return table @ kernel
    lead, trail = table.shape[:axis], table.shape[axis + 1 :]
    flat = table.reshape(int(np.prod(lead)), n_nodes, int(np.prod(trail)))
    return np.matmul(kernel, flat).reshape(table.shape)


def apply_along(matrix: csr_array, table: FloatArray, axis: int) -> FloatArray:
    """Multiply one axis of a table with a sparse matrix."""
    moved = np.moveaxis(table, axis, 0)
    result = matrix @ np.ascontiguousarray(moved).reshape(len(moved), -1)
    return np.ascontiguousarray(np.moveaxis(result.reshape(-1, *moved.shape[1:]), 0, axis))
