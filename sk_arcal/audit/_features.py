"""Audit of the features one by one, after one joint test per family of features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from sk_arcal._numeric import predictive_entropy, top_two_margin
from sk_arcal._validation import FloatArray
from sk_arcal.audit._controls import run_controls
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._records import FeatureAudit
from sk_arcal.audit._verdict import decide
from sk_arcal.diagnostics import (
    ConditionalCalibrationResult,
    MatchedProbes,
    conditional_calibration_tests,
    grouping_loss,
    matched_confidence_gaps,
    matched_probes,
    routing_probe,
    worst_tertile_error,
)

_MAX_LEVELS = 12
_ROWS_PER_BIN = 30
# Of the table of probes, where each feature has a line; its own control has `n_shuffles`.
_TABLE_SHUFFLES, _TABLE_RESAMPLES = 1, 50
_OTHER_PROBES = (
    *("raw", "temperature", "Platt", "isotonic", "histogram"),
    *("confidence only", "pure noise", "pure noise, shuffled"),
)


@dataclass(frozen=True)
class Evaluated:
    """The evaluated rows.

    Attributes
    ----------
    event, confidence : ndarray of shape (n_evaluated,)
        Outcome and raw confidence.
    groups : ndarray of shape (n_evaluated,) or None
        Dependent rows share a value.
    routing, controls : dict of str to ndarray of shape (n_evaluated,)
        Features of the two families.
    """

    event: FloatArray
    confidence: FloatArray
    groups: NDArray[Any] | None
    routing: Mapping[str, NDArray[Any]]
    controls: Mapping[str, FloatArray]

    @classmethod
    def of(cls, table: PredictionTable) -> "Evaluated":
        """Return the rows of `table` that its split marks for evaluation, or all."""
        rows = np.ones(len(table.event), bool) if table.evaluate is None else table.evaluate
        controls = {}
        # With two classes both are functions of the confidence, and nothing could be asked.
        if table.logits is not None and table.logits.shape[1] > 2:
            logits = np.asarray(table.logits[rows], dtype=np.float64)
            controls = {
                _free_name("predictive entropy", table.routing): predictive_entropy(logits),
                _free_name("margin", table.routing): top_two_margin(logits),
            }
        return cls(
            table.event[rows],
            table.confidence[rows],
            None if table.groups is None else table.groups[rows],
            {name: values[rows] for name, values in table.routing.items()},
            controls,
        )


@dataclass(frozen=True)
class Plan:
    """Settings of the feature audits; see :func:`routing_audit`."""

    delta: float
    alpha: float
    n_resamples: int
    n_shuffles: int
    controls: str
    n_jobs: int | None


def audit_features(
    rows: Evaluated, plan: Plan, rng: np.random.Generator, progress: Callable[[str], None]
) -> dict[str, FeatureAudit]:
    """Return the audit of every feature, routing first, then the controls.

    Parameters
    ----------
    rows : Evaluated
        The data.
    plan : Plan
        The settings.
    rng : Generator
        Source of all draws.
    progress : callable
        Told the name of each feature when it is done.

    Returns
    -------
    features : dict of str to FeatureAudit
        p-values are adjusted within each family.
    """
    audited = {}
    for role, family in (("routing", rows.routing), ("control", rows.controls)):
        if not family:
            continue
        tests = conditional_calibration_tests(
            rows.event,
            rows.confidence,
            dict(family),
            groups=rows.groups,
            delta=plan.delta,
            alpha=plan.alpha,
            n_resamples=plan.n_resamples,
            random_state=rng,
        )
        # Where there is one feature only, its own loops are what can be shared out.
        inner = replace(plan, n_jobs=plan.n_jobs if len(family) == 1 else None)
        found = Parallel(n_jobs=plan.n_jobs, return_as="generator")(
            delayed(_audit_one)(
                rows, name, role, tests.results[name], tests.pvalue_adjusted[name], inner, child
            )
            for name, child in zip(family, rng.spawn(len(family)), strict=True)
        )
        for feature in found:
            audited[feature.name] = feature
            progress(feature.name)
    return audited


def compare_probes(
    rows: Evaluated, plan: Plan, rng: np.random.Generator, progress: Callable[[str], None]
) -> MatchedProbes | None:
    """Return the matched probes of all features on shared folds; None if there is no feature.

    Parameters
    ----------
    rows : Evaluated
        The data.
    plan : Plan
        The settings.
    rng : Generator
        Source of folds and shuffles.
    progress : callable
        Told when it is done.
    """
    features = {**rows.routing, **rows.controls}
    if not features:
        return None
    probes = matched_probes(
        rows.event,
        rows.confidence,
        dict(zip(probe_names(list(features)), features.values(), strict=True)),
        groups=rows.groups,
        n_shuffles=_TABLE_SHUFFLES,
        n_resamples=_TABLE_RESAMPLES,
        random_state=rng,
        n_jobs=plan.n_jobs,
    )
    progress("matched probes")
    return probes


def probe_names(names: Sequence[str]) -> list[str]:
    """Return names that no other probe has; a column may be called "raw", or as another's twin."""
    taken = {*_OTHER_PROBES, *(f"{name}, shuffled" for name in names)}
    found: list[str] = []
    for name in names:
        free = name
        while free in taken:
            free = f"{free} (feature)"
        taken.add(free)
        found.append(free)
    return found


def _audit_one(
    rows: Evaluated,
    name: str,
    role: str,
    test: ConditionalCalibrationResult,
    adjusted: float,
    plan: Plan,
    rng: np.random.Generator,
) -> FeatureAudit:
    values = (rows.routing if role == "routing" else rows.controls)[name]
    strata = as_strata(values)
    data = (rows.event, rows.confidence)
    # Quantile bins: the last of fifteen equal-width ones would hold half of all rows.
    matched = matched_confidence_gaps(
        *data,
        strata,
        n_bins=int(np.clip(len(strata) // _ROWS_PER_BIN, 1, 15)),
        strategy="quantile",
        n_resamples=min(plan.n_resamples, 199),
        random_state=rng,
    )
    probe = routing_probe(
        *data,
        values,
        groups=rows.groups,
        n_shuffles=plan.n_shuffles,
        random_state=rng,
        n_jobs=plan.n_jobs,
    )
    control_rng, loss_rng = rng.spawn(2)
    controls = run_controls(
        *data,
        values,
        rows.groups,
        test,
        adjusted,
        probe,
        alpha=plan.alpha,
        extent=plan.controls,
        rng=control_rng,
        n_jobs=plan.n_jobs,
    )
    verdict, reason = decide(test, adjusted, controls.found)
    low, high = test.gap_interval
    return FeatureAudit(
        name=name,
        role=role,
        verdict=verdict,
        reason=reason,
        pvalue=test.pvalue,
        pvalue_adjusted=adjusted,
        gap=test.gap,
        gap_low=low,
        gap_high=high,
        min_detectable_gap=test.min_detectable_gap,
        delta=test.delta,
        excess_gap=matched.excess_weighted_gap,
        test=test,
        matched=matched,
        worst_tertile=worst_tertile_error(*data, strata, random_state=rng),
        probe=probe,
        grouping_loss=grouping_loss(*data, values, groups=rows.groups, random_state=loss_rng),
        controls=controls.found,
        bandwidth=controls.bandwidth,
        capacity=controls.capacity,
    )


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    return f"{name} (built in)" if name in taken else name


def as_strata(values: NDArray[Any]) -> FloatArray:
    """Return numbers that rank the rows; the levels of a text feature in alphabetical order."""
    if values.dtype.kind in "OUS":
        return np.unique(values.astype(str), return_inverse=True)[1].astype(np.float64)
    return values.astype(np.float64)


def numeric_columns(table: PredictionTable) -> tuple[FloatArray, list[str]]:
    """Return routing as numeric columns, and the names of text features with too many levels.

    A text feature of up to twelve levels becomes one indicator a level.
    """
    columns, left_out = [np.empty((len(table.event), 0))], []
    for name, values in table.routing.items():
        if values.dtype.kind not in "OUS":
            columns.append(values.astype(np.float64)[:, None])
            continue
        levels = np.unique(values.astype(str))
        if len(levels) > _MAX_LEVELS:
            left_out.append(name)
        else:
            columns.append((values.astype(str)[:, None] == levels).astype(np.float64))
    return np.column_stack(columns), left_out
