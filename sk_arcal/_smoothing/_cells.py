r"""Leave-one-out kernel sums on cells: a bandwidth costs the number of cells, not of rows.

Rows are counted in equal cells and moved to the centres. Two rows that are moved by up to half a
width w each lie on average :math:`w^2 / 6` further apart in square than before, so the cells are
smoothed with the variance :math:`h^2 - w^2 / 6`. A row adds the height of that kernel to its own
cell, exactly; without it the sums are those of the other rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing._binned import STEPS_PER_BANDWIDTH
from sk_arcal._smoothing._grid import Grid, GridAxis, along_axis, apply_along
from sk_arcal._validation import FloatArray

# With fewer cells to a bandwidth the shape of the kernel is lost.
_FEWEST_TO_A_BANDWIDTH = 1.25
# From so many cells to a bandwidth on, coarser nodes do as well.
_CELLS_OF_A_WIDE_KERNEL = 16
# Cells on one axis, and on each of two.
_N_CELLS = {1: (4096,), 2: (384, 192)}
MOST_CELL_AXES = max(_N_CELLS)


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Equal cells on one axis or two.

    Attributes
    ----------
    low : ndarray of shape (n_axes,)
        Lower edge of the first cell.
    width : ndarray of shape (n_axes,)
        Of a cell; infinite where all rows agree.
    shape : tuple of int
        Number of cells on each axis.
    """

    low: FloatArray
    width: FloatArray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, axes: FloatArray) -> "CellGrid":
        """Return the cells that hold all rows (n_samples, n_axes)."""
        low, extent = axes.min(axis=0), np.ptp(axes, axis=0)
        shape = tuple(
            n_cells if varies else 1
            for n_cells, varies in zip(_N_CELLS[axes.shape[1]], extent > 0, strict=True)
        )
        return cls(low, np.where(extent > 0, extent / shape, np.inf), shape)

    def codes(self, axes: FloatArray) -> NDArray[np.intp]:
        """Return the cell of every row."""
        code = np.zeros(len(axes), dtype=np.intp)
        for low, width, n_cells, column in zip(
            self.low, self.width, self.shape, axes.T, strict=True
        ):
            inside = ((column - low) / width).astype(np.intp)
            code = code * n_cells + np.minimum(inside, n_cells - 1)
        return code

    def centres(self, codes: NDArray[np.intp]) -> FloatArray:
        """Return the centres of cells, shape (n_codes, n_axes)."""
        positions = np.column_stack(np.unravel_index(codes, self.shape)) + 0.5
        return self.low + positions * np.where(np.isfinite(self.width), self.width, 0.0)

    def resolves(self, bandwidths: FloatArray) -> NDArray[np.bool_]:
        """Tell which lines of bandwidths are wide enough for the cells."""
        is_wide = bandwidths >= _FEWEST_TO_A_BANDWIDTH * self._finite_width
        return np.asarray(is_wide.all(axis=1))

    @property
    def _finite_width(self) -> FloatArray:
        return np.where(np.isfinite(self.width), self.width, 0.0)

    def smoothed(
        self, bandwidths: FloatArray, codes: NDArray[np.intp], columns: FloatArray
    ) -> list[tuple[FloatArray, float]]:
        """Sum up cells under several kernels.

        Parameters
        ----------
        bandwidths : ndarray of shape (n_candidates, n_axes)
            That the cells resolve; infinite drops an axis.
        codes : ndarray of shape (n_rows,)
            Cell of every row.
        columns : ndarray of shape (n_rows, n_columns)
            What rows carry.

        Returns
        -------
        found : list of (totals, own)
            For each candidate the totals at every row (n_rows, n_columns), and what a row of
            weight one adds to its own.
        """
        n_cells = int(np.prod(self.shape))
        raw: FloatArray = np.empty((columns.shape[1], *self.shape))
        for table, column in zip(raw, columns.T, strict=True):
            table.flat = np.bincount(codes, column, n_cells)
        first: dict[float, FloatArray] = {}
        found = []
        for bandwidth in bandwidths:
            if bandwidth[0] not in first:
                first[bandwidth[0]] = self._along(raw, 0, bandwidth[0])
            smooth = first[bandwidth[0]]
            if len(self.shape) > 1:
                smooth = self._along(smooth, 1, bandwidth[1])
            own = float(np.prod([self._taps(d, h)[0] for d, h in enumerate(bandwidth)]))
            found.append((smooth.reshape(len(smooth), -1)[:, codes].T, own))
        return found

    def _taps(self, axis: int, bandwidth: float) -> FloatArray:
        """Kernel between cells 0, 1, ... apart."""
        width = self.width[axis]
        if np.isinf(bandwidth) or np.isinf(width):
            return np.ones(self.shape[axis])
        variance = (bandwidth / width) ** 2 - 1 / 6
        distance = np.arange(self.shape[axis])
        with np.errstate(under="ignore"):
            kernel = np.exp(-(distance**2) / (2 * variance))
        return bandwidth / width / np.sqrt(variance) * kernel

    def _along(self, table: FloatArray, axis: int, bandwidth: float) -> FloatArray:
        width, n_cells = self.width[axis], self.shape[axis]
        if np.isinf(bandwidth) or np.isinf(width):
            total = table.sum(axis=axis + 1, keepdims=True)
            return np.broadcast_to(total, table.shape).copy()
        if bandwidth < _CELLS_OF_A_WIDE_KERNEL * width:
            return along_axis(table, axis + 1, self._taps(axis, bandwidth))
        # Nodes a quarter of a bandwidth apart stand in for so many cells.
        nodes = GridAxis.covering(0.5, n_cells - 0.5, bandwidth / width / STEPS_PER_BANDWIDTH)
        splines = Grid((nodes,)).spline_matrix(np.arange(0.5, n_cells)[:, None])
        taps = nodes.smoother(bandwidth / width, widening=1 / (6 * nodes.step**2))
        smooth = along_axis(apply_along(splines.T, table, axis + 1), axis + 1, taps)
        return apply_along(splines, smooth, axis + 1)
