"""The artists of a reliability diagram."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.displays._base import (
    bare,
    model_colors,
    percent,
    plain_legend,
    shorten,
    stratum_colors,
)
from sk_arcal.displays._curves import DENSITY_EDGES, ReliabilityCurve

Curves = Sequence[ReliabilityCurve]


def draw_diagram(
    ax: Any, curves: Curves, pooled: ReliabilityCurve | None, *, ink: str
) -> tuple[list[Any], list[Any], list[Any]]:
    """Draw diagonal, bands, lines and points; return the points, lines and bands."""
    ax.axline((0, 0), slope=1, color=ink, linestyle=(0, (1, 2)), linewidth=1, alpha=0.7)
    if pooled is not None:
        ax.plot(pooled.mean_confidence, pooled.event_rate, color=ink, linewidth=1.2)
    points, lines, bands = [], [], []
    for curve, color in zip(curves, _colors(curves, pooled), strict=True):
        x = curve.mean_confidence
        # bands of strata nearly coincide: one neutral tint instead of a mixture of colours
        band = {"color": color, "alpha": 0.18} if pooled is None else {"color": ink, "alpha": 0.06}
        bands.append(_fill(ax, curve, band))
        line = (x, curve.event_rate)
        if pooled is None:
            line = (curve.isotonic_confidence, curve.isotonic_rate)
        lines += ax.plot(*line, color=color, linewidth=1.4, alpha=0.9)
        faces = ["none" if inside else color for inside in curve.inside]
        points.append(ax.scatter(x, curve.event_rate, s=26, facecolors=faces, edgecolors=[color],
                                 linewidths=1.3, zorder=3))  # fmt: skip
    _limit_axes(ax, curves)
    bare(ax)
    return points, lines, bands


def _fill(ax: Any, curve: ReliabilityCurve, style: dict[str, Any]) -> Any:
    """Fill the band; that of a single point gets a width to be seen."""
    x, low, high = curve.mean_confidence, curve.band_low, curve.band_high
    if len(x) == 1:
        x, low, high = x[0] + np.array([-0.01, 0.01]), np.repeat(low, 2), np.repeat(high, 2)
    return ax.fill_between(x, low, high, linewidth=0, **style)


def draw_density(ax: Any, curves: Curves, pooled: ReliabilityCurve | None) -> Any:
    """Draw the share of rows by confidence on new axes below `ax`; return them."""
    below = _axes_below(ax)
    for curve, color in zip(curves, _colors(curves, pooled), strict=True):
        if pooled is None:
            below.stairs(curve.density, DENSITY_EDGES, color=color, fill=True, alpha=0.18)
        below.stairs(curve.density, DENSITY_EDGES, color=color, linewidth=1.2)
    ax.tick_params(labelbottom=False)
    below.set_ylabel("Share of rows")
    below.locator_params(axis="y", nbins=3)
    below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    bare(below)
    return below


def _axes_below(ax: Any) -> Any:
    """Give the lower fifth of `ax` to new axes that share its confidences."""
    place = ax.get_subplotspec()
    if place is None:
        grid = import_optional(
            "mpl_toolkits.axes_grid1", extra="report", caller="ReliabilityDisplay"
        )
        return grid.make_axes_locatable(ax).append_axes("bottom", size="22%", pad=0.1, sharex=ax)
    rows = place.subgridspec(2, 1, height_ratios=[5, 1], hspace=0.06)
    ax.set_subplotspec(rows[0])
    return ax.figure.add_subplot(rows[1], sharex=ax)


def draw_legend(ax: Any, curves: Curves, pooled: ReliabilityCurve | None, *, ink: str) -> None:
    """Write names, errors and floors where a model of this kind leaves the corner empty."""
    lines = import_optional("matplotlib.lines", extra="report", caller="ReliabilityDisplay")
    patches = import_optional("matplotlib.patches", extra="report", caller="ReliabilityDisplay")
    handles: list[Any] = [
        lines.Line2D([], [], color=color, marker="o", markersize=5, linewidth=1.4)
        for color in _colors(curves, pooled)
    ]
    labels = [_label(curve) for curve in curves]
    if pooled is not None:
        handles.append(lines.Line2D([], [], color=ink, linewidth=1.2))
        labels.append(_label(pooled))
    hollow = lines.Line2D([], [], color=ink, marker="o", markerfacecolor="none", linestyle="")
    handles.append((patches.Patch(color=ink, alpha=0.15, linewidth=0), hollow))
    alike = "a calibrated model" if pooled is None else "equal strata"
    labels.append(f"95 % band of {alike} (hollow: inside)")
    above = sum(curve.count @ (curve.event_rate - curve.mean_confidence) for curve in curves) > 0
    plain_legend(ax, handles, labels, frameon=False, fontsize="small",
                 loc="lower right" if above else "upper left")  # fmt: skip


def _label(curve: ReliabilityCurve) -> str:
    label = f"{shorten(curve.name)}: ECE {percent(curve.error)}"
    known = np.isfinite(curve.error_floor)
    return f"{label} (floor {percent(curve.error_floor)})" if known else label


def _colors(curves: Curves, pooled: ReliabilityCurve | None) -> list[Any]:
    return model_colors(len(curves)) if pooled is None else stratum_colors(len(curves))


def _limit_axes(ax: Any, curves: Curves) -> None:
    """Leave out empty confidences below, in steps of a tenth, but no point."""
    lowest = min(DENSITY_EDGES[np.flatnonzero(curve.density)[0]] for curve in curves)
    low = min(np.floor(10 * lowest) / 10, 0.9)
    bottom = min(low, *(curve.event_rate.min() for curve in curves))
    margin = 0.02 * (1 - low)
    ax.set_xlim(low - margin, 1 + margin)
    ax.set_ylim(bottom - margin, 1 + margin)
