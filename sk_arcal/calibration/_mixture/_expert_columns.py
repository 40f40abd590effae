"""Which columns of X are the experts of a mixture, and which are its gates.

Named columns ``expert__<expert>__<class>`` (or ``expert__<expert>``, the score of the event) and
``gate__<expert>`` are understood without any parameter. Positions come as one selector per expert
or as a flat one, expert after expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX, IndexArray, Selector, positions
from sk_arcal.calibration._saving._plain_state import register_helper

_AMONG_EXPERTS = ("logit__", "proba__")


@register_helper
@dataclass(frozen=True, slots=True)
class ExpertRoles:
    """Positions of the columns of a mixture, and what their names say.

    Attributes
    ----------
    experts : ndarray of shape (n_experts, n_scores)
        Positions in X; n_scores is 1 for the score of an event, else the number of classes.
    gates : ndarray of shape (n_experts,) or None
        Positions in X; without gates the experts weigh the same.
    named_classes : tuple of str or None
        Class named by each column of an expert.
    """

    experts: IndexArray
    gates: IndexArray | None
    named_classes: tuple[str, ...] | None


def resolve_experts(
    X: Any,
    n_features: int,
    names: Sequence[str] | None,
    *,
    expert_columns: Any,
    gate_columns: Selector,
    n_classes: int,
) -> ExpertRoles | None:
    """Find the columns of experts and gates.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        As the user gave it; only callables look at it.
    n_features : int
        Number of columns.
    names : sequence of str or None
        Column names, where there are any.
    expert_columns, gate_columns : selector
        See :class:`~sk_arcal.calibration.ExpertTemperatureScaler`.
    n_classes : int
        Number of classes; tells how a flat selector is cut.

    Returns
    -------
    roles : ExpertRoles or None
        None if there are no experts, neither given nor named.

    Raises
    ------
    ValueError
        If gates come without experts or in another number, experts differ in their classes, or
        a column has two roles.
    TypeError
        If a selector is none of the kinds of `confidence_columns`.
    """
    names = None if names is None else list(names)
    found = _named_experts(names or ()) if expert_columns is None else {}
    named_classes = _shared_classes(found)
    if expert_columns is None:
        experts = _in_class_order(found, named_classes)
    else:
        experts = _given_experts(expert_columns, X, n_features, names, n_classes)
    if not experts:
        if (
            gate_columns is not None
            and positions(gate_columns, X, n_features, names, "gate_columns").size
        ):
            raise ValueError(
                "`gate_columns` weigh experts, and there are none: name these in "
                "`expert_columns`, or the gates in `routing_columns`."
            )
        return None
    if len({len(expert) for expert in experts}) > 1:
        raise ValueError(
            "Every expert needs the same number of columns, one for an event or one per class; "
            f"got {[len(expert) for expert in experts]}."
        )
    table = np.array(experts, dtype=np.intp)
    gates = _gates(X, n_features, names, gate_columns, list(found) or None, len(table))
    _refuse_shared(table, gates)
    return ExpertRoles(table, gates, named_classes)


def _given_experts(
    given: Any, X: Any, n_features: int, names: Sequence[str] | None, n_classes: int
) -> list[list[int]]:
    """One list of positions per expert."""
    per_expert = isinstance(given, (list, tuple, np.ndarray)) and len(given) > 0
    if per_expert and all(not np.isscalar(entry) for entry in given):
        return [
            positions(entry, X, n_features, names, f"expert_columns[{m}]").tolist()
            for m, entry in enumerate(given)
        ]
    flat = positions(given, X, n_features, names, "expert_columns")
    size = n_classes if n_classes > 2 else 1
    if len(flat) % size:
        raise ValueError(
            f"`expert_columns` selects {len(flat)} columns for {n_classes} classes, which is not "
            f"a whole number of experts with {size} columns each. Write one selector per expert, "
            "e.g. expert_columns=[range(0, 3), range(3, 6)], and name all classes if y lacks "
            "some: classes=[...]."
        )
    return flat.reshape(-1, size).tolist()


def _named_experts(names: Sequence[str]) -> dict[str, dict[str | None, int]]:
    """Position of every named column, by expert and class, in the order of the table."""
    found: dict[str, dict[str | None, int]] = {}
    for position, name in enumerate(names):
        if name.startswith(EXPERT_PREFIX):
            expert, separator, label = name.removeprefix(EXPERT_PREFIX).partition("__")
            found.setdefault(expert, {})[label if separator else None] = position
    return found


def _shared_classes(found: dict[str, dict[str | None, int]]) -> tuple[str, ...] | None:
    """Classes in the order of the first expert; raise if another expert has others."""
    if not found:
        return None
    first, *others = found
    for other in others:
        if set(found[other]) != set(found[first]):
            raise ValueError(
                f"Expert {first!r} has columns for {list(found[first])}, expert {other!r} for "
                f"{list(found[other])}; every expert needs all classes."
            )
    classes = tuple(label for label in found[first] if label is not None)
    if classes and len(classes) < len(found[first]):
        raise ValueError(
            f"Expert {first!r} has a column without a class, {EXPERT_PREFIX}{first}, beside those "
            f"of {list(classes)}; keep one or the other."
        )
    return classes or None


def _in_class_order(
    found: dict[str, dict[str | None, int]], classes: tuple[str, ...] | None
) -> list[list[int]]:
    order: tuple[str | None, ...] = (None,) if classes is None else classes
    return [[columns[label] for label in order] for columns in found.values()]


def _gates(
    X: Any,
    n_features: int,
    names: Sequence[str] | None,
    given: Selector,
    experts: list[str] | None,
    n_experts: int,
) -> IndexArray | None:
    named = [name for name in names or () if name.startswith(GATE_PREFIX)]
    if given is None and not named:
        return None
    if given is None and experts is not None:
        wanted = [GATE_PREFIX + expert for expert in experts]
        if set(wanted) != set(named):
            raise ValueError(f"The experts need the gates {wanted}; the columns are {named}.")
        given = wanted
    gates = positions(named if given is None else given, X, n_features, names, "gate_columns")
    if gates.size and len(gates) != n_experts:
        raise ValueError(
            f"There are {n_experts} experts but {len(gates)} gate columns; one gate per expert is "
            "needed, or gate_columns=[] for equal weights."
        )
    return gates if gates.size else None


def _refuse_shared(experts: IndexArray, gates: IndexArray | None) -> None:
    used = experts.ravel() if gates is None else np.r_[experts.ravel(), gates]
    values, counts = np.unique(used, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"Column positions {values[counts > 1].tolist()} serve twice among experts and gates; "
            "a column has one role."
        )


def default_routing(n_features: int, names: Sequence[str] | None, taken: IndexArray) -> IndexArray:
    """Return all positions that are neither taken nor named as the mixture's own confidence."""
    free = np.setdiff1d(np.arange(n_features), taken)
    if names is None:
        return free
    return np.array([i for i in free if not names[i].startswith(_AMONG_EXPERTS)], dtype=np.intp)
