"""Kernel sums by the algorithm that suits: term by term, or through a grid."""

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing._binned import (
    MARGIN,
    KernelTable,
    binned_leave_one_out_sums,
    nodes_needed,
)
from sk_arcal._smoothing._exact import (
    BLOCK_BYTES,
    exact_kernel_sums,
    exact_leave_one_out_sums,
)
from sk_arcal._validation import FloatArray

ALGORITHMS = ("auto", "exact", "binned")

# Below so many rows term by term costs a few milliseconds at most.
_FEWEST_BINNED = 1000
# A row touches 4 nodes an axis; with more axes it touches more nodes than it has neighbours.
_MOST_AXES = 4
_MOST_NODES = 1 << 22
# Rough costs in units of one term of an exact sum, which only decide what "auto" takes: of a grid
# as such, of a row at one of its nodes, and of a node for every node on an axis.
_COST_OF_GRID, _COST_OF_ENTRY, _COST_OF_PRODUCT = 2e5, 10.0, 0.02


def kernel_sums(
    query: FloatArray,
    train: FloatArray,
    bandwidth: FloatArray,
    values: FloatArray,
    *,
    sample_weight: FloatArray | None = None,
    algorithm: str = "auto",
    block_bytes: int = BLOCK_BYTES,
) -> tuple[FloatArray, FloatArray]:
    """Return kernel-weighted sums of `values`, and the kernel mass, at every query.

    Parameters
    ----------
    query : ndarray of shape (n_queries, n_axes)
        Where to evaluate.
    train : ndarray of shape (n_samples, n_axes)
        Positions of the fitted rows.
    bandwidth : ndarray of shape (n_axes,)
        Standard deviation of the Gaussian on each axis; infinite drops the axis.
    values : ndarray of shape (n_samples, n_values)
        What to sum.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.
    algorithm : {"auto", "exact", "binned"}, default="auto"
        Term by term, or through a grid; "auto" takes the grid where it is cheaper, which depends
        on the fitted rows and the bandwidth only.
    block_bytes : int, default=BLOCK_BYTES
        Memory that a block of kernel values may take in exact sums.

    Returns
    -------
    sums : ndarray of shape (n_queries, n_values)
        Kernel-weighted sums.
    mass : ndarray of shape (n_queries,)
        Kernel mass: the effective number of neighbouring rows, between 0 and the total weight.
    """
    if takes_grid(algorithm, train, bandwidth):
        return KernelTable.of(train, bandwidth, values, sample_weight).sums(query)
    return exact_kernel_sums(
        query, train, bandwidth, values, sample_weight=sample_weight, block_bytes=block_bytes
    )


def leave_one_out_sums(
    axes: FloatArray,
    bandwidths: FloatArray,
    values: FloatArray,
    *,
    sample_weight: FloatArray | None = None,
    algorithm: str = "auto",
    dtype: type = np.float64,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[FloatArray, FloatArray]:
    """Return the kernel sums at every fitted row without that row, for several bandwidths.

    Leaving out means taking away one repetition: a row of weight w keeps w - 1 of itself among
    its neighbours, a row of weight below one keeps nothing.

    Parameters
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    bandwidths : ndarray of shape (n_candidates, n_axes)
        One candidate a line; infinite drops the axis.
    values : ndarray of shape (n_samples, n_values)
        What to sum.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.
    algorithm : {"auto", "exact", "binned"}, default="auto"
        As in `kernel_sums`, chosen for each candidate.
    dtype : type, default=numpy.float64
        Precision of kernel values in exact sums; see `exact_leave_one_out_sums`.
    block_bytes : int, default=BLOCK_BYTES
        Memory that a block of kernel values may take in exact sums.

    Returns
    -------
    sums : ndarray of shape (n_candidates, n_samples, n_values)
        Kernel-weighted sums over the other rows.
    mass : ndarray of shape (n_candidates, n_samples)
        Kernel mass of the other rows.
    """
    bandwidths = np.asarray(bandwidths, dtype=np.float64)
    binned = _through_grid(algorithm, axes, bandwidths, 0.0)
    totals = np.empty((len(bandwidths), len(axes), values.shape[1] + 1))
    for candidate in np.flatnonzero(binned):
        totals[candidate] = binned_leave_one_out_sums(
            axes, bandwidths[candidate], values, sample_weight
        )
    if not binned.all():
        totals[~binned] = exact_leave_one_out_sums(
            axes,
            bandwidths[~binned],
            values,
            sample_weight=sample_weight,
            block_bytes=block_bytes,
            dtype=dtype,
        )
    return totals[:, :, :-1], np.maximum(totals[:, :, -1], 0.0)


def takes_grid(
    algorithm: str,
    train: FloatArray,
    bandwidth: FloatArray,
    margin: FloatArray | float = MARGIN,
) -> bool:
    """Tell whether sums go through a grid that reaches `margin` bandwidths beyond the rows."""
    return bool(_through_grid(algorithm, train, bandwidth[None], margin)[0])


def _through_grid(
    algorithm: str, train: FloatArray, bandwidths: FloatArray, margin: FloatArray | float
) -> NDArray[np.bool_]:
    """Tell for every line of bandwidths whether a grid is possible and, if "auto", cheaper."""
    n_rows, n_axes = len(train), np.isfinite(bandwidths).sum(axis=1)
    shape = nodes_needed(train, bandwidths, margin)
    n_nodes = shape.prod(axis=1)
    possible = (n_axes > 0) & (n_axes <= _MOST_AXES) & (n_nodes <= _MOST_NODES)
    if algorithm != "auto":
        return possible & (algorithm == "binned")
    cost = _COST_OF_GRID + _COST_OF_ENTRY * n_rows * 4.0**n_axes
    cost = cost + _COST_OF_PRODUCT * n_nodes * shape.sum(axis=1)
    return possible & (n_rows >= _FEWEST_BINNED) & (cost < n_rows**2 / 2)
