"""The artists of the power curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sk_arcal._validation import import_optional
from sk_arcal.displays._base import PALETTE, bare, plain_legend, shorten
from sk_arcal.displays._rows import few_ticks

if TYPE_CHECKING:
    from sk_arcal.displays._power_curve import PowerCurve

_USUAL_POWER = 0.8
# Colours repeat after the palette, so the next round of curves is dashed, then dotted.
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))


def draw_power(ax: Any, curves: Sequence[PowerCurve], ink: Any, *, legend: bool) -> None:
    """Draw all curves with their marks."""
    handles, labels = [], []
    for k, curve in enumerate(curves):
        color, dashes = PALETTE[k % len(PALETTE)], _DASHES[k // len(PALETTE) % len(_DASHES)]
        for times, power in curve.power.items():
            # Thinner with more rows, so that the rows at hand stand out.
            width = 2.0 / max(times, 1) ** 0.5
            (line,) = ax.plot(
                100 * curve.sizes, 100 * power, color=color, linestyle=dashes, linewidth=width
            )
            handles.append(line)
            labels.append(_label(curve, times))
        ax.plot(100 * curve.min_detectable_gap, 100 * _USUAL_POWER, color=color, marker="o",
                markersize=6)  # fmt: skip
        ax.plot(100 * abs(curve.gap), 0, color=color, marker="^", markersize=8, clip_on=False,
                zorder=3)  # fmt: skip
    ax.axhline(100 * _USUAL_POWER, color=ink, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.9)
    for delta in dict.fromkeys(curve.delta for curve in curves):
        ax.axvline(100 * delta, color=ink, linewidth=1, linestyle=(0, (4, 3)), zorder=0.9)
    ax.set_xlim(0, 100 * curves[0].sizes[-1])
    ax.set_ylim(0, 101)
    few_ticks(ax)
    ax.set_xlabel("Size of the gap at equal confidence (points)")
    ax.set_ylabel("Probability of finding it (%)")
    bare(ax)
    if legend:
        _draw_legend(ax, handles, labels, curves, ink)


def _label(curve: PowerCurve, times: float) -> str:
    """Name a curve by its feature, and by its rows where there are several of one feature."""
    rows = "the rows at hand" if times == 1 else f"{times:g} x the rows"
    shown = [shorten(curve.name, 30)] if curve.name else []
    return ", ".join(shown + [rows] * (len(curve.power) > 1 or times != 1))


def _draw_legend(
    ax: Any, handles: list[Any], labels: list[str], curves: Sequence[PowerCurve], ink: Any
) -> None:
    """Name curves and marks beside the axes, where no curve runs."""
    lines = import_optional("matplotlib.lines", extra="report", caller="PowerCurveDisplay")
    named = [pair for pair in zip(handles, labels, strict=True) if pair[1]]
    deltas = ", ".join(f"{100 * delta:g}" for delta in dict.fromkeys(c.delta for c in curves))
    marks = [
        (lines.Line2D([], [], color=ink, linestyle=(0, (4, 3)), linewidth=1),
         f"delta ({deltas} points)"),
        (lines.Line2D([], [], color=ink, linestyle="", marker="o", markersize=6),
         _with_number("found with 80 % power", curves, "min_detectable_gap")),
        (lines.Line2D([], [], color=ink, linestyle="", marker="^", markersize=8),
         _with_number("estimated gap", curves, "gap")),
    ]  # fmt: skip
    plain_legend(
        ax, *zip(*named, *marks, strict=False), frameon=False, fontsize="small",
        loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0,
    )  # fmt: skip


def _with_number(words: str, curves: Sequence[PowerCurve], field: str) -> str:
    """Write the number of a single curve behind the words."""
    if len(curves) > 1:
        return words
    return f"{words} ({abs(100 * getattr(curves[0], field)):.1f} points)"
