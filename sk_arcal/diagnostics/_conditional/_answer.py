"""From checked data and routing to results: the steps of the test in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    check_events,
    check_groups,
    check_integer,
    check_number,
    check_option,
    check_probabilities,
)
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import COMPONENTS
from sk_arcal.diagnostics._conditional._draws import NULLS, FeatureDraws, draw_features
from sk_arcal.diagnostics._conditional._gap_summary import summarise_gap
from sk_arcal.diagnostics._conditional._leading import leading_component, leading_contrast
from sk_arcal.diagnostics._conditional._notes import (
    data_notes,
    feature_notes,
    refusal,
    too_few_outcomes,
)
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature, routing_feature
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._conditional._step_down import (
    rank_pvalues,
    smallest_pvalue_test,
    step_down,
)
from sk_arcal.diagnostics._result import ConditionalCalibrationResult

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_NOTHING = (np.nan, np.nan)


@dataclass(frozen=True)
class Settings:
    """Checked options of the test."""

    delta: float
    alpha: float
    n_resamples: int
    null: str

    @classmethod
    def checked(cls, delta: float, alpha: float, n_resamples: int, null: str) -> "Settings":
        """Refuse options that are out of range."""
        return cls(
            delta=check_number("delta", delta, low=0, high=1, strict=True),
            alpha=check_number("alpha", alpha, low=0, high=0.5, strict=True),
            n_resamples=check_integer("n_resamples", n_resamples, low=19),
            null=check_option("null", null, NULLS),
        )


@dataclass(frozen=True)
class Data:
    """Checked outcomes and confidences, rows as the user gave them."""

    events: FloatArray
    confidence: FloatArray
    groups: IntArray | None


def read_data(y_true: ArrayLike, y_prob: ArrayLike, groups: ArrayLike | None) -> Data:
    """Check outcomes, confidences and groups."""
    events = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(events))
    codes = None if groups is None else check_groups(groups, len(events))[1]
    return Data(events, confidence, codes)


def answer(
    data: Data, routing: Sequence[RoutingValues], settings: Settings, rng: np.random.Generator
) -> tuple[list[ConditionalCalibrationResult], FloatArray]:
    """Test all features on shared draws.

    Returns
    -------
    results : list of ConditionalCalibrationResult
        In the order of `routing`.
    adjusted : ndarray of shape (n_features,)
        Westfall-Young p-values; NaN where the question has no answer.
    """
    order_rng, null_rng, *tie_rngs = rng.spawn(2 + len(routing))
    outcomes = BinnedOutcomes.from_rows(data.events, data.confidence, data.groups, order_rng)
    spline = ConfidenceSpline(outcomes.rank)
    features = [
        routing_feature(values, outcomes.order, spline, tie_rng)
        for values, tie_rng in zip(routing, tie_rngs, strict=True)
    ]
    reasons = [refusal(outcomes, *pair) for pair in zip(routing, features, strict=True)]
    tested = [feature for feature, reason in zip(features, reasons, strict=True) if not reason]
    draws, null = draw_features(outcomes, tested, settings.null, settings.n_resamples, null_rng)
    pvalues = [rank_pvalues(of_feature.statistics) for of_feature in draws]
    overall = [smallest_pvalue_test(of_feature) for of_feature in pvalues]
    adjusted = np.full(len(routing), np.nan)
    if tested:
        adjusted[[not reason for reason in reasons]] = step_down(np.column_stack(overall))
    describe = _Describer(outcomes, settings, null)
    answers = iter(zip(draws, pvalues, overall, strict=True))
    results = [
        describe.refused(values, feature, reason)
        if reason
        else describe.answered(values, feature, *next(answers))
        for values, feature, reason in zip(routing, features, reasons, strict=True)
    ]
    return results, adjusted


@dataclass(frozen=True)
class _Describer:
    """Fills results with what all features of a table share."""

    outcomes: BinnedOutcomes
    settings: Settings
    null: str

    def answered(
        self,
        values: RoutingValues,
        feature: RoutingFeature,
        draws: FeatureDraws,
        component_pvalues: FloatArray,
        pvalues: FloatArray,
    ) -> ConditionalCalibrationResult:
        """Describe a feature whose question has an answer."""
        outcomes, alpha = self.outcomes, self.settings.alpha
        component = leading_component(draws.statistics, component_pvalues)
        contrast = leading_contrast(
            component, draws.observed, draws.turn_weights, feature, outcomes
        )
        leading = contrast.gap(feature, outcomes)
        widest = float(np.sqrt(np.quantile(draws.largest[1:], 1 - alpha, method="higher")))
        low, high = leading.interval(max(widest, leading.quantile(1 - alpha / 2)))
        part_draws = draws.statistics[1:, COMPONENTS.index("part")]
        summary = summarise_gap(feature, outcomes, part_draws, alpha)
        inner = summary.equivalence_interval
        within = -self.settings.delta < inner[0] and inner[1] < self.settings.delta
        return self._result(
            values,
            feature,
            statistic=float(component_pvalues[0].min()),
            pvalue=float(pvalues[0]),
            component_pvalues=dict(zip(COMPONENTS, component_pvalues[0].tolist(), strict=True)),
            leading=contrast.words(component, feature),
            leading_gap=float(leading.estimate[0]),
            leading_interval=(float(low[0]), float(high[0])),
            equivalent=within and not too_few_outcomes(outcomes),
            identifiable=True,
            notes=(*data_notes(outcomes), *feature_notes(values, feature)),
            **vars(summary),
        )

    def refused(
        self, values: RoutingValues, feature: RoutingFeature, reason: str
    ) -> ConditionalCalibrationResult:
        """Describe a feature whose question has no answer."""
        return self._result(
            values,
            feature,
            statistic=np.nan,
            pvalue=np.nan,
            component_pvalues=dict.fromkeys(COMPONENTS, np.nan),
            leading="none",
            leading_gap=np.nan,
            leading_interval=_NOTHING,
            gap=np.nan,
            gap_contrast="none",
            gap_interval=_NOTHING,
            gap_se=np.nan,
            min_detectable_gap=np.nan,
            equivalence_interval=_NOTHING,
            equivalent=False,
            identifiable=False,
            notes=(reason, *data_notes(self.outcomes)),
        )

    def _result(
        self, values: RoutingValues, feature: RoutingFeature, **found: Any
    ) -> ConditionalCalibrationResult:
        return ConditionalCalibrationResult(
            delta=self.settings.delta,
            alpha=self.settings.alpha,
            share_left_open=feature.share_left_open,
            n_samples=self.outcomes.n_samples,
            n_bins=self.outcomes.n_bins,
            n_groups=self.outcomes.n_groups,
            null=self.null,
            n_resamples=self.settings.n_resamples,
            **found,
        )
