"""Means over the same rows, compared: differences and trends with their standard errors.

A mean over rows is written as its share of every row. The expected calibration error is one too:
with the sign s_b of the summed gap of bin b, ECE = mean over rows of s_b(i) (c_i - y_i). Errors of
a difference or a trend then follow from the rows, however much the models agree, if the signs are
taken for known. That is so where the errors are well above their noise floors.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._confidence_bins import FloatArray
from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums

Interval = tuple[float, float]
_Z95 = 1.959963984540054


def calibration_error_shares(
    confidence: FloatArray, event: NDArray[np.bool_], n_bins: int
) -> FloatArray:
    """Return the share of each row, shape (n_samples,), in the calibration error: its mean."""
    edges = bin_edges(confidence, np.ones(len(confidence)), n_bins=n_bins, strategy="uniform")
    codes = bin_codes(confidence, edges)
    gap = confidence - event
    return np.sign(bin_sums(codes, gap, n_bins))[codes] * gap


def mean_with_interval(shares: FloatArray) -> tuple[float, Interval]:
    """Return the mean over rows and its 95 % interval."""
    mean, half = shares.mean(), _Z95 * shares.std(ddof=1) / np.sqrt(len(shares))
    return float(mean), (float(mean - half), float(mean + half))


def trend_shares(shares: FloatArray) -> FloatArray:
    """Return the share of each row in the least-squares slope over the first axis, per step."""
    step = np.arange(len(shares)) - (len(shares) - 1) / 2
    return step @ shares / (step @ step)
