"""What past rows say of new ones: an event rate, and directions of the routing, for a fair bet.

Everything is a regression on the past alone, so that a new row's outcome has not been seen:

- g^(c), the event rate: outcomes on `ConfidenceSpline`, between past ranks by interpolation;
- u, the rank of the new row's routing among past rows of like confidence (`_residual_rank`);
- f~ = f(u) less a straight line in the confidence rank, fitted to past rows of its bin, for
  u, (3 u^2 - 1) / 2 and u (2 t - 1), and for the indicator of each level;
- w = max(g^ (1 - g^), 0.05)^(-1/2), so that near-certain rows count without taking over.

The stake w f~ has mean zero among rows of like confidence up to the error of the lines, and the
outcome less g^ up to the error of the rate. What a bet gains by mistake is the product of the two.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._confidence_bins import confidence_bins, tie_midranks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_VARIANCE_FLOOR = 0.05
_SPREAD_FLOOR = 0.05
_RATE_FLOOR = 0.01


class PastRows:
    """Regressions on past rows.

    Parameters
    ----------
    confidence, events : ndarray of shape (n_past,)
        Confidence and outcome.
    routing : ndarray of shape (n_past,)
        Routing as numbers; ignored if not `ordered`.
    level : ndarray of shape (n_past,)
        Number of the level, -1 for none.
    n_levels : int
        Levels that have a direction.
    ordered : bool
        Whether the order of `routing` has directions.
    """

    def __init__(
        self,
        confidence: FloatArray,
        events: FloatArray,
        routing: FloatArray,
        level: IntArray,
        *,
        n_levels: int,
        ordered: bool,
    ) -> None:
        order = np.argsort(confidence, kind="stable")
        self._confidence = confidence[order]
        self._rank = tie_midranks(self._confidence)
        self._n_levels, self._ordered = n_levels, ordered
        spline = ConfidenceSpline(self._rank)
        self._rate = np.clip(spline.fit(events[order]), _RATE_FLOOR, 1 - _RATE_FLOOR)
        if ordered:
            self._fit_routing(routing[order], spline)
        self._fit_lines(self._directions(self._confidence, routing[order], level[order]))

    def rate(self, confidence: FloatArray) -> FloatArray:
        """Return g^, shape (n,)."""
        return np.interp(confidence, self._confidence, self._rate)

    def stakes(self, confidence: FloatArray, routing: FloatArray, level: IntArray) -> FloatArray:
        """Return w f~, shape (n, n_directions)."""
        rank = np.interp(confidence, self._confidence, self._rank)
        b = np.searchsorted(self._upper_edges, confidence)
        line = self._mean[b] + (rank - self._centre_of_bin[b])[:, None] * self._slope[b]
        rate = self.rate(confidence)
        weight = np.maximum(rate * (1 - rate), _VARIANCE_FLOOR) ** -0.5
        return weight[:, None] * (self._directions(confidence, routing, level) - line)

    def _fit_routing(self, routing: FloatArray, spline: ConfidenceSpline) -> None:
        self._routing = np.sort(routing)
        score = self._score(routing)
        self._centre = spline.fit(score)
        spread = spline.fit(np.abs(score - self._centre))
        self._spread = np.maximum(spread, max(_SPREAD_FLOOR * spread.mean(), 1e-12))
        self._residual = np.sort((score - self._centre) / self._spread)

    def _score(self, routing: FloatArray) -> FloatArray:
        """Return the normal score among the past, in the middle of ties."""
        return ndtri(_middle_rank(self._routing, routing))

    def _directions(
        self, confidence: FloatArray, routing: FloatArray, level: IntArray
    ) -> FloatArray:
        indicators = (level[:, None] == np.arange(self._n_levels)) * 1.0
        if not self._ordered:
            return indicators
        centre = np.interp(confidence, self._confidence, self._centre)
        spread = np.interp(confidence, self._confidence, self._spread)
        u = 2 * _middle_rank(self._residual, (self._score(routing) - centre) / spread) - 1
        rank = np.interp(confidence, self._confidence, self._rank)
        return np.column_stack([u, (3 * u * u - 1) / 2, u * (2 * rank - 1), indicators])

    def _fit_lines(self, directions: FloatArray) -> None:
        """Fit a straight line in the rank to every direction in every bin."""
        codes, n_bins = confidence_bins(self._confidence)
        first = np.searchsorted(codes, np.arange(n_bins))
        size = np.diff([*first, len(codes)])
        self._upper_edges = self._confidence[first[1:] - 1]
        self._centre_of_bin = np.add.reduceat(self._rank, first) / size
        self._mean = np.add.reduceat(directions, first) / size[:, None]
        offset = self._rank - self._centre_of_bin[codes]
        length = np.add.reduceat(offset * offset, first)
        crossed = np.add.reduceat(offset[:, None] * directions, first)
        self._slope = crossed / np.where(length > 1e-12, length, np.inf)[:, None]


def _middle_rank(sorted_past: FloatArray, values: FloatArray) -> FloatArray:
    """Share of the past below each value, ties counted half, kept inside (0, 1)."""
    below = np.searchsorted(sorted_past, values, side="left")
    upto = np.searchsorted(sorted_past, values, side="right")
    return (below + upto + 1) / (2 * len(sorted_past) + 2)
