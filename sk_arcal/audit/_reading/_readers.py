"""Read predictions from files: csv, tsv, parquet, feather, JSON Lines, npz. Never a pickle."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from sk_arcal._validation import import_optional
from sk_arcal.audit._reading._assemble import assemble_by_name
from sk_arcal.audit._reading._delimited import read_delimited
from sk_arcal.audit._reading._join import join_columns
from sk_arcal.audit._reading._json_lines import json_objects, read_json_lines
from sk_arcal.audit._reading._lm_eval import read_lm_eval
from sk_arcal.audit._reading._lm_eval_sample import is_sample
from sk_arcal.audit._reading._npz import read_npz
from sk_arcal.audit._reading._source import Source, source_from_frame
from sk_arcal.audit._reading._table import PredictionTable

_PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"}
_CHUNK = 1 << 20


def read_predictions(
    path: str | Path,
    *,
    target: str | None = None,
    confidence: str | Sequence[str] | None = None,
    routing: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    join: str | Path | None = None,
    experts: bool = False,
    layers: bool = False,
) -> PredictionTable:
    r"""Read predictions, outcomes and routing features from a file.

    The format follows from the suffix: `.csv`, `.tsv`, `.parquet`, `.feather`, `.jsonl`, `.npz`.
    Sample logs of lm-evaluation-harness are recognised among the `.jsonl` files. Columns are
    found by their names or selected, and `mapping` of the result says what was read.

    Parameters
    ----------
    path : str or Path
        The file.
    target : str, default=None
        Column of true labels or of 0/1 correctness. For lm-evaluation-harness: the metric, whose
        way of scoring the options is then used too ("acc", "acc_norm", "acc_bytes",
        "acc_mutual_info").
    confidence : str or sequence of str, default=None
        Columns, by name or glob, of the confidence or of one score per class.
    routing : str or sequence of str, default=None
        Routing features, by name or glob.
    group : str, default=None
        Column of rows that belong together.
    split : str, default=None
        Column with 0 (fit the calibrator here) and 1 (evaluate here); rows with other values are
        left out.
    join : str or Path, default=None
        Second file with further columns, matched by `doc_id`, `doc_hash`, `sample_id` or `id`.
        Its columns are routing features unless `routing` selects.
    experts : bool, default=False
        Whether the columns `expert__<m>__<class>` (`expert__<m>` for an event) and `gate__<m>` of
        a mixture of experts are read, which must be there then. Without columns of a confidence
        the mixture is the confidence.
    layers : bool, default=False
        Whether the columns `layer__<l>__logit__<class>` of the layers of a network are read, which
        must be there then. Without columns of a confidence the last layer is the confidence.

    Returns
    -------
    table : PredictionTable
        The checked table, with the name and the SHA-256 of the file.

    Raises
    ------
    ValueError
        If the file is not what its suffix says, or its content is refused; the sentence names
        the file, and the line and column where there are such.
    TypeError
        If scores are not numbers.
    OSError
        If the file cannot be opened.
    ImportError
        If pandas or pyarrow is needed and not installed.

    See Also
    --------
    PredictionTable.from_frame : The same from a table in memory, with the names understood.
    routing_audit : What to do with the result.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sk_arcal.audit import read_predictions
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "p.csv")
    ...     _ = path.write_text("correct,confidence,load\n1,0.9,3\n0,0.6,5\n1,0.8,1\n")
    ...     table = read_predictions(path, routing="load")
    >>> print(table.describe())
    p.csv: 3 rows
      outcome     `correct` is 1
      confidence  `confidence`
      routing     load
    """
    path = Path(path)
    with naming(path):
        source = _read(path, target)
    is_log = source.mapping.get("format", "").startswith("lm-eval")
    if join is not None:
        with naming(Path(join)):
            other = _read(Path(join), None)
        with naming(path):
            source = join_columns(source, other, Path(join).name)
    with naming(path):
        fields = assemble_by_name(
            source,
            target=None if is_log else target,
            confidence=confidence,
            routing=routing,
            group=group,
            split=split,
            experts=experts,
            layers=layers,
        )
    return PredictionTable(**fields, source=path.name, digest=file_digest(path))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of the file before every error about its content."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: the file is not UTF-8 text.") from error
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{path.name}: {' '.join(str(error).split())}") from error


def _read(path: Path, target: str | None) -> Source:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a file is expected.")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    suffix = path.suffix.casefold()
    if suffix in _PICKLES:
        raise ValueError(
            f"{suffix} files can run code when they are opened and are never read; write npz, "
            "parquet or csv instead."
        )
    if suffix not in _READERS:
        raise ValueError(
            f"the suffix must be one of {', '.join(_READERS)}; got {suffix or 'none'}."
        )
    if suffix == ".jsonl" and _is_sample_log(path):
        return read_lm_eval(path, target=target)
    return read_npz(path, target=target) if suffix == ".npz" else _READERS[suffix](path)


def _is_sample_log(path: Path) -> bool:
    return any(is_sample(record) for _, record in islice(json_objects(path), 1))


def _read_columnar(path: Path) -> Source:
    caller = f"Reading {path.suffix} files"
    pandas = import_optional("pandas", extra="report", caller=caller)
    import_optional("pyarrow", extra="report", caller=caller)
    read = pandas.read_parquet if path.suffix.casefold() == ".parquet" else pandas.read_feather
    return source_from_frame(read(path))


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


_READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": _read_columnar,
    ".feather": _read_columnar,
    ".jsonl": read_json_lines,
    ".npz": read_npz,
}
