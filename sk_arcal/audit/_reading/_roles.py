"""Which column plays which role: from selectors where given, from its name elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal.audit._reading._score_columns import (
    KNOWN_SCORES,
    Scores,
    chosen_scores,
    part_of,
    recognised_scores,
)
from sk_arcal.audit._reading._selectors import first_known, listed, select_one, select_several
from sk_arcal.audit._reading._source import Source

LABELS = (
    *("y", "y_true", "true", "label", "labels", "target", "targets"),
    *("true_label", "ground_truth", "gold"),
)
CORRECTNESS = ("correct", "is_correct", "correctness", "acc", "exact_match", "event")
PREDICTED = ("pred", "prediction", "y_pred", "predicted", "predicted_label", "pred_label")
GROUPS = ("group", "groups", "group_id")
SPLIT = ("split",)
WEIGHTS = ("sample_weight", "weight", "weights")


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column plays which role; None where nobody plays it.

    Attributes
    ----------
    scores : Scores
        The model's scores.
    label : str or None
        True class, or 0/1 outcome where there is one score and no predicted class.
    correct : str or None
        Whether the prediction was right.
    predicted : str or None
        Predicted class.
    routing : tuple of str
        Routing features.
    group, weight : str or None
        Which rows belong together; how often a row counts.
    """

    scores: Scores
    label: str | None = None
    correct: str | None = None
    predicted: str | None = None
    routing: tuple[str, ...] = ()
    group: str | None = None
    weight: str | None = None

    def used(self) -> set[str]:
        """Names of all columns with a role."""
        single = (self.label, self.correct, self.predicted, self.group, self.weight)
        return {name for name in single if name} | {*self.scores.names, *self.routing}


@dataclass(frozen=True, slots=True)
class Parts:
    """What was read of the model's parts, before roles are given.

    Attributes
    ----------
    scores : Scores or None
        Those that the parts give the model where no others are found.
    taken : tuple of str
        Columns that have a role already.
    """

    scores: Scores | None = None
    taken: tuple[str, ...] = ()


NO_PARTS = Parts()


def assign_roles(
    source: Source,
    *,
    target: str | None = None,
    confidence: str | Sequence[str] | None = None,
    routing: str | Sequence[str] | None = None,
    group: str | None = None,
    parts: Parts = NO_PARTS,
) -> Roles:
    """Give every column its role.

    Columns of experts, gates and layers that are not among the `parts` that were read are free, but
    taken only by selectors that name them.

    Raises
    ------
    ValueError
        If a selector matches nothing or a column twice over, or if no outcome or no score is
        selected or recognised; the columns that are there are listed.
    """
    names = list(source.columns)
    label, correct = _outcome(names, target)
    group = select_one(group, names, "group") if group else first_known(names, GROUPS)
    weight = first_known(names, WEIGHTS)
    taken = {name for name in (label, correct, group, weight) if name}
    free = [name for name in names if name not in taken and not part_of(name)]
    if confidence is None:
        scores = recognised_scores(source, free, label, parts.scores)
    else:
        among = _selectable(names, confidence, parts.taken)
        found = select_several(confidence, names, "confidence", among=among)
        scores = chosen_scores(source, found)
    _refuse_shared(scores.names, {"outcome": label or correct, "group": group})
    free = [name for name in free if name not in scores.names]
    predicted = first_known(free, PREDICTED)
    free = [name for name in free if name != predicted]
    if routing is not None:
        free = _selectable([n for n in names if n in free or part_of(n)], routing, parts.taken)
    chosen = _routing(source, free, routing)
    return Roles(scores, label, correct, predicted, chosen, group, weight)


def _selectable(
    names: Sequence[str], selectors: str | Sequence[str], taken: Sequence[str]
) -> list[str]:
    """Return the columns that selectors may choose; a glob over all takes no part of a model."""
    given = [selectors] if isinstance(selectors, str) else selectors
    named = {None, *(part_of(selector) for selector in given if isinstance(selector, str))}
    free = set(names) - set(taken)
    return [name for name in names if name in free and part_of(name) in named]


def _outcome(names: list[str], target: str | None) -> tuple[str | None, str | None]:
    """Return the columns of the label and of the correctness."""
    if target is not None:
        name = select_one(target, names, "target")
        states_correctness = name.casefold() in CORRECTNESS or "correct" in name.casefold()
        return (None, name) if states_correctness else (name, None)
    label, correct = first_known(names, LABELS), first_known(names, CORRECTNESS)
    if label is None and correct is None:
        raise ValueError(
            "No outcome was found: expected true labels (`y`, `y_true`, `label`, `target`) or "
            f"0/1 correctness (`correct`). {listed(names, LABELS + CORRECTNESS)} "
            "Select it with `target`."
        )
    return label, correct


def _routing(
    source: Source, free: list[str], selectors: str | Sequence[str] | None
) -> tuple[str, ...]:
    if selectors is not None:
        chosen = select_several(selectors, list(source.columns), "routing", among=free)
    else:
        chosen = [name for name in free if name.startswith(ROUTING_PREFIX)]
        known = {*LABELS, *CORRECTNESS, *PREDICTED, *GROUPS, *SPLIT, *KNOWN_SCORES}
        if not chosen:
            chosen = [n for n in free if n in source.joined and n.casefold() not in known]
    short = [name.removeprefix(ROUTING_PREFIX) for name in chosen]
    twice = [name for name in short if short.count(name) > 1]
    if twice:
        raise ValueError(f"Two routing columns would both be called `{twice[0]}`; rename one.")
    return tuple(chosen)


def _refuse_shared(scores: tuple[str, ...], others: dict[str, str | None]) -> None:
    for role, name in others.items():
        if name in scores:
            raise ValueError(f"The column `{name}` cannot be both confidence and {role}.")
