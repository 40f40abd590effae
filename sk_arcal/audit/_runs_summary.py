"""The audit of several runs in plain text, verdicts first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sk_arcal.audit._text import bullet, wrap

if TYPE_CHECKING:
    from sk_arcal.audit._runs_records import RunsAudit, RunsFeatureAudit

# Longest name of a run that leaves room for the other columns.
_LONGEST = 36


def summarise_runs(audit: RunsAudit) -> str:
    """Return the whole summary, at most 100 characters a line."""
    blocks = [_headline(audit)]
    if audit.features:
        width = max(len(name) for name in audit.features)
        lines = ["Does it say more than the confidence?"]
        for feature in audit.features.values():
            lines += _verdict(feature, width, audit.min_runs)
        blocks.append("\n".join(lines))
    blocks.append(_calibration(audit))
    if audit.checks:
        blocks.append("Data checks\n" + "\n".join(bullet(check) for check in audit.checks))
    return "\n\n".join(blocks)


def _headline(audit: RunsAudit) -> str:
    names = ", ".join(audit.runs)
    sentence = f"{len(audit.runs)} runs ({names}) on the same {audit.n_items:,} items."
    stream = next(iter(audit.runs.values())).stream
    if stream is not None:
        sentence += (
            f" They are the same uniform sample of {stream.n_sampled:,} of {stream.n_used:,} rows "
            "in each; figures of all rows stand in the audit of each run."
        )
    return wrap(sentence)


def _verdict(feature: RunsFeatureAudit, width: int, min_runs: int) -> list[str]:
    what, result = feature.verdict, feature.result
    role = " (control)" if feature.role == "control" else ""
    low, high = result.gap_interval
    numbers = (
        f"adjusted p: exists {result.exists_adjusted:.3g}, in any run "
        f"{result.any_run_adjusted:.3g}, in at least {min_runs} {result.stable_adjusted:.3g}; mean "
        f"gap {result.gap:+.1%} [{low:+.1%}, {high:+.1%}], smallest visible "
        f"{result.min_detectable_gap:.1%}"
    )
    of_runs = "; ".join(
        f"{run} {result.run_gaps[run]:+.1%} (p = {result.run_pvalues[run]:.2g}, {verdict})"
        for run, verdict in feature.run_verdicts.items()
    )
    return [
        f"  {feature.name:<{width}}  {what.upper()}{role}",
        wrap(numbers, indent=6),
        wrap(of_runs, indent=6),
        wrap(feature.reason, indent=6),
    ]


def _calibration(audit: RunsAudit) -> str:
    width = min(_LONGEST, max(len("run"), *(len(name) for name in audit.runs)))
    head = f"  {'run':<{width}}  accuracy  confidence      ECE    floor  recommended"
    rows = [
        f"  {_cut(name):<{width}}  {run.accuracy:>8.1%}  {run.mean_confidence:>10.1%}  "
        f"{run.scorecard[0].ece:>7.2%}  {run.scorecard[0].ece_floor:>7.2%}  "
        f"{run.recommendation.calibrator}"
        for name, run in audit.runs.items()
    ]
    return "\n".join(["Calibration, run by run", head, *rows])


def _cut(name: str) -> str:
    """Keep the end of a long name, where runs differ: seeds and files stand last."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
