"""Which class each confidence column stands for.

A calibration set often lacks a rare class, so the labels alone do not say. In this order: the
`classes` parameter; class names in the column names; as many labels as columns; integer labels
inside range(K).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def align_classes(
    y: NDArray[Any],
    classes: ArrayLike | None,
    named: tuple[str, ...] | None,
    n_columns: int,
) -> tuple:
    """Encode labels and order the confidence columns by sorted class.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    classes : array-like of shape (n_classes,) or None
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
    codes = np.searchsorted(sorted_classes, y)
    known = sorted_classes[np.minimum(codes, len(sorted_classes) - 1)] == y
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise ValueError(
            f"Row {row} of y holds {y[row]!r}, which is none of the classes "
            f"{column_classes.tolist()} of the confidence columns."
        )
    return codes.astype(np.float64), sorted_classes, order


def _column_classes(
    y: NDArray[Any], classes: ArrayLike | None, named: tuple[str, ...] | None, n_columns: int
) -> NDArray[Any]:
    labels = np.unique(y)
    n_classes = max(n_columns, 2)
    if classes is not None:
        given = np.asarray(classes)
        if given.ndim != 1 or len(given) != n_classes or len(np.unique(given)) != n_classes:
            raise ValueError(
                f"`classes` must name {n_classes} different classes, one per confidence column "
                f"(two for a single column); got {given.tolist()}."
            )
        return given
    if named is not None and n_columns > 1:
        return _classes_from_names(labels, named)
    if len(labels) == n_classes:
        return labels
    if n_columns == 1:
        return _refuse_one_column(labels)
    if np.issubdtype(labels.dtype, np.integer) and labels[0] >= 0 and labels[-1] < n_columns:
        return np.arange(n_columns, dtype=labels.dtype)
    raise ValueError(
        f"There are {n_columns} confidence columns but y holds {len(labels)} classes, "
        f"{labels[:10].tolist()}. Say which class each column stands for: classes=[...]."
    )


def _classes_from_names(labels: NDArray[Any], named: tuple[str, ...]) -> NDArray[Any]:
    by_name = {str(label): label for label in labels.tolist()}
    unknown = sorted(set(by_name) - set(named))
    if unknown:
        raise ValueError(
            f"y holds {unknown}, but the confidence columns are named after {list(named)}. "
            "Rename the columns or say classes=[...]."
        )
    try:
        found = [by_name.get(name, labels.dtype.type(name)) for name in named]
    except ValueError:
        raise ValueError(
            f"The confidence columns are named after {list(named)}, which are not all of the type "
            f"of the labels ({labels.dtype}). Say classes=[...]."
        ) from None
    return np.asarray(found, dtype=None if labels.dtype.kind in "US" else labels.dtype)


def _refuse_one_column(labels: NDArray[Any]) -> NDArray[Any]:
    if len(labels) > 2:
        raise ValueError(
            "Only binary classification is supported with one confidence column. The type of the "
            f"target is multiclass: y holds {len(labels)} classes. Name one column per class in "
            "`confidence_columns`, or fit on correctness, y=(prediction == label)."
        )
    raise ValueError(
        f"y holds only one class, {labels.tolist()}, so nothing can be calibrated. "
        "If the other class is merely absent here, name both: classes=[no_event, event]."
    )
