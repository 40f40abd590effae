"""What is reported of each feature: p-values of three questions, mean gap and gap of each run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._combination import (
    cauchy_combination,
    holm,
    partial_conjunction,
)
from sk_arcal.diagnostics._conditional._components import COMPONENTS
from sk_arcal.diagnostics._conditional._pooled_gap import PooledGap
from sk_arcal.diagnostics._conditional._runs_answer import Pooled, PooledAnswer
from sk_arcal.diagnostics._conditional._runs_input import Runs
from sk_arcal.diagnostics._result import ConditionalCalibrationTests
from sk_arcal.diagnostics._runs_result import RunsFeatureResult

FloatArray = NDArray[np.float64]

_ADJUSTED = ("exists_adjusted", "any_run_adjusted", "stable_adjusted")
_NOTHING = (np.nan, np.nan)
_NO_ANSWER = {
    "exists": np.nan,
    "component_pvalues": dict.fromkeys(COMPONENTS, np.nan),
    "gap": np.nan,
    "gap_contrast": "none",
    "gap_interval": _NOTHING,
    "gap_se": np.nan,
    "min_detectable_gap": np.nan,
    "equivalence_interval": _NOTHING,
    "equivalent": False,
    "sign_agreement": np.nan,
    "consistent": False,
    "identifiable": False,
}


def summarise_runs(
    runs: Runs,
    tests: Sequence[ConditionalCalibrationTests],
    pooled: Pooled,
    min_runs: int,
    delta: float,
) -> dict[str, RunsFeatureResult]:
    """Return the result of every feature.

    Parameters
    ----------
    runs : Runs
        Checked runs.
    tests : sequence of ConditionalCalibrationTests
        Each run by itself.
    pooled : Pooled
        All runs together.
    min_runs : int
        Runs that must have a signal for it to be stable.
    delta : float
        Largest gap that counts as none.
    """
    pvalues = {
        name: np.array([test.results[name].pvalue for test in tests]) for name in runs.routing
    }
    any_run = [cauchy_combination(of_runs[~np.isnan(of_runs)]) for of_runs in pvalues.values()]
    stable = [_stable(of_runs, min_runs) for of_runs in pvalues.values()]
    adjusted = np.column_stack([pooled.adjusted, holm(any_run), holm(stable)]).tolist()
    results = {}
    for f, (name, of_features) in enumerate(zip(runs.routing, adjusted, strict=True)):
        answer = pooled.answers[f]
        results[name] = RunsFeatureResult(
            any_run=any_run[f],
            stable=stable[f],
            **dict(zip(_ADJUSTED, of_features, strict=True)),
            run_pvalues=dict(zip(runs.names, pvalues[name].tolist(), strict=True)),
            notes=tuple(_feature_notes(runs, name, pooled.reasons[f])),
            **_of_pool(answer, runs.names, pooled.reasons[f], delta, pooled.few_outcomes),
        )
    return results


def _stable(pvalues: FloatArray, min_runs: int) -> float:
    if np.isnan(pvalues).all():
        return np.nan
    return partial_conjunction(np.where(np.isnan(pvalues), 1, pvalues), min_runs)


def _of_pool(
    answer: PooledAnswer | None,
    names: Sequence[str],
    reasons: Sequence[str],
    delta: float,
    few_outcomes: bool,
) -> dict[str, Any]:
    """Return the fields that the pooled runs fill."""
    run_gaps, run_intervals = dict.fromkeys(names, np.nan), dict.fromkeys(names, _NOTHING)
    if answer is None:
        return _NO_ANSWER | {"run_gaps": run_gaps, "run_gap_intervals": run_intervals}
    gap = answer.gap
    asked = [name for name, reason in zip(names, reasons, strict=True) if not reason]
    intervals = zip(gap.run_low.tolist(), gap.run_high.tolist(), strict=True)
    agreement, consistent = sign_agreement(gap)
    inner = gap.summary.equivalence_interval
    return {
        "exists": float(answer.pvalues[0]),
        "component_pvalues": dict(zip(COMPONENTS, answer.component_pvalues.tolist(), strict=True)),
        "run_gaps": run_gaps | dict(zip(asked, gap.run_gap.tolist(), strict=True)),
        "run_gap_intervals": run_intervals | dict(zip(asked, intervals, strict=True)),
        "sign_agreement": agreement,
        "consistent": consistent,
        "equivalent": -delta < inner[0] and inner[1] < delta and not few_outcomes,
        "identifiable": True,
        **vars(gap.summary),
    }


def sign_agreement(gap: PooledGap) -> tuple[float, bool]:
    """Return the share of runs with the sign of the mean gap, and whether runs are consistent.

    They are if the share is above one half and no run's interval lies wholly on the other side
    of zero. Runs without a gap are not counted.
    """
    sign = np.sign(gap.summary.gap)
    known = ~np.isnan(gap.run_gap)
    if not known.any() or sign == 0:
        return (np.nan if not known.any() else 0.0), False
    share = float(np.mean(sign * gap.run_gap[known] > 0))
    towards = gap.run_high if sign > 0 else -gap.run_low
    return share, bool(share > 0.5 and (towards[known] >= 0).all())


def _feature_notes(runs: Runs, name: str, reasons: Sequence[str]) -> list[str]:
    notes = [
        f"{run} is left out: {reason}"
        for run, reason in zip(runs.names, reasons, strict=True)
        if reason
    ]
    if len(set(reasons)) == 1 and reasons[0]:
        notes = [f"All runs: {reasons[0]}"]
    values = runs.routing[name][0]
    if values.kind == "nominal" and len(runs.names) > 1:
        notes.append(
            "Levels are matched over runs by name. If the same name stands for another expert in "
            "each run, name them by run as well; otherwise their effects cancel in `exists`."
        )
    return notes
