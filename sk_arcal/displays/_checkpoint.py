"""How accuracy, confidence and calibration move over the checkpoints of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.diagnostics._checkpoints import CheckpointProfile
from sk_arcal.displays._base import HIGH, LOW, bare, pyplot
from sk_arcal.displays._rows import check_kind, few_ticks, legend_below, panels_of, plain_heading

_COLUMNS = 4


@dataclass(frozen=True)
class _Line:
    """A curve of a panel: its key and words, and the score of the mean that goes with it."""

    curve: str
    words: str
    averaged: str | None = None


@dataclass(frozen=True)
class _Panel:
    """What a panel shows; the second line, if any, is what the first is compared with."""

    title: str
    scale: float
    lines: tuple[_Line, ...]


_PANELS = (
    _Panel(
        "Accuracy (%)",
        100,
        (_Line("accuracy", "accuracy", "accuracy"), _Line("confidence", "mean confidence")),
    ),
    _Panel("ECE (points)", 100, (_Line("ece", "ECE", "ece"), _Line("ece_floor", "its floor"))),
    _Panel("Log loss (nats)", 1, (_Line("log_loss", "log loss", "log_loss"),)),
    _Panel(
        "Worst-tertile ECE (points)",
        100,
        (
            _Line("worst_tertile_ece", "worst tertile"),
            _Line("worst_tertile_null", "if routing says nothing"),
        ),
    ),
)


class CheckpointDisplay:
    """How accuracy, confidence and calibration move over the checkpoints of a training run.

    One panel each: accuracy beside the mean confidence, expected calibration error beside its
    floor, log loss, and with routing the error of the worst tertile beside what it is when routing
    says nothing. The bar at the right end is the mean of the last checkpoints, over those it
    averages.

    Create it with :meth:`from_result`; every number that is drawn stays in `curves` and
    `averaged` and comes as a table from :meth:`frame`.

    Parameters
    ----------
    curves : mapping of str to array-like of shape (n_checkpoints,)
        Scores of the checkpoints, oldest first, named as in
        :class:`~sk_arcal.diagnostics.CheckpointProfile`.
    averaged : mapping of str to float, default=None
        Scores of the mean of the last checkpoints.
    n_averaged : int, default=0
        How many these are.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.checkpoint_profile : The numbers behind the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import checkpoint_profile
    >>> from sk_arcal.displays import CheckpointDisplay
    >>> rng = np.random.default_rng(0)
    >>> log_odds = rng.normal(size=2000)
    >>> y_true = rng.random(2000) < 1 / (1 + np.exp(-log_odds))
    >>> noisy = log_odds + 2 * rng.normal(size=(8, 2000))
    >>> profile = checkpoint_profile(
    ...     y_true, 1 / (1 + np.exp(-noisy)), n_resamples=20, random_state=0
    ... )
    >>> frame = CheckpointDisplay.from_result(profile).frame()
    >>> list(frame.columns), frame.index[-1]
    (['accuracy', 'confidence', 'ece', 'ece_floor', 'log_loss'], 'mean of the last 5')
    """

    def __init__(
        self,
        curves: Mapping[str, FloatArray],
        *,
        averaged: Mapping[str, float] | None = None,
        n_averaged: int = 0,
    ) -> None:
        self.curves = dict(curves)
        self.averaged = dict(averaged or {})
        self.n_averaged = n_averaged

    @classmethod
    def from_result(
        cls, profile: CheckpointProfile, *, ax: Any = None, **options: Any
    ) -> "CheckpointDisplay":
        """Draw a profile of checkpoints.

        Parameters
        ----------
        profile : CheckpointProfile
            Of :func:`sk_arcal.diagnostics.checkpoint_profile`.
        ax : sequence of matplotlib Axes, default=None
            Where to draw: three, or four if the profile was made with routing. None makes a
            figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : CheckpointDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `profile` is something else.
        ValueError
            If `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("CheckpointDisplay")
        check_kind("profile", profile, CheckpointProfile, "checkpoint_profile")
        drawn = [line for panel in _PANELS for line in panel.lines if line.curve in profile.curves]
        ensemble = profile.ensemble
        return cls(
            {line.curve: profile.curves[line.curve] for line in drawn},
            averaged={
                line.averaged: ensemble.averaged[line.averaged] for line in drawn if line.averaged
            },
            n_averaged=ensemble.n_averaged,
        ).plot(ax, **options)

    def frame(self) -> Any:
        """Return the numbers as a table.

        Returns
        -------
        table : pandas.DataFrame
            One column per curve and one row per checkpoint, counted from 0, then one row for the
            mean of the last; NaN where that has no such score.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="CheckpointDisplay.frame")
        frame = pandas.DataFrame(self.curves).rename_axis("checkpoint")
        if not self.averaged:
            return frame
        mean = pandas.DataFrame([self.averaged], index=[f"mean of the last {self.n_averaged}"])
        return pandas.concat([frame, mean]).rename_axis("checkpoint")

    def plot(
        self, ax: Any = None, *, name: str | None = None, legend: bool = True
    ) -> "CheckpointDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one axes per panel; None makes a figure.
        name : str, default=None
            Title above the figure; None leaves it out. On axes that were given it is left out.
        legend : bool, default=True
            Whether to name the curves.

        Returns
        -------
        self : CheckpointDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("CheckpointDisplay.plot")
        shown = [panel for panel in _PANELS if panel.lines[0].curve in self.curves]
        axes = panels_of(plt, ax, len(shown), (3.1, 3.1), _COLUMNS)
        ink = plt.rcParams["text.color"]
        for one, panel in zip(axes, shown, strict=True):
            self._draw(one, panel, ink, legend)
        self.ax_, self.figure_ = axes, axes[0].figure
        if name is not None and ax is None:
            plain_heading(self.figure_, name)
        return self

    def _draw(self, ax: Any, panel: _Panel, ink: Any, legend: bool) -> None:
        """Draw the curves of one panel, and the mean of the last checkpoints."""
        styles = ({"color": LOW, "marker": "o", "markersize": 3.5}, {"color": ink, "alpha": 0.6})
        handles, labels = [], []
        for line, style in zip(panel.lines, styles, strict=False):
            if line.curve not in self.curves:
                continue
            values = panel.scale * np.asarray(self.curves[line.curve])
            handles += ax.plot(np.arange(len(values)), values, linewidth=1.5, **style)
            labels.append(line.words)
            if line.averaged in self.averaged:
                ends = (len(values) - self.n_averaged - 0.3, len(values) - 0.7)
                level = panel.scale * self.averaged[line.averaged]
                handles.append(ax.hlines(level, *ends, color=HIGH, linewidth=3))
                labels.append(f"mean of the last {self.n_averaged}")
        ax.set_title(panel.title, loc="left", fontsize="medium")
        ax.set_xlabel("Checkpoint")
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        few_ticks(ax, "y")
        ax.margins(y=0.08)
        bare(ax)
        if legend:
            legend_below(ax, handles, labels, "CheckpointDisplay")
