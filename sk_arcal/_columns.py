"""Which columns of X are confidence, which are routing.

X = [confidence column(s) | routing columns]. Selectors are those of scikit-learn's
``ColumnTransformer``; names written by the feature extractor (``logit__<class>``,
``proba__<class>``, ``routing__<name>``) are understood without any parameter. Roles are resolved
once, in ``fit``.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

Selector = int | str | slice | Sequence[Any] | NDArray[Any] | Callable[[Any], Any] | None
IndexArray = NDArray[np.intp]

_KIND_OF_PREFIX = {"logit__": "logit", "proba__": "probability"}
ROUTING_PREFIX = "routing__"
# Written expert__<expert>__<class> and gate__<expert>; one model's parts, never its confidence.
EXPERT_PREFIX, GATE_PREFIX = "expert__", "gate__"
_NO_CONFIDENCE = (ROUTING_PREFIX, EXPERT_PREFIX, GATE_PREFIX)


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """Positions of the confidence and routing columns, and what their names say.

    Attributes
    ----------
    confidence : ndarray of shape (n_confidence,)
        Positions in X.
    routing : ndarray of shape (n_routing,)
        Positions in X.
    named_kind : str or None
        "logit" or "probability" where the names of the confidence columns say so.
    named_classes : tuple of str or None
        Class named by each confidence column.
    """

    confidence: IndexArray
    routing: IndexArray
    named_kind: str | None = None
    named_classes: tuple[str, ...] | None = None


# Used like a function; a class so that it pickles and prints.
class columns:
    """Select columns by how their names begin or by a regular expression.

    Works with every table that has ``.columns``: pandas, polars, and others.

    Parameters
    ----------
    prefix : str, default=None
        Keep names that begin with it.
    regex : str, default=None
        Keep names in which it is found.

    Raises
    ------
    ValueError
        If neither `prefix` nor `regex` is given, `regex` cannot be compiled, or when no column
        matches.
    TypeError
        If `prefix` or `regex` is no string, or when applied to something without named columns.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_arcal import columns
    >>> frame = pd.DataFrame([[0.1, 2.0]], columns=["logit__cat", "routing__entropy"])
    >>> columns(prefix="routing__")(frame)
    ['routing__entropy']
    """

    def __init__(self, *, prefix: str | None = None, regex: str | None = None) -> None:
        if prefix is None and regex is None:
            raise ValueError("`columns` needs a `prefix` or a `regex` to select by.")
        for name, value in (("prefix", prefix), ("regex", regex)):
            if not isinstance(value, str | None):
                raise TypeError(f"`{name}` must be a string; got {value!r}.")
        try:
            re.compile(regex or "")
        except re.error as error:
            raise ValueError(f"`regex` is no regular expression: {error}.") from None
        self.prefix = prefix
        self.regex = regex

    def __call__(self, X: Any) -> list[str]:
        """Return the names of `X` that match.

        Parameters
        ----------
        X : DataFrame
            Table with named columns.

        Returns
        -------
        names : list of str
            In the order of the table.
        """
        if not hasattr(X, "columns"):
            raise TypeError(f"{self!r} needs a table with named columns; got {type(X).__name__}.")
        names = [name for name in X.columns if isinstance(name, str) and self._matches(name)]
        if not names:
            raise ValueError(f"{self!r} matches none of the columns {list(X.columns)}.")
        return names

    def _matches(self, name: str) -> bool:
        by_prefix = self.prefix is None or name.startswith(self.prefix)
        return by_prefix and (self.regex is None or re.search(self.regex, name) is not None)

    def __repr__(self) -> str:
        given = {"prefix": self.prefix, "regex": self.regex}
        inside = ", ".join(f"{key}={value!r}" for key, value in given.items() if value is not None)
        return f"columns({inside})"


def table_names(X: Any) -> list[str] | None:
    """Return the names of a table's columns if all are strings, like scikit-learn."""
    names = list(getattr(X, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def resolve_columns(
    X: Any,
    n_features: int,
    names: Sequence[str] | None,
    *,
    confidence_columns: Selector,
    routing_columns: Selector,
    n_classes: int,
) -> ColumnRoles:
    """Turn the two selectors into positions.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        As the user gave it; only callables look at it.
    n_features : int
        Number of columns.
    names : sequence of str or None
        Column names, where there are any.
    confidence_columns, routing_columns : selector
        See :class:`~sk_arcal.calibration.TemperatureScaler`.
    n_classes : int
        Number of classes; decides how many unnamed columns are confidence.

    Returns
    -------
    roles : ColumnRoles
        Positions, in the order the selector gave.

    Raises
    ------
    ValueError
        If a column is unknown, named twice, has both roles, or no confidence column is found.
    TypeError
        If a selector is none of the kinds listed there.
    """
    if names is not None:
        names = _distinct(names)
    if confidence_columns is None:
        confidence = _default_confidence(n_features, names, n_classes)
    else:
        confidence = positions(confidence_columns, X, n_features, names, "confidence_columns")
    if confidence.size == 0:
        raise ValueError("`confidence_columns` selects no column; at least one is needed.")
    if routing_columns is None:
        routing = np.setdiff1d(np.arange(n_features), confidence)
    else:
        routing = positions(routing_columns, X, n_features, names, "routing_columns")
    both = np.intersect1d(confidence, routing)
    if both.size:
        raise ValueError(
            f"Columns {_describe(both, names)} are named both in `confidence_columns` and in "
            "`routing_columns`; a column has one role."
        )
    kind, classes = _read_names(confidence, names)
    return ColumnRoles(confidence, routing, kind, classes)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names as a list; pandas lets two columns share one."""
    counts = Counter(names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"X has several columns named {twice}; rename or drop all but one.")
    return list(names)


def _default_confidence(n_features: int, names: Sequence[str] | None, n_classes: int) -> IndexArray:
    names = names or [""] * n_features
    found = {
        prefix: [i for i, name in enumerate(names) if name.startswith(prefix)]
        for prefix in _KIND_OF_PREFIX
    }
    if found["logit__"] and found["proba__"]:
        raise ValueError(
            "There are both `logit__*` and `proba__*` columns; name the ones to use, e.g. "
            "confidence_columns=columns(prefix='logit__'), and list the routing columns."
        )
    named = found["logit__"] or found["proba__"]
    if named:
        return np.array(named, dtype=np.intp)
    free = [i for i, name in enumerate(names) if not name.startswith(_NO_CONFIDENCE)]
    wanted = n_classes if n_classes > 2 else 1
    if len(free) < wanted:
        beside = " beside the routing columns" if len(free) < n_features else ""
        raise ValueError(
            f"There are {n_classes} classes but only {len(free)} column(s){beside}, so they cannot "
            "be one confidence per class. For top-label confidence fit on correctness, "
            "y=(prediction == label), with confidence_columns=0."
        )
    return np.array(free[:wanted], dtype=np.intp)


def positions(
    selector: Selector, X: Any, n_features: int, names: Sequence[str] | None, parameter: str
) -> IndexArray:
    """Return the positions that a selector names, in its order; errors name `parameter`."""
    if callable(selector):
        selector = selector(X)
    if isinstance(selector, slice):
        return _slice_positions(selector, n_features, names, parameter)
    entries = _entries(selector, parameter)
    if entries and all(isinstance(entry, (bool, np.bool_)) for entry in entries):
        if len(entries) != n_features:
            raise ValueError(
                f"The mask in `{parameter}` has {len(entries)} entries for {n_features} columns."
            )
        return np.flatnonzero(entries)
    found = np.array(
        [_position(entry, n_features, names, parameter) for entry in entries], dtype=np.intp
    )
    if len(np.unique(found)) < len(found):
        raise ValueError(f"`{parameter}` names a column twice: {list(entries)!r}.")
    return found


def _entries(selector: Any, parameter: str) -> list[Any]:
    if isinstance(selector, (str, Integral)) and not isinstance(selector, bool):
        return [selector]
    # A set has no order, and a dict or bytes would be read as something it is not.
    listed = isinstance(selector, Collection) and getattr(selector, "ndim", 1) == 1
    if not listed or isinstance(selector, (Set, Mapping, bytes)):
        raise _wrong_kind(parameter, selector)
    return list(selector)


def _wrong_kind(parameter: str, got: Any) -> TypeError:
    return TypeError(
        f"`{parameter}` takes positions, names, a slice, a mask or a callable; got {got!r}."
    )


def _slice_positions(
    selector: slice, n_features: int, names: Sequence[str] | None, parameter: str
) -> IndexArray:
    start, stop = selector.start, selector.stop
    if isinstance(start, str):
        start = _position(start, n_features, names, parameter)
    if isinstance(stop, str):
        # Slices of labels include their end, as in pandas and ColumnTransformer.
        stop = _position(stop, n_features, names, parameter) + 1
    try:
        return np.arange(n_features)[slice(start, stop, selector.step)]
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{parameter}` is {selector!r}: {error}.") from None


def _position(entry: Any, n_features: int, names: Sequence[str] | None, parameter: str) -> int:
    if isinstance(entry, str):
        if names is None:
            raise ValueError(
                f"`{parameter}` names column {entry!r}, but X has no column names; pass a "
                "DataFrame or use positions."
            )
        if entry not in names:
            raise ValueError(f"`{parameter}` names {entry!r}; the columns are {list(names)}.")
        return list(names).index(entry)
    if isinstance(entry, Integral) and not isinstance(entry, (bool, np.bool_)):
        position = int(entry)
        if not -n_features <= position < n_features:
            raise ValueError(
                f"`{parameter}` names position {position}, but X has {n_features} feature(s)."
            )
        return position % n_features
    raise _wrong_kind(parameter, entry)


def _read_names(confidence: IndexArray, names: Sequence[str] | None) -> tuple:
    """Return the kind and the classes that the confidence columns' names state, if they do."""
    if names is None:
        return None, None
    chosen = [names[i] for i in confidence]
    for prefix, kind in _KIND_OF_PREFIX.items():
        if all(name.startswith(prefix) for name in chosen):
            return kind, tuple(name.removeprefix(prefix) for name in chosen)
    return None, None


def _describe(positions: IndexArray, names: Sequence[str] | None) -> list[Any]:
    return [names[i] if names is not None else int(i) for i in positions]
