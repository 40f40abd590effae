"""Rows of a stream once they are understood, and columns of texts as codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._cells import (
    Locate,
    as_categories,
    distinct_labels,
    is_missing,
    is_number_column,
    label_text,
    refuse,
)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of texts.

    Attributes
    ----------
    names : ndarray of str of shape (n_names,)
        The different texts.
    codes : ndarray of int of shape (n_rows,)
        Position of each row's text among them.
    """

    names: NDArray[np.str_]
    codes: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class UnderstoodRows:
    """Rows as an audit sees them; fields as in :class:`PredictionTable`.

    Attributes
    ----------
    event, confidence : ndarray of shape (n_rows,)
        Outcome and its probability.
    place : ndarray of int of shape (n_rows,)
        Position among all rows that were read, left-out ones included.
    logits, labels : ndarray or None
        Class scores and the true class.
    routing : dict of str to ndarray or Coded
        Features: numbers, or texts.
    groups, evaluate : ndarray of shape (n_rows,) or None
        What belongs together; what is evaluated.
    """

    event: FloatArray
    confidence: FloatArray
    place: NDArray[np.intp]
    logits: NDArray[Any] | None = None
    labels: NDArray[np.intp] | None = None
    routing: Mapping[str, NDArray[Any] | Coded] = field(default_factory=dict)
    groups: NDArray[Any] | None = None
    evaluate: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: NDArray[Any]) -> "UnderstoodRows":
        """Return some rows; texts come as texts."""
        return UnderstoodRows(
            self.event[rows],
            self.confidence[rows],
            self.place[rows],
            None if self.logits is None else self.logits[rows],
            None if self.labels is None else self.labels[rows],
            {name: _taken(values, rows) for name, values in self.routing.items()},
            None if self.groups is None else self.groups[rows],
            None if self.evaluate is None else self.evaluate[rows],
        )

    def part(self, chosen: NDArray[np.bool_]) -> "UnderstoodRows":
        """Return the chosen rows; all of them are not copied, and codes stay codes."""
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        coded = {
            name: Coded(values.names, values.codes[rows]) if isinstance(values, Coded) else None
            for name, values in self.routing.items()
        }
        taken = self.take(rows)
        routing = {name: coded[name] or values for name, values in taken.routing.items()}
        return UnderstoodRows(
            taken.event,
            taken.confidence,
            taken.place,
            taken.logits,
            taken.labels,
            routing,
            taken.groups,
            taken.evaluate,
        )


def joined(parts: Sequence[UnderstoodRows]) -> UnderstoodRows:
    """Return the rows of all parts, whose texts are texts."""
    return UnderstoodRows(
        _joined([part.event for part in parts]),
        _joined([part.confidence for part in parts]),
        _joined([part.place for part in parts]),
        _joined([part.logits for part in parts]),
        _joined([part.labels for part in parts]),
        {name: _joined([part.routing[name] for part in parts]) for name in parts[0].routing},
        _joined([part.groups for part in parts]),
        _joined([part.evaluate for part in parts]),
    )


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)


def _taken(values: NDArray[Any] | Coded, rows: NDArray[Any]) -> NDArray[Any]:
    return values.names[values.codes[rows]] if isinstance(values, Coded) else values[rows]


class _Numbering(dict[Any, int]):
    """Numbers what it is asked for in the order of appearance."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


def coded_texts(values: NDArray[Any], name: str, locate: Locate) -> Coded:
    """Return a column as texts, each written once, none of them missing.

    Cells are compared as they are; only different ones are turned into texts.
    """
    if is_number_column(values) or values.ndim != 1:
        return Coded(*_arrays(distinct_labels(values, name, locate)))
    numbering = _Numbering()
    try:
        codes = np.fromiter(map(numbering.__getitem__, values), np.intp, len(values))
    except TypeError:
        # Lists and the like cannot be looked up.
        names, codes = np.unique(as_categories(values, name, locate), return_inverse=True)
        return Coded(names, codes)
    missing = np.array([is_missing(cell) for cell in numbering], dtype=bool)
    refuse(missing[codes], values, name, locate, "drop such rows, or give what is missing a name")
    texts = [label_text(cell) for cell in numbering]
    names, places = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    return Coded(names, places[codes])


def _arrays(found: tuple[list[str], NDArray[np.intp]]) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    texts, codes = found
    return np.array(texts, dtype=np.str_), codes
