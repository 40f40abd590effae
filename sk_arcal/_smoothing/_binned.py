"""Kernel sums through a grid: time linear in the number of rows.

The nodes lie a quarter of a bandwidth apart. There the error of a kernel mean of values in [-1, 1]
is about 1e-6 on one axis and 1e-5 on two, see `benchmarks/speed/kernel.py`.
"""

from dataclasses import dataclass

import numpy as np

from sk_arcal._smoothing._exact import weighted_columns
from sk_arcal._smoothing._fine_grid import FineGrid
from sk_arcal._smoothing._grid import Grid, GridAxis
from sk_arcal._validation import FloatArray

STEPS_PER_BANDWIDTH = 4.0
# A kernel value at this many bandwidths is 1e-14: even of a million rows there is nothing left.
MARGIN = 8.0


def grid_for(train: FloatArray, bandwidth: FloatArray, margin: FloatArray | float = MARGIN) -> Grid:
    """Return the grid that rows and bandwidths need.

    Parameters
    ----------
    train : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    bandwidth : ndarray of shape (n_axes,)
        Finite.
    margin : float or ndarray of shape (n_axes,), default=8
        How far beyond the rows queries are answered, in bandwidths.

    Returns
    -------
    grid : Grid
        A quarter of a bandwidth from node to node.
    """
    reach = margin * bandwidth
    ends = zip(train.min(axis=0) - reach, train.max(axis=0) + reach, bandwidth, strict=True)
    return Grid(
        tuple(
            GridAxis.covering(float(low), float(high), float(h) / STEPS_PER_BANDWIDTH)
            for low, high, h in ends
        )
    )


def nodes_needed(
    train: FloatArray, bandwidths: FloatArray, margin: FloatArray | float = MARGIN
) -> FloatArray:
    """Return the nodes on each axis for each line of bandwidths; one where an axis is off."""
    steps = STEPS_PER_BANDWIDTH * (np.ptp(train, axis=0) / bandwidths + 2 * margin)
    return np.where(np.isfinite(bandwidths), steps + 6, 1.0)


@dataclass(frozen=True, slots=True)
class KernelTable:
    """Kernel sums at all nodes of a grid.

    Attributes
    ----------
    grid : Grid or FineGrid
        The nodes, or the cells of very many rows; of the axes in use only.
    used : ndarray of bool of shape (n_axes,)
        Axes with a finite bandwidth.
    table : ndarray of shape (n_values + 1, *grid.shape)
        Smoothed sums; the kernel mass last.
    """

    grid: Grid | FineGrid
    used: FloatArray
    table: FloatArray

    @classmethod
    def of(
        cls,
        train: FloatArray,
        bandwidth: FloatArray,
        values: FloatArray,
        sample_weight: FloatArray | None = None,
        margin: FloatArray | float = MARGIN,
    ) -> "KernelTable":
        """Sum up rows; parameters as in `kernel_sums`, at least one bandwidth finite."""
        used = np.isfinite(bandwidth)
        margins = np.broadcast_to(margin, bandwidth.shape)[used]
        nodes = grid_for(train[:, used], bandwidth[used], margins)
        grid = FineGrid(nodes) if FineGrid.suits(len(train), len(nodes.axes)) else nodes
        raw = grid.spread(train[:, used], weighted_columns(values, sample_weight))
        return cls(grid, used, grid.smooth(raw, bandwidth[used]))

    def sums(self, query: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return sums and mass at queries (n_queries, n_axes)."""
        totals = self.grid.read(self.table, query[:, self.used])
        return totals[:, :-1], totals[:, -1]


def binned_leave_one_out_sums(
    axes: FloatArray,
    bandwidth: FloatArray,
    values: FloatArray,
    sample_weight: FloatArray | None = None,
) -> FloatArray:
    """Return sums and mass without the row itself, shape (n_samples, n_values + 1).

    What a row adds to its own reading is known exactly, so leaving it out adds no error.

    Parameters
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    bandwidth : ndarray of shape (n_axes,)
        At least one is finite.
    values : ndarray of shape (n_samples, n_values)
        What to sum.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row.

    Returns
    -------
    totals : ndarray of shape (n_samples, n_values + 1)
        The kernel mass last.
    """
    used = np.isfinite(bandwidth)
    axes, bandwidth = axes[:, used], bandwidth[used]
    grid = grid_for(axes, bandwidth, margin=0.0)
    raw = grid.spread(axes, weighted_columns(values, sample_weight))
    totals = grid.read(grid.smooth(raw, bandwidth), axes)
    own = weighted_columns(values, None if sample_weight is None else np.minimum(sample_weight, 1))
    totals -= own * grid.own_share(axes, bandwidth)[:, None]
    return totals
