"""Sums of weights and residuals on a fixed grid: what blocks and shards add up.

Spreading rows on the nodes and smoothing the nodes are linear, so the unsmoothed sums of blocks
add up to those of all rows, and smoothing can wait until they do.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import Grid, KernelTable
from sk_arcal._smoothing._binned import grid_for
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._saving._plain_state import register_helper


@register_helper
@dataclass(frozen=True, slots=True, eq=False)
class TotalTable:
    """The table of a kernel with every axis off: all rows are neighbours of all.

    Attributes
    ----------
    totals : ndarray of shape (n_values + 1,)
        Sums over all rows; the kernel mass last.
    """

    totals: FloatArray

    def sums(self, query: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return sums and mass at queries (n_queries, n_axes), as `KernelTable.sums`."""
        found = np.repeat(self.totals[None], len(query), axis=0)
        return found[:, :-1], found[:, -1]


@register_helper
@dataclass(frozen=True, slots=True, eq=False)
class NodeSums:
    """Weighted residuals and weights of rows, spread on the nodes of a grid.

    Attributes
    ----------
    grid : Grid
        Nodes of the axes in use; without axes if all are off.
    bandwidth : ndarray of shape (n_axes,)
        Infinite where an axis is off.
    totals : ndarray of shape (2, *grid.shape)
        Not smoothed; the weights last.
    """

    grid: Grid
    bandwidth: FloatArray
    totals: FloatArray

    @classmethod
    def around(cls, positions: FloatArray, bandwidth: FloatArray, margin: FloatArray) -> "NodeSums":
        """Return empty sums on the grid that some rows (n_rows, n_axes) need."""
        used, grid = np.isfinite(bandwidth), Grid(())
        if used.any():
            grid = grid_for(positions[:, used], bandwidth[used], margin[used])
        return cls(grid, bandwidth, np.zeros((2, *grid.shape)))

    def empty(self) -> "NodeSums":
        """Return sums of no rows on the same grid."""
        return replace(self, totals=np.zeros_like(self.totals))

    def plus_rows(
        self, positions: FloatArray, residual: FloatArray, weight: FloatArray
    ) -> "NodeSums":
        """Return the sums with those of more rows added; rows beyond the grid add nothing."""
        columns = np.column_stack([weight * residual, weight])
        if not self.grid.axes:
            return replace(self, totals=self.totals + columns.sum(axis=0))
        return replace(self, totals=self.totals + self.grid.spread(self._used(positions), columns))

    def plus(self, other: "NodeSums") -> "NodeSums":
        """Return the sums over the rows of both."""
        return replace(self, totals=self.totals + other.totals)

    def is_like(self, other: "NodeSums") -> bool:
        """Tell whether the sums are taken at the same nodes for the same kernel."""
        return self.grid == other.grid and np.array_equal(self.bandwidth, other.bandwidth)

    def is_inside(self, positions: FloatArray) -> NDArray[np.bool_]:
        """Tell which rows the grid reaches."""
        inside = np.ones(len(positions), dtype=bool)
        for axis, column in zip(self.grid.axes, self._used(positions).T, strict=True):
            inside &= axis.reaches(column)
        return inside

    def table(self) -> KernelTable | TotalTable:
        """Return the smoothed sums."""
        if not self.grid.axes:
            return TotalTable(self.totals)
        used = np.isfinite(self.bandwidth)
        return KernelTable(self.grid, used, self.grid.smooth(self.totals, self.bandwidth[used]))

    def _used(self, positions: FloatArray) -> FloatArray:
        return positions[:, np.isfinite(self.bandwidth)]
