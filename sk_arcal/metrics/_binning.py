"""Bins of confidence and the sums over them, used by every binned error.

Bins are the intervals (lower, upper]; an exact 0 belongs to the first bin and an exact 1 to
the last.
"""

import numpy as np

from sk_arcal._validation import FloatArray, check_integer, check_option
from sk_arcal.metrics._inputs import Codes

# A cumulative weight this close below k / n_bins has reached it: sums of fractional weights
# carry rounding that must not move an edge by a row.
_RANK_TOLERANCE = 1e-12


def check_binning(n_bins: object, strategy: object, norm: object = "l1") -> tuple[int, str, str]:
    """Return the three options that define a binned error, or raise."""
    return (
        check_integer("n_bins", n_bins, low=1),
        check_option("strategy", strategy, ("uniform", "quantile")),
        check_option("norm", norm, ("l1", "l2")),
    )


def bin_edges(
    probability: FloatArray, weight: FloatArray, *, n_bins: int, strategy: str
) -> FloatArray:
    """Return increasing edges from 0 to 1; at most `n_bins` bins with quantiles and ties."""
    if strategy == "uniform":
        return np.linspace(0, 1, n_bins + 1)
    order = np.argsort(probability)
    value = probability[order]
    mass = np.cumsum(weight[order])
    # Ties are one atom: only the last row of a run of equal values may end a bin, and the
    # last run of all always ends the last one.
    ends = np.flatnonzero(value[1:] > value[:-1])
    ranks = np.arange(1, n_bins) * (mass[-1] / n_bins) * (1 - _RANK_TOLERANCE)
    reached = np.unique(np.searchsorted(mass[ends], ranks))
    ends = ends[reached[reached < len(ends)]]
    # Half-way between neighbours no edge coincides with a value, so no bin has zero width;
    # between adjacent floats half-way may round up to the value that belongs to the next bin.
    below, above = value[ends], value[ends + 1]
    inner = below + (above - below) / 2
    return np.concatenate([[0.0], np.where(inner < above, inner, below), [1.0]])


def bin_codes(probability: FloatArray, edges: FloatArray) -> Codes:
    """Return the bin of every row, counted from 0."""
    return np.searchsorted(edges[1:-1], probability, side="left")


def bin_sums(codes: Codes, values: FloatArray, size: int = 0) -> FloatArray:
    """Return the sum of the values in each of at least `size` bins."""
    return np.asarray(np.bincount(codes, weights=values, minlength=size), dtype=np.float64)


def error_from_gaps(gap: FloatArray, mass: FloatArray, norm: str) -> FloatArray:
    """Return the calibration error of every row of bins.

    Parameters
    ----------
    gap : ndarray of shape (..., n_bins)
        Sum of weight x (probability - event) in each bin.
    mass : ndarray of shape (..., n_bins)
        Sum of weights in each bin; zero for an empty bin.
    norm : {"l1", "l2"}
        Mean of the absolute bin gaps, or root of the mean of their squares.

    Returns
    -------
    error : ndarray of shape (...)
        In [0, 1].
    """
    total = mass.sum(axis=-1)
    if norm == "l1":
        return np.abs(gap).sum(axis=-1) / total
    squares = np.divide(gap**2, mass, out=np.zeros_like(gap), where=mass > 0)
    return np.sqrt(squares.sum(axis=-1) / total)


def event_gaps(
    event: FloatArray, probability: FloatArray, weight: FloatArray, *, n_bins: int, strategy: str
) -> tuple[FloatArray, FloatArray]:
    """Return the summed gap and the total weight of every bin, as `error_from_gaps` takes them."""
    edges = bin_edges(probability, weight, n_bins=n_bins, strategy=strategy)
    codes = bin_codes(probability, edges)
    return bin_sums(codes, weight * (probability - event)), bin_sums(codes, weight)
