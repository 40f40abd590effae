"""Several runs on one test set: checked, and read alike in every run.

A routing feature has one kind over all runs, and its levels are matched by name, so that what
the runs sum up can be added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_events, check_groups, check_probabilities
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues, read_routing

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class RunRows:
    """Outcomes, confidences and features of one run."""

    events: FloatArray
    confidence: FloatArray
    routing: list[RoutingValues]


@dataclass(frozen=True)
class Runs:
    """Checked runs.

    Attributes
    ----------
    names : list of str
        Name of each run.
    events, confidence : list of ndarray of shape (n_items,)
        Outcomes and confidences of each run.
    items : ndarray of shape (n_items,)
        Code of the group that flips together; one for each item where none was given.
    grouped : bool
        Whether items were given.
    columns : list of dict of str to array-like
        Routing of each run by feature, as given.
    routing : dict of str to list of RoutingValues
        Routing of each feature by run, with the same kind and levels in all runs.
    """

    names: list[str]
    events: list[FloatArray]
    confidence: list[FloatArray]
    items: IntArray
    grouped: bool
    columns: list[dict[str, Any]]
    routing: dict[str, list[RoutingValues]]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def n_groups(self) -> int:
        """Number of independent repetitions."""
        return int(self.items.max()) + 1

    def rows(self, s: int) -> RunRows:
        """Return what belongs to run `s`."""
        routing = [values[s] for values in self.routing.values()]
        return RunRows(self.events[s], self.confidence[s], routing)

    @property
    def kinds(self) -> dict[str, str]:
        """How each feature is read."""
        return {name: values[0].kind for name, values in self.routing.items()}


def read_runs(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: Any,
    *,
    items: ArrayLike | None,
    run_names: Sequence[str] | None,
    feature_names: Sequence[str] | None,
    routing_kind: str | Mapping[str, str],
) -> Runs:
    """Check everything that is given once per run."""
    outcomes, confidence = _rows(y_true, "y_true"), _rows(y_prob, "y_prob")
    names = _names(run_names, "run_names", "run", len(outcomes))
    n_items = len(outcomes[0])
    _check_one_per_run("y_prob", len(confidence), len(outcomes))
    events = [check_events(*pair) for pair in zip(outcomes, _label("y_true", names), strict=True)]
    probability = [
        check_probabilities(row, label, n_samples=n_items)
        for row, label in zip(confidence, _label("y_prob", names), strict=True)
    ]
    columns = _tables(routing, names, feature_names)
    kinds = _kind_of_each(routing_kind, list(columns[0]))
    codes = np.arange(n_items) if items is None else check_groups(items, n_items, "items")[1]
    return Runs(
        names=names,
        events=events,
        confidence=probability,
        items=codes,
        grouped=items is not None,
        columns=columns,
        routing={
            name: _read_alike([table[name] for table in columns], name, kinds[name], names, n_items)
            for name in columns[0]
        },
    )


def _rows(values: ArrayLike, name: str) -> list[NDArray[Any]]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"The rows of `{name}` differ in length; all runs must hold the same items, in the "
            "same order."
        ) from error
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"`{name}` must have shape (n_runs, n_items), a row for every run; got shape "
            f"{array.shape}. For a single run pass [{name}]."
        )
    return list(array)


def _check_one_per_run(name: str, count: int, n_runs: int) -> None:
    if count != n_runs:
        raise ValueError(f"`{name}` holds {count} runs where `y_true` holds {n_runs}.")


def _label(name: str, runs: Sequence[str]) -> list[str]:
    return [f"{name}[{run!r}]" for run in runs]


def _names(given: Sequence[str] | None, parameter: str, stem: str, count: int) -> list[str]:
    if given is None:
        return [f"{stem}_{k}" for k in range(count)]
    names = [str(name) for name in given]
    if len(names) != count:
        raise ValueError(f"`{parameter}` has {len(names)} names where {count} are needed.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"`{parameter}` must differ; repeated: {repeated}.")
    return names


def _tables(
    routing: Any, runs: Sequence[str], feature_names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Split the routing of each run into named columns, the same ones in the same order."""
    if isinstance(routing, Mapping) or hasattr(routing, "columns"):
        raise TypeError(
            "`routing` must hold one entry for every run; got a single table. For a single run "
            "pass [routing]."
        )
    tables = [_columns(table, feature_names) for table in routing]
    _check_one_per_run("routing", len(tables), len(runs))
    expected = list(tables[0])
    for run, table in zip(runs, tables, strict=True):
        if set(table) != set(expected):
            raise ValueError(
                f"All runs must have the same routing features; {runs[0]!r} has {expected}, "
                f"{run!r} has {list(table)}."
            )
    return [{name: table[name] for name in expected} for table in tables]


def _columns(table: Any, feature_names: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(table, Mapping) or hasattr(table, "columns"):
        given = list(table if isinstance(table, Mapping) else table.columns)
        if feature_names is not None:
            raise ValueError(
                "`feature_names` names the columns of arrays; `routing` already has names "
                f"({', '.join(map(str, given))}). Leave `feature_names` out."
            )
        columns = [table[name] for name in given]
    else:
        array = np.asarray(table)
        if array.ndim not in {1, 2}:
            raise ValueError(
                "`routing` must have shape (n_runs, n_items) or (n_runs, n_items, n_features), or "
                f"be a sequence of tables; one run has shape {array.shape}."
            )
        columns = [array] if array.ndim == 1 else list(array.T)
        given = _names(feature_names, "feature_names", "routing", len(columns))
    if not columns:
        raise ValueError("`routing` has no columns; at least one feature is needed.")
    names = _names(given, "routing", "routing", len(columns))
    return dict(zip(names, columns, strict=True))


def _kind_of_each(routing_kind: str | Mapping[str, str], names: list[str]) -> dict[str, str]:
    if not isinstance(routing_kind, Mapping):
        return dict.fromkeys(names, routing_kind)
    unknown = sorted(set(routing_kind) - set(names))
    if unknown:
        raise ValueError(
            f"`routing_kind` speaks of {unknown}, which are no features; known: {names}."
        )
    return {name: routing_kind.get(name, "auto") for name in names}


def _read_alike(
    columns: Sequence[Any], name: str, kind: str, runs: Sequence[str], n_items: int
) -> list[RoutingValues]:
    """Read one feature in all runs, with one kind and one list of levels."""
    read = [
        read_routing(column, f"routing[{run!r}][{name!r}]", kind, n_items)
        for run, column in zip(runs, columns, strict=True)
    ]
    named = [values.kind == "nominal" for values in read]
    if any(named) and not all(named):
        raise TypeError(
            f"Routing feature {name!r} holds names in {runs[named.index(True)]!r} and numbers in "
            f"{runs[named.index(False)]!r}. Give the same kind in every run, or pass "
            "routing_kind='nominal'."
        )
    stacked = np.concatenate(
        [np.array(v.levels)[v.codes] if v.kind == "nominal" else v.numbers for v in read]
    )
    joint = read_routing(stacked, name, kind, len(stacked))
    starts = range(0, len(stacked), n_items)
    return [
        RoutingValues(
            joint.kind,
            joint.numbers[start : start + n_items],
            joint.levels,
            joint.codes[start : start + n_items],
        )
        for start in starts
    ]
