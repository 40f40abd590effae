"""Read npz archives of arrays; object arrays, which are pickles, are refused."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._reading._layer_columns import layer_columns
from sk_arcal.audit._reading._roles import CORRECTNESS, GROUPS, LABELS, PREDICTED, SPLIT, WEIGHTS
from sk_arcal.audit._reading._score_columns import KNOWN_SCORES
from sk_arcal.audit._reading._selectors import first_known
from sk_arcal.audit._reading._source import (
    Source,
    class_names,
    expert_columns,
    routing_columns,
)

_CLASSES = ("classes", "class_names")
_ONE_PER_ROW = {*LABELS, *CORRECTNESS, *PREDICTED, *GROUPS, *SPLIT, *WEIGHTS, *KNOWN_SCORES}


def read_npz(path: Path, *, target: str | None = None) -> Source:
    """Read an archive with scores, labels and optional routing.

    Keys are those of :meth:`PredictionTable.from_frame`, with class scores of shape
    (n_samples, n_classes) under `logits` or `proba`; further `routing` (n_samples, n_routing)
    with `routing_names`, and `classes`; `experts` (n_samples, n_experts, n_classes), or
    (n_samples, n_experts) for an event, with `gates` (n_samples, n_experts); `layer_scores`
    (n_samples, n_layers, n_classes), or (n_samples, n_layers) for an event, with `layer_names`.
    Other arrays with one value per row can be selected.

    Raises
    ------
    ValueError
        If the archive cannot be read, holds objects, or arrays do not fit each other.
    """
    arrays = _arrays(path)
    if not arrays:
        raise ValueError("the archive holds no arrays.")
    n_rows = _row_count(arrays, target)
    classes = first_known(arrays, _CLASSES)
    names = arrays.pop("routing_names", None)
    columns: dict[str, NDArray[Any]] = {}
    if "routing" in arrays:
        listed = None if names is None else [str(name) for name in np.ravel(names)]
        columns = routing_columns(arrays.pop("routing"), listed)
        _check_rows("routing", next(iter(columns.values())), n_rows)
    named = class_names(np.ravel(arrays[classes]).tolist()) if classes else None
    parts = expert_columns(arrays.pop("experts", None), arrays.pop("gates", None), named)
    parts |= layer_columns(arrays.pop("layer_scores", None), arrays.pop("layer_names", None), named)
    for name, values in parts.items():
        _check_rows(name, values, n_rows)
    columns |= parts
    unused = []
    for name, values in arrays.items():
        if name == classes:
            continue
        if name.casefold() in _ONE_PER_ROW:
            _check_rows(name, values, n_rows)
        if values.ndim in {1, 2} and len(values) == n_rows:
            columns[name] = values
        else:
            unused.append(f"`{name}` {values.shape}")
    notes = (f"Arrays with other than {n_rows} rows: {', '.join(unused)}.",) if unused else ()
    return Source(columns, classes=named, notes=notes)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, BadZipFile) as error:
            raise ValueError("the file is damaged or not an npz archive.") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("the file is a single array, not an npz archive of named arrays.")
        return {name: _numbers_or_texts(archive, name) for name in archive.files}


def _numbers_or_texts(archive: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    try:
        return archive[name]
    except ValueError as error:
        raise ValueError(
            f"`{name}` holds Python objects, which are pickles and are never read; save numbers, "
            f"or texts with `{name}.astype(str)`."
        ) from error
    except BadZipFile as error:
        raise ValueError(f"`{name}` is damaged.") from error


def _row_count(arrays: dict[str, NDArray[Any]], target: str | None) -> int:
    name = target if target in arrays else first_known(arrays, (*LABELS, *CORRECTNESS))
    if name is None or arrays[name].ndim != 1:
        shapes = ", ".join(f"`{key}` {values.shape}" for key, values in arrays.items())
        raise ValueError(
            "No outcome was found: expected true labels `y` or 0/1 correctness `correct` of shape "
            f"(n_samples,). The arrays are {shapes}."
        )
    return len(arrays[name])


def _check_rows(name: str, values: NDArray[Any], n_rows: int) -> None:
    if values.ndim not in {1, 2} or len(values) != n_rows:
        raise ValueError(
            f"`{name}` has shape {values.shape} where {n_rows} rows, one per label, are expected."
        )
