r"""A grid for very many rows: each is counted in one fine cell, and read between fine nodes.

Splines act between the fine cells and the coarse nodes only, so a row touches one number instead of
four an axis. Rows that are moved to the centres of cells of width w widen the kernel by
:math:`w^2 / 12`, which is taken off its variance like the widening by the splines. The smoothed
table is spread over fine nodes, between which it is read linearly.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sk_arcal._smoothing._grid import Grid, GridAxis, apply_along
from sk_arcal._validation import FloatArray

# Cells, and nodes to read, to a step; by the number of axes.
_CELLS = {1: 128, 2: 8}
_NODES = {1: 16, 2: 4}
# From so many rows on, counting them in cells is worth the work on the cells.
_FEWEST_ROWS = {1: 20_000, 2: 500_000}
_BLOCK_ROWS = 1 << 15


@dataclass(frozen=True, slots=True)
class FineGrid:
    """Cells and nodes that divide the steps of a coarse grid.

    Attributes
    ----------
    coarse : Grid
        Of one axis or two.
    """

    coarse: Grid

    @staticmethod
    def suits(n_rows: int, n_axes: int) -> bool:
        """Tell whether so many rows are better counted in cells."""
        return n_rows >= _FEWEST_ROWS.get(n_axes, np.inf)

    def spread(self, positions: FloatArray, columns: FloatArray) -> FloatArray:
        """Sum rows up on the coarse nodes; as `Grid.spread`, but no row may lie outside."""
        axes, fineness = self.coarse.axes, _CELLS[len(self.coarse.axes)]
        shape = [(axis.n_nodes - 1) * fineness for axis in axes]
        cells = np.zeros((columns.shape[1], *shape))
        for rows in _blocks(len(positions), cells[0].size):
            codes = np.zeros(len(positions[rows]), dtype=np.intp)
            for axis, n_cells, column in zip(axes, shape, positions[rows].T, strict=True):
                codes *= n_cells
                codes += ((column - axis.low) * (fineness / axis.step)).astype(np.intp)
            for table, column in zip(cells, columns[rows].T, strict=True):
                table.reshape(-1)[:] += np.bincount(codes, column, table.size)
        for d, (axis, n_cells) in enumerate(zip(axes, shape, strict=True)):
            splines = _splines(axis, (np.arange(n_cells) + 0.5) / fineness)
            cells = apply_along(splines.T, cells, d + 1)
        return cells

    def smooth(self, table: FloatArray, bandwidth: FloatArray) -> FloatArray:
        """Apply the Gaussian to the coarse nodes and spread them over the fine ones."""
        n_axes = len(self.coarse.axes)
        table = self.coarse.smooth(table, bandwidth, widening=1 / (12 * _CELLS[n_axes] ** 2))
        for d, axis in enumerate(self.coarse.axes):
            n_nodes = (axis.n_nodes - 1) * _NODES[n_axes] + 1
            table = apply_along(_splines(axis, np.arange(n_nodes) / _NODES[n_axes]), table, d + 1)
        return table

    def read(self, table: FloatArray, positions: FloatArray) -> FloatArray:
        """Read a table (n_columns, *fine nodes) at positions: (n_rows, n_columns)."""
        found = np.empty((len(positions), len(table)))
        for rows in _blocks(len(positions), _BLOCK_ROWS):
            found[rows] = self._read_block(table, positions[rows])
        return found

    def _read_block(self, table: FloatArray, positions: FloatArray) -> FloatArray:
        fineness, shares, outside = _NODES[len(self.coarse.axes)], [], None
        first = np.zeros(len(positions), dtype=np.intp)
        for axis, n_nodes, column in zip(
            self.coarse.axes, table.shape[1:], positions.T, strict=True
        ):
            steps = (column - axis.low) * (fineness / axis.step)
            # Also false for NaN.
            if not (steps.min() >= 0 and steps.max() < n_nodes - 1):
                is_inside = (steps >= 0) & (steps < n_nodes - 1)
                steps = np.where(is_inside, steps, 0.0)
                outside = ~is_inside if outside is None else outside | ~is_inside
            left = steps.astype(np.intp)
            steps -= left
            shares.append(steps)
            first *= n_nodes
            first += left
        columns = table.reshape(len(table), -1)
        found = np.stack([_between(column, first, shares, table.shape[1:]) for column in columns])
        if outside is not None:
            found[:, outside] = 0.0
        return found.T


def _between(
    nodes: FloatArray, first: NDArray[np.intp], shares: list[FloatArray], shape: tuple[int, ...]
) -> FloatArray:
    """Interpolate between a node and the next one on each axis, the last axis first."""
    if not shares:
        return nodes.take(first)
    stride = prod(shape[1:])
    near = _between(nodes, first, shares[1:], shape[1:])
    far = _between(nodes[stride:], first, shares[1:], shape[1:])
    far -= near
    far *= shares[0]
    far += near
    return far


def _splines(axis: GridAxis, steps: FloatArray) -> csr_array:
    """Weights of the coarse nodes at places given in steps from the first one."""
    return Grid((axis,)).spline_matrix(axis.low + axis.step * steps[:, None])


def _blocks(n_rows: int, n_cells: int) -> list[slice]:
    size = max(_BLOCK_ROWS, n_cells)
    return [slice(start, start + size) for start in range(0, n_rows, size)]
