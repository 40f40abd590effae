"""From files or frames to the table of a stream: its first rows, then one pass over all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sk_arcal._validation import check_integer
from sk_arcal.audit._progress_bar import Progress
from sk_arcal.audit._reading import PredictionTable, read_predictions
from sk_arcal.audit._reading._assemble import assemble_by_name
from sk_arcal.audit._reading._cells import Locate
from sk_arcal.audit._reading._chunks import (
    STREAMED_SUFFIXES,
    read_chunks,
    refuse_whole_files,
    rows_from,
    size_in_memory,
)
from sk_arcal.audit._reading._readers import file_digest, naming
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source, source_from_frame
from sk_arcal.audit._stream_tables import StreamedTables

# Larger files are streamed unless somebody says otherwise.
_LARGE = 1_000_000_000
_STEPS = 1000
# Cells of a chunk: with many columns it has fewer rows.
_MOST_CELLS = 20_000_000


def is_large(path: Path) -> bool:
    """Whether a file is one that can be streamed and better is."""
    if path.suffix.casefold() not in STREAMED_SUFFIXES or not path.is_file():
        return False
    with naming(path):
        return size_in_memory(path) > _LARGE


def read_stream(
    source: Any,
    *,
    chunk_rows: int,
    max_rows: int,
    random_state: object,
    progress: Progress | None = None,
    **selectors: Any,
) -> PredictionTable:
    """Return a table of at most `max_rows` rows, with the figures of all rows if there are more.

    Parameters
    ----------
    source : str, Path, sequence of them, or iterable of DataFrames
        What to read.
    chunk_rows : int
        Rows of a file that are in memory together.
    max_rows : int
        Rows of the table, and rows that decide how all others are read.
    random_state : int, RandomState, Generator or None
        Seed of the sample.
    progress : callable, default=None
        Called with (steps done, steps in all, how many rows).
    **selectors : str or sequence of str or None
        As in :func:`read_predictions`.
    """
    chunk_rows = check_integer("chunk_rows", chunk_rows, low=1)
    max_rows = check_integer("max_rows", max_rows, low=30)
    settings = selectors | {"max_rows": max_rows, "random_state": random_state}
    if isinstance(source, (str, Path)):
        source = [source]
    if hasattr(source, "columns"):
        source = [source]
    if not isinstance(source, Iterable):
        raise TypeError(
            "`source` must be a path, a list of paths or an iterable of DataFrames; got "
            f"{type(source).__name__}."
        )
    if isinstance(source, Sequence) and source and isinstance(source[0], (str, Path)):
        paths = [Path(path) for path in source]
        return _read_files(paths, chunk_rows, max_rows, settings, selectors, progress)
    return _read_frames(iter(source), max_rows, settings, selectors, progress)


def _read_files(
    paths: list[Path],
    chunk_rows: int,
    max_rows: int,
    settings: dict[str, Any],
    selectors: dict[str, Any],
    progress: Progress | None,
) -> PredictionTable:
    for path in paths:
        with naming(path):
            refuse_whole_files(path)
    head = _first_rows(paths, max_rows + 1)
    if head.n_rows <= max_rows:
        if len(paths) == 1:
            return read_predictions(paths[0], **selectors)
        return replace(PredictionTable(**assemble_by_name(head, **selectors)), **_origin(paths))
    with naming(paths[0]):
        tables = StreamedTables(head.take(np.arange(max_rows)), **settings)
    chunk_rows = max(min(chunk_rows, _MOST_CELLS // len(tables.columns)), 1)
    for number, path in enumerate(paths):
        shard = tables.new_shard(number)
        with naming(path):
            for chunk in read_chunks(
                path, chunk_rows, columns=tables.columns, texts=tables.text_columns
            ):
                shard.update(chunk.source)
                share = (number + np.nan_to_num(chunk.share)) / len(paths)
                _report(progress, share, tables.n_rows + shard.n_rows)
        tables.merge(shard)
    return replace(tables.table(), **_origin(paths))


def _origin(paths: Sequence[Path]) -> dict[str, Any]:
    return {
        "source": ", ".join(path.name for path in paths),
        "digest": ", ".join(file_digest(path) for path in paths),
    }


def _report(progress: Progress | None, share: float, n_rows: int) -> None:
    if progress is not None:
        progress(int(_STEPS * share), _STEPS, f"{n_rows:,} rows read")


def _first_rows(paths: Sequence[Path], wanted: int) -> Source:
    """Return the first rows of the files, as many as are wanted or there are."""
    found: list[Source] = []
    for path in paths:
        with naming(path):
            for chunk in read_chunks(path, wanted - sum(s.n_rows for s in found)):
                found.append(chunk.source)
                if sum(s.n_rows for s in found) >= wanted:
                    return _joined(found)
    return _joined(found)


def _read_frames(
    frames: Iterator[Any],
    max_rows: int,
    settings: dict[str, Any],
    selectors: dict[str, Any],
    progress: Progress | None,
) -> PredictionTable:
    found: list[Source] = []
    n_rows = 0
    for frame in frames:
        source = source_from_frame(frame)
        found.append(replace(source, locate=rows_from(n_rows)))
        n_rows += source.n_rows
        if n_rows > max_rows:
            break
    head = _joined([source for source in found if source.n_rows])
    if n_rows <= max_rows:
        return PredictionTable(**assemble_by_name(head, **selectors))
    tables = StreamedTables(head.take(np.arange(max_rows)), **settings)
    for source in chain(found, map(source_from_frame, frames)):
        tables.update(replace(source, locate=rows_from(tables.n_rows)))
        _report(progress, 0.0, tables.n_rows)
    return tables.table()


def _joined(parts: Sequence[Source]) -> Source:
    """Return the rows of all parts, which have the columns of the first."""
    if not parts:
        raise ValueError("There are no rows to read.")
    first = parts[0]
    if len(parts) == 1:
        return first
    for part in parts[1:]:
        missing = [name for name in first.columns if name not in part.columns]
        if missing:
            raise ValueError(
                f"{quoted(missing)} not among the columns of {part.locate(0)} and those after it; "
                "all parts of a stream need the columns of the first."
            )
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns
    }
    ends = np.cumsum([part.n_rows for part in parts])
    return replace(first, columns=columns, locate=_locate_in(parts, ends.tolist()))


def _locate_in(parts: Sequence[Source], ends: Sequence[int]) -> Locate:
    def locate(row: int) -> str:
        place = int(np.searchsorted(ends, row, side="right"))
        return parts[place].locate(row - (ends[place - 1] if place else 0))

    return locate
