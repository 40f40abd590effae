"""The two panels of the routing-gap figure."""

from typing import Any

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.displays._base import HIGH, LOW, plain_title, shorten
from sk_arcal.displays._gap_numbers import GapNumbers

_STRONGEST = 0.75
_LEAST_REACH = 0.5
_LONGEST_STRATUM = 22
_SHARE_NAMES = {3: "tertile", 4: "quarter", 5: "fifth", 10: "tenth"}


def make_panels(plt: Any, ax: Any, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the axes to draw on, as an array."""
    needed = 2 if kind == "both" else 1
    if ax is not None:
        panels = np.array(ax, dtype=object).ravel()
        if len(panels) != needed:
            raise ValueError(
                f"`ax` must hold {needed} axes for `kind`={kind!r}; got {len(panels)}."
            )
        return panels
    widths = {"profile": [3.0], "map": [0.9 + 0.54 * max(shape[0], 6)]}
    ratios = widths.get(kind, widths["profile"] + widths["map"])
    size = (sum(ratios), 1.4 + 0.42 * max(shape[1], 4))
    _, panels = plt.subplots(
        1, needed, figsize=size, width_ratios=ratios, layout="constrained", squeeze=False
    )
    return panels.ravel()


def draw_profile(ax: Any, numbers: GapNumbers, *, ink: Any) -> None:
    """Draw the gap of every stratum over all bins, lowest below, with the band of chance."""
    gap, band = 100 * numbers.stratum_gap, 100 * numbers.stratum_band
    place = np.arange(len(gap))
    height = 1.0 if numbers.ranked else 0.8
    ax.barh(place, 2 * band, left=-band, height=height, color=ink, alpha=0.12, linewidth=0)
    ax.axvline(0, color=ink, linewidth=0.8, linestyle=(0, (1, 2)))
    if numbers.ranked:
        ax.plot(gap, place, color=ink, linewidth=1, alpha=0.6)
    colors = np.where(gap < 0, LOW, HIGH)
    faces = np.where(numbers.stratum_outside, colors, "none")
    ax.scatter(gap, place, s=34, zorder=3, linewidths=1.4, edgecolors=colors, facecolors=faces)
    reach = 1.15 * np.abs(np.nan_to_num([gap, band])).max(initial=_LEAST_REACH)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-0.5, len(gap) - 0.5)
    ax.set_xlabel("Gap at equal confidence (points)")
    ax.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    digits = 0 if np.diff(ax.get_xticks()).min() >= 1 else 1
    ax.xaxis.set_major_formatter(lambda value, _: _signed(value, digits))
    name_strata(ax, numbers)
    ax.tick_params(axis="y", length=0)
    ax.spines[["left", "top", "right"]].set_visible(False)


def draw_map(ax: Any, numbers: GapNumbers, *, ink: Any) -> None:
    """Draw the gap of every cell, bins of confidence across and strata upwards."""
    n_bins, n_strata = numbers.gap.shape
    used = numbers.usable
    band = float(np.median((numbers.band_high - numbers.band_low)[used] / 2)) if used.any() else 0
    # full colour is kept for gaps well beyond chance, so that noise looks pale
    strongest = max(np.abs(numbers.gap[used]).max(initial=1e-9), 1.5 * band)
    digits = 0 if band > 0.02 else 1
    for b, s in np.ndindex(n_bins, n_strata):
        if used[b, s]:
            gap, outside = float(numbers.gap[b, s]), bool(numbers.outside[b, s])
            strength = _STRONGEST * abs(gap) / strongest
            _draw_cell(ax, b, s, gap, strength, digits, outside, ink)
        else:
            _draw_blank(ax, b, s, ink)
    ax.set_xlim(-0.5, n_bins - 0.5)
    ax.set_ylim(-0.5, n_strata - 0.5)
    ax.set_xticks(np.arange(n_bins), _bin_labels(numbers), fontsize="small")
    ax.set_xlabel("Mean confidence of the bin, and its rows")
    name_strata(ax, numbers)
    ax.set_title("Gap by confidence (points)", loc="left", fontsize="medium")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def write_title(panels: Any, name: str | None, verdict: str | None) -> None:
    """Write feature and verdict above the panels."""
    parts = [shorten(part) for part in (name, verdict) if part]
    if parts:
        plain_title(panels[0], ": ".join(parts), pad=10)


def _draw_cell(
    ax: Any, b: int, s: int, gap: float, strength: float, digits: int, outside: bool, ink: Any
) -> None:
    """Tint one cell by sign and size, write its number, and frame it if chance is unlikely."""
    ax.add_patch(
        _rectangle(
            b, s, facecolor=(LOW if gap < 0 else HIGH, strength),
            edgecolor=(ink, 1 if outside else 0.3), linewidth=1.6 if outside else 0.6,
        )
    )  # fmt: skip
    ax.text(
        b, s, _signed(100 * gap, digits), ha="center", va="center", fontsize="small",
        fontweight="bold" if outside else "normal",
    )  # fmt: skip


def _draw_blank(ax: Any, b: int, s: int, ink: Any) -> None:
    """Hatch a cell that has too few rows."""
    ax.add_patch(_rectangle(b, s, fill=False, hatch="////", edgecolor=(ink, 0.3), linewidth=0.6))


def _rectangle(b: int, s: int, **style: Any) -> Any:
    """Return the outline of a cell, with a gap to its neighbours."""
    patches = import_optional("matplotlib.patches", extra="report", caller="RoutingGapDisplay")
    return patches.Rectangle((b - 0.47, s - 0.46), 0.94, 0.92, **style)


def _signed(value: float, digits: int) -> str:
    """Write a number with a true minus sign, and no sign if it rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def name_strata(ax: Any, numbers: GapNumbers) -> None:
    """Write the names of the strata upwards, and what they are."""
    n_strata = len(numbers.strata)
    names = [shorten(name, _LONGEST_STRATUM) for name in numbers.strata]
    ax.set_yticks(np.arange(n_strata), names)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    if numbers.ranked:
        ax.set_ylabel(f"Routing {_SHARE_NAMES.get(n_strata, 'stratum')} at equal confidence")


def _bin_labels(numbers: GapNumbers) -> list[str]:
    """Write the mean confidence of each bin over its number of rows."""
    digits = 2 if len(set(np.round(numbers.confidence, 2))) == len(numbers.confidence) else 3
    count = numbers.count.sum(axis=1)
    labels = [_below_one(value, digits) for value in numbers.confidence]
    return [f"{label}\n{n}" for label, n in zip(labels, count, strict=True)]


def _below_one(value: float, digits: int) -> str:
    """Write a confidence so that none below one reads as one."""
    text = f"{value:.{digits}f}"
    if float(text) < 1 or value == 1:
        return text
    return f"{value:.3f}" if value < 0.9995 else "> .999"
