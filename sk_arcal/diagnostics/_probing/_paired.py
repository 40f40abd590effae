"""Paired differences of two probes on the same rows."""

from typing import NamedTuple

import numpy as np

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._confidence_bins import IntArray

Z_95 = 1.96


class Difference(NamedTuple):
    """A paired difference between two probes, with its 95 % interval.

    A named tuple: ``estimate, low, high = difference``.

    Parameters
    ----------
    estimate : float
        The probe minus the one it is compared with; negative is better.
    low : float
        Lower end of the interval.
    high : float
        Upper end of the interval; below zero if the probe is better beyond its noise.

    See Also
    --------
    matched_probes : Differences to the probe that sees the confidence only.
    bandwidth_sensitivity : The same under several rules for the bandwidth.

    Examples
    --------
    >>> from sk_arcal.diagnostics import Difference
    >>> Difference(-0.006, -0.010, -0.002).high < 0
    True
    """

    estimate: float
    low: float
    high: float


def clustered_mean(differences: FloatArray, cluster: IntArray) -> tuple[float, float]:
    """Return the mean of row-wise differences, and its standard error from sums over clusters."""
    mean = float(differences.mean())
    by_cluster = np.bincount(cluster, weights=differences - mean)
    return mean, float(np.sqrt((by_cluster**2).sum())) / len(differences)


def clustered_difference(differences: FloatArray, cluster: IntArray) -> Difference:
    """Return the mean of row-wise differences with its interval."""
    mean, error = clustered_mean(differences, cluster)
    return Difference(mean, mean - Z_95 * error, mean + Z_95 * error)
