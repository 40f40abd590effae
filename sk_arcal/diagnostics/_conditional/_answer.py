"""From checked data and routing to results: the steps of the test in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
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
from sk_arcal.diagnostics._conditional._bound import shape_free_bound
from sk_arcal.diagnostics._conditional._components import COMPONENTS
from sk_arcal.diagnostics._conditional._draws import NULLS
from sk_arcal.diagnostics._conditional._evidence import Evidence, Judgement, judge
from sk_arcal.diagnostics._conditional._gap_summary import GapSummary
from sk_arcal.diagnostics._conditional._methods._by_name import DEFAULT, check_method
from sk_arcal.diagnostics._conditional._methods._finding import Table
from sk_arcal.diagnostics._conditional._notes import (
    data_notes,
    feature_notes,
    refusal,
    too_few_outcomes,
)
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature, routing_feature
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
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
    method: str = DEFAULT

    @classmethod
    def checked(
        cls,
        delta: float,
        alpha: float,
        n_resamples: int,
        null: str,
        *,
        method: str = DEFAULT,
        has_groups: bool = False,
    ) -> "Settings":
        """Refuse options that are out of range."""
        return cls(
            delta=check_number("delta", delta, low=0, high=1, strict=True),
            alpha=check_number("alpha", alpha, low=0, high=0.5, strict=True),
            n_resamples=check_integer("n_resamples", n_resamples, low=19),
            null=check_option("null", null, NULLS),
            method=check_method(method, has_groups=has_groups),
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
    """Test all features of a table.

    Returns
    -------
    results : list of ConditionalCalibrationResult
        In the order of `routing`.
    adjusted : ndarray of shape (n_features,)
        p-values adjusted for the number of features; NaN where the question has no answer.
    """
    order_rng, null_rng, *tie_rngs = rng.spawn(2 + len(routing))
    outcomes = BinnedOutcomes.from_rows(data.events, data.confidence, data.groups, order_rng)
    spline = ConfidenceSpline(outcomes.rank)
    features = [
        routing_feature(values, outcomes.order, spline, tie_rng)
        for values, tie_rng in zip(routing, tie_rngs, strict=True)
    ]
    reasons = [refusal(outcomes, *pair) for pair in zip(routing, features, strict=True)]
    has_answer = np.array([not reason for reason in reasons])
    table = Table(
        outcomes,
        spline,
        list(compress(routing, has_answer)),
        list(compress(features, has_answer)),
        settings.alpha,
        settings.n_resamples,
        rng.spawn(1)[0],
    )
    judgement = judge(table, settings.method, settings.null, null_rng)
    adjusted = np.full(len(routing), np.nan)
    adjusted[has_answer] = judgement.adjusted
    describe = _Describer(outcomes, spline, settings, judgement)
    found = zip(judgement.evidence, judgement.summaries, strict=True)
    results = [
        describe.refused(feature, reason)
        if reason
        else describe.answered(values, feature, *next(found))
        for values, feature, reason in zip(routing, features, reasons, strict=True)
    ]
    return results, adjusted


@dataclass(frozen=True)
class _Describer:
    """Fills results with what all features of a table share."""

    outcomes: BinnedOutcomes
    spline: ConfidenceSpline
    settings: Settings
    judgement: Judgement

    def answered(
        self,
        values: RoutingValues,
        feature: RoutingFeature,
        evidence: Evidence,
        summary: GapSummary,
    ) -> ConditionalCalibrationResult:
        """Describe a feature whose question has an answer."""
        outcomes, delta = self.outcomes, self.settings.delta
        inner = summary.equivalence_interval
        bound = shape_free_bound(feature, outcomes, self.spline, self.settings.alpha)
        enough = not too_few_outcomes(outcomes)
        return self._result(
            feature,
            equivalent=-delta < inner[0] and inner[1] < delta and enough,
            equivalent_any_shape=bound.rms_gap_bound < delta and enough,
            identifiable=True,
            notes=(*data_notes(outcomes), *feature_notes(values, feature)),
            **vars(evidence),
            **vars(summary),
            **vars(bound),
        )

    def refused(self, feature: RoutingFeature, reason: str) -> ConditionalCalibrationResult:
        """Describe a feature whose question has no answer."""
        method = self.settings.method
        return self._result(
            feature,
            gap=np.nan,
            gap_contrast="none",
            gap_interval=_NOTHING,
            gap_se=np.nan,
            min_detectable_gap=np.nan,
            equivalence_interval=_NOTHING,
            equivalent=False,
            identifiable=False,
            notes=(reason, *data_notes(self.outcomes)),
            **vars(Evidence.none(COMPONENTS if method == DEFAULT else (method,))),
        )

    def _result(self, feature: RoutingFeature, **found: Any) -> ConditionalCalibrationResult:
        return ConditionalCalibrationResult(
            method=self.settings.method,
            delta=self.settings.delta,
            alpha=self.settings.alpha,
            share_left_open=feature.share_left_open,
            n_samples=self.outcomes.n_samples,
            n_bins=self.outcomes.n_bins,
            n_groups=self.outcomes.n_groups,
            null=self.judgement.null,
            n_resamples=self.judgement.n_resamples,
            **found,
        )
