"""Bring columns of a second file to the rows of a table, by a key that both hold."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._reading._cells import Locate, as_categories, counted, shown
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source

KEYS = ("doc_id", "doc_hash", "sample_id", "id")


def join_columns(source: Source, other: Source, other_name: str) -> Source:
    """Return `source` with the columns of `other`, each row matched by the shared key.

    Parameters
    ----------
    source : Source
        The table; every row of it must have its partner.
    other : Source
        The second table; rows without a partner are counted in the notes.
    other_name : str
        Its file name, for errors and notes.

    Raises
    ------
    ValueError
        If no key is shared, a key occurs twice, a row has no partner, or another column has the
        same name in both.
    """
    shared = [key for key in KEYS if key in source.columns and key in other.columns]
    if not shared:
        raise ValueError(
            f"`join` needs a column {' or '.join(KEYS)} in both files; {other_name} holds "
            f"{quoted(list(other.columns))}."
        )
    key = next((k for k in shared if _is_unique(source, k) and _is_unique(other, k)), shared[0])
    texts = _unique_keys(source, key, "the table")
    position = {text: row for row, text in enumerate(_unique_keys(other, key, other_name))}
    partner = np.array([position.get(text, -1) for text in texts], dtype=np.intp)
    if (partner < 0).any():
        row = int(np.argmax(partner < 0))
        raise ValueError(
            f"{other_name} has no row with `{key}` {shown(texts[row])} for {source.locate(row)} "
            f"({int((partner < 0).sum())} such rows)."
        )
    added = [name for name in other.columns if name not in KEYS]
    clashing = [name for name in added if name in source.columns]
    if clashing:
        raise ValueError(
            f"{other_name} repeats columns of the table: {quoted(clashing)}; rename them."
        )
    unused = len(position) - source.n_rows
    notes = (f"{counted(unused, 'row')} of {other_name} without a partner.",) if unused else ()
    matched = other.take(partner)
    return replace(
        source,
        columns=source.columns | {name: matched[name] for name in added},
        joined=tuple(added),
        untyped=source.untyped or matched.untyped,
        elsewhere=source.elsewhere | {n: _named(matched.where(n), other_name) for n in added},
        mapping=source.mapping | {"joined": f"{other_name} by `{key}`"},
        notes=(*source.notes, *notes),
    )


def _named(locate: Locate, file_name: str) -> Locate:
    return lambda row: f"{locate(row)} of {file_name}"


def _is_unique(source: Source, key: str) -> bool:
    return len(set(_texts(source, key))) == source.n_rows


def _texts(source: Source, key: str) -> NDArray[np.str_]:
    return as_categories(source[key], key, source.where(key))


def _unique_keys(source: Source, key: str, name: str) -> NDArray[Any]:
    texts = _texts(source, key)
    found, first, count = np.unique(texts, return_index=True, return_counts=True)
    if (count > 1).any():
        twice = int(np.argmax(count > 1))
        again = int(np.flatnonzero(texts == found[twice])[1])
        raise ValueError(
            f"`{key}` must be unique in {name} to join by it; {source.locate(int(first[twice]))} "
            f"and {source.locate(again)} both hold {shown(found[twice])}."
        )
    return texts
