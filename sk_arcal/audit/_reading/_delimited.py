"""Read csv and tsv: pandas reads the cells, the csv module checks the form and counts lines."""

import csv
from collections.abc import Iterator
from pathlib import Path

from sk_arcal._validation import import_optional
from sk_arcal.audit._reading._cells import counted
from sk_arcal.audit._reading._source import Source, refuse_duplicates, source_from_frame

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SEPARATOR_NAMES = {",": "a comma", "\t": "a tab", ";": "a semicolon"}


def read_delimited(path: Path) -> Source:
    """Read a csv or tsv file with a header line.

    Raises
    ------
    ValueError
        If the file is empty, has no header or a repeated column name, or a line has more or
        fewer cells than the header; the line is named.
    ImportError
        If pandas is not installed.
    """
    pandas = import_optional("pandas", extra="report", caller=f"Reading {path.suffix} files")
    separator = SEPARATORS[path.suffix.casefold()]
    for _ in checked_lines(path, separator):
        pass
    # Nothing stands for "missing": a class may be called NA, and an empty cell among numbers is
    # found, with its line, by whoever reads the numbers.
    frame = pandas.read_csv(
        path,
        sep=separator,
        encoding="utf-8-sig",
        index_col=False,
        keep_default_na=False,
        low_memory=False,
    )
    source = source_from_frame(frame)
    return Source(source.columns, locate=_LineFinder(path, separator), untyped=True)


class _LineFinder:
    """Names the line of a row; reads the file again, but only once something is wrong."""

    def __init__(self, path: Path, separator: str) -> None:
        self._path, self._separator = path, separator

    def __call__(self, row: int) -> str:
        for position, (line, _) in enumerate(_records(self._path, self._separator)):
            if position == row + 1:
                return f"line {line}"
        return f"row {row}"


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that hold cells, with the number of the line each ends on."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num} cannot be read: {error}.") from error


def checked_lines(path: Path, separator: str) -> Iterator[int]:
    """Yield the number of the line of every row; raise at the first that is not like the header."""
    records = _records(path, separator)
    _, header = next(records, (0, []))
    if not header:
        raise ValueError("the file is empty; a header line with column names is expected.")
    if len(header) == 1:
        _refuse_other_separator(header[0], separator)
    refuse_duplicates(header)
    is_empty = True
    for line, cells in records:
        is_empty = False
        if len(cells) != len(header):
            raise ValueError(
                f"line {line} has {counted(len(cells), 'cell')} where the header has {len(header)}."
            )
        yield line
    if is_empty:
        raise ValueError("the file has a header line but no rows.")


def _refuse_other_separator(header: str, separator: str) -> None:
    for other, name in _SEPARATOR_NAMES.items():
        if other in header:
            raise ValueError(
                f"the columns seem to be separated by {name}; "
                f"{_SEPARATOR_NAMES[separator]} is expected."
            )
