"""Read a file piece by piece: row groups of parquet, lines of csv, tsv and JSON Lines.

Nothing of the size of the file is ever in memory. A piece is a :class:`Source` that names its
rows as they are numbered in the file.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional
from sk_arcal.audit._reading._cells import Locate
from sk_arcal.audit._reading._delimited import SEPARATORS, checked_lines
from sk_arcal.audit._reading._json_lines import json_objects, table_of
from sk_arcal.audit._reading._lm_eval_sample import is_sample
from sk_arcal.audit._reading._source import Source, source_from_frame

# Parquet pages are fetched as they are needed, not a row group at a time.
_PAGE_BYTES = 1 << 20
STREAMED_SUFFIXES = (".parquet", ".jsonl", *SEPARATORS)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows that follow each other.

    Attributes
    ----------
    source : Source
        The rows.
    share : float
        Part of the file that has been read with them, for a progress bar; NaN if not known.
    """

    source: Source
    share: float


def read_chunks(
    path: Path,
    n_rows: int,
    *,
    columns: Collection[str] | None = None,
    texts: Collection[str] = (),
) -> Iterator[Chunk]:
    """Yield a file in chunks of at most `n_rows` rows.

    Parameters
    ----------
    path : Path
        The file.
    n_rows : int
        Rows of a chunk.
    columns : collection of str, default=None
        Columns to read; None reads all.
    texts : collection of str, default=()
        Columns whose cells are texts in any case; a piece of a csv file may hold nothing but
        digits where the next one holds words.

    Raises
    ------
    ValueError
        If such files are not read in chunks, or the file is not what its suffix says.
    """
    suffix = path.suffix.casefold()
    if suffix == ".parquet":
        return _parquet(path, n_rows, columns)
    if suffix in SEPARATORS:
        return _delimited(path, n_rows, columns, texts)
    refuse_whole_files(path)
    return _json_lines(path, n_rows, columns)


def refuse_whole_files(path: Path) -> None:
    """Refuse files that can only be read whole."""
    suffix = path.suffix.casefold()
    if not path.is_file():
        kind = IsADirectoryError if path.is_dir() else FileNotFoundError
        raise kind(f"{path} is not a file; a stream reads a file, or a list of them.")
    if suffix not in STREAMED_SUFFIXES:
        raise ValueError(
            f"{suffix or 'such'} files are not read in chunks; write parquet, csv, tsv or jsonl, "
            "or read the whole file with read_predictions (--no-stream)."
        )
    if suffix == ".jsonl" and any(is_sample(record) for _, record in islice(json_objects(path), 1)):
        raise ValueError(
            "logs of lm-evaluation-harness are not read in chunks; read the whole file with "
            "read_predictions (--no-stream)."
        )


def size_in_memory(path: Path) -> int:
    """Return how large a file is once unpacked, in bytes; for text that on the disk."""
    if path.suffix.casefold() != ".parquet":
        return path.stat().st_size
    metadata = _parquet_file(path).metadata
    return sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))


def rows_from(first: int) -> Locate:
    """Name rows by their number, counted on from `first`."""
    return lambda row: f"row {first + row}"


def _parquet_file(path: Path) -> Any:
    caller = "Reading .parquet files"
    import_optional("pandas", extra="report", caller=caller)
    parquet = import_optional("pyarrow.parquet", extra="report", caller=caller)
    return parquet.ParquetFile(path, pre_buffer=False, buffer_size=_PAGE_BYTES)


def _parquet(path: Path, n_rows: int, columns: Collection[str] | None) -> Iterator[Chunk]:
    file = _parquet_file(path)
    total, first = file.metadata.num_rows, 0
    names = None if columns is None else list(columns)
    for batch in file.iter_batches(batch_size=n_rows, columns=names):
        if not batch.num_rows:
            continue
        source = source_from_frame(batch.to_pandas())
        source = replace(source, locate=rows_from(first))
        first += source.n_rows
        yield Chunk(source, first / total)


def _delimited(
    path: Path, n_rows: int, columns: Collection[str] | None, texts: Collection[str]
) -> Iterator[Chunk]:
    pandas = import_optional("pandas", extra="report", caller=f"Reading {path.suffix} files")
    separator, size = SEPARATORS[path.suffix.casefold()], path.stat().st_size
    lines = checked_lines(path, separator)
    # The form of a chunk is checked before its cells are read, so that errors name lines.
    numbers = np.fromiter(islice(lines, n_rows), dtype=np.int64)
    with path.open("rb") as file:
        frames = pandas.read_csv(
            file,
            sep=separator,
            encoding="utf-8-sig",
            index_col=False,
            keep_default_na=False,
            low_memory=False,
            usecols=None if columns is None else list(columns),
            dtype=dict.fromkeys(texts, str),
            chunksize=n_rows,
        )
        while numbers.size:
            source = source_from_frame(next(frames))
            source = replace(source, locate=_lines_at(numbers), untyped=True)
            yield Chunk(source, min(file.tell() / size, 1.0))
            numbers = np.fromiter(islice(lines, n_rows), dtype=np.int64)


def _lines_at(numbers: NDArray[np.int64]) -> Locate:
    return lambda row: f"line {numbers[row]}"


def _json_lines(path: Path, n_rows: int, columns: Collection[str] | None) -> Iterator[Chunk]:
    objects, known = json_objects(path), list(columns or ())
    while block := list(islice(objects, n_rows)):
        source = table_of(block, known)
        kept = source.columns if columns is None else {n: source[n] for n in columns}
        yield Chunk(replace(source, columns=kept), np.nan)
