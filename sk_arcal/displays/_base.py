"""What every display needs: matplotlib on demand, colours, and the event of an estimator."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, import_optional

# Okabe and Ito's colour-blind safe set, its darkest blue and palest yellow left out: every entry
# keeps a contrast of 3 : 1 to white paper and to a dark page.
PALETTE = ("#2b83ba", "#d55e00", "#009e73", "#cc6fa8", "#b8860b", "#7a7fd0")
# Ends and middle of the ramp for ordered strata, and of the diverging map.
LOW, MIDDLE, HIGH = "#2b83ba", "#8f8f99", "#d9661f"


def pyplot(caller: str) -> ModuleType:
    """Import matplotlib's plotting functions, or say what to install."""
    return import_optional("matplotlib.pyplot", extra="report", caller=caller)


def model_colors(n_colors: int) -> list[str]:
    """Return colours for unordered things; they repeat after the length of the palette."""
    return [PALETTE[index % len(PALETTE)] for index in range(n_colors)]


def stratum_colors(n_colors: int) -> list[Any]:
    """Return colours for ordered strata, from low to high."""
    colors = import_optional("matplotlib.colors", extra="report", caller="displays")
    ramp = colors.LinearSegmentedColormap.from_list("strata", [LOW, MIDDLE, HIGH])
    return [ramp(position) for position in np.linspace(0, 1, n_colors)]


def shorten(text: str, longest: int = 40) -> str:
    """Return `text` on one line and no longer than a figure has room for."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plain_title(ax: Any, text: str, **kwargs: object) -> None:
    """Set a title in which a dollar sign is a dollar sign."""
    ax.set_title(shorten(text), loc="left", **kwargs).set_parse_math(False)


def plain_legend(ax: Any, handles: Sequence[Any], labels: Sequence[str], **kwargs: object) -> Any:
    """Draw a legend whose labels may begin with an underscore or hold dollar signs."""
    # matplotlib drops labels that begin with "_", so the words are put in afterwards
    legend = ax.legend(handles, [f"label {i}" for i in range(len(labels))], **kwargs)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)
    return legend


def bare(ax: Any) -> None:
    """Remove the box around the axes, keeping left and bottom lines."""
    ax.spines[["top", "right"]].set_visible(False)


def percent(value: float, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return f"{100 * value:.{digits}f} %"


def event_of_estimator(
    estimator: Any, X: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Return whether the event happened and its probability, both of shape (n_samples,).

    With two classes the event is ``y == classes_[1]``; with more it is "the most probable class
    was the right one".
    """
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            "`estimator` must have `predict_proba`; "
            f"{type(estimator).__name__} does not. Calibrate it first or use `from_predictions`."
        )
    probability = np.asarray(estimator.predict_proba(X))
    classes, labels = np.asarray(estimator.classes_), np.asarray(y)
    if labels.shape != (len(probability),):
        raise ValueError(
            f"`y` must have one label per row of `X`; got shape {labels.shape} "
            f"for {len(probability)} rows."
        )
    known = np.isin(labels, classes)
    if not (known.all() if len(classes) == 2 else known.any()):
        raise ValueError(
            f"`y` must hold the classes of `estimator`, {classes.tolist()}; "
            f"row {int(np.argmin(known))} holds {labels[np.argmin(known)]!r}."
        )
    if len(classes) == 2:
        return labels == classes[1], probability[:, 1]
    return labels == classes[probability.argmax(axis=1)], probability.max(axis=1)


def only_routing_column(estimator: Any) -> int:
    """Return the position of the routing column of a calibrator that has one."""
    roles = getattr(estimator, "column_roles_", None)
    if roles is None or len(roles.routing) != 1:
        found = "none" if roles is None else str(len(roles.routing))
        raise ValueError(
            "`routing` may be left out only for a calibrator with exactly one routing column; "
            f"this one has {found}. Name a column of `X` or pass the feature."
        )
    return int(roles.routing[0])


def column_of(X: Any, column: str | int | np.integer) -> Any:
    """Return one column of an array or a table."""
    if isinstance(column, str):
        if column not in getattr(X, "columns", ()):
            names = list(getattr(X, "columns", ()))
            raise ValueError(f"`routing` names the column {column!r}; `X` has {names}.")
        return np.asarray(X[column])
    return np.asarray(X)[:, int(column)]
