"""The verdict over several runs of one network on one test set.

``signal``
    The runs together reject (exists), most of them do by themselves (stable), their gaps point
    one way (consistent), and in as many runs the effect survives every control.
``no signal``
    None larger than delta: neither the runs together nor any of them reject, and the 90 % interval
    of the mean gap lies inside (-delta, delta).
``cannot tell``
    Neither, or the question has no answer.

One run that rejects among several is what chance gives: it is no signal of the architecture.
"""

from collections.abc import Mapping

from sk_arcal.audit._verdict import CANNOT_TELL, NO_SIGNAL, SIGNAL
from sk_arcal.diagnostics import RunsFeatureResult


def decide_runs(
    result: RunsFeatureResult,
    run_verdicts: Mapping[str, str],
    *,
    min_runs: int,
    delta: float,
    alpha: float,
) -> tuple[str, str]:
    """Return the verdict over runs and one sentence that says why.

    Parameters
    ----------
    result : RunsFeatureResult
        The runs' test of one feature.
    run_verdicts : mapping of str to str
        Verdict of each run by itself.
    min_runs : int
        Runs that make a signal stable.
    delta : float
        Gap below which a difference is of no interest.
    alpha : float
        Level.
    """
    if not result.identifiable:
        return CANNOT_TELL, " ".join(result.notes) or "The question has no answer in any run."
    exists = result.exists_adjusted <= alpha
    if exists or result.any_run_adjusted <= alpha:
        missing = _missing(result, run_verdicts, exists, min_runs=min_runs, alpha=alpha)
        if missing:
            return CANNOT_TELL, f"{_found(result, exists)}, but {missing[0]}."
        return SIGNAL, (
            f"{_found(result, exists)}, at least {min_runs} of {len(run_verdicts)} do by "
            f"themselves (adjusted p = {result.stable_adjusted:.2g}), the gaps point one way, and "
            f"{_signals(run_verdicts)} of them survive every control."
        )
    if result.equivalent:
        low, high = result.equivalence_interval
        return NO_SIGNAL, (
            f"Neither all runs together (adjusted p = {result.exists_adjusted:.2g}) nor any one of "
            f"them rejects, and the 90 % interval of the mean gap, {low:+.1%} to {high:+.1%}, lies "
            f"inside ±{delta:.1%}."
        )
    return CANNOT_TELL, (
        f"The runs together do not reject (adjusted p = {result.exists_adjusted:.2g}), but a mean "
        f"gap of {delta:.1%} is not excluded; one of {result.min_detectable_gap:.1%} would have "
        "shown (80 % power)."
    )


def _found(result: RunsFeatureResult, exists: bool) -> str:
    if exists:
        return f"The runs together reject (adjusted p = {result.exists_adjusted:.2g})"
    return (
        f"Some run rejects (adjusted p = {result.any_run_adjusted:.2g}), though the runs together "
        f"do not (p = {result.exists_adjusted:.2g})"
    )


def _missing(
    result: RunsFeatureResult,
    run_verdicts: Mapping[str, str],
    exists: bool,
    *,
    min_runs: int,
    alpha: float,
) -> list[str]:
    """Say what a signal lacks, the gravest first."""
    of_runs = f"{min_runs} of {len(run_verdicts)} runs"
    objections = {
        "that is no effect of all": not exists,
        f"not in {of_runs} by themselves (adjusted p = {result.stable_adjusted:.2g})": (
            result.stable_adjusted > alpha
        ),
        "the gaps of the runs do not point one way": not result.consistent,
        f"the effect survives every control in {_signals(run_verdicts)} runs only": (
            _signals(run_verdicts) < min_runs
        ),
    }
    return [words for words, holds in objections.items() if holds]


def _signals(run_verdicts: Mapping[str, str]) -> int:
    return sum(verdict == SIGNAL for verdict in run_verdicts.values())
