"""The axes on which a kernel measures how near two rows are.

Confidence is compared on the logit scale, as a probability, or by rank; routing by rank or in
standard deviations. What an axis needs is learned in `fit`, so that a row's position never
depends on the rows it is predicted with.
"""

from dataclasses import dataclass

import numpy as np

from sk_arcal._numeric import clipped_logit
from sk_arcal._smoothing import axis_deviation
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._plain_state import register_helper

CONFIDENCE_AXES = ("logit", "probability", "rank")
ROUTING_AXES = ("rank", "standardized")

# Confidences of 0.9999 and more are one another's neighbours.
_LOGIT_MARGIN = 1e-4


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
        weight = np.bincount(code, sample_weight)
        return cls(values, (np.cumsum(weight) - weight / 2) / weight.sum())

    def __call__(self, column: FloatArray) -> FloatArray:
        """Return the rank of every entry, in (0, 1)."""
        return np.interp(column, self.values, self.ranks)


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


@register_helper
class KernelAxes:
    """Positions of rows: confidence first, then each routing column.

    Parameters
    ----------
    confidence_axis : {"logit", "probability", "rank"}
        Scale of the confidence.
    routing_axis : {"rank", "standardized"}
        Scale of the routing columns.
    """

    def __init__(self, confidence_axis: str, routing_axis: str) -> None:
        self.confidence_axis = confidence_axis
        self.routing_axis = routing_axis

    def fit(
        self, confidence: FloatArray, routing: FloatArray, sample_weight: FloatArray
    ) -> "KernelAxes":
        """Learn ranks, means and deviations from confidence (n,) and routing (n, m)."""
        if self.confidence_axis == "rank":
            self._confidence_rank = RankAxis.fit(confidence, sample_weight)
        axis = RankAxis if self.routing_axis == "rank" else StandardAxis
        self._routing = [axis.fit(column, sample_weight) for column in routing.T]
        return self

    def positions(self, confidence: FloatArray, routing: FloatArray) -> FloatArray:
        """Return positions of shape (n_samples, 1 + n_routing)."""
        columns = [axis(column) for axis, column in zip(self._routing, routing.T, strict=True)]
        return np.column_stack([self._confidence(confidence), *columns])

    def _confidence(self, confidence: FloatArray) -> FloatArray:
        if self.confidence_axis == "rank":
            return self._confidence_rank(confidence)
        if self.confidence_axis == "probability":
            return confidence
        return clipped_logit(confidence, _LOGIT_MARGIN)
