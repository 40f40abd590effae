"""Features over several runs: shared names, joint tests, verdicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._results import RoutingAudit
from sk_arcal.audit._runs_records import RunsFeatureAudit
from sk_arcal.audit._runs_verdict import decide_runs
from sk_arcal.diagnostics import ConditionalCalibrationRuns, conditional_calibration_runs


def families_over_runs(
    runs: Mapping[str, RoutingAudit],
    *,
    items: NDArray[Any] | None,
    min_runs: int,
    rng: np.random.Generator,
    n_jobs: int | None,
    **options: Any,
) -> dict[str, ConditionalCalibrationRuns]:
    """Test every family of features, "routing" and "control", over all runs.

    Parameters
    ----------
    runs : mapping of str to RoutingAudit
        The audits of the runs.
    items : ndarray of shape (n_items,) or None
        Group of every item.
    min_runs : int
        Runs that make a signal stable.
    rng : Generator
        Source of the draws.
    n_jobs : int or None
        joblib jobs.
    **options : dict
        `delta`, `alpha` and `n_resamples`.
    """
    return {
        role: conditional_calibration_runs(
            [run.event for run in runs.values()],
            [run.confidence for run in runs.values()],
            [{name: run.routing[name] for name in names} for run in runs.values()],
            items=items,
            run_names=list(runs),
            min_runs=min_runs,
            random_state=rng.spawn(1)[0],
            n_jobs=n_jobs,
            **options,
        )
        for role, names in _shared_features(runs).items()
    }


def _shared_features(runs: Mapping[str, RoutingAudit]) -> dict[str, list[str]]:
    """Return the names that every run has with the same role, by role."""
    roles = [{name: f.role for name, f in run.features.items()} for run in runs.values()]
    shared = [
        (name, role) for name, role in roles[0].items() if all(r.get(name) == role for r in roles)
    ]
    by_role = {
        role: [name for name, its in shared if its == role] for role in ("routing", "control")
    }
    found = {role: names for role, names in by_role.items() if names}
    if not found:
        raise ValueError(
            "The runs share no feature; routing features are matched by name. The first run has "
            f"{list(roles[0]) or 'none'}, the second {list(roles[1]) or 'none'}."
        )
    return found


def features_over_runs(
    runs: Mapping[str, RoutingAudit],
    tests: Mapping[str, ConditionalCalibrationRuns],
    *,
    delta: float,
    alpha: float,
) -> dict[str, RunsFeatureAudit]:
    """Return the verdict over runs of every feature that all runs have."""
    found = {}
    for role, test in tests.items():
        for name, result in test.results.items():
            audits = {run: audit.features[name] for run, audit in runs.items()}
            verdicts = {run: audit.verdict for run, audit in audits.items()}
            verdict, reason = decide_runs(
                result, verdicts, min_runs=test.min_runs, delta=delta, alpha=alpha
            )
            asked = [control for audit in audits.values() for control in audit.controls]
            controls = {
                control: _counts([c.survived for c in asked if c.name == control])
                for control in dict.fromkeys(c.name for c in asked)
            }
            found[name] = RunsFeatureAudit(name, role, verdict, reason, result, verdicts, controls)
    return found


def _counts(survived: list[bool | None]) -> tuple[int, int]:
    asked = [outcome for outcome in survived if outcome is not None]
    return sum(asked), len(asked)


def remarks(
    runs: Mapping[str, RoutingAudit], tests: Mapping[str, ConditionalCalibrationRuns]
) -> list[str]:
    """Return the remarks of the runs, and features that some run lacks."""
    shared = {name for test in tests.values() for name in test.results}
    lonely = {
        name: run for run, audit in runs.items() for name in audit.features if name not in shared
    }
    found = [f"{name} is not in every run, so it is audited where it is only." for name in lonely]
    for test in tests.values():
        found += [note for note in test.notes if note not in found]
    for run, audit in runs.items():
        found += [f"{run}: {check}" for check in audit.checks]
    return found
