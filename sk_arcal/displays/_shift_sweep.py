"""How the calibration error of models moves while a shift grows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal.diagnostics._shift_sweep import ShiftSweep, ShiftSweepRow, shift_sweep
from sk_arcal.displays._base import bare, model_colors, percent, plain_title, pyplot, shorten
from sk_arcal.displays._rows import check_kind, few_ticks, legend_below

# Numbers along the upper axis that have room beside each other.
_MOST_ROWS = 6
_BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}
_FLOOR: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 3))}


class ShiftSweepDisplay:
    """Calibration error of one or several models over the severity of a shift.

    Lines are the expected calibration error, bands the interval of the error without its bias, and
    the dashed line of the same colour is what a calibrated model would read under the same
    weights. The upper axis counts the effective rows: where they run out, the floor rises.

    Create it with :meth:`from_predictions` or :meth:`from_result`; every number that is drawn
    comes as a table from :meth:`frame`.

    Parameters
    ----------
    sweep : ShiftSweep
        Of :func:`sk_arcal.diagnostics.shift_sweep`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.shift_sweep : The numbers behind the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import tilt_weights
    >>> from sk_arcal.displays import ShiftSweepDisplay
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=500)
    >>> y_true = rng.random(500) < p**1.5
    >>> display = ShiftSweepDisplay.from_predictions(
    ...     y_true, p, lambda t: tilt_weights(p, t), [-1, 0, 1], n_resamples=10, random_state=0
    ... )
    >>> display.frame()["severity"].tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(self, sweep: ShiftSweep) -> None:
        self.sweep = sweep

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_prob: ArrayLike | Mapping[str, ArrayLike],
        shift: Callable[[float], ArrayLike],
        severities: ArrayLike,
        *,
        n_bins: int = 15,
        level: float = 0.95,
        n_resamples: int = 200,
        random_state: object = None,
        n_jobs: int | None = None,
        ax: Any = None,
        **options: Any,
    ) -> "ShiftSweepDisplay":
        """Compute the errors and draw them.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Observed events, 0 or 1.
        y_prob : array-like of shape (n_samples,), or mapping of str to such
            Probability of the event; of several models, by name.
        shift : callable
            Severity to row weights.
        severities : array-like of shape (n_severities,)
            Severities.
        n_bins : int, default=15
            Confidence bins of equal width.
        level : float, default=0.95
            Coverage of the bands.
        n_resamples : int, default=200
            Samples behind every interval and floor.
        random_state : int, RandomState, Generator or None, default=None
            Source of the samples.
        n_jobs : int, default=None
            Number of joblib workers.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : ShiftSweepDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As :func:`sk_arcal.diagnostics.shift_sweep`.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("ShiftSweepDisplay")
        sweep = shift_sweep(
            y_true, y_prob, shift, severities, n_bins=n_bins, level=level,
            n_resamples=n_resamples, random_state=random_state, n_jobs=n_jobs,
        )  # fmt: skip
        return cls(sweep).plot(ax, **options)

    @classmethod
    def from_result(
        cls, sweep: ShiftSweep, *, ax: Any = None, **options: Any
    ) -> "ShiftSweepDisplay":
        """Draw a sweep.

        Parameters
        ----------
        sweep : ShiftSweep
            Of :func:`sk_arcal.diagnostics.shift_sweep`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : ShiftSweepDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `sweep` is something else.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("ShiftSweepDisplay")
        check_kind("sweep", sweep, ShiftSweep, "shift_sweep")
        return cls(sweep).plot(ax, **options)

    def frame(self) -> Any:
        """Return the numbers as a table.

        Returns
        -------
        table : pandas.DataFrame
            That of :meth:`sk_arcal.diagnostics.ShiftSweep.to_frame`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return self.sweep.to_frame()

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        severity_name: str = "Severity of the shift",
        legend: bool = True,
    ) -> "ShiftSweepDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Title; None leaves it out.
        severity_name : str, default="Severity of the shift"
            Label of the lower axis.
        legend : bool, default=True
            Whether to name lines and bands.

        Returns
        -------
        self : ShiftSweepDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("ShiftSweepDisplay.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=(6.0, 4.2), layout="constrained")
        models: dict[str, list[ShiftSweepRow]] = {}
        for row in self.sweep.rows:
            models.setdefault(row.model, []).append(row)
        ink = plt.rcParams["text.color"] if len(models) > 1 else model_colors(1)[0]
        handles, labels = [], []
        for (model, rows), color in zip(models.items(), model_colors(len(models)), strict=True):
            handles.append(_draw_model(ax, rows, color))
            labels.append(shorten(model) if len(models) > 1 else "ECE")
        handles += [ax.fill_between([], [], color=ink, **_BAND), *ax.plot([], color=ink, **_FLOOR)]
        labels += [
            f"{percent(self.sweep.level, 0)} interval of the error without its bias",
            "ECE of a calibrated model",
        ]
        _count_rows(ax, next(iter(models.values())))
        ax.set_xlabel(shorten(severity_name)).set_parse_math(False)
        ax.set_ylabel("ECE (points)")
        ax.set_ylim(bottom=0)
        few_ticks(ax, "x", 6)
        few_ticks(ax, "y")
        bare(ax)
        if legend:
            legend_below(ax, handles, labels, "ShiftSweepDisplay")
        if name is not None:
            plain_title(ax, name, pad=10)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _draw_model(ax: Any, rows: list[ShiftSweepRow], color: str) -> Any:
    """Draw error, band and floor of one model over the sorted severities; return the error."""
    numbers = np.array([(r.severity, r.ece, r.low, r.high, r.floor) for r in rows])
    severity, *errors = numbers[np.argsort(numbers[:, 0], kind="stable")].T
    ece, low, high, floor = (100 * values for values in errors)
    ax.fill_between(severity, low, high, color=color, **_BAND)
    if len(severity) == 1:
        # Neither a band nor a line has an extent at a single place.
        ax.vlines(severity, low, high, color=color, alpha=0.5, linewidth=3)
        ax.plot(severity, floor, color=color, marker="_", markersize=14)
    ax.plot(severity, floor, color=color, **_FLOOR)
    (line,) = ax.plot(severity, ece, color=color, marker="o", markersize=4, linewidth=1.6)
    return line


def _count_rows(ax: Any, rows: list[ShiftSweepRow]) -> None:
    """Write the effective rows along the upper axis, at severities with room between them."""
    points = dict(sorted((row.severity, row.effective_rows) for row in rows))
    places = np.array(list(points))
    room = np.ptp(places) / _MOST_ROWS
    shown = [places[0]]
    for place in places[1:]:
        if place - shown[-1] >= room:
            shown.append(place)
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(shown, [f"{points[place]:.0f}" for place in shown])
    upper.tick_params(length=2, labelsize="small")
    upper.spines["top"].set_visible(False)
    upper.set_xlabel("Effective rows", fontsize="small")
