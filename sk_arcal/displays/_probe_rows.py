"""The artists of the comparison of probes: one row each, with interval or band over runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.displays._base import MIDDLE, PALETTE, plain_legend
from sk_arcal.displays._rows import Metric, few_ticks, name_rows, zero_line

if TYPE_CHECKING:
    from sk_arcal.displays._probe_comparison import ProbeDifference


@dataclass(frozen=True)
class _Role:
    """How the probes of one role look; no colour is the ink of the page."""

    color: str | None
    marker: str
    size: float


_ROLES = {
    "feature": _Role(PALETTE[0], "o", 6.5),
    "shuffled": _Role(PALETTE[1], "x", 5.5),
    "noise": _Role(PALETTE[3], "D", 5.5),
    "baseline": _Role(MIDDLE, "s", 5.5),
    "confidence": _Role(None, "|", 10),
}
_WORDS = {"feature": "feature", "shuffled": "its shuffled twins"}
_BAND: dict[str, Any] = {"linewidth": 7, "alpha": 0.22}
# Where a feature and its twins stand in their row, and where a probe stands that has no twins.
_UPPER, _LOWER, _ALONE = -0.14, 0.2, 0.0


def rows_needed(differences: Sequence[ProbeDifference]) -> int:
    """Return how many rows the probes take."""
    return len(dict.fromkeys(one.probe for one in differences if one.role != "shuffled"))


def draw_probes(
    ax: Any, differences: Sequence[ProbeDifference], metric: Metric, ink: Any, legend: bool
) -> None:
    """Draw all probes, the first on top."""
    by_probe: dict[str, list[ProbeDifference]] = {}
    for one in differences:
        by_probe.setdefault(one.probe, []).append(one)
    zero_line(ax, ink)
    names: list[str] = []
    for name, runs in by_probe.items():
        role = runs[0].role
        if role != "shuffled":
            names.append(name)
        offset = {"feature": _UPPER, "shuffled": _LOWER}.get(role, _ALONE)
        numbers = metric.scale * np.array([(one.estimate, one.low, one.high) for one in runs])
        _draw_one(ax, len(names) - 1 + offset, numbers, _ROLES[role], ink)
    name_rows(ax, range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    few_ticks(ax)
    words = f"{metric.words[0].upper()}{metric.words[1:]} minus that of confidence only"
    ax.set_xlabel(f"{words}\n(left of 0 is better)")
    if legend:
        _draw_legend(ax, {one.role for one in differences}, len(differences) > len(by_probe), ink)


def _draw_one(ax: Any, place: float, numbers: Any, role: _Role, ink: Any) -> None:
    """Draw the interval of a single run, or the runs, what they span, and their mean."""
    color = ink if role.color is None else role.color
    estimate, low, high = numbers.T
    if len(numbers) == 1:
        ax.hlines(place, low, high, color=color, linewidth=1.6)
    else:
        ax.hlines(place, estimate.min(), estimate.max(), color=color, **_BAND)
        at = np.full(len(estimate), place)
        ax.scatter(estimate, at, s=9, color=color, alpha=0.75, linewidths=0)
    ax.plot(estimate.mean(), place, color=color, **_marker(role))


def _marker(role: _Role) -> dict[str, Any]:
    width = 1.8 if role.marker in "x|" else 0
    return {"marker": role.marker, "markersize": role.size, "markeredgewidth": width}


def _draw_legend(ax: Any, roles: set[str], several_runs: bool, ink: Any) -> None:
    """Say above the axes what the names of the rows do not."""
    lines = import_optional("matplotlib.lines", extra="report", caller="ProbeComparisonDisplay")
    handles = [
        lines.Line2D([], [], linestyle="", color=_ROLES[role].color, **_marker(_ROLES[role]))
        for role in _WORDS
        if role in roles
    ]
    labels = [words for role, words in _WORDS.items() if role in roles]
    if several_runs:
        handles.append(lines.Line2D([], [], color=ink, solid_capstyle="butt", **_BAND))
        labels.append("smallest to largest run")
    if handles:
        plain_legend(
            ax, handles, labels, frameon=False, fontsize="small", loc="lower left",
            bbox_to_anchor=(0, 1), ncols=3, columnspacing=1.2, handletextpad=0.4,
            borderaxespad=0.2,
        )  # fmt: skip
