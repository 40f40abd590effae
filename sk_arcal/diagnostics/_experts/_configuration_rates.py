r"""Event rate against confidence in every configuration, with an interval for the gap.

With residuals :math:`e_i = y_i - p_i` of the m rows of a configuration the gap is their mean, and
its variance is taken as

.. math:: \frac{1}{m^2} \Big( \sum_i (e_i - \bar e)^2 + \overline{p (1 - p)} \Big),

the empirical one with one row's variance by the confidences in place of the lost degree of
freedom: where all m rows went well the empirical variance alone would be zero, and the interval
empty. With groups the squares are of sums over a group, times G / (G - 1).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sk_arcal._validation import FloatArray

IntArray = NDArray[np.intp]


def configuration_rates(
    events: FloatArray,
    confidence: FloatArray,
    names: NDArray[Any],
    codes: IntArray,
    groups: IntArray | None,
    level: float,
) -> dict[str, NDArray[Any]]:
    """Return one row per configuration.

    Parameters
    ----------
    events, confidence : ndarray of shape (n_samples,)
        Outcomes and probability of the event.
    names : ndarray of shape (n_configurations,)
        What the user calls them.
    codes : ndarray of shape (n_samples,)
        Configuration of every row, as index of `names`.
    groups : ndarray of shape (n_samples,) or None
        Codes of groups of dependent rows.
    level : float
        Coverage of the interval of each gap.

    Returns
    -------
    table : dict of str to ndarray
        `configuration`, `n_rows`, `mean_confidence`, `event_rate`, `gap` (rate minus confidence),
        `low`, `high`; the interval is NaN with one row or one group.
    """
    count = np.bincount(codes)
    mean = np.bincount(codes, confidence) / count
    rate = np.bincount(codes, events) / count
    gap = rate - mean
    residual = events - confidence - gap[codes]
    squares, units = _squares(residual, codes, groups, len(count))
    claimed = np.bincount(codes, confidence * (1 - confidence)) / count
    error = np.sqrt(squares + claimed) / count
    degrees = np.where(units > 1, units - 1.0, np.nan)
    half = error * student.ppf((1 + level) / 2, degrees)
    return {
        "configuration": names,
        "n_rows": count,
        "mean_confidence": mean,
        "event_rate": rate,
        "gap": gap,
        "low": gap - half,
        "high": gap + half,
    }


def _squares(
    residual: FloatArray, codes: IntArray, groups: IntArray | None, size: int
) -> tuple[FloatArray, IntArray]:
    """Return each configuration's sum of squares, and its number of independent units."""
    if groups is None:
        return _sums(codes, residual**2, size), np.bincount(codes, minlength=size)
    pairs, unit = np.unique(np.column_stack([codes, groups]), axis=0, return_inverse=True)
    # With an axis numpy 2.0 keeps it in the inverse.
    unit = unit.ravel()
    units = np.bincount(pairs[:, 0], minlength=size)
    squares = _sums(pairs[:, 0], _sums(unit, residual, len(pairs)) ** 2, size)
    return squares * units / np.maximum(units - 1, 1), units


def _sums(codes: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.asarray(np.bincount(codes, values, size), dtype=np.float64)
