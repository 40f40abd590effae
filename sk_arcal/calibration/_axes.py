"""Scales on which columns are compared: ranks and standard deviations.

What an axis needs is learned in `fit`, so that where a row lies never depends on the rows it is
predicted with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import axis_deviation
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._saving._plain_state import register_helper

ROUTING_AXES = ("rank", "standardized")

# Ranks of more distinct values are kept at so many of them: a rank between two is then off by less
# than one in that many, and a look-up stays in the cache.
_MOST_RANKS = 1 << 17


@register_helper
@dataclass(frozen=True, slots=True)
class RankAxis:
    r"""Weighted mid-rank :math:`(\sum_{x_j < x} w_j + \frac12 \sum_{x_j = x} w_j) / \sum_j w_j`.

    Between fitted values the rank is interpolated, beyond them it stays.
    """

    values: FloatArray
    ranks: FloatArray

    @classmethod
    def fit(cls, column: FloatArray, sample_weight: FloatArray) -> "RankAxis":
        """Learn the ranks of the distinct values of a column."""
        values, code = np.unique(column, return_inverse=True)
        weight = np.bincount(code, sample_weight).astype(np.float64)
        ranks = (np.cumsum(weight) - weight / 2) / weight.sum()
        if len(values) > _MOST_RANKS:
            kept = _knots(weight)
            values, ranks = values[kept], ranks[kept]
        return cls(values, ranks)

    def __call__(self, column: FloatArray) -> FloatArray:
        """Return the rank of every entry, in (0, 1)."""
        return np.interp(column, self.values, self.ranks)


def _knots(weight: FloatArray) -> NDArray[np.intp]:
    """Return which of many distinct values to keep: evenly many, and heavy ones with neighbours."""
    total, last = float(weight.sum()), len(weight) - 1
    evenly = np.searchsorted(np.cumsum(weight), np.linspace(0, total, _MOST_RANKS))
    heavy = np.flatnonzero(weight > total / _MOST_RANKS)
    kept = np.concatenate([[0, last], evenly, heavy - 1, heavy, heavy + 1])
    return np.unique(np.clip(kept, 0, last).astype(np.intp))


@register_helper
@dataclass(frozen=True, slots=True)
class StandardAxis:
    """Distance from the weighted mean in weighted standard deviations; 0 if there are none."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, column: FloatArray, sample_weight: FloatArray) -> "StandardAxis":
        """Learn mean and standard deviation of a column."""
        deviation = axis_deviation(column[:, None], sample_weight)[0]
        return cls(float(np.average(column, weights=sample_weight)), float(deviation))

    def __call__(self, column: FloatArray) -> FloatArray:
        """Return standardised entries."""
        if self.deviation == 0:
            return np.zeros(len(column))
        return (column - self.mean) / self.deviation
