"""The gap of every run, and what the runs say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sk_arcal._validation import check_option, import_optional
from sk_arcal.diagnostics._runs_result import ConditionalCalibrationRuns, RunsFeatureResult
from sk_arcal.displays._base import HIGH, LOW, MIDDLE, plain_title, pyplot
from sk_arcal.displays._rows import check_kind, few_ticks, name_rows, zero_line

# Most lines of which each is named; beyond, the runs of a feature are told from the frame.
_MOST_NAMED = 40
_STEP_NAMED, _STEP_UNNAMED = 0.5, 0.28
_INCHES = 0.36


@dataclass(frozen=True)
class RunsGap:
    """Gap of one feature in every run, and over all of them.

    Attributes
    ----------
    feature : str
        Name of the feature.
    gap, low, high : float
        Mean gap over the runs with its interval, in probability units; NaN without an answer.
    runs : tuple of str
        Names of the runs.
    run_gap, run_low, run_high : tuple of float
        Gap of each run with its interval; NaN where a run cannot tell.
    """

    feature: str
    gap: float
    low: float
    high: float
    runs: tuple[str, ...]
    run_gap: tuple[float, ...]
    run_low: tuple[float, ...]
    run_high: tuple[float, ...]


class RunsGapDisplay:
    """Forest plot of the gap of every run, with the mean gap of each feature below its runs.

    The shaded band holds gaps smaller than delta, which count as none. Filled diamonds are means
    whose interval excludes zero.

    Create it with :meth:`from_result`; every number that is drawn stays in `gaps` and comes as a
    table from :meth:`frame`.

    Parameters
    ----------
    gaps : sequence of RunsGap
        One per feature.
    delta : float, default=None
        Largest gap that counts as none, in probability units; None shades no band.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.conditional_calibration_runs : The test over several runs.
    RoutingGapDisplay : The gap of one run by stratum and by confidence.

    Notes
    -----
    Runs share their items, so their intervals are not independent: that all lie on one side says
    less than it would of networks tested on items of their own. The interval of the mean takes
    this into account.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import conditional_calibration_runs
    >>> from sk_arcal.displays import RunsGapDisplay
    >>> rng = np.random.default_rng(0)
    >>> confidence, depth = rng.uniform(0.5, 1, (2, 3, 1000))
    >>> right = rng.random((3, 1000)) < confidence - 0.1 + 0.3 * (depth - 0.75)
    >>> runs = conditional_calibration_runs(
    ...     right, confidence, depth, feature_names=["depth"], n_resamples=99, random_state=0
    ... )
    >>> frame = RunsGapDisplay.from_result(runs).frame()
    >>> frame["run"].tolist(), bool((frame["gap"] > 0).all())
    (['run_0', 'run_1', 'run_2', 'all runs'], True)
    """

    def __init__(self, gaps: Sequence[RunsGap], *, delta: float | None = None) -> None:
        self.gaps = tuple(gaps)
        self.delta = delta

    @classmethod
    def from_result(
        cls, runs: ConditionalCalibrationRuns, *, ax: Any = None, **options: Any
    ) -> "RunsGapDisplay":
        """Draw the gaps of several runs.

        Parameters
        ----------
        runs : ConditionalCalibrationRuns
            Of :func:`sk_arcal.diagnostics.conditional_calibration_runs`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : RunsGapDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `runs` is something else.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("RunsGapDisplay")
        check_kind("runs", runs, ConditionalCalibrationRuns, "conditional_calibration_runs")
        gaps = [_gaps_of(name, result) for name, result in runs.results.items()]
        return cls(gaps, delta=runs.delta).plot(ax, **options)

    def frame(self) -> Any:
        """Return the gaps as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per feature and run, and one for "all runs": "feature", "run", "pooled", "gap",
            "low", "high".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="RunsGapDisplay.frame")
        return pandas.concat(
            [
                pandas.DataFrame({
                    "feature": one.feature,
                    "run": [*one.runs, "all runs"],
                    "pooled": [False] * len(one.runs) + [True],
                    "gap": [*one.run_gap, one.gap],
                    "low": [*one.run_low, one.low],
                    "high": [*one.run_high, one.high],
                })
                for one in self.gaps
            ],
            ignore_index=True,
        )  # fmt: skip

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        run_names: bool | Literal["auto"] = "auto",
    ) -> "RunsGapDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that is as high as there are lines.
        name : str, default=None
            Title; None leaves it out.
        run_names : bool or "auto", default="auto"
            Whether to name every run; "auto" does where there are few lines.

        Returns
        -------
        self : RunsGapDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `run_names` is another word.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("RunsGapDisplay.plot")
        named = run_names
        if not isinstance(run_names, bool):
            check_option("run_names", run_names, ("auto",))
            named = sum(len(one.runs) + 1 for one in self.gaps) <= _MOST_NAMED
        step = _STEP_NAMED if named else _STEP_UNNAMED
        ends = np.cumsum([1 + step * len(one.runs) for one in self.gaps])
        if ax is None:
            size = (6.6, 1.2 + _INCHES * max(ends[-1], 2))
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self._draw(ax, ends, step, bool(named), plt.rcParams["text.color"])
        if name is not None:
            plain_title(ax, name)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, ax: Any, ends: Any, step: float, named: bool, ink: Any) -> None:
        """Draw every feature: its runs, and their mean below them."""
        zero_line(ax, ink)
        if self.delta is not None:
            ax.axvspan(-100 * self.delta, 100 * self.delta, color=ink, alpha=0.1, linewidth=0)
        pooled = ends - 0.6
        names: list[str] = []
        places: list[float] = []
        for one, place in zip(self.gaps, pooled, strict=True):
            at = place - step * np.arange(len(one.runs), 0, -1)
            names += one.runs
            places += at.tolist()
            _draw_runs(ax, at, one)
            _draw_mean(ax, place, one)
        name_rows(ax, pooled, [one.feature for one in self.gaps])
        if named:
            name_rows(ax, places, names, minor=True, fontsize="small", alpha=0.75)
        ax.set_ylim(ends[-1], 0)
        few_ticks(ax)
        ax.set_xlabel("Gap at equal confidence (points)")


def _draw_runs(ax: Any, at: Any, one: RunsGap) -> None:
    """Draw the gap of each run with its interval."""
    ax.hlines(at, 100 * np.array(one.run_low), 100 * np.array(one.run_high), color=MIDDLE,
              linewidth=1.3)  # fmt: skip
    ax.plot(100 * np.array(one.run_gap), at, color=MIDDLE, marker="o", markersize=4, linestyle="")


def _draw_mean(ax: Any, place: float, one: RunsGap) -> None:
    """Draw the mean gap as a diamond, full if its interval excludes zero."""
    if np.isnan(one.gap):
        ax.text(0, place, "no answer", fontsize="small", va="center", ha="center")
        return
    color = LOW if one.gap < 0 else HIGH
    ax.hlines(place, 100 * one.low, 100 * one.high, color=color, linewidth=2.4)
    ax.plot(100 * one.gap, place, color=color, marker="D", markersize=8,
            fillstyle="full" if one.low > 0 or one.high < 0 else "none")  # fmt: skip


def _gaps_of(name: str, result: RunsFeatureResult) -> RunsGap:
    runs = tuple(result.run_gaps)
    intervals = [result.run_gap_intervals[run] for run in runs]
    return RunsGap(
        name,
        result.gap,
        *result.gap_interval,
        runs,
        tuple(result.run_gaps.values()),
        tuple(low for low, _ in intervals),
        tuple(high for _, high in intervals),
    )
