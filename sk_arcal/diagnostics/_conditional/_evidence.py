"""What the test says of each feature: by the default's four components, or by another method."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import COMPONENTS
from sk_arcal.diagnostics._conditional._draws import FeatureDraws, draw_features
from sk_arcal.diagnostics._conditional._gap_summary import GapSummary, summarise_gap
from sk_arcal.diagnostics._conditional._leading import leading_component, leading_contrast
from sk_arcal.diagnostics._conditional._methods._by_name import DEFAULT, METHODS, method_law
from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table, adjusted_pvalues
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature
from sk_arcal.diagnostics._conditional._step_down import (
    combined_pvalues,
    combined_scores,
    rank_pvalues,
    step_down,
)
from sk_arcal.diagnostics._conditional_cells import ConditionalCells

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Names as in ConditionalCalibrationResult."""

    statistic: float
    pvalue: float
    component_pvalues: dict[str, float]
    leading: str
    leading_gap: float
    leading_interval: tuple[float, float]
    component_statistics: dict[str, float] = field(default_factory=dict)
    null_statistics: dict[str, FloatArray] = field(default_factory=dict)
    cells: ConditionalCells | None = None

    @classmethod
    def none(cls, names: tuple[str, ...]) -> "Evidence":
        """Of a question without an answer."""
        nothing = dict.fromkeys(names, np.nan)
        return cls(np.nan, np.nan, nothing, "none", np.nan, (np.nan, np.nan))


@dataclass(frozen=True)
class Ranked:
    """Draws of one feature as p-values: of each component, and of their combined score."""

    draws: FeatureDraws
    components: FloatArray
    overall: FloatArray

    @classmethod
    def of(cls, feature: RoutingFeature, draws: FeatureDraws) -> "Ranked":
        """Rank the statistics of data and draws."""
        components = rank_pvalues(draws.statistics)
        return cls(draws, components, combined_pvalues(components, feature.component_weights))


@dataclass(frozen=True)
class Judgement:
    """What a method says of all features of a table, and how it came to it.

    Attributes
    ----------
    evidence : list of Evidence
        In the order of the features.
    summaries : list of GapSummary
        Overall gaps, whatever the method.
    adjusted : ndarray of shape (n_features,)
        p-values adjusted for the number of features.
    null : str
        How p-values came about.
    n_resamples : int
        Draws behind them.
    """

    evidence: list[Evidence]
    summaries: list[GapSummary]
    adjusted: FloatArray
    null: str
    n_resamples: int


def judge(table: Table, method: str, null: str, null_rng: np.random.Generator) -> Judgement:
    """Test all features of a table by the default or by another method."""
    outcomes, features, alpha = table.outcomes, table.features, table.alpha
    # Intervals of levels are simultaneous, and take their width from the draws of the default.
    drawn = features if method == DEFAULT or not all(f.is_ranked for f in features) else []
    draws, law = draw_features(outcomes, drawn, null, table.n_resamples, null_rng)
    parts = [one.statistics[1:, COMPONENTS.index("part")] for one in draws]
    summaries = [
        summarise_gap(feature, outcomes, part, alpha)
        for feature, part in zip(features, parts or [np.empty(0)] * len(features), strict=True)
    ]
    if method == DEFAULT:
        ranked = [Ranked.of(*pair) for pair in zip(features, draws, strict=True)]
        evidence = [
            default_evidence(one, feature, outcomes, alpha)
            for one, feature in zip(ranked, features, strict=True)
        ]
        adjusted = step_down(np.array([one.overall for one in ranked]).T) if ranked else np.empty(0)
        return Judgement(evidence, summaries, adjusted, law, table.n_resamples)
    findings = METHODS[method](table) if features else []
    pairs = zip(findings, summaries, strict=True)
    evidence = [method_evidence(method, *pair) for pair in pairs]
    law, n_draws = method_law(method, table)
    return Judgement(evidence, summaries, adjusted_pvalues(findings), law, n_draws)


def default_evidence(
    ranked: Ranked, feature: RoutingFeature, outcomes: BinnedOutcomes, alpha: float
) -> Evidence:
    """Describe what the four components say."""
    draws, pvalues = ranked.draws, ranked.components[0]
    component = leading_component(draws.statistics, ranked.components)
    contrast = leading_contrast(component, draws.observed, draws.turn_weights, feature, outcomes)
    gaps = contrast.gap(feature, outcomes)
    widest = float(np.sqrt(np.quantile(draws.largest[1:], 1 - alpha, method="higher")))
    low, high = gaps.interval(max(widest, gaps.quantile(1 - alpha / 2)))
    return Evidence(
        statistic=float(combined_scores(ranked.components[:1], feature.component_weights)[0]),
        pvalue=float(ranked.overall[0]),
        component_pvalues=dict(zip(COMPONENTS, pvalues.tolist(), strict=True)),
        leading=contrast.words(component, feature),
        leading_gap=float(gaps.estimate[0]),
        leading_interval=(float(low[0]), float(high[0])),
        component_statistics=dict(zip(COMPONENTS, draws.statistics[0].tolist(), strict=True)),
        null_statistics=dict(zip(COMPONENTS, draws.statistics[1:].T, strict=True)),
    )


def method_evidence(method: str, finding: Finding, summary: GapSummary) -> Evidence:
    """Describe what another method says; it speaks of the overall gap unless it has its own."""
    return Evidence(
        statistic=finding.statistic,
        pvalue=finding.pvalue,
        component_pvalues={method: finding.pvalue},
        leading=finding.leading,
        leading_gap=summary.gap if finding.gap is None else finding.gap,
        leading_interval=summary.gap_interval if finding.interval is None else finding.interval,
        component_statistics={method: finding.statistic},
        null_statistics={method: finding.draws} if len(finding.draws) else {},
        cells=finding.cells,
    )
