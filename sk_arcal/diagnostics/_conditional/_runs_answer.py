"""From checked runs to what they say together, feature by feature."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import COMPONENTS
from sk_arcal.diagnostics._conditional._notes import data_notes, refusal, too_few_outcomes
from sk_arcal.diagnostics._conditional._pooled_gap import PooledGap, pooled_gap
from sk_arcal.diagnostics._conditional._pooled_runs import (
    PooledFeature,
    SharedSigns,
    common_bins,
    pooled_statistics,
)
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature, routing_feature
from sk_arcal.diagnostics._conditional._runs_input import RunRows, Runs
from sk_arcal.diagnostics._conditional._step_down import (
    combined_pvalues,
    rank_pvalues,
    step_down,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PreparedRun:
    """Binned rows of one run, and its features with the reason why one has no answer, or ""."""

    outcomes: BinnedOutcomes
    features: list[RoutingFeature]
    reasons: list[str]


@dataclass(frozen=True)
class PooledAnswer:
    """What all runs that can answer say of one feature.

    Attributes
    ----------
    component_pvalues : ndarray of shape (4,)
        Of the data, in the order of `COMPONENTS`.
    pvalues : ndarray of shape (1 + n_resamples,)
        Row 0 belongs to the data.
    gap : PooledGap
        Mean gap, and that of each run.
    """

    component_pvalues: FloatArray
    pvalues: FloatArray
    gap: PooledGap


@dataclass(frozen=True)
class Pooled:
    """All features, pooled.

    Attributes
    ----------
    answers : list of PooledAnswer or None
        None where no run has an answer.
    adjusted : ndarray of shape (n_features,)
        Westfall-Young p-values; NaN where no run has an answer.
    reasons : list of list of str
        By feature and run: why it has no answer, or "".
    n_bins : int
        Number of common bins.
    notes : list of str
        What holds for all features.
    few_outcomes : bool
        Whether in some run events or non-events are too few for a normal interval.
    """

    answers: list[PooledAnswer | None]
    adjusted: FloatArray
    reasons: list[list[str]]
    n_bins: int
    notes: list[str]
    few_outcomes: bool


def pool_runs(
    runs: Runs, alpha: float, n_resamples: int, rng: np.random.Generator, n_jobs: int | None
) -> Pooled:
    """Test every feature in all runs together, on one set of signs."""
    order_rng, sign_rng, *tie_rngs = rng.spawn(2 + len(runs.routing))
    prepared = Parallel(n_jobs=n_jobs)(
        delayed(_prepared)(runs.rows(s), runs.items, order_rng, tie_rngs)
        for s in range(len(runs.names))
    )
    n_bins, bins = common_bins([run.outcomes for run in prepared])
    features = [_pooled(prepared, f, bins, n_bins) for f in range(len(tie_rngs))]
    asked = [feature for feature in features if feature is not None]
    widest = max((feature.layout.n_columns for feature in asked), default=0)
    signs = SharedSigns(runs.n_groups, n_resamples, n_bins * widest, sign_rng)
    found = iter(
        Parallel(n_jobs=n_jobs)(delayed(_answer)(feature, signs, alpha) for feature in asked)
    )
    answers = [None if feature is None else next(found) for feature in features]
    return Pooled(
        answers=answers,
        adjusted=_adjusted(answers),
        reasons=[[run.reasons[f] for run in prepared] for f in range(len(features))],
        n_bins=n_bins,
        notes=_notes(runs.names, prepared),
        few_outcomes=any(too_few_outcomes(run.outcomes) for run in prepared),
    )


def _prepared(
    run: RunRows,
    items: NDArray[np.intp],
    order_rng: np.random.Generator,
    tie_rngs: Sequence[np.random.Generator],
) -> PreparedRun:
    """Bin one run and turn its routing into columns; ties fall alike in equal runs."""
    outcomes = BinnedOutcomes.from_rows(run.events, run.confidence, items, deepcopy(order_rng))
    spline = ConfidenceSpline(outcomes.rank)
    features = [
        routing_feature(values, outcomes.order, spline, deepcopy(rng))
        for values, rng in zip(run.routing, tie_rngs, strict=True)
    ]
    reasons = [refusal(outcomes, *pair) for pair in zip(run.routing, features, strict=True)]
    return PreparedRun(outcomes, features, reasons)


def _pooled(
    prepared: Sequence[PreparedRun], f: int, bins: Sequence[NDArray[np.intp]], n_bins: int
) -> PooledFeature | None:
    """Put feature `f` of the runs that can answer side by side."""
    asked = [s for s, run in enumerate(prepared) if not run.reasons[f]]
    if not asked:
        return None
    return PooledFeature(
        outcomes=[prepared[s].outcomes for s in asked],
        features=[prepared[s].features[f] for s in asked],
        bins=[bins[s] for s in asked],
        n_bins=n_bins,
    )


def _answer(pooled: PooledFeature, signs: SharedSigns, alpha: float) -> PooledAnswer:
    statistics = pooled_statistics(pooled, signs)
    of_components = rank_pvalues(statistics)
    part_draws = statistics[1:, COMPONENTS.index("part")]
    return PooledAnswer(
        component_pvalues=of_components[0],
        pvalues=combined_pvalues(of_components, pooled.layout.component_weights),
        gap=pooled_gap(pooled, part_draws, alpha),
    )


def _adjusted(answers: Sequence[PooledAnswer | None]) -> FloatArray:
    adjusted = np.full(len(answers), np.nan)
    given = [answer.pvalues for answer in answers if answer is not None]
    if given:
        adjusted[[answer is not None for answer in answers]] = step_down(np.column_stack(given))
    return adjusted


def _notes(names: Sequence[str], prepared: Sequence[PreparedRun]) -> list[str]:
    """Collect the notes on the data of each run, naming runs where not all have one."""
    runs_of_note: dict[str, list[str]] = {}
    for name, run in zip(names, prepared, strict=True):
        for note in data_notes(run.outcomes):
            runs_of_note.setdefault(note, []).append(name)
    return [
        note if len(runs) == len(names) else f"{', '.join(runs)}: {note}"
        for note, runs in runs_of_note.items()
    ]
