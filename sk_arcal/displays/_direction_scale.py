"""How calibration moves with the length of a shift along a direction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, check_vector, import_optional
from sk_arcal.calibration import CalibrationDirection
from sk_arcal.displays._base import HIGH, LOW, PALETTE, bare, pyplot
from sk_arcal.displays._rows import check_kind, few_ticks, legend_below, panels_of, plain_heading


class _Panel(NamedTuple):
    column: str
    title: str
    scale: float


_PANELS = (
    _Panel("ece", "Calibration error, ECE (points)", 100),
    _Panel("maximum_error", "Maximum error (points)", 100),
    _Panel("accuracy", "Accuracy (%)", 100),
    _Panel("log_loss", "Log loss (nats)", 1),
)
_COLUMNS = ("scale", *(panel.column for panel in _PANELS))
_TEMPERATURE: dict[str, Any] = {"color": PALETTE[2], "linewidth": 1.4, "linestyle": (0, (4, 3))}
# An accuracy that does not move is a line, not the rounding that fills the panel.
_LEAST_RANGE = 2.0


class DirectionScaleDisplay:
    """Errors and accuracy over the scale of a direction, beside its controls.

    One panel each for the expected calibration error, the maximum error and the accuracy. The
    filled point is the scale that was chosen; scale zero is the network as it is. The dashed line
    is what a temperature reaches, the crosses are random directions, each at its own best scale.

    Create it with :meth:`from_result`, or from a path and :meth:`plot`; every number that is drawn
    comes as a table from :meth:`frame`.

    Parameters
    ----------
    path : mapping of str to array-like of shape (n_scales,)
        `scale`, `ece`, `maximum_error`, `log_loss` and `accuracy`, as in
        :class:`~sk_arcal.calibration.CalibrationDirection`. A row that was chosen may stand in
        `chosen`: its number, or a mask.
    chosen : int, default=None
        Row of the path that was chosen; None takes that of the path.
    unit : float, default=1.0
        Scales are drawn as multiples of it, such as the median length of the hidden states.
    temperature : mapping of str to float, default=None
        Scores of temperature scaling on the same rows, by column.
    random : mapping of str to array-like of shape (n_directions,), default=None
        Scores of random directions on the same rows, by column, with their `scale`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        The figure.

    Raises
    ------
    ValueError
        If a column is missing, lengths differ, or no row has the number `chosen`.
    TypeError
        If a column does not hold numbers.

    See Also
    --------
    sk_arcal.calibration.CalibrationDirection : The direction and its path.

    Examples
    --------
    >>> from sk_arcal.displays import DirectionScaleDisplay
    >>> path = {
    ...     "scale": [-1, 0, 1], "ece": [0.20, 0.10, 0.02], "maximum_error": [0.4, 0.2, 0.1],
    ...     "log_loss": [1.1, 1.0, 0.9], "accuracy": [0.7, 0.7, 0.7],
    ... }
    >>> display = DirectionScaleDisplay(path, chosen=2, temperature={"ece": 0.03}).plot()
    >>> display.frame()["kind"].tolist()
    ['path', 'path', 'chosen', 'temperature']
    """

    def __init__(
        self,
        path: Mapping[str, ArrayLike],
        *,
        chosen: int | None = None,
        unit: float = 1.0,
        temperature: Mapping[str, float] | None = None,
        random: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.path = _table(path, _COLUMNS, "path")
        self.chosen = _row(path.get("chosen") if chosen is None else chosen, len(self.path["ece"]))
        self.unit = unit
        self.temperature = {name: float(value) for name, value in (temperature or {}).items()}
        self.random = {} if random is None else _table(random, ("scale",), "random")

    @classmethod
    def from_result(
        cls,
        direction: CalibrationDirection,
        *,
        temperature: Mapping[str, float] | None = None,
        random: Sequence[CalibrationDirection] | Mapping[str, ArrayLike] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> "DirectionScaleDisplay":
        """Draw the path of a fitted direction, in median lengths of the hidden states.

        Parameters
        ----------
        direction : CalibrationDirection
            Fitted.
        temperature : mapping of str to float, default=None
            Scores of temperature scaling on the rows held out, by column.
        random : sequence of CalibrationDirection or mapping, default=None
            Fitted controls, such as ``[direction.control("random", random_state=k) for k in
            range(5)]``, or their scores by column.
        ax : sequence of matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : DirectionScaleDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `direction` is something else.
        ValueError
            If `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("DirectionScaleDisplay")
        check_kind("direction", direction, CalibrationDirection, "CalibrationDirection().fit")
        if random is not None and not isinstance(random, Mapping):
            rows = [{k: v[one.chosen_] for k, v in one.path_.items()} for one in random]
            random = {name: [row[name] for row in rows] for name in _COLUMNS}
        return cls(
            direction.path_,
            chosen=direction.chosen_,
            unit=direction.unit_,
            temperature=temperature,
            random=random,
        ).plot(ax, **options)

    def frame(self) -> Any:
        """Return the numbers as a table.

        Returns
        -------
        table : pandas.DataFrame
            The path, then the controls; `kind` is "path", "chosen", "temperature" or "random",
            and scores that a control lacks are NaN.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="DirectionScaleDisplay.frame")
        path = pandas.DataFrame(self.path).assign(kind="path")
        if self.chosen is not None:
            path.loc[self.chosen, "kind"] = "chosen"
        parts = [path]
        if self.temperature:
            parts.append(pandas.DataFrame([self.temperature]).assign(kind="temperature"))
        if self.random:
            parts.append(pandas.DataFrame(self.random).assign(kind="random"))
        return pandas.concat(parts, ignore_index=True)

    def plot(
        self, ax: Any = None, *, name: str | None = None, log_loss: bool = False,
        legend: bool = True,
    ) -> "DirectionScaleDisplay":  # fmt: skip
        """Draw the figure.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one axes per panel; None makes a figure.
        name : str, default=None
            Title above the figure; None leaves it out. On axes that were given it is left out.
        log_loss : bool, default=False
            Whether to add a panel of the log loss.
        legend : bool, default=True
            Whether to name lines and points.

        Returns
        -------
        self : DirectionScaleDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("DirectionScaleDisplay.plot")
        panels = _PANELS[: 4 if log_loss else 3]
        axes = panels_of(plt, ax, len(panels), (3.3, 3.6), len(panels))
        for one, panel in zip(axes, panels, strict=True):
            entries = self._draw(one, panel)
            self._dress(one, panel, plt.rcParams["text.color"])
            if legend and one is axes[0]:
                handles, labels = zip(*entries, strict=True)
                legend_below(one, handles, labels, "DirectionScaleDisplay")
        self.ax_, self.figure_ = axes, axes[0].figure
        if name is not None and ax is None:
            plain_heading(self.figure_, name)
        return self

    def _draw(self, ax: Any, panel: _Panel) -> list[tuple[Any, str]]:
        """Draw path, choice and controls of one panel; return what a legend names."""
        x, values = self.path["scale"] / self.unit, panel.scale * self.path[panel.column]
        (line,) = ax.plot(x, values, color=LOW, linewidth=1.6, marker="o", markersize=2.5)
        entries = [(line, "along the direction")]
        if self.chosen is not None:
            point = ax.scatter(x[self.chosen], values[self.chosen], s=60, color=HIGH, zorder=4)
            entries.append((point, "scale chosen"))
        if panel.column in self.temperature:
            level = panel.scale * self.temperature[panel.column]
            entries.append((ax.axhline(level, **_TEMPERATURE), "temperature scaling"))
        if panel.column in self.random:
            scores = panel.scale * self.random[panel.column]
            places = self.random["scale"] / self.unit
            crosses = ax.scatter(places, scores, s=28, marker="x", color=PALETTE[3], zorder=3)
            entries.append((crosses, "random directions"))
        return entries

    def _dress(self, ax: Any, panel: _Panel, ink: Any) -> None:
        ax.axvline(0, color=ink, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.9)
        ax.set_title(panel.title, loc="left", fontsize="medium")
        lengths = self.unit != 1
        ax.set_xlabel("Scale (median lengths of the states)" if lengths else "Scale")
        low, high = ax.get_ylim()
        if panel.column == "accuracy" and high - low < _LEAST_RANGE:
            middle = (low + high) / 2
            ax.set_ylim(middle - _LEAST_RANGE, middle + _LEAST_RANGE)
        elif panel.scale != 1 and panel.column != "accuracy":
            ax.set_ylim(bottom=0)
        few_ticks(ax, "x")
        few_ticks(ax, "y")
        bare(ax)


def _table(
    columns: Mapping[str, ArrayLike], needed: Sequence[str], name: str
) -> dict[str, FloatArray]:
    """Return the known columns of a table, checked."""
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(f"`{name}` lacks the columns {missing}; it has {list(columns)}.")
    n_rows = np.size(columns[needed[0]])
    return {
        column: check_vector(columns[column], f"{name}[{column!r}]", n_samples=n_rows)
        for column in _COLUMNS
        if column in columns
    }


def _row(chosen: Any, n_rows: int) -> int | None:
    """Return the number of the chosen row from a number, a mask, or nothing."""
    if chosen is None:
        return None
    mask: NDArray[Any] = np.asarray(chosen)
    if mask.dtype == bool and mask.shape == (n_rows,) and mask.sum() == 1:
        return int(mask.argmax())
    if mask.dtype.kind in "iu" and mask.ndim == 0 and 0 <= mask < n_rows:
        return int(mask)
    raise ValueError(
        f"`chosen` must be the number of one of the {n_rows} rows of `path`, or a mask with one of "
        f"them; got {chosen!r}."
    )
