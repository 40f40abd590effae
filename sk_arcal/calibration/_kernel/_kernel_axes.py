"""The axes on which a kernel measures how near two rows are.

Confidence is compared on the logit scale, as a probability, or by rank; routing by rank or in
standard deviations. What an axis needs is learned in `fit`, so that a row's position never
depends on the rows it is predicted with.
"""

import numpy as np

from sk_arcal._numeric import clipped_logit
from sk_arcal._smoothing import MARGIN
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._axes import RankAxis, StandardAxis
from sk_arcal.calibration._saving._plain_state import register_helper

CONFIDENCE_AXES = ("logit", "probability", "rank")

# Confidences of 0.9999 and more are one another's neighbours.
_LOGIT_MARGIN = 1e-4


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

    def margin(self) -> FloatArray:
        """Return how many bandwidths beyond the rows of `fit` others may lie, (1 + n_routing,)."""
        is_rank = [self.confidence_axis == "rank"] + [self.routing_axis == "rank"] * len(
            self._routing
        )
        return np.where(is_rank, 0.0, MARGIN)

    def _confidence(self, confidence: FloatArray) -> FloatArray:
        if self.confidence_axis == "rank":
            return self._confidence_rank(confidence)
        if self.confidence_axis == "probability":
            return confidence
        return clipped_logit(confidence, _LOGIT_MARGIN)
