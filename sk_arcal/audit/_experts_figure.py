"""Picture of the configurations of a mixture: confidence against event rate."""

from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from sk_arcal._validation import FloatArray
from sk_arcal.audit._experts_records import ConfigurationRow, ExpertsAudit
from sk_arcal.audit._figures import empty_figure, inline_svg, page_style
from sk_arcal.displays._base import HIGH, MIDDLE, bare

# Of a disc that holds all rows, in square points, and the least of any.
_AREA, _LEAST_AREA = 1500.0, 12.0
_SIDE = 4.6
_MARGIN = 0.07
# Length of the axes in points, about.
_AXIS = 290.0


def configurations_svg(experts: ExpertsAudit, *, prefix: str) -> str:
    """Draw every configuration as a disc: area its share, bar the interval of its rate."""
    rows = experts.configurations
    confidence = np.array([row.confidence for row in rows])
    rate = np.array([row.rate for row in rows])
    ends = np.clip(confidence[:, None] + [[row.low, row.high] for row in rows], 0, 1)
    low = min(confidence.min(), ends.min()) - _MARGIN
    high = max(confidence.max(), ends.max()) + _MARGIN
    area = np.maximum(_AREA * np.array([row.share for row in rows]), _LEAST_AREA)
    x = set_apart(confidence, rate, 0.5 * np.sqrt(area) / _AXIS * (high - low))
    with page_style(prefix):
        figure, (ax,) = empty_figure([_SIDE], _SIDE)
        ax.plot([low, high], [low, high], color=MIDDLE, lw=1, ls="--", zorder=1)
        for k, row in enumerate(rows):
            top = (ends[k, 1] - rate[k]) / (high - low) * _AXIS
            _disc(ax, row, (x[k], rate[k]), ends[k], area[k], top)
        ax.set_xlim(min(low, x.min() - _MARGIN), max(high, x.max() + _MARGIN))
        ax.set_ylim(low, high)
        ax.set_xlabel("Confidence")
        ax.set_ylabel("Rate of the event")
        bare(ax)
        label = "Confidence and event rate of every configuration"
        return inline_svg(figure, prefix=prefix, label=label)


def set_apart(x: FloatArray, y: FloatArray, radius: FloatArray) -> FloatArray:
    """Return where discs stand, those that would cover each other side by side.

    Parameters
    ----------
    x, y : ndarray of shape (n_discs,)
        Centres.
    radius : ndarray of shape (n_discs,)
        In the same units.

    Returns
    -------
    moved : ndarray of shape (n_discs,)
        Like `x`; the discs of a crowd are spread about its mean.
    """
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    crowds = connected_components(distance < radius[:, None] + radius)[1]
    moved = x.copy()
    for crowd in range(crowds.max() + 1):
        inside = np.flatnonzero(crowds == crowd)
        inside = inside[np.argsort(x[inside], kind="stable")]
        steps = np.arange(len(inside)) - (len(inside) - 1) / 2
        if len(inside) > 1:
            moved[inside] = x[inside].mean() + 2 * radius[inside].max() * steps
    return moved


def _disc(
    ax: Any,
    row: ConfigurationRow,
    place: tuple[float, float],
    interval: FloatArray,
    area: float,
    top: float,
) -> None:
    """Draw one configuration; its letter stands above the disc and the interval, `top` points."""
    off = row.low > 0 or row.high < 0
    color = HIGH if off else MIDDLE
    ax.plot([place[0]] * 2, interval, color=color, lw=1.6, zorder=2)
    ax.scatter(
        *place, s=area, color=color if off else "none", edgecolor=color, alpha=0.75, zorder=3
    )
    reach = max(top, 0.5 * np.sqrt(area)) + 3
    ax.annotate(
        row.label,
        place,
        xytext=(0, reach),
        textcoords="offset points",
        ha="center",
        fontweight="bold",
    )
