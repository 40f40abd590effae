"""Cells of a table as numbers, labels or categories, or the sentence that names the bad one.

Every function takes `locate`, which turns the position of a row into the words a person can look
it up by ("row 4", "line 6"), so that an error points into the file and not into an array.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray

Locate = Callable[[int], str]

NOT_A_PROBABILITY = (
    "a probability must lie in [0, 1]; logits are read from `logits` or `logit__<class>`"
)
_LONGEST_QUOTE = 40


def row_number(row: int) -> str:
    """Say where a row is when nothing better is known: counted from 0, as arrays are."""
    return f"row {row}"


def refuse(
    bad: NDArray[np.bool_], values: NDArray[Any], name: str, locate: Locate, expected: str
) -> None:
    """Raise if any row is `bad`, naming the first one and what it holds."""
    if not bad.any():
        return
    row = int(np.argmax(bad))
    count = int(bad.sum())
    others = f" ({count} such rows)" if count > 1 else ""
    raise ValueError(f"`{name}` holds {shown(values[row])} in {locate(row)}{others}; {expected}.")


def shown(cell: Any) -> str:
    """Write a cell the way it stands in an error."""
    if is_missing(cell):
        return "NaN" if isinstance(cell, (float, np.floating)) else "nothing"
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.6g}"
    text = repr(label_text(cell)) if isinstance(cell, (str, bytes)) else str(cell)
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "..."


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN, a library's own missing value, or an empty text."""
    if isinstance(cell, (str, bytes)):
        return not cell.strip()
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))


def label_text(cell: Any) -> str:
    """Write a label so that 3, 3.0, True as 1 and ' 3' read the same."""
    if isinstance(cell, bytes):
        return cell.decode(errors="replace").strip()
    if isinstance(cell, (bool, np.bool_)):
        return str(int(cell))
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def is_number_column(values: NDArray[Any]) -> bool:
    """Whether the column has a numeric or boolean type."""
    return values.dtype.kind in "biuf"


def as_numbers(values: NDArray[Any], name: str, locate: Locate) -> FloatArray:
    """Return a column of finite numbers in float64."""
    if values.ndim != 1:
        raise ValueError(f"`{name}` must hold one number per row; got shape {values.shape}.")
    numbers = values.astype(np.float64) if is_number_column(values) else None
    if numbers is None:
        numbers = np.array([_as_float(cell) for cell in values], dtype=np.float64)
        unreadable = np.array([_as_float(cell, None) is None for cell in values], dtype=bool)
        refuse(unreadable, values, name, locate, "it must hold numbers")
    refuse(~np.isfinite(numbers), values, name, locate, "drop or impute such rows first")
    return numbers


def _as_float(cell: Any, otherwise: float | None = np.nan) -> float | None:
    """Return a cell as a number; a missing one is NaN, an unreadable one is `otherwise`."""
    if is_missing(cell):
        return np.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return otherwise


def as_probabilities(values: NDArray[Any], name: str, locate: Locate) -> FloatArray:
    """Return a column of numbers in [0, 1]."""
    numbers = as_numbers(values, name, locate)
    refuse(
        (numbers < 0) | (numbers > 1),
        numbers,
        name,
        locate,
        NOT_A_PROBABILITY,
    )
    return numbers


def as_events(values: NDArray[Any], name: str, locate: Locate) -> FloatArray:
    """Return a column of 0 and 1; booleans and the words true and false pass."""
    if values.ndim != 1:
        raise ValueError(f"`{name}` must hold one value per row; got shape {values.shape}.")
    if is_number_column(values):
        events = values.astype(np.float64)
        events[(events != 0) & (events != 1)] = np.nan
    else:
        events = np.array([_as_event(cell) for cell in values], dtype=np.float64)
    refuse(
        np.isnan(events),
        values,
        name,
        locate,
        "0 or 1 was expected: is the prediction right, did the event happen? For class labels "
        "give the scores of every class, or the predicted labels too",
    )
    return events


def _as_event(cell: Any) -> float:
    if isinstance(cell, (str, bytes)):
        cell = {"true": 1, "false": 0}.get(label_text(cell).casefold(), cell)
    number = _as_float(cell)
    return float("nan") if number not in {0.0, 1.0} else float(number or 0.0)


def as_matrix(values: NDArray[Any], name: str, locate: Locate) -> NDArray[Any]:
    """Return finite numbers of shape (n_samples, n_columns), in the float type they came in."""
    if values.ndim == 1 and values.dtype.kind == "O":
        values = _stacked(values, name, locate)
    if values.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (n_samples, n_classes); got shape {values.shape}. "
            "For several sets of scores, read one set at a time."
        )
    if not is_number_column(values):
        raise TypeError(f"`{name}` must hold numbers; got values of type {values.dtype}.")
    # Half precision and integers are widened; float32 stays, or large files would double.
    kept = values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    bad = ~np.isfinite(kept)
    rows = bad.any(axis=1)
    first = kept[np.arange(len(kept)), bad.argmax(axis=1)]
    refuse(rows, first, name, locate, "scores must be finite; drop such rows first")
    return kept


def _stacked(values: NDArray[Any], name: str, locate: Locate) -> NDArray[Any]:
    """Turn a column of equally long lists into a matrix."""
    lists = [np.asarray(cell) for cell in values]
    width = lists[0].shape
    odd = np.array([cell.shape != width or cell.ndim != 1 for cell in lists], dtype=bool)
    if odd.any():
        row = int(np.argmax(odd))
        raise ValueError(
            f"`{name}` must hold lists of one length; {locate(0)} has shape {width}, "
            f"{locate(row)} has shape {lists[row].shape}."
        )
    return np.stack(lists)


def as_categories(values: NDArray[Any], name: str, locate: Locate) -> NDArray[np.str_]:
    """Return a column of names, none of them missing."""
    missing = np.array([is_missing(cell) for cell in values], dtype=bool)
    refuse(missing, values, name, locate, "drop such rows, or give what is missing a name")
    return np.array([label_text(cell) for cell in values], dtype=np.str_)


def as_routing(
    values: NDArray[Any], name: str, locate: Locate, *, untyped: bool = False
) -> NDArray[Any]:
    """Return a routing feature: numbers as float64, texts as categories.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        The column.
    name : str
        What it is called.
    locate : callable
        Says where a row is.
    untyped : bool, default=False
        Whether the cells came from a text file. There one unreadable cell turns a column of
        numbers into texts, which must not pass for categories.
    """
    if values.ndim != 1:
        raise ValueError(f"`{name}` must hold one value per row; got shape {values.shape}.")
    if is_number_column(values) or not any(isinstance(cell, (str, bytes)) for cell in values):
        return as_numbers(values, name, locate)
    if untyped:
        readable = sum(_as_float(cell, None) is not None for cell in values)
        if 2 * readable > len(values):
            return as_numbers(values, name, locate)
    return as_categories(values, name, locate)


def distinct_labels(
    values: NDArray[Any], name: str, locate: Locate
) -> tuple[list[str], NDArray[np.intp]]:
    """Return the distinct labels as texts and, for each row, the position of its label."""
    if values.ndim != 1:
        raise ValueError(f"`{name}` must hold one label per row; got shape {values.shape}.")
    if is_number_column(values):
        as_numbers(values, name, locate)
        found, codes = np.unique(values, return_inverse=True)
    else:
        found, codes = np.unique(as_categories(values, name, locate), return_inverse=True)
    return [label_text(label) for label in found], codes


def encode_labels(
    values: NDArray[Any],
    name: str,
    locate: Locate,
    *,
    n_classes: int,
    classes: tuple[str, ...] | None,
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return each row's class as a position among the `n_classes` score columns.

    A label is matched with the names in `classes`; where no label has such a name, integers
    count the score columns from 0.
    """
    texts, codes = distinct_labels(values, name, locate)
    names = classes or tuple(str(code) for code in range(n_classes))
    position = {label: code for code, label in enumerate(names)}
    if not any(text in position for text in texts):
        position = {str(code): code for code in range(n_classes)}
    codes_of = np.array([position.get(text, -1) for text in texts], dtype=np.intp)
    labels = codes_of[codes]
    refuse(labels < 0, values, name, locate, unknown_label(names, classes is not None))
    return labels, names


def unknown_label(names: tuple[str, ...], named: bool) -> str:
    """Say which labels were expected."""
    if not named:
        return (
            f"with {len(names)} score columns and no class names, labels must be integers from 0 "
            f"to {len(names) - 1}, or `classes` must name the columns"
        )
    listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"the score columns stand for the classes {listed}"
