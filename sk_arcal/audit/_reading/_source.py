"""A table as plain named arrays, whatever library or file it came from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX, ROUTING_PREFIX
from sk_arcal.audit._reading._cells import Locate, label_text, row_number


@dataclass(frozen=True, slots=True)
class Source:
    """Named columns of equal length and what is known about them.

    Attributes
    ----------
    columns : dict of str to ndarray
        First axis: rows. Class scores may have a second axis.
    locate : callable
        Turns the position of a row into words that name it to a person.
    classes : tuple of str or None
        Names of the classes, where the file states them apart from the columns.
    joined : tuple of str
        Columns that came from a second file; routing features unless they have another role.
    untyped : bool
        Whether the cells are texts without a type, as in csv.
    elsewhere : dict of str to callable
        How to name a row of a column that came from another file.
    mapping : dict of str to str
        What the reader has to tell about where things came from.
    notes : tuple of str
        What the reader has to tell about the data.
    hint : str
        What to do if no scores are found.
    """

    columns: dict[str, NDArray[Any]]
    locate: Locate = row_number
    classes: tuple[str, ...] | None = None
    joined: tuple[str, ...] = ()
    untyped: bool = False
    elsewhere: dict[str, Locate] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hint: str = "Select them with `confidence`."

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def where(self, name: str) -> Locate:
        """Return what names a row of the column to a person."""
        return self.elsewhere.get(name, self.locate)

    def take(self, rows: NDArray[np.intp]) -> "Source":
        """Return the given rows; they keep the names they have in the file."""
        return replace(
            self,
            columns={name: values[rows] for name, values in self.columns.items()},
            locate=_moved(self.locate, rows),
            elsewhere={name: _moved(locate, rows) for name, locate in self.elsewhere.items()},
        )


def _moved(locate: Locate, rows: NDArray[np.intp]) -> Locate:
    return lambda row: locate(int(rows[row]))


def source_from_arrays(arrays: Mapping[str, Any]) -> Source:
    """Return a source from arrays, which must agree on the number of rows; None is left out."""
    columns = {name: np.asarray(values) for name, values in arrays.items() if values is not None}
    scalars = [name for name, values in columns.items() if values.ndim == 0]
    if scalars:
        raise ValueError(f"`{scalars[0]}` must hold one value per row; got a single value.")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(f"All arrays must have the same number of rows; got {listed}.")
    return Source(columns)


def source_from_frame(frame: Any) -> Source:
    """Return a source from a pandas or polars table, or from a dict of arrays."""
    if isinstance(frame, Mapping):
        return source_from_arrays({str(name): values for name, values in frame.items()})
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise TypeError(
            "`frame` must be a pandas or polars DataFrame or a dict of arrays; "
            f"got {type(frame).__name__}."
        )
    refuse_duplicates([str(name) for name in frame.columns])
    return Source({str(name): frame[name].to_numpy() for name in frame.columns})


def refuse_duplicates(names: Iterable[str]) -> None:
    """Raise if a column name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"The column name `{name}` occurs twice; names must be unique.")
        seen.add(name)


def class_names(classes: Sequence[Any]) -> tuple[str, ...]:
    """Return class names as texts, which must differ."""
    names = tuple(label_text(name) for name in classes)
    if len(set(names)) < len(names):
        raise ValueError(f"`classes` must not repeat a name; got {', '.join(names)}.")
    return names


def routing_columns(routing: Any, names: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    """Return routing features as columns with the routing prefix."""
    if routing is None:
        return {}
    if isinstance(routing, Mapping) or hasattr(routing, "columns"):
        columns = source_from_frame(routing).columns
        return {ROUTING_PREFIX + name: values for name, values in columns.items()}
    matrix = np.asarray(routing)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2:
        raise ValueError(
            f"`routing` must have shape (n_samples, n_routing); got shape {matrix.shape}."
        )
    if names is None:
        names = [f"routing_{position}" for position in range(matrix.shape[1])]
    names = [str(name) for name in names]
    if len(names) != matrix.shape[1] or len(set(names)) < len(names):
        raise ValueError(
            f"`routing_names` must hold {matrix.shape[1]} different names; got {names}."
        )
    return {ROUTING_PREFIX + name: matrix[:, j] for j, name in enumerate(names)}


def expert_columns(
    experts: Any, gates: Any, classes: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    """Return arrays of experts and gates as columns with the names that files give them."""
    columns: dict[str, NDArray[Any]] = {}
    if experts is not None:
        table = np.asarray(experts)
        if table.ndim not in {2, 3} or 0 in table.shape:
            raise ValueError(
                "`experts` must have shape (n_samples, n_experts) or (n_samples, n_experts, "
                f"n_classes); got shape {table.shape}."
            )
        for m in range(table.shape[1]):
            columns |= _columns_of_expert(f"{EXPERT_PREFIX}{m}", table[:, m], classes)
    if gates is not None:
        matrix = np.asarray(gates)
        if matrix.ndim != 2:
            raise ValueError(
                f"`gates` must have shape (n_samples, n_experts); got shape {matrix.shape}."
            )
        columns |= {f"{GATE_PREFIX}{m}": matrix[:, m] for m in range(matrix.shape[1])}
    return columns


def _columns_of_expert(
    name: str, scores: NDArray[Any], classes: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    if scores.ndim == 1:
        return {name: scores}
    named = [str(k) for k in range(scores.shape[1])] if classes is None else classes
    if len(named) != scores.shape[1]:
        raise ValueError(
            f"`experts` has {scores.shape[1]} classes where `classes` names {len(named)}."
        )
    return {f"{name}__{label}": column for label, column in zip(named, scores.T, strict=True)}
