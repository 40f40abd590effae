"""Which class each confidence column stands for.

A calibration set often lacks a rare class, so the labels alone do not say. In this order: the
`classes` parameter; class names in the column names; as many labels as columns; integer labels
inside range(K).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def read_classes(classes: ArrayLike | None) -> NDArray[Any] | None:
    """Return the `classes` parameter as an array; raise if it is no list of different labels."""
    if classes is None:
        return None
    try:
        given = np.asarray(classes)
        distinct = np.unique(given)
    except (TypeError, ValueError):
        raise ValueError(f"`classes` must hold labels of one kind; got {classes!r}.") from None
    if given.ndim != 1 or len(distinct) != len(given) or not len(given):
        raise ValueError(f"`classes` must be a list of different labels; got {classes!r}.")
    return given


def align_classes(
    y: NDArray[Any],
    classes: NDArray[Any] | None,
    named: tuple[str, ...] | None,
    n_columns: int,
) -> tuple:
    """Encode labels and order the confidence columns by sorted class.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    classes : ndarray of shape (n_classes,) or None
        Class of each confidence column; two entries, (no event, event), for a single column.
    named : tuple of str or None
        Class names found in the column names.
    n_columns : int
        Number of confidence columns.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        Position of every label in `sorted_classes`, as float64.
    sorted_classes : ndarray of shape (n_classes,)
        What becomes ``classes_``.
    order : ndarray of shape (n_classes,)
        ``column_classes[order] == sorted_classes``.

    Raises
    ------
    ValueError
        If labels and columns do not fit together.
    """
    column_classes = _column_classes(y, classes, named, n_columns)
    order = np.argsort(column_classes, kind="stable")
    sorted_classes = column_classes[order]
    try:
        codes = np.searchsorted(sorted_classes, y)
        known = sorted_classes[np.minimum(codes, len(sorted_classes) - 1)] == y
    except TypeError:
        raise ValueError(
            f"y holds labels of type {y.dtype}, which cannot be compared with the classes "
            f"{column_classes.tolist()} of the confidence columns."
        ) from None
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise ValueError(
            f"Row {row} of y holds {y.tolist()[row]!r}, which is none of the classes "
            f"{column_classes.tolist()} of the confidence columns."
        )
    return codes.astype(np.float64), sorted_classes, order


def _column_classes(
    y: NDArray[Any],
    classes: NDArray[Any] | None,
    named: tuple[str, ...] | None,
    n_columns: int,
) -> NDArray[Any]:
    labels = np.unique(y)
    n_classes = max(n_columns, 2)
    if classes is not None:
        if len(classes) != n_classes:
            raise ValueError(
                f"`classes` must name {n_classes} different classes, one per confidence column "
                f"(two for a single column); got {classes.tolist()}."
            )
        return classes
    if named is not None and n_columns > 1:
        return _classes_from_names(labels, named)
    if len(labels) == n_classes:
        # A single column named after the first class is the score of that class.
        swapped = named is not None and n_columns == 1 and named[0] == label_name(labels[0])
        return labels[::-1] if swapped else labels
    if n_columns == 1 or (n_columns == 2 and len(labels) > 2):
        return _refuse_for_an_event(labels, n_columns)
    if np.issubdtype(labels.dtype, np.integer) and labels[0] >= 0 and labels[-1] < n_columns:
        return np.arange(n_columns, dtype=labels.dtype)
    raise ValueError(
        f"There are {n_columns} confidence columns but y holds {len(labels)} classes, "
        f"{labels[:10].tolist()}. Say which class each column stands for: classes=[...]."
    )


def _classes_from_names(labels: NDArray[Any], named: tuple[str, ...]) -> NDArray[Any]:
    by_name = {label_name(label): label for label in labels.tolist()}
    unknown = sorted(set(by_name) - set(named))
    if unknown:
        raise ValueError(
            f"y holds {unknown}, but the confidence columns are named after {list(named)}. "
            "Rename the columns or say classes=[...]."
        )
    try:
        found = [by_name[n] if n in by_name else _label(n, labels.dtype) for n in named]
    except (ValueError, OverflowError):
        raise ValueError(
            f"The confidence columns are named after {list(named)}, which are not all of the type "
            f"of the labels ({labels.dtype}). Say classes=[...]."
        ) from None
    return np.asarray(found, dtype=None if labels.dtype.kind in "US" else labels.dtype)


def label_name(label: Any) -> str:
    """Return what a column of this label is called; the label 1.0 is that of column 1."""
    return f"{label:.0f}" if isinstance(label, float) and label.is_integer() else str(label)


def _label(name: str, dtype: np.dtype[Any]) -> Any:
    """Read a label that y lacks from the name of its column."""
    if dtype.kind == "b" and name not in {"False", "True"}:
        raise ValueError(name)
    return name == "True" if dtype.kind == "b" else dtype.type(name)


def refuse_gaps(labels: NDArray[Any], n_features: int) -> None:
    """Refuse to guess the columns of integer labels that leave gaps.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Sorted labels found in y.
    n_features : int
        Columns of X. If they are enough for one per integer, 2 may mean column 2 or, with labels
        0 and 2, column 1.

    Raises
    ------
    ValueError
        If both are possible.
    """
    if labels.dtype.kind not in "iu" or labels[0] < 0 or labels[-1] >= n_features:
        return
    if labels[-1] - labels[0] + 1 > len(labels):
        raise ValueError(
            f"y holds the labels {labels[:10].tolist()}, with gaps, and X has {n_features} "
            "columns, so it is not clear which columns are their confidences. If y lacks some "
            f"classes of the model, write classes=range({labels[-1] + 1}) or as many as there "
            "are; if not, confidence_columns=[...]."
        )


def _refuse_for_an_event(labels: NDArray[Any], n_columns: int) -> NDArray[Any]:
    if len(labels) > 2:
        columns = "one confidence column" if n_columns == 1 else "two confidence columns"
        raise ValueError(
            f"Only binary classification is supported with {columns}. The type of the target "
            f"is multiclass: y holds {len(labels)} classes. Name one column per class in "
            "`confidence_columns`, or fit on correctness, y=(prediction == label)."
        )
    raise ValueError(
        f"y holds only one class, {labels.tolist()}, so nothing can be calibrated. "
        "If the other class is merely absent here, name both: classes=[no_event, event]."
    )
