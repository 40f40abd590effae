"""The steps of fitting a calibration direction: settings, rows, direction, scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_length,
    check_number,
    check_option,
)
from sk_arcal.calibration._classes import align_classes, read_classes
from sk_arcal.calibration._layers._directions import contrastive_direction, correction_directions
from sk_arcal.calibration._layers._norms import hidden_blocks
from sk_arcal.calibration._layers._optimised_shift import ShiftObjective, optimised_shift
from sk_arcal.calibration._layers._scale_path import scale_grid, scale_path
from sk_arcal.calibration._layers._shifted_states import ShiftedStates
from sk_arcal.calibration._linear_readout import LinearReadout

METHODS = ("correction", "contrastive", "optimised")


@dataclass(frozen=True)
class DirectionSettings:
    """Checked parameters of a calibration direction."""

    method: str
    n_components: int
    null_space: bool
    scales: Any
    accuracy_tolerance: float
    criterion: str
    validation_fraction: float
    max_iter: int
    flip_penalty: float
    ridge: float
    classes: NDArray[Any] | None
    keep_rows: bool
    random_state: Any

    @classmethod
    def checked(cls, **given: Any) -> Self:
        """Return the parameters after a check of each."""
        method = check_option("method", given["method"], METHODS)
        n_components = check_integer("n_components", given["n_components"], low=1)
        if n_components > 1 and method != "correction":
            raise ValueError(
                f"method={method!r} has one direction; got `n_components`={n_components}. Only "
                "'correction' has principal axes."
            )
        check_option("criterion", given["criterion"], ("log_loss", "ece"))
        check_integer("max_iter", given["max_iter"], low=1)
        for name in ("accuracy_tolerance", "flip_penalty", "ridge"):
            check_number(name, given[name], low=0)
        check_number(
            "validation_fraction", given["validation_fraction"], low=0, high=1, strict=True
        )
        return cls(**{**given, "classes": read_classes(given["classes"])})

    def basis(self, readout: LinearReadout) -> FloatArray | None:
        """Return the rows to project out, if any."""
        if not self.null_space:
            return None
        if readout.norm == "none":
            raise ValueError(
                "A direction that a read-out without a norm does not see changes nothing. Pass "
                "null_space=False, or the norm in front of the head."
            )
        return readout.row_space()


@dataclass(frozen=True, eq=False)
class DirectionRows:
    """Rows of fit: states, class codes, which rows are held out, and the states of reference."""

    hidden: NDArray[Any]
    codes: NDArray[np.intp]
    held_out: NDArray[np.bool_]
    reference: NDArray[Any] | None = None


def direction_rows(
    hidden: NDArray[Any],
    y: ArrayLike,
    readout: Any,
    reference: Any,
    settings: DirectionSettings,
) -> tuple[DirectionRows, NDArray[Any], LinearReadout]:
    """Return checked rows, the sorted classes and the read-out with its rows sorted alike."""
    readout = _read_out(readout, hidden.shape[1])
    labels = column_or_1d(y, warn=True)
    check_classification_targets(labels)
    codes, classes, order = align_classes(labels, settings.classes, None, readout.n_classes)
    if (order != np.arange(len(order))).any():
        readout = _reordered(readout, order)
    if settings.method == "correction":
        reference = _reference(reference, hidden)
    rng = as_generator(settings.random_state)
    n = len(hidden)
    n_held_out = min(max(round(n * settings.validation_fraction), 1), n - 1)
    held_out = np.zeros(n, dtype=bool)
    held_out[rng.permutation(n)[:n_held_out]] = True
    return DirectionRows(hidden, codes.astype(np.intp), held_out, reference), classes, readout


def raw_directions(
    settings: DirectionSettings, readout: LinearReadout, rows: DirectionRows
) -> tuple[FloatArray, int]:
    """Return the parts of the shift, shape (k, d), before the projection, and the iterations."""
    fitted = ~rows.held_out
    if settings.method == "correction" and rows.reference is not None:
        parts = correction_directions(rows.hidden, rows.reference, fitted, settings.n_components)
        return parts, 1
    if settings.method == "contrastive":
        logits = readout.logits(rows.hidden).astype(np.float64)
        return contrastive_direction(rows.hidden, rows.codes, logits, fitted), 1
    objective = ShiftObjective(
        ShiftedStates(readout, rows.hidden[fitted]),
        rows.codes[fitted],
        unit=median_length(rows.hidden[fitted]),
        flip_penalty=settings.flip_penalty,
        ridge=settings.ridge,
        basis=settings.basis(readout),
    )
    return optimised_shift(objective, rows.hidden.shape[1], settings.max_iter)


def tune_scale(
    settings: DirectionSettings, readout: LinearReadout, rows: DirectionRows, direction: FloatArray
) -> tuple[dict[str, FloatArray], int, float]:
    """Return the path of scales on the rows held out, the row chosen, and the unit of length."""
    hidden = rows.hidden[rows.held_out]
    unit = median_length(hidden)
    path, chosen = scale_path(
        ShiftedStates(readout, hidden).along(direction),
        rows.codes[rows.held_out],
        scale_grid(settings.scales, unit),
        criterion=settings.criterion,
        tolerance=settings.accuracy_tolerance,
        refine=settings.scales is None,
    )
    return path, chosen, unit


def median_length(hidden: NDArray[Any]) -> float:
    """Return the median Euclidean length of the rows."""
    lengths = np.empty(len(hidden))
    for rows in hidden_blocks(hidden):
        lengths[rows] = np.linalg.norm(hidden[rows].astype(np.float64), axis=1)
    return float(np.median(lengths))


def _read_out(readout: Any, width: int) -> LinearReadout:
    if readout is None:
        raise ValueError("`readout` is missing: pass the norm and head as a LinearReadout.")
    if isinstance(readout, Mapping):
        readout = LinearReadout.from_dict(readout)
    if not isinstance(readout, LinearReadout):
        raise TypeError(
            f"`readout` must be a LinearReadout or a dictionary; got {type(readout).__name__}."
        )
    if readout.n_features != width:
        raise ValueError(
            f"`hidden` has width {width} and `readout` has width {readout.n_features}."
        )
    return readout


def _reordered(readout: LinearReadout, order: NDArray[np.intp]) -> LinearReadout:
    bias = None if readout.bias is None else readout.bias[order]
    return LinearReadout.from_dict(
        {**readout.to_dict(), "weight": readout.weight[order], "bias": bias}
    )


def _reference(reference: Any, hidden: NDArray[Any]) -> NDArray[Any]:
    if reference is None:
        raise ValueError(
            "method='correction' needs `reference`, the states of the same rows at the last layer."
        )
    states = check_array(reference, dtype=[np.float64, np.float32], input_name="reference")
    check_length("reference", states, len(hidden))
    if states.shape[1] != hidden.shape[1]:
        raise ValueError(
            f"`reference` has width {states.shape[1]} and `hidden` has width {hidden.shape[1]}."
        )
    return states
