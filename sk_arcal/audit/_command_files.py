"""The files of the shell command: each a run, read whole or in chunks."""

from pathlib import Path
from typing import Any

from sk_arcal.audit._progress_bar import Progress
from sk_arcal.audit._reading import PredictionTable, read_predictions
from sk_arcal.audit._streaming._reading import is_large, read_stream


def read_files(
    files: list[Path],
    *,
    join: str | None,
    experts: bool,
    layers: bool,
    stream: bool | None,
    max_rows: int,
    chunk_rows: int,
    seed: int,
    progress: Progress | None,
    **columns: Any,
) -> dict[str, PredictionTable]:
    """Return the table of every file by its name.

    Parameters
    ----------
    files : list of Path
        Runs on the same items in the same order.
    join, experts, layers : str or None, bool, bool
        As in :func:`read_predictions`; for one file that is read whole.
    stream : bool or None
        Whether to read in chunks. None does so if a file is large and can be; all others are
        then sampled at the same rows, because the keys of rows depend on seed and place alone.
    max_rows, chunk_rows, seed : int
        Rows of the sample and of a chunk, and the seed of the sample.
    progress : callable or None
        As in :func:`routing_audit`.
    **columns : str or sequence of str or None
        Columns by their roles, as in :func:`read_predictions`.
    """
    whole = {"--join": join is not None, "--experts": experts, "--layers": layers}
    _refuse([option for option, given in whole.items() if given], len(files), stream)
    if stream is None:
        stream = not any(whole.values()) and any(is_large(file) for file in files)
    tables = {}
    for name, file in zip(_names(files), files, strict=True):
        if stream:
            chunks: dict[str, Any] = {"chunk_rows": chunk_rows, "max_rows": max_rows}
            tables[name] = read_stream(
                file, **chunks, random_state=seed, progress=progress, **columns
            )
        else:
            tables[name] = read_predictions(
                file, **columns, join=join, experts=experts, layers=layers
            )
    return tables


_OF_ONE_FILE = {
    "--join": "adds columns to one file; give one file, or join before.",
    "--experts": "audits the mixture of one file; give one file at a time.",
    "--layers": "audits the network of one file; give one file at a time.",
}


def _refuse(options: list[str], n_files: int, stream: bool | None) -> None:
    for option in options:
        if n_files > 1:
            raise ValueError(f"{option} {_OF_ONE_FILE[option]}")
        if stream:
            raise ValueError(
                f"{option} needs the whole file in memory and does not go with --stream; leave "
                "that out, or give a file with fewer rows."
            )


def _names(files: list[Path]) -> list[str]:
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    if len(set(names)) < len(names):
        raise ValueError("A file is given twice; every file is a run of its own.")
    return names
