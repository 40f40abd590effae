"""Named rows of numbers with intervals, and panels side by side: what several figures share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.displays._base import plain_legend, shorten

_LONGEST_NAME = 32
# Height of tick labels and axis label, points.
_BELOW_LABEL = 38


class Metric(NamedTuple):
    """A score as axes name it: calibration errors in points, losses in their own units."""

    words: str
    scale: float


METRICS = {
    "log_loss": Metric("log loss (nats)", 1),
    "brier": Metric("Brier score", 1),
    "ece": Metric("ECE (points)", 100),
    "worst_ece": Metric("worst-stratum ECE (points)", 100),
}


def check_kind(name: str, value: object, kind: type, maker: str) -> None:
    """Refuse anything but the result that the figure is about."""
    if not isinstance(value, kind):
        raise TypeError(
            f"`{name}` must be a {kind.__name__}, which `{maker}` returns; "
            f"got {type(value).__name__}."
        )


def panels_of(plt: Any, ax: Any, n_panels: int, size: tuple[float, float], n_columns: int) -> Any:
    """Return the axes given, or those of a new figure whose panels have this size each."""
    if ax is not None:
        panels = np.array(ax, dtype=object).ravel()
        if len(panels) != n_panels:
            raise ValueError(f"`ax` must hold {n_panels} axes, one per panel; got {len(panels)}.")
        return panels
    columns = min(n_columns, n_panels)
    rows = -(-n_panels // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(columns * size[0], rows * size[1]),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for spare in grid.ravel()[n_panels:]:
        figure.delaxes(spare)
    return grid.ravel()[:n_panels]


def first_or_all(panels: Any) -> Any:
    """Return the only panel, or all of them."""
    return panels[0] if len(panels) == 1 else panels


def name_rows(ax: Any, places: Sequence[float], names: Sequence[str], **style: Any) -> None:
    """Write names at the left, the first row on top, dollar signs as they are."""
    ax.set_yticks(list(places), [shorten(name, _LONGEST_NAME) for name in names], **style)
    for label in ax.get_yticklabels(minor=bool(style.get("minor"))):
        label.set_parse_math(False)
    ax.tick_params(axis="y", length=0, which="both")
    ax.spines[["left", "top", "right"]].set_visible(False)


def zero_line(ax: Any, ink: Any, *, along: str = "y") -> None:
    """Draw where nothing is gained or lost."""
    draw = ax.axvline if along == "y" else ax.axhline
    draw(0, color=ink, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.9)


def few_ticks(ax: Any, axis: str = "x", most: int = 5) -> None:
    """Put few round numbers on an axis, so that they never run into each other."""
    ax.locator_params(axis=axis, nbins=most, steps=[1, 2, 5, 10])


def plain_heading(figure: Any, text: str) -> None:
    """Write a title over all panels, in which a dollar sign is a dollar sign."""
    figure.suptitle(shorten(text, 60), x=0.01, ha="left").set_parse_math(False)


def legend_below(ax: Any, handles: Sequence[Any], labels: Sequence[str], caller: str) -> None:
    """Draw a legend under the label of the lower axis, however high the axes are."""
    transforms = import_optional("matplotlib.transforms", extra="report", caller=caller)
    down = transforms.ScaledTranslation(0, -_BELOW_LABEL / 72, ax.figure.dpi_scale_trans)
    plain_legend(
        ax, handles, labels, frameon=False, fontsize="small", loc="upper left",
        bbox_to_anchor=(0, 0), bbox_transform=ax.transAxes + down, borderaxespad=0,
    )  # fmt: skip
