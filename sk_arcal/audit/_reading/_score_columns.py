"""Which columns hold the model's scores, and for which class.

Understood without a selector, in this order: ``logit__<class>``; lists of ``logits``;
``proba__<class>``; lists of ``probs`` or ``prediction_proba``; ``proba_<class>``,
``prob_<class>``, ``p_<class>`` and ``logit_<class>`` where the classes are those of the labels; a
column per class named as the class; ``confidence``; one ``logit`` or ``prediction_proba`` of the
positive class.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX
from sk_arcal.audit._reading._cells import is_missing, is_number_column, label_text
from sk_arcal.audit._reading._selectors import first_known, listed, quoted
from sk_arcal.audit._reading._source import Source

CONFIDENCE = ("confidence", "conf", "score", "max_prob", "max_proba", "top_prob")
LOGITS = ("logits", "logit")
PROBABILITIES = (
    *("proba", "probs", "probabilities", "prob", "probability", "prediction_proba"),
    *("prediction_probas", "y_prob", "y_proba", "y_score"),
)
# What a table calls the scores that it makes itself, where the file holds experts and gates, or
# layers; and the same for a person.
MIXTURE, LAST_LAYER = "mixture of the experts", "scores of the last layer"
MADE = {MIXTURE: "mixture of the experts", LAST_LAYER: "last layer"}
# Written layer__<layer>__logit__<class>; what a network says before its end.
LAYER_PREFIX = "layer__"
KNOWN_SCORES = (*CONFIDENCE, *LOGITS, *PROBABILITIES)

# The two that our extractor writes need no second look.
_STATED = {"logit__": "logit", "proba__": "probability"}
# Prefixes that people write. Longest first, or prob__cat would be the class "_cat".
_USUAL = {
    "prediction_proba_": "probability",
    "probability_": "probability",
    "logits__": "logit",
    "prob__": "probability",
    "logits_": "logit",
    "logit_": "logit",
    "proba_": "probability",
    "prob_": "probability",
    "p_": "probability",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """The columns that hold the model's scores.

    Attributes
    ----------
    kind : str
        "logit" or "probability" (of a class), "confidence" (of being right).
    names : tuple of str
        The columns; one column may hold a list per row.
    classes : tuple of str or None
        Class that each column stands for, where the names say so.
    """

    kind: str
    names: tuple[str, ...]
    classes: tuple[str, ...] | None = None


def part_of(name: str) -> str | None:
    """Return "mixture" or "layers" if a column is a part of them, or selects such by its beginning.

    Parts are neither the confidence of the model nor features of its routing.
    """
    if name == MIXTURE or name.startswith((EXPERT_PREFIX, GATE_PREFIX)):
        return "mixture"
    return "layers" if name == LAST_LAYER or name.startswith(LAYER_PREFIX) else None


def chosen_scores(source: Source, names: list[str]) -> Scores:
    """Read the kind and the classes of selected columns from their names."""
    if len(names) > 1:
        kinds = {_kind_of(name) for name in names}
        if len(kinds) > 1 and "logit" in kinds:
            raise ValueError(
                f"`confidence` selects logits and probabilities together: {quoted(names)}."
            )
        kind = "logit" if kinds == {"logit"} else "probability"
        return Scores(kind, tuple(names), _classes_of(names))
    name = names[0]
    kind = _kind_of(name)
    if kind == "confidence" and _holds_lists(source[name]):
        kind = "probability"
    parsed = _split_prefix(name)
    return Scores(kind, (name,), (parsed[1],) if parsed else None)


def _kind_of(name: str) -> str:
    parsed = _split_prefix(name)
    if parsed:
        return parsed[0]
    if name.casefold() in LOGITS:
        return "logit"
    return "probability" if name.casefold() in PROBABILITIES else "confidence"


def _split_prefix(name: str) -> tuple[str, str] | None:
    """Return kind and class of a name that begins like a class score."""
    for prefix, kind in {**_STATED, **_USUAL}.items():
        if name.startswith(prefix) and len(name) > len(prefix) and name not in KNOWN_SCORES:
            return kind, name.removeprefix(prefix)
    return None


def _classes_of(names: Sequence[str]) -> tuple[str, ...]:
    parsed = [_split_prefix(name) for name in names]
    if all(parsed):
        return tuple(item[1] for item in parsed if item)
    shared = re.match(r".*[_.:/ ]", _common_beginning(names))
    return tuple(name.removeprefix(shared.group() if shared else "") for name in names)


def _common_beginning(names: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def recognised_scores(
    source: Source, free: list[str], label: str | None, otherwise: Scores | None = None
) -> Scores:
    """Find the scores among the `free` columns by their names, else return `otherwise`."""
    labels = _label_texts(source[label]) if label else set()
    lists = [name for name in free if _holds_lists(source[name])]
    single = [name for name in free if name not in lists]
    searches: tuple[Callable[[], Scores | None], ...] = (
        lambda: _stated(free, "logit__"),
        lambda: _known(lists, LOGITS, "logit"),
        lambda: _stated(free, "proba__"),
        lambda: _known(lists, PROBABILITIES, "probability"),
        lambda: _usual(single, labels),
        lambda: _named_as_labels(single, labels),
        lambda: _known(free, CONFIDENCE, "confidence"),
        lambda: _known(free, LOGITS, "logit"),
        lambda: _known(free, PROBABILITIES, "probability"),
        lambda: _one_class(single, labels),
    )
    for search in searches:
        found = search()
        if found:
            return found
    if otherwise is not None:
        return otherwise
    raise ValueError(
        "No scores were found: expected class scores (`logit__<class>`, `proba__<class>`, "
        "`logits`) or `confidence`. "
        f"{listed(list(source.columns), KNOWN_SCORES)} {source.hint}"
    )


def _label_texts(values: NDArray[Any]) -> set[str]:
    if is_number_column(values):
        return {label_text(cell) for cell in np.unique(values) if not is_missing(cell)}
    return {label_text(cell) for cell in values if not is_missing(cell)}


def _holds_lists(values: NDArray[Any]) -> bool:
    if values.ndim == 2:
        return values.shape[1] > 1
    cells = (cell for cell in values if not _is_missing_or_text(cell))
    return values.dtype.kind == "O" and isinstance(next(cells, None), (list, tuple, np.ndarray))


def _is_missing_or_text(cell: Any) -> bool:
    """Whether a cell cannot be a list of scores."""
    return isinstance(cell, (str, bytes)) or is_missing(cell)


def _stated(names: list[str], prefix: str) -> Scores | None:
    found = tuple(name for name in names if name.startswith(prefix))
    classes = tuple(name.removeprefix(prefix) for name in found)
    return Scores(_STATED[prefix], found, classes) if found else None


def _known(names: list[str], known: tuple[str, ...], kind: str) -> Scores | None:
    name = first_known(names, known)
    return Scores(kind, (name,)) if name else None


def _usual(names: list[str], labels: set[str]) -> Scores | None:
    """Find at least two columns with a usual prefix whose classes are those of the labels."""
    for prefix, kind in _USUAL.items():
        found = [n for n in names if n.startswith(prefix) and n not in KNOWN_SCORES]
        classes = tuple(name.removeprefix(prefix) for name in found)
        by_position = {str(code) for code in range(len(found))}
        # Integers may count the columns only where a wrong guess shows: probabilities have to
        # sum to one, logits (of two models, say) do not, and p_ begins many names (p_value).
        countable = kind == "probability" and prefix != "p_"
        fits = labels <= set(classes) or (countable and labels <= by_position)
        if len(found) > 1 and labels and fits:
            return Scores(kind, tuple(found), classes)
    return None


def _named_as_labels(names: list[str], labels: set[str]) -> Scores | None:
    """Find one column per class, named as the class; numbered ones include absent classes."""
    if len(labels) < 2 or not labels <= set(names):
        return None
    numbered = all(label.isdecimal() for label in labels)
    found = [n for n in names if (n.isdecimal() if numbered else n in labels)]
    return Scores("probability", tuple(found), tuple(found))


def _one_class(names: list[str], labels: set[str]) -> Scores | None:
    """Find the score of one of two classes, such as proba_churn."""
    for name in names:
        parsed = _split_prefix(name)
        if parsed and len(labels) == 2 and parsed[1] in labels:
            return Scores(parsed[0], (name,), (parsed[1],))
    return None
