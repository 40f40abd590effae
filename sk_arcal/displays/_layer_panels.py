"""The panels of a picture over depth; each function returns what a legend would name."""

from itertools import takewhile
from typing import Any

import numpy as np

from sk_arcal.diagnostics._calibration_phases import CalibrationPhases
from sk_arcal.diagnostics._layerwise import LayerwiseCalibration
from sk_arcal.displays._base import HIGH, LOW, bare, percent, shorten
from sk_arcal.displays._rows import few_ticks

Entries = list[tuple[Any, str]]

# Letters below a panel, blank ones between two names, and those of a name and of a stem.
_LETTERS, _GAP, _LONGEST_NAME, _LONGEST_STEM = 40, 2, 12, 24
_BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}
_LINE: dict[str, Any] = {"linewidth": 1.6, "marker": "o", "markersize": 3.5}
_PHASE: dict[str, Any] = {"alpha": 0.14, "linewidth": 0, "zorder": 0}
_FLOOR: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 3)), "alpha": 0.8}


def draw_accuracy(ax: Any, layerwise: LayerwiseCalibration, ink: Any) -> Entries:
    """Draw accuracy with its interval, and the mean confidence."""
    table, places = layerwise.table, np.arange(len(layerwise.layers))
    low, high = 100 * table["accuracy_low"], 100 * table["accuracy_high"]
    band = ax.fill_between(places, low, high, color=LOW, **_BAND)
    (accuracy,) = ax.plot(places, 100 * table["accuracy"], color=LOW, **_LINE)
    (trust,) = ax.plot(places, 100 * table["confidence"], color=ink, alpha=0.7, linewidth=1.6)
    # The probability of one event goes with how often it comes, not with accuracy.
    words = "mean probability of the event" if layerwise.one_event else "mean confidence"
    ax.set_title("Accuracy and confidence (%)", loc="left", fontsize="medium")
    return [
        (accuracy, "accuracy"),
        (band, f"{percent(layerwise.level, 0)} interval"),
        (trust, words),
    ]


def draw_error(ax: Any, layerwise: LayerwiseCalibration, ink: Any) -> Entries:
    """Draw the calibration error, the interval of the corrected one, and the floor."""
    table, places = layerwise.table, np.arange(len(layerwise.layers))
    low, high = 100 * table["ece_low"], 100 * table["ece_high"]
    band = ax.fill_between(places, low, high, color=HIGH, **_BAND)
    (error,) = ax.plot(places, 100 * table["ece"], color=HIGH, **_LINE)
    (floor,) = ax.plot(places, 100 * table["ece_floor"], color=ink, **_FLOOR)
    ax.set_ylim(bottom=0)
    ax.set_title("Calibration error, ECE (points)", loc="left", fontsize="medium")
    return [
        (error, "ECE"),
        (band, f"{percent(layerwise.level, 0)} interval without its bias"),
        (floor, "ECE of a calibrated layer"),
    ]


def draw_loss(ax: Any, layerwise: LayerwiseCalibration, ink: Any) -> Entries:
    """Draw the log loss."""
    places = np.arange(len(layerwise.layers))
    (loss,) = ax.plot(places, layerwise.table["log_loss"], color=ink, **_LINE)
    ax.set_title("Log loss (nats)", loc="left", fontsize="medium")
    return [(loss, "log loss")]


def shade(ax: Any, phases: CalibrationPhases | None, ink: Any) -> Entries:
    """Shade the phases; where no correction is shown, mark the plateau alone."""
    if phases is None:
        return []
    start, peak, last = phases.plateau_start, phases.peak, len(phases.layers) - 1
    if not phases.present:
        line = ax.axvline(start, color=ink, linewidth=1, linestyle=(0, (1, 2)), zorder=0.9)
        return [(line, "start of the plateau; no correction shown")]
    correction = (ax.axvspan(peak, last, color=LOW, **_PHASE), "correction")
    if peak == start:
        return [correction]
    return [(ax.axvspan(start, peak, color=HIGH, **_PHASE), "plateau to peak"), correction]


def name_layers(ax: Any, layers: tuple[Any, ...]) -> None:
    """Name layers along the lower axis, as many as have room."""
    last, label = len(layers) - 1, "Layer"
    if layers == tuple(range(len(layers))):
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=7)
    else:
        stem, names = _without_stem([str(layer) for layer in layers])
        # Counted from the end, which always has its name.
        places = np.arange(last, -1, -_stride(names))[::-1]
        ax.set_xticks(places, [names[place] for place in places])
        for text in ax.get_xticklabels():
            text.set_parse_math(False)
        label = f"Layer of {shorten(stem[:-1], _LONGEST_STEM)}" if stem else label
    margin = 0.03 * max(last, 1)
    ax.set_xlim(-margin, last + margin)
    ax.set_xlabel(label).set_parse_math(False)
    few_ticks(ax, "y")
    bare(ax)


def _without_stem(names: list[str]) -> tuple[str, list[str]]:
    """Return what all names begin with, up to a separator, and the short rest of each."""
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    stem = "".join(letters[0] for letters in shared) if len(names) > 1 else ""
    stem = stem[: max(stem.rfind(sign) for sign in "._/- ") + 1]
    return stem, [shorten(name[len(stem) :], _LONGEST_NAME) for name in names]


def _stride(names: list[str]) -> int:
    """Return every how many layers a name has room."""
    return -(-len(names) * (max(map(len, names)) + _GAP) // _LETTERS)
