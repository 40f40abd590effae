"""What a feature adds to the confidence, by the rule for the bandwidth."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np

from sk_arcal._validation import check_option, import_optional
from sk_arcal.diagnostics._probing._bandwidth_table import BandwidthSensitivity
from sk_arcal.displays._base import HIGH, PALETTE, bare, plain_title, pyplot
from sk_arcal.displays._rows import (
    METRICS,
    check_kind,
    few_ticks,
    first_or_all,
    panels_of,
    zero_line,
)

_WIDEST_WORD = 12
# Steps of the axis, in powers of two, between the multiples and each rule that picks one.
_STEP = 1.5


@dataclass(frozen=True)
class BandwidthChange:
    """What the feature changes in one score under one rule.

    Attributes
    ----------
    metric : {"log_loss", "ece", "worst_ece"}
        The score.
    rule : str
        Name of the rule.
    leaks : bool
        Whether the rule looked at the outcomes it is evaluated on.
    scott : float
        Multiple of Scott's rule that it dictates; NaN if it picks one.
    estimate, low, high : float
        Feature minus confidence only, with its interval.
    """

    metric: str
    rule: str
    leaks: bool
    scott: float
    estimate: float
    low: float
    high: float


class BandwidthSensitivityDisplay:
    """How what a feature adds to the confidence depends on the width of the kernel.

    The line runs over multiples of Scott's rule; to its right stand the rules that pick a
    multiple, and in another colour the oracle that picks it on the evaluated rows. Below zero the
    feature helps.

    Create it with :meth:`from_result`; every number that is drawn stays in `changes` and comes
    as a table from :meth:`frame`.

    Parameters
    ----------
    changes : sequence of BandwidthChange
        One per score and rule.
    name : str, default=None
        Name of the feature.

    Attributes
    ----------
    ax_ : matplotlib Axes or ndarray of Axes
        The panel, or one per score.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.bandwidth_sensitivity : The table behind the picture.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import bandwidth_sensitivity
    >>> from sk_arcal.displays import BandwidthSensitivityDisplay
    >>> data = make_routing_data(600, effect="step", strength=0.2, random_state=0)
    >>> table = bandwidth_sensitivity(
    ...     data.y, data.confidence, data.routing[:, 0], n_resamples=10, random_state=0
    ... )
    >>> display = BandwidthSensitivityDisplay.from_result(table)
    >>> frame = display.frame()
    >>> bool((frame["estimate"] < 0).all())
    True
    >>> frame.loc[frame["leaks"], "rule"].tolist()
    ['oracle: global ECE']
    """

    def __init__(self, changes: Sequence[BandwidthChange], *, name: str | None = None) -> None:
        self.changes = tuple(changes)
        self.name = name

    @classmethod
    def from_result(
        cls,
        sensitivity: BandwidthSensitivity,
        *,
        metric: str | Sequence[str] = "log_loss",
        ax: Any = None,
        name: str | None = None,
    ) -> "BandwidthSensitivityDisplay":
        """Draw a table of bandwidth rules.

        Parameters
        ----------
        sensitivity : BandwidthSensitivity
            Of :func:`sk_arcal.diagnostics.bandwidth_sensitivity`.
        metric : {"log_loss", "ece", "worst_ece"} or sequence of such, default="log_loss"
            Scores to draw, one panel each.
        ax : matplotlib Axes or sequence of such, default=None
            Where to draw, one per score; None makes a figure.
        name : str, default=None
            Name of the feature.

        Returns
        -------
        display : BandwidthSensitivityDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `sensitivity` is something else.
        ValueError
            If a score is unknown or `ax` does not hold an axes per score.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("BandwidthSensitivityDisplay")
        check_kind("sensitivity", sensitivity, BandwidthSensitivity, "bandwidth_sensitivity")
        wanted = [metric] if isinstance(metric, str) else list(metric)
        for one in wanted or [""]:
            check_option("metric", one, ("log_loss", "ece", "worst_ece"))
        changes = [
            BandwidthChange(
                one, rule.rule, rule.leaks, rule.scott, *getattr(rule, f"{one}_difference")
            )
            for one in wanted
            for rule in sensitivity.rules
        ]
        return cls(changes, name=name).plot(ax)

    def frame(self) -> Any:
        """Return the numbers as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per score and rule: "metric", "rule", "leaks", "scott", "estimate", "low",
            "high".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "BandwidthSensitivityDisplay.frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        return pandas.DataFrame([vars(change) for change in self.changes])

    def plot(self, ax: Any = None, *, name: str | None = None) -> "BandwidthSensitivityDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of such, default=None
            Where to draw, one per score; None makes a figure.
        name : str, default=None
            Name of the feature, for the title; None takes that of the display.

        Returns
        -------
        self : BandwidthSensitivityDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `ax` does not hold an axes per score.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("BandwidthSensitivityDisplay.plot")
        metrics = list(dict.fromkeys(change.metric for change in self.changes))
        panels = panels_of(plt, ax, len(metrics), (6.0, 3.6), 2)
        ink = plt.rcParams["text.color"]
        for panel, metric in zip(panels, metrics, strict=True):
            changes = [change for change in self.changes if change.metric == metric]
            _draw(panel, changes, ink)
            panel.set_ylabel(f"Change in {METRICS[metric].words}\n(below 0 the feature helps)")
        title = self.name if name is None else name
        if title is not None:
            plain_title(panels[0], title)
        self.ax_, self.figure_ = first_or_all(panels), panels[0].figure
        return self


def _draw(ax: Any, changes: Sequence[BandwidthChange], ink: Any) -> None:
    """Draw the multiples, the other rules beside them, and name both."""
    scott = sorted((one for one in changes if np.isfinite(one.scott)), key=lambda one: one.scott)
    picked = [one for one in changes if not np.isfinite(one.scott)]
    steps = np.log2([one.scott for one in scott])
    places = steps[-1] + _STEP * (1 + np.arange(len(picked)))
    zero_line(ax, ink, along="x")
    _draw_multiples(ax, steps, scott)
    _draw_picked(ax, places, picked, ink)
    ax.set_xticks(
        [*steps, *places],
        [*(f"{one.scott:.3g}" for one in scott), *(_words(one) for one in picked)],
    )
    for label, one in zip(ax.get_xticklabels(), [*scott, *picked], strict=True):
        label.set_fontsize("small" if one in picked else "medium")
        if one.leaks:
            label.set_color(HIGH)
    ax.set_xlim(steps[0] - 0.4, [*steps, *places][-1] + _STEP / 2)
    # An axis label would stand below the longer names of the other rules.
    ax.annotate(
        "Multiple of Scott's rule", (steps.mean(), 0), xycoords=("data", "axes fraction"),
        xytext=(0, -20), textcoords="offset points", ha="center", va="top", annotation_clip=False,
    )  # fmt: skip
    few_ticks(ax, "y")
    bare(ax)


def _draw_multiples(ax: Any, steps: Any, changes: Sequence[BandwidthChange]) -> None:
    """Draw the dictated bandwidths as a line with its band."""
    scale = METRICS[changes[0].metric].scale
    numbers = scale * np.array([(one.estimate, one.low, one.high) for one in changes])
    estimate, low, high = numbers.T
    ax.fill_between(steps, low, high, color=PALETTE[0], alpha=0.2, linewidth=0)
    ax.plot(steps, estimate, color=PALETTE[0], marker="o", markersize=5, linewidth=1.6)
    if len(changes) == 1:
        ax.vlines(steps, low, high, color=PALETTE[0], alpha=0.5)


def _draw_picked(ax: Any, places: Any, changes: Sequence[BandwidthChange], ink: Any) -> None:
    """Draw the rules that pick a bandwidth as points, the leaking one in a warning colour."""
    for place, one in zip(places, changes, strict=True):
        scale = METRICS[one.metric].scale
        color, marker = (HIGH, "X") if one.leaks else (ink, "o")
        ax.vlines(place, scale * one.low, scale * one.high, color=color, linewidth=1.6)
        ax.plot(place, scale * one.estimate, color=color, marker=marker, markersize=7)
    if len(places):
        ax.axvline(places[0] - _STEP / 2, color=ink, linewidth=0.6, alpha=0.3)


def _words(change: BandwidthChange) -> str:
    """Return the name of a rule on short lines; one that leaks says so."""
    text = f"{change.rule} (leaks)" if change.leaks else change.rule
    return fill(text, _WIDEST_WORD, break_on_hyphens=True, break_long_words=False)
