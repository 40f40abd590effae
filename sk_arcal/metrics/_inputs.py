"""What the metrics accept: events with probabilities, or labels with one column per class.

A weight is a number of repetitions here, so rows of weight zero are taken out before anything
is computed.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    as_probability_matrix,
    check_events,
    check_finite,
    check_length,
    check_probabilities,
    check_probability_matrix,
    check_weights,
    probability_rows,
    value_range,
)

Codes = NDArray[np.intp]

# Dtypes a class label may have: booleans, numbers, and the kinds of string.
_LABEL_KINDS = "biufUST"
_STRING_KINDS = "UST"


def event_inputs(
    y_true: ArrayLike, y_prob: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return events, probabilities and weights of the rows with positive weight."""
    events = check_events(y_true)
    probability = check_probabilities(y_prob, n_samples=len(events))
    weight = check_weights(sample_weight, len(events))
    if sample_weight is None or weight.all():
        return events, probability, weight
    present = weight > 0
    return events[present], probability[present], weight[present]


def class_inputs(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> tuple[Codes, FloatArray, FloatArray]:
    """Return class codes, probabilities (n_samples, n_classes) and weights of the present rows."""
    codes, given, weight = class_rows(y_true, y_prob, labels, sample_weight)
    probability = check_probability_matrix(given)
    return codes, probability, np.ones(len(codes)) if weight is None else weight


def class_rows(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> tuple[Codes, FloatArray, FloatArray | None]:
    """Return class codes, probabilities yet to be checked, and weights, None for one each."""
    array = as_labels(y_true, "y_true")
    given = as_probability_matrix(y_prob, n_samples=len(array))
    weight = None if sample_weight is None else check_weights(sample_weight, len(array))
    if weight is not None and not weight.all():
        # Rows that are left out are checked with the others.
        deque(probability_rows(given), maxlen=0)
        present = weight > 0
        array, given, weight = array[present], given[present], weight[present]
    classes = _column_classes(array, labels, given.shape[1])
    return encode_labels(array, classes, "y_true"), given, weight


def as_labels(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return class labels as a 1-D array of strings or numbers."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n_samples,); got shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"`{name}` is empty; at least one row is needed.")
    if array.dtype.kind == "O":
        # Columns of data frames hold strings as objects; let numpy find their common type.
        array = np.asarray(array.tolist())
    if array.dtype.kind not in _LABEL_KINDS or array.ndim != 1:
        raise TypeError(
            f"`{name}` must hold class labels, all strings or all numbers; "
            f"got values of type {array.dtype} (missing labels are not allowed)."
        )
    if array.dtype.kind == "f":
        check_finite(array, name)
    return array


def encode_labels(array: NDArray[Any], classes: NDArray[Any], name: str) -> Codes:
    """Return the position of every label among `classes`, or raise on a label not among them."""
    if (array.dtype.kind in _STRING_KINDS) != (classes.dtype.kind in _STRING_KINDS):
        raise TypeError(
            f"`{name}` holds values of type {array.dtype} while the classes are of type "
            f"{classes.dtype}; give both as strings or both as numbers."
        )
    if _are_columns(array, classes):
        return array.astype(np.intp, copy=False)
    order = np.argsort(classes)
    position = np.minimum(np.searchsorted(classes, array, sorter=order), len(classes) - 1)
    codes = order[position]
    unknown = classes[codes] != array
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise ValueError(
            f"`{name}` holds the label {array[row].item()!r} in row {row}, which is not among "
            f"the {len(classes)} classes {_listed(classes)}."
        )
    return codes


def _are_columns(array: NDArray[Any], classes: NDArray[Any]) -> bool:
    """Whether labels are column numbers already."""
    if array.dtype.kind not in "iu" or classes.dtype.kind not in "iu" or array.size == 0:
        return False
    low, high = value_range(array)
    return bool(low >= 0 and high < len(classes) and (classes == np.arange(len(classes))).all())


def _distinct(array: NDArray[Any]) -> NDArray[Any]:
    """Return the sorted labels; small integers are counted, not sorted."""
    if array.dtype.kind in "iu":
        low, high = value_range(array)
        if low >= 0 and high < len(array):
            return np.flatnonzero(np.bincount(array.astype(np.intp))).astype(array.dtype)
    return np.unique(array)


def _column_classes(array: NDArray[Any], labels: ArrayLike | None, n_classes: int) -> NDArray[Any]:
    """Return the class each probability column stands for."""
    if labels is None:
        found = _distinct(array)
        if len(found) != n_classes:
            raise ValueError(
                f"`y_true` holds {len(found)} different labels and `y_prob` has {n_classes} "
                "columns, so which column belongs to which class is not known. Pass `labels`, "
                "the class of every column in order (for a classifier: `classes_`)."
            )
        return found
    classes = as_labels(labels, "labels")
    check_length("labels", classes, n_classes)
    if len(np.unique(classes)) != n_classes:
        raise ValueError(f"`labels` must name every class once; got {_listed(classes)}.")
    return classes


def _listed(classes: NDArray[Any]) -> str:
    shown = ", ".join(repr(label) for label in classes[:10].tolist())
    return f"[{shown}, ...]" if len(classes) > 10 else f"[{shown}]"
