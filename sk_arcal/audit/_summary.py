"""The audit in plain text, verdicts first."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from sk_arcal.audit._experts_summary import summarise_experts
from sk_arcal.audit._layers_summary import summarise_layers
from sk_arcal.audit._records import FeatureAudit, ScorecardRow
from sk_arcal.audit._text import bullet, wrap

if TYPE_CHECKING:
    from sk_arcal.audit._results import RoutingAudit


def summarise(audit: RoutingAudit) -> str:
    """Return the whole summary, at most 100 characters a line."""
    blocks = [_headline(audit)]
    if audit.stream is not None:
        blocks.append("\n".join(["All rows", *map(bullet, audit.stream.sentences())]))
    if audit.features:
        blocks.append(_verdicts(audit))
    blocks.append(_scorecard(audit))
    if audit.experts is not None:
        blocks.append(summarise_experts(audit.experts))
    if audit.layers is not None:
        blocks.append(summarise_layers(audit.layers))
    blocks.append(_recommendation(audit))
    if audit.checks:
        blocks.append("Data checks\n" + "\n".join(bullet(check) for check in audit.checks))
    return "\n\n".join(blocks)


def _headline(audit: RoutingAudit) -> str:
    rows = f"{audit.n_evaluated:,} of {audit.n:,} rows evaluated"
    excess = audit.mean_confidence - audit.accuracy
    # Mean confidence and hit rate differ by chance; two standard errors are the usual bar.
    error = np.sqrt(audit.accuracy * (1 - audit.accuracy) / audit.n_evaluated)
    word = "over-confident" if excess > 0 else "under-confident"
    level = f"{word} by {abs(excess):.1%}" if abs(excess) > 2 * error else "right on average"
    return wrap(
        f"{rows}, {audit.n_classes} classes. The event happened in {audit.accuracy:.1%} of them at "
        f"a mean confidence of {audit.mean_confidence:.1%}: {level}."
    )


def _verdicts(audit: RoutingAudit) -> str:
    width = max(len(name) for name in audit.features)
    lines = ["Does it say more than the confidence?"]
    for feature in audit.features.values():
        lines += _verdict(feature, width)
    return "\n".join(lines)


def _verdict(feature: FeatureAudit, width: int) -> list[str]:
    what = feature.verdict
    if what == "no signal":
        what += f" larger than {feature.delta:.1%}"
    role = " (control)" if feature.role == "control" else ""
    numbers = (
        f"p = {feature.pvalue:.3g}, adjusted {feature.pvalue_adjusted:.3g}; gap {feature.gap:+.1%} "
        f"[{feature.gap_low:+.1%}, {feature.gap_high:+.1%}] ({feature.test.gap_contrast}), "
        f"smallest visible {feature.min_detectable_gap:.1%}"
    )
    tertile = feature.worst_tertile
    worst = (
        f"worst-tertile ECE {tertile.error:.1%}, of which {tertile.null_mean:.1%} would be there "
        "if the feature meant nothing"
    )
    return [
        f"  {feature.name:<{width}}  {what.upper()}{role}",
        wrap(numbers, indent=6),
        wrap(worst, indent=6),
        wrap(feature.reason, indent=6),
    ]


def _scorecard(audit: RoutingAudit) -> str:
    width = max(len(row.name) for row in audit.scorecard)
    head = (
        f"  {'out of sample':<{width}}  {'ECE':>7}  {'floor':>7}  {'bias-corrected [95 %]':>24}  "
        f"{'SmoothECE':>9}  {'Brier':>7}  {'log loss':>8}"
    )
    rows = [_score_line(row, width) for row in audit.scorecard]
    return "\n".join(["Calibration", head, *rows])


def _score_line(row: ScorecardRow, width: int) -> str:
    interval = f"{row.ece_corrected:.2%} [{row.ece_low:.2%}, {row.ece_high:.2%}]"
    return (
        f"  {row.name:<{width}}  {row.ece:>7.2%}  {row.ece_floor:>7.2%}  {interval:>24}  "
        f"{row.smooth_ece:>9.2%}  {row.brier:>7.4f}  {row.log_loss:>8.4f}"
    )


def _recommendation(audit: RoutingAudit) -> str:
    choice = audit.recommendation
    code = textwrap.indent(choice.code, "    ")
    use = f"Use: {choice.calibrator}\n{wrap(choice.reason, indent=2)}\n\n{code}"
    repair = None if audit.experts is None else audit.experts.verdict
    if repair is None or not repair.code:
        return use
    code = textwrap.indent(repair.code, "    ")
    opening = f"Or, against shifts of the experts' configurations: {repair.repair}"
    return f"{use}\n\n{opening}\n\n{code}"
