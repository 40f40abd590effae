"""From arrays to the checked arrays of a prediction table; their roles are given by parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from sk_arcal.audit._reading._assemble import assemble
from sk_arcal.audit._reading._layer_columns import layer_columns
from sk_arcal.audit._reading._roles import Parts, Roles
from sk_arcal.audit._reading._score_columns import Scores
from sk_arcal.audit._reading._source import Source, expert_columns, source_from_arrays


def assemble_arrays(
    scores: Mapping[str, Any],
    others: Mapping[str, Any],
    *,
    features: Mapping[str, NDArray[Any]],
    classes: tuple[str, ...] | None,
    mixture: Mapping[str, Any],
    depth: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the fields of a prediction table.

    Parameters
    ----------
    scores : dict of str to array-like or None
        `logits`, `proba` and `confidence`; at most one of them is given.
    others : dict of str to array-like or None
        `y_true`, `y_pred`, `groups` and `split`.
    features : dict of str to ndarray
        Routing features, with the routing prefix.
    classes : tuple of str or None
        Class of every score column.
    mixture : dict
        `experts` and `gates`.
    depth : dict
        `scores` and `names` of layers.
    """
    named = [name for name, values in scores.items() if values is not None]
    mixed = any(values is not None for values in mixture.values())
    deep = depth["scores"] is not None
    if len(named) > 1 or not (named or mixed or deep):
        raise ValueError(
            "Exactly one of `logits`, `proba` and `confidence` must be given; "
            f"got {' and '.join(named) or 'none'}."
        )
    parts = expert_columns(**mixture, classes=classes)
    parts |= layer_columns(**depth, classes=classes)
    source = source_from_arrays({**others, **scores, **features, **parts})
    given = {name for name, values in others.items() if values is not None}

    def choose(_: Source, read: Parts) -> Roles:
        return Roles(
            _given_scores(named) or read.scores or Scores("logit", ()),
            label="y_true",
            predicted="y_pred" if "y_pred" in given else None,
            routing=tuple(features),
            group="groups" if "groups" in given else None,
        )

    return assemble(
        replace(source, classes=classes),
        split="split" if "split" in given else None,
        choose=choose,
        experts=mixed,
        layers=deep,
    )


def _given_scores(named: Sequence[str]) -> Scores | None:
    """Return how the scores among the arrays are read; None if the parts give them."""
    if not named:
        return None
    kind = {"logits": "logit", "proba": "probability"}.get(named[0], "confidence")
    return Scores(kind, (named[0],))
