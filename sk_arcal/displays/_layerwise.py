"""Accuracy, confidence and calibration over the layers of a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import as_generator, check_integer
from sk_arcal.diagnostics._calibration_phases import CalibrationPhases, calibration_phases
from sk_arcal.diagnostics._layerwise import LayerwiseCalibration, layerwise_calibration
from sk_arcal.displays._base import pyplot
from sk_arcal.displays._curves import FloorSettings, ReliabilityCurve, curves_of_models
from sk_arcal.displays._layer_panels import (
    draw_accuracy,
    draw_error,
    draw_loss,
    name_layers,
    shade,
)
from sk_arcal.displays._reliability import ReliabilityDisplay
from sk_arcal.displays._rows import check_kind, legend_below, panels_of, plain_heading


class LayerwiseCalibrationDisplay:
    """Accuracy, confidence and calibration over the layers of a network.

    The first panel has accuracy, with its interval, beside the mean confidence; the second the
    expected calibration error, the interval of that error without its bias, and the error of a
    calibrated layer of the same confidences. With phases, the stretch from the start of the plateau
    to the peak of the error and the stretch of correction after it are shaded.

    Create it with :meth:`from_predictions` or :meth:`from_result`; every number that is drawn
    comes as a table from :meth:`frame`.

    Parameters
    ----------
    layerwise : LayerwiseCalibration
        Of :func:`sk_arcal.diagnostics.layerwise_calibration`.
    phases : CalibrationPhases, default=None
        Of :func:`sk_arcal.diagnostics.calibration_phases`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.layerwise_calibration : The numbers behind the picture.
    CheckpointDisplay : The same over training instead of depth.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.displays import LayerwiseCalibrationDisplay
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(500, 4))
    >>> y_true = (logits + rng.gumbel(size=(500, 4))).argmax(axis=1)
    >>> layer_scores = np.stack([0 * logits, 3 * logits, logits], axis=1)
    >>> display = LayerwiseCalibrationDisplay.from_predictions(
    ...     y_true, layer_scores, n_resamples=10, random_state=0
    ... )
    >>> display.frame()["layer"].tolist()
    [0, 1, 2]
    """

    def __init__(
        self, layerwise: LayerwiseCalibration, *, phases: CalibrationPhases | None = None
    ) -> None:
        self.layerwise = layerwise
        self.phases = phases

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike | None,
        layer_scores: Any,
        *,
        phases: bool = False,
        groups: ArrayLike | None = None,
        random_state: object = None,
        ax: Any = None,
        name: str | None = None,
        log_loss: bool = False,
        legend: bool = True,
        **settings: Any,
    ) -> "LayerwiseCalibrationDisplay":
        """Measure the layers and draw them.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or None
            True labels, as in :func:`sk_arcal.diagnostics.layerwise_calibration`.
        layer_scores : array-like, mapping, sequence or iterator
            Scores of the layers, as there.
        phases : bool, default=False
            Whether to look for phases of calibration and shade them.
        groups : array-like of shape (n_samples,), default=None
            Dependent rows, for the phases.
        random_state : int, RandomState, Generator or None, default=None
            Source of the samples.
        ax : sequence of matplotlib Axes, default=None
            As in :meth:`plot`.
        name : str, default=None
            As in :meth:`plot`.
        log_loss : bool, default=False
            As in :meth:`plot`.
        legend : bool, default=True
            As in :meth:`plot`.
        **settings : dict
            Further arguments of :func:`sk_arcal.diagnostics.layerwise_calibration`.

        Returns
        -------
        display : LayerwiseCalibrationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As :func:`sk_arcal.diagnostics.layerwise_calibration`.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("LayerwiseCalibrationDisplay")
        measure_rng, phase_rng = as_generator(random_state).spawn(2)
        layers = layerwise_calibration(y_true, layer_scores, random_state=measure_rng, **settings)
        found = (
            calibration_phases(layers, level=layers.level, groups=groups, random_state=phase_rng)
            if phases
            else None
        )
        return cls(layers, phases=found).plot(ax, name=name, log_loss=log_loss, legend=legend)

    @classmethod
    def from_result(
        cls,
        layerwise: LayerwiseCalibration,
        *,
        phases: CalibrationPhases | None = None,
        ax: Any = None,
        **options: Any,
    ) -> "LayerwiseCalibrationDisplay":
        """Draw layers that were measured.

        Parameters
        ----------
        layerwise : LayerwiseCalibration
            Of :func:`sk_arcal.diagnostics.layerwise_calibration`.
        phases : CalibrationPhases, default=None
            Of :func:`sk_arcal.diagnostics.calibration_phases`, to be shaded.
        ax : sequence of matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : LayerwiseCalibrationDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If an argument is something else.
        ValueError
            If `phases` are of other layers, or `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("LayerwiseCalibrationDisplay")
        check_kind("layerwise", layerwise, LayerwiseCalibration, "layerwise_calibration")
        if phases is not None:
            check_kind("phases", phases, CalibrationPhases, "calibration_phases")
            if phases.layers != layerwise.layers:
                raise ValueError("`phases` are of other layers than `layerwise`.")
        return cls(layerwise, phases=phases).plot(ax, **options)

    def frame(self) -> Any:
        """Return the numbers as a table.

        Returns
        -------
        table : pandas.DataFrame
            That of :meth:`sk_arcal.diagnostics.LayerwiseCalibration.to_frame`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return self.layerwise.to_frame()

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        log_loss: bool = False,
        legend: bool = True,
    ) -> "LayerwiseCalibrationDisplay":
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
            Whether to name lines, bands and phases.

        Returns
        -------
        self : LayerwiseCalibrationDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `ax` does not hold an axes per panel.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("LayerwiseCalibrationDisplay.plot")
        panels = (draw_accuracy, draw_error, draw_loss)[: 3 if log_loss else 2]
        axes = panels_of(plt, ax, len(panels), (4.3, 4.3), len(panels))
        ink = plt.rcParams["text.color"]
        for one, draw in zip(axes, panels, strict=True):
            entries = draw(one, self.layerwise, ink)
            phases = shade(one, self.phases, ink)
            name_layers(one, self.layerwise.layers)
            if legend:
                handles, labels = zip(*entries, *phases, strict=True)
                legend_below(one, handles, labels, "LayerwiseCalibrationDisplay")
        self.ax_, self.figure_ = axes, axes[0].figure
        if name is not None and ax is None:
            plain_heading(self.figure_, name)
        return self

    def plot_reliability(
        self,
        layers: Sequence[Any] | None = None,
        *,
        n_resamples: int = 200,
        random_state: object = None,
        ax: Any = None,
        **options: Any,
    ) -> ReliabilityDisplay:
        """Draw the reliability diagrams of some layers into one picture.

        Parameters
        ----------
        layers : sequence, default=None
            Names of the layers, or their positions where no layer has that name. None takes the
            start of the plateau, the peak and the last layer if there are phases, or else the
            first, the middle and the last one.
        n_resamples : int, default=200
            Draws behind the noise floors, at least 2; 0 leaves them out.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the noise floors.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`ReliabilityDisplay.plot`.

        Returns
        -------
        display : ReliabilityDisplay
            The diagram, drawn; each layer has an event of its own.

        Raises
        ------
        ValueError
            If a layer is unknown.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("LayerwiseCalibrationDisplay.plot_reliability")
        places = self._default_places() if layers is None else [self._place(x) for x in layers]
        floor = FloorSettings(
            check_integer("n_resamples", n_resamples, low=0), as_generator(random_state)
        )
        result = self.layerwise
        curves: list[ReliabilityCurve] = []
        for place in dict.fromkeys(places):
            event = result.event[:, place].astype(np.float64)
            trust = {f"layer {result.layers[place]}": result.confidence[:, place].astype(float)}
            curves += curves_of_models(event, trust, ("auto", "quantile"), floor)
        return ReliabilityDisplay(curves).plot(ax, **options)

    def _default_places(self) -> list[int]:
        last = len(self.layerwise.layers) - 1
        if self.phases is None:
            return [0, last // 2, last]
        return [self.phases.plateau_start, self.phases.peak, last]

    def _place(self, layer: Any) -> int:
        """Return the position of a layer given by name or position."""
        names = self.layerwise.layers
        if layer in names:
            return names.index(layer)
        if isinstance(layer, (int, np.integer)) and -len(names) <= layer < len(names):
            return int(layer) % len(names)
        raise ValueError(
            f"`layers` asks for {layer!r}; the layers are {[*names[:10]]}"
            f"{' and more' if len(names) > 10 else ''}."
        )
