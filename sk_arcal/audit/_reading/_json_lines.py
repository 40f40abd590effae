"""Read JSON Lines: one object per line."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._reading._source import Source


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object with the number of its line; blank lines are passed over."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"line {number} is not JSON: {error.msg} at column {error.colno}."
                ) from error
            if not isinstance(record, dict):
                raise ValueError(
                    f"line {number} must hold an object with named values; "
                    f"it holds a {type(record).__name__}."
                )
            yield number, record


def read_json_lines(path: Path) -> Source:
    """Read a table with one row per line; a key that a line lacks is a missing cell."""
    source = table_of(json_objects(path))
    if not source.n_rows:
        raise ValueError("the file is empty; one JSON object per line is expected.")
    return source


def table_of(objects: Iterable[tuple[int, dict[str, Any]]], known: Sequence[str] = ()) -> Source:
    """Return numbered objects as a table that has the `known` columns in any case."""
    numbers: list[int] = []
    cells: dict[str, list[Any]] = {key: [] for key in known}
    for number, record in objects:
        for key in [key for key in record if key not in cells]:
            cells[key] = [None] * len(numbers)
        numbers.append(number)
        for key, column in cells.items():
            column.append(record.get(key))
    columns = {key: column_of(values) for key, values in cells.items()}
    return Source(columns, locate=lambda row: f"line {numbers[row]}")


def column_of(cells: list[Any]) -> NDArray[Any]:
    """Return cells as numbers if all of them are, as objects otherwise."""
    kinds = {type(cell) for cell in cells}
    if kinds == {bool}:
        return np.array(cells, dtype=np.bool_)
    if kinds == {int}:
        return _integers(cells)
    if kinds and kinds <= {int, float}:
        return np.array(cells, dtype=np.float64)
    # Not np.array: lists of one length in the cells would become a second axis.
    return np.fromiter(cells, dtype=object, count=len(cells))


def _integers(cells: list[int]) -> NDArray[Any]:
    try:
        return np.array(cells, dtype=np.int64)
    except OverflowError:
        return np.fromiter(cells, dtype=object, count=len(cells))
