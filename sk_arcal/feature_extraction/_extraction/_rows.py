"""Rows as a network takes them: arrays of numbers, or token sequences of different lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.feature_extraction._cache._row_digest import row_digests

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """Rows of one shape.

    Attributes
    ----------
    values : ndarray of shape (n_samples, ...)
        Numbers.
    """

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def digests(self) -> NDArray[np.uint8]:
        """Return the digest of every row."""
        return row_digests(self.values)

    def take(self, which: IntArray | slice) -> "ArrayRows":
        """Return some of the rows."""
        return ArrayRows(self.values[which])

    def lengths(self) -> NDArray[np.intp]:
        """Return a length for every row; rows of like length are forwarded together."""
        return np.zeros(len(self), dtype=np.intp)


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Token sequences.

    Attributes
    ----------
    sequences : list of ndarray of int
        Without padding, at least one token each.
    """

    sequences: list[IntArray]

    def __len__(self) -> int:
        return len(self.sequences)

    def digests(self) -> NDArray[np.uint8]:
        """Return the digest of every row."""
        return row_digests(self.sequences)

    def take(self, which: IntArray | slice) -> "TokenRows":
        """Return some of the rows."""
        return TokenRows([self.sequences[i] for i in np.arange(len(self))[which]])

    def lengths(self) -> NDArray[np.intp]:
        """Return the number of tokens of every row."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.intp)


Rows = ArrayRows | TokenRows


def texts_of(X: Any) -> list[str] | None:
    """Return the texts that X holds, one a row, or None if it holds none.

    A list, a column of a table, a table or an array with one column of text.
    """
    if isinstance(X, str):
        raise TypeError("X is a single text; pass a list of texts, one for each row.")
    values = _as_column(X)
    if values is None:
        return None
    wrong = [row for row, text in enumerate(values) if not isinstance(text, str)]
    if len(wrong) == len(values):
        return None
    if wrong:
        raise TypeError(
            f"X holds texts, but row {wrong[0]} holds {values[wrong[0]]!r} ({len(wrong)} such "
            "rows). Fill or drop them."
        )
    return [str(text) for text in values]


def _as_column(X: Any) -> Sequence[Any] | NDArray[Any] | None:
    """Return one object per row, or None if X has several columns or numbers."""
    if isinstance(X, (list, tuple)):
        return X
    array = np.asarray(X)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return array if array.ndim == 1 and array.dtype.kind in "OUT" else None


def sequences_of(
    X: Any, pad_token_id: int | None, *, expected: bool = False
) -> list[IntArray] | None:
    """Return the token sequences that X holds, or None if it holds none.

    A list of lists of integers that differ in length, or of arrays of integers; or, if the padding
    token is known, an array of integers of shape (n_samples, n_tokens), whose padding at either
    end is cut off. If sequences are `expected`, lists of one length are sequences too.
    """
    if isinstance(X, (list, tuple)) and len(X) and (expected or _is_ragged(X)):
        rows = [np.asarray(row) for row in X]
    elif pad_token_id is not None and getattr(X, "ndim", 0) == 2 and X.dtype.kind in "iu":
        rows = [_without_padding(row, pad_token_id) for row in np.asarray(X)]
    elif expected and getattr(X, "ndim", 0) == 2:
        rows = list(np.asarray(X))
    else:
        return None
    for position, row in enumerate(rows):
        if row.ndim != 1 or not row.size or row.dtype.kind not in "iu":
            raise ValueError(
                f"Row {position} of X must be a sequence of at least one token; got {row!r}."
            )
    return rows


def _is_ragged(X: Sequence[Any]) -> bool:
    """Whether X is a list of integer sequences, and not the rows of a table of numbers."""
    if isinstance(X[0], str) or not isinstance(X[0], (list, tuple, np.ndarray)):
        return False
    first = np.asarray(X[0])
    if first.ndim != 1 or first.dtype.kind not in "iu":
        return False
    return isinstance(X[0], np.ndarray) or len({len(row) for row in X}) > 1


def _without_padding(row: IntArray, pad_token_id: int) -> IntArray:
    real = np.flatnonzero(row != pad_token_id)
    return row[real[0] : real[-1] + 1] if real.size else row[:0]
