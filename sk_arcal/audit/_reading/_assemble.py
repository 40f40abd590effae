"""From columns to the checked arrays of a prediction table."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal._validation import check_weights
from sk_arcal.audit._reading._cells import (
    as_categories,
    as_numbers,
    as_routing,
    is_number_column,
    refuse,
)
from sk_arcal.audit._reading._data_checks import data_notes
from sk_arcal.audit._reading._experts import (
    PARTS_ARE_THERE,
    Experts,
    difference_note,
    expert_fields,
    read_experts,
)
from sk_arcal.audit._reading._layers import (
    LAYERS_ARE_THERE,
    Layers,
    has_layers,
    layer_fields,
    read_layers,
)
from sk_arcal.audit._reading._model_scores import ModelScores, read_scores
from sk_arcal.audit._reading._outcome import Outcome, read_outcome
from sk_arcal.audit._reading._roles import SPLIT, Parts, Roles, assign_roles
from sk_arcal.audit._reading._score_columns import LAST_LAYER, MIXTURE, part_of
from sk_arcal.audit._reading._selectors import first_known, listing, quoted, select_one
from sk_arcal.audit._reading._source import Source
from sk_arcal.audit._reading._split import apply_split

_FEWEST_ROWS = 2


Choose = Callable[[Source, Parts], Roles]


def assemble(
    source: Source,
    *,
    split: str | None,
    choose: Choose,
    experts: bool = False,
    layers: bool = False,
    checks: bool = True,
) -> dict[str, Any]:
    """Return the fields of a prediction table.

    Parameters
    ----------
    source : Source
        The columns.
    split : str or None
        The column that splits the rows. Rows that it leaves out are dropped before anything
        else is looked at.
    choose : callable
        Gives the remaining columns their roles; told what was read of the model's parts.
    experts, layers : bool, default=False
        Whether columns of experts and gates, or of layers, are read, which must be there then.
    checks : bool, default=True
        Whether to look for peculiarities of the data, which takes a while with many rows.
    """
    if not source.n_rows:
        raise ValueError("The table has no rows.")
    part = apply_split(source, split)
    rows = part.source
    mixture = read_experts(rows) if experts else None
    depth = read_layers(rows) if layers else None
    rows, parts = _with_parts(rows, mixture, depth)
    roles = choose(rows, parts)
    if rows.n_rows < _FEWEST_ROWS:
        raise ValueError("The table has a single row; an audit needs at least two, better 500.")
    model = read_scores(rows, roles.scores)
    outcome = read_outcome(rows, roles, model)
    routing = {
        name.removeprefix(ROUTING_PREFIX): as_routing(
            rows[name], name, rows.where(name), untyped=rows.untyped
        )
        for name in roles.routing
    }
    fields: dict[str, Any] = {
        "event": outcome.event,
        "confidence": model.confidence,
        "logits": None if outcome.labels is None else model.logits,
        "labels": outcome.labels,
        "classes": outcome.classes,
        "routing": routing,
        "groups": _groups(rows, roles.group),
        "evaluate": part.evaluate,
    }
    peculiar = data_notes(**fields) if checks else ()
    mixed, remarks = _mixture_fields(source, roles, mixture, outcome, model)
    deep, more = _layer_fields(rows, roles, depth, model)
    fields |= mixed | deep
    notes = (*source.notes, *part.notes, *model.notes, *outcome.notes)
    fields["notes"] = (*notes, *_weights(rows, roles.weight), *peculiar, *remarks, *more)
    told = {"outcome": outcome.words, "confidence": model.words, "split": part.words}
    told |= {} if mixture is None else mixture.words
    told |= {} if depth is None else {"layers": depth.words}
    if not outcome.compared:
        roles = replace(roles, predicted=None)
    fields["mapping"] = _mapping(source, roles, {split, *parts.taken}, routing, told)
    return fields


def _with_parts(
    rows: Source, mixture: Experts | None, depth: Layers | None
) -> tuple[Source, Parts]:
    """Add the scores that the parts give the model; a mixture comes before the last layer."""
    columns, scores, taken = dict(rows.columns), [], []
    if mixture is not None:
        columns[MIXTURE] = mixture.mixture_column
        scores.append(mixture.mixture_scores)
        taken += [MIXTURE, *mixture.columns]
    if depth is not None:
        columns[LAST_LAYER] = depth.last_column
        scores.append(depth.last_scores)
        taken += [LAST_LAYER, *depth.columns]
    return replace(rows, columns=columns), Parts(scores[0] if scores else None, tuple(taken))


def _layer_fields(
    rows: Source, roles: Roles, depth: Layers | None, model: ModelScores
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the table holds about layers, and remarks on them."""
    if depth is not None:
        return layer_fields(depth, rows, roles, model)
    unread = has_layers(set(rows.columns) - roles.used())
    return {}, (LAYERS_ARE_THERE,) if unread else ()


def _mixture_fields(
    source: Source, roles: Roles, parts: Experts | None, outcome: Outcome, model: ModelScores
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the table holds about experts, and remarks on them."""
    if parts is None:
        unread = any(part_of(n) == "mixture" for n in source.columns if n not in roles.used())
        return {}, (PARTS_ARE_THERE,) if unread else ()
    fields = expert_fields(parts, outcome, model)
    top = np.ones(len(parts.gates), dtype=np.intp)
    if outcome.labels is not None and model.top is not None:
        top = model.top
    own = np.exp(np.take_along_axis(fields["experts"], top[:, None, None], axis=2)[:, :, 0])
    return fields, (*parts.notes, *difference_note(model.confidence, own, parts.gates))


def assemble_by_name(
    source: Source,
    *,
    target: str | None = None,
    confidence: str | Sequence[str] | None = None,
    routing: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    experts: bool = False,
    layers: bool = False,
) -> dict[str, Any]:
    """Return the fields of a prediction table whose columns are selected or known by name."""
    chosen, choose = roles_by_name(
        list(source.columns),
        target=target,
        confidence=confidence,
        routing=routing,
        group=group,
        split=split,
    )
    return assemble(source, split=chosen, choose=choose, experts=experts, layers=layers)


def roles_by_name(
    names: list[str],
    *,
    target: str | None = None,
    confidence: str | Sequence[str] | None = None,
    routing: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
) -> tuple[str | None, Choose]:
    """Return the column that splits the rows, and what gives the others their roles."""
    others = {target, group, *_each(confidence), *_each(routing)}
    chosen = select_one(split, names, "split") if split else first_known(names, SPLIT)
    if split is None and chosen in others:
        chosen = None

    def choose(rows: Source, parts: Parts) -> Roles:
        columns = {name: values for name, values in rows.columns.items() if name != chosen}
        return assign_roles(
            replace(rows, columns=columns),
            target=target,
            confidence=confidence,
            routing=routing,
            group=group,
            parts=parts,
        )

    return chosen, choose


def _each(selectors: str | Sequence[str] | None) -> Sequence[str]:
    return [selectors] if isinstance(selectors, str) else selectors or []


def _groups(source: Source, name: str | None) -> NDArray[Any] | None:
    if name is None:
        return None
    if is_number_column(source[name]):
        as_numbers(source[name], name, source.where(name))
        return source[name]
    return as_categories(source[name], name, source.where(name))


def _weights(source: Source, name: str | None) -> tuple[str, ...]:
    """Refuse impossible weights and say that possible ones are not used."""
    if name is None:
        return ()
    weights = as_numbers(source[name], name, source.where(name))
    refuse(weights < 0, weights, name, source.where(name), "a weight must not be negative")
    check_weights(weights, len(weights))
    if (weights == weights[0]).all():
        return ()
    return (f"`{name}` is not used: the audit counts every row once.",)


def _mapping(
    source: Source,
    roles: Roles,
    others: set[str | None],
    routing: dict[str, NDArray[Any]],
    told: dict[str, str | None],
) -> dict[str, str]:
    """Say for every role where it was read from, and which columns nobody looked at."""
    features = [
        f"{name} ({len(np.unique(values))} categories)" if values.dtype.kind == "U" else name
        for name, values in routing.items()
    ]
    told = {
        **source.mapping,
        "outcome": told["outcome"],
        "confidence": told["confidence"],
        "experts": told.get("experts"),
        "gates": told.get("gates"),
        "layers": told.get("layers"),
        "routing": listing(features) or "none",
        "groups": f"`{roles.group}`" if roles.group else None,
        "split": told["split"],
    }
    used = roles.used() | others
    unused = [name for name in source.columns if name not in used]
    if unused:
        told["not used"] = quoted(unused)
    return {role: words for role, words in told.items() if words}
