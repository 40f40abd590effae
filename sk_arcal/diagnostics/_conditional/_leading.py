"""Which contrast made the test speak, in words, and its gap with a simultaneous interval.

The component with the smallest p leads. Several often share the smallest p that the number of
draws allows; all four statistics have tails like exp(-T / 2), so the one that lies farthest
beyond the 95 % point of its own draws then leads. Within it the contrast with the largest
standard score is named. Because it was picked among many, its interval takes the 95 % quantile
of the largest standard score among all contrasts of a draw, not 1.96.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import COMPONENTS, Squares
from sk_arcal.diagnostics._conditional._contrast_covariance import window_lengths
from sk_arcal.diagnostics._conditional._effect_size import Gaps, matched_gaps
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """One contrast of the routing, over all or some neighbouring bins.

    Attributes
    ----------
    column : int
        Column of the feature it follows.
    where : str
        Words for the rows it covers.
    bins : range
        Bins it covers.
    signs : ndarray of shape (n_bins,) or None
        -1, 0 or +1 for each bin, if it turns along the confidence.
    """

    column: int
    where: str
    bins: range
    signs: FloatArray | None = None

    def words(self, component: str, feature: RoutingFeature) -> str:
        """Say which component leads, and where."""
        name = feature.contrast_name(self.column)
        if component == "part":
            return f"part: {name}"
        if component == "scan":
            return f"scan: {self.where}" + ("" if feature.is_ranked else f", {name}")
        return f"{component}: {name} {self.where}"

    def gap(self, feature: RoutingFeature, outcomes: BinnedOutcomes) -> Gaps:
        """Estimate its gap."""

        def values(b: int) -> tuple[FloatArray, FloatArray]:
            mean, variance = feature.contrast(self.column, outcomes.rows(b))
            sign = 1.0 if self.signs is None else self.signs[b]
            return sign * mean[:, None], abs(sign) * variance[:, None]

        scale = feature.contrast_scale(self.column)
        return matched_gaps(outcomes, values, scale=scale, bins=self.bins)


def leading_component(statistics: FloatArray, pvalues: FloatArray) -> str:
    """Return the component that leads; row 0 of both arrays belongs to the data."""
    tied = pvalues[0] == pvalues[0].min()
    excess = statistics[0] - np.quantile(statistics[1:], 0.95, axis=0)
    return COMPONENTS[int(np.argmax(np.where(tied, excess, -np.inf)))]


def leading_contrast(
    component: str,
    squares: Squares,
    turn_weights: FloatArray,
    feature: RoutingFeature,
    outcomes: BinnedOutcomes,
) -> Contrast:
    """Return the contrast with the largest standard score in a component.

    Parameters
    ----------
    component : {"linear", "low_order", "part", "scan"}
        Component that leads.
    squares : Squares
        Squared standard scores of the data (one draw).
    turn_weights : ndarray of shape (n_bins,)
        Weights of the contrast that turns along the confidence.
    feature : RoutingFeature
        The routing feature.
    outcomes : BinnedOutcomes
        Rows in order of confidence.
    """
    if component == "scan":
        return _strongest_window(squares, outcomes)
    everywhere = range(outcomes.n_bins)
    columns = {"linear": feature.trend, "low_order": feature.directions, "part": feature.parts}
    of_component = squares.total[0, columns[component]]
    turn = squares.turn[0]
    if component == "low_order" and turn.max() > of_component.max():
        above = outcomes.edges[int(np.argmax(turn_weights > 0))]
        where = f"turning near confidence {outcomes.confidence[above]:.2f}"
        return Contrast(int(np.argmax(turn)), where, everywhere, np.sign(turn_weights))
    column = columns[component].start + int(np.argmax(of_component))
    return Contrast(column, "over all confidences", everywhere)


def _strongest_window(squares: Squares, outcomes: BinnedOutcomes) -> Contrast:
    k = int(np.argmax(squares.penalised_windows()[0]))
    window = squares.windows[k][0]
    first, column = divmod(int(np.argmax(window)), window.shape[1])
    length = window_lengths(outcomes.n_bins)[k]
    low = outcomes.confidence[outcomes.edges[first]]
    high = outcomes.confidence[outcomes.edges[first + length] - 1]
    where = f"confidence {_range_words(low, high)}"
    return Contrast(column, where, range(first, first + length))


def _range_words(low: float, high: float) -> str:
    """Write "0.81 to 0.93", with as many decimals as keep the two apart."""
    if low == high:
        return f"{low:.4g}"
    decimals = next((d for d in range(2, 8) if f"{low:.{d}f}" != f"{high:.{d}f}"), 8)
    return f"{low:.{decimals}f} to {high:.{decimals}f}"
