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

    def smoother(self, bandwidth: float) -> FloatArray:
        """Return the kernel between nodes 0, 1, 2, ... steps apart; one-sided, cut where it ends.

        The bandwidth must exceed 1.25 steps; from 3 steps on the error is that of the fourth
        cumulant.
        """
        variance = (bandwidth / self.step) ** 2 - _WIDENING
        distance = np.arange(min(self.n_nodes, int(_REACH * np.sqrt(variance)) + 2))
        height = bandwidth / self.step / np.sqrt(variance)
        return height * np.exp(-(distance**2) / (2 * variance))

    def locate(self, positions: FloatArray) -> tuple[NDArray[np.int32], FloatArray]:
        """Return the first of the four nodes of every row, and their weights (n_rows, 4).

        Rows beyond the nodes have no weight.
        """
        steps = (positions - self.low) / self.step
        left = np.floor(steps)
        inside = (left >= 1) & (left <= self.n_nodes - 3)
        left = np.where(inside, left, 1.0)
        weights = _cubic_weights(np.where(inside, steps - left, 0.0))
        weights[~inside] = 0.0
        return left.astype(np.int32) - 1, weights


def _cubic_weights(u: FloatArray) -> FloatArray:
    """Weights of nodes -1, 0, 1, 2 for a row u in [0, 1) steps behind node 0."""
    v = 1 - u
    weights = np.empty((len(u), 4))
    weights[:, 0] = v * v * v / 6
    weights[:, 3] = u * u * u / 6
    weights[:, 1] = 2 / 3 - u * u * (1 - u / 2)
    weights[:, 2] = 2 / 3 - v * v * (1 - v / 2)
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
        return int(np.prod(self.shape))

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
        table = np.zeros((self.size, columns.shape[1]))
        for rows, splines in self._splines(positions):
            table += splines.T @ columns[rows]
        return np.ascontiguousarray(table.T).reshape(-1, *self.shape)

    def read(self, table: FloatArray, positions: FloatArray) -> FloatArray:
        """Read a table (n_columns, *shape) at positions: (n_rows, n_columns)."""
        nodes = np.ascontiguousarray(table.reshape(len(table), -1).T)
        found = np.empty((len(positions), len(table)))
        for rows, splines in self._splines(positions):
            found[rows] = splines @ nodes
        return found

    def _splines(self, positions: FloatArray) -> Iterator[tuple[slice, csr_array]]:
        """Yield blocks of rows and their weights on the nodes, as sparse matrices."""
        size = max(_BLOCK_ROWS, self.size // _NODES_TO_A_ROW)
        for start in range(0, len(positions), size):
            rows = slice(start, start + size)
            yield rows, self._spline_matrix(positions[rows])

    def _spline_matrix(self, positions: FloatArray) -> csr_array:
        n_rows = len(positions)
        nodes: NDArray[np.int32] = np.zeros((n_rows, 1), dtype=np.int32)
        weights: FloatArray = np.ones((n_rows, 1))
        for axis, column in zip(self.axes, positions.T, strict=True):
            first, splines = axis.locate(column)
            own_nodes = first[:, None] + np.arange(4, dtype=np.int32)
            pairs = nodes[:, :, None] * np.int32(axis.n_nodes) + own_nodes[:, None, :]
            nodes = np.reshape(pairs, (n_rows, -1))
            weights = np.reshape(weights[:, :, None] * splines[:, None, :], (n_rows, -1))
        starts = np.arange(0, nodes.size + 1, nodes.shape[1], dtype=np.int32)
        return csr_array((weights.ravel(), nodes.ravel(), starts), shape=(n_rows, self.size))

    def smooth(self, table: FloatArray, bandwidth: FloatArray) -> FloatArray:
        """Apply the Gaussian of the given bandwidths to a table (n_columns, *shape)."""
        for d, (axis, h) in enumerate(zip(self.axes, bandwidth, strict=True)):
            table = _along_axis(table, d + 1, axis.smoother(float(h)))
        return table

    def own_share(self, positions: FloatArray, bandwidth: FloatArray) -> FloatArray:
        """Return what a row of weight one adds to the smoothed table read at its own place."""
        share = np.ones(len(positions))
        for axis, column, h in zip(self.axes, positions.T, bandwidth, strict=True):
            taps = axis.smoother(float(h))[:4]
            kernel = toeplitz(np.pad(taps, (0, 4 - len(taps))))
            _, weights = axis.locate(column)
            share *= np.einsum("ij,ij->i", weights @ kernel, weights)
        return share


def _along_axis(table: FloatArray, axis: int, taps: FloatArray) -> FloatArray:
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
