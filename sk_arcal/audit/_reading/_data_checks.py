"""Remarks on the data that change how far an audit can be trusted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._cells import counted

_LISTED = 10
# Numbers in a row from which two equal rows are no coincidence.
_COMPARABLE = 3


def data_notes(
    event: FloatArray,
    confidence: FloatArray,
    *,
    logits: NDArray[Any] | None,
    labels: NDArray[np.intp] | None,
    classes: tuple[str, ...] | None,
    routing: Mapping[str, NDArray[Any]],
    groups: NDArray[Any] | None,
    evaluate: NDArray[np.bool_] | None,
) -> tuple[str, ...]:
    """Return one sentence for every peculiarity found."""
    return (
        *_outcomes(event),
        *_confidences(confidence, logits is None),
        *_absent_classes(labels, classes),
        *_routing(routing),
        *_repeated(event, confidence, logits, routing, evaluate),
        *_leaking_groups(groups, evaluate),
    )


def _outcomes(event: FloatArray) -> list[str]:
    if event.all():
        return ["The event happened in every row, so over-confidence cannot show."]
    if not event.any():
        return ["The event happened in no row, so under-confidence cannot show."]
    return []


def _confidences(confidence: FloatArray, alone: bool) -> list[str]:
    found = []
    if (confidence == confidence[0]).all():
        found.append(f"The confidence is {confidence[0]:.4g} in every row.")
    saturated = int(((confidence == 0) | (confidence == 1)).sum())
    # With class scores nothing is lost: the calibrators work on those.
    if saturated and alone:
        found.append(
            f"{counted(saturated, 'confidence')} ({saturated / len(confidence):.1%}) exactly 0 "
            "or 1. Rounding hid how sure the model was there; log losses clip them."
        )
    return found


def _absent_classes(labels: NDArray[np.intp] | None, classes: tuple[str, ...] | None) -> list[str]:
    if labels is None or classes is None:
        return []
    count = np.bincount(labels, minlength=len(classes))
    absent = [name for name, rows in zip(classes, count, strict=True) if rows == 0]
    if not absent:
        return []
    shown = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
    return [f"{len(absent)} of the {len(classes)} classes never the true one: {shown}."]


def _routing(routing: Mapping[str, NDArray[Any]]) -> list[str]:
    constant = [name for name, values in routing.items() if (values == values[0]).all()]
    varying = {name: values for name, values in routing.items() if name not in constant}
    codes = [name for name, values in varying.items() if _looks_like_codes(name, values)]
    found = []
    if constant:
        found.append(f"Constant routing features: {', '.join(constant[:_LISTED])}.")
    if codes:
        found.append(
            f"Read as ordered numbers: {', '.join(codes[:_LISTED])}. If these are codes of "
            "experts or categories, write them as texts (e7)."
        )
    return found


def _looks_like_codes(name: str, values: NDArray[Any]) -> bool:
    ends = ("expert", "expert_id", "_idx", "_index", "_code")
    if values.dtype.kind != "f" or not name.casefold().endswith(ends):
        return False
    return bool((values == np.round(values)).all())


def _repeated(
    event: FloatArray,
    confidence: FloatArray,
    logits: NDArray[Any] | None,
    routing: Mapping[str, NDArray[Any]],
    evaluate: NDArray[np.bool_] | None,
) -> list[str]:
    """Count rows that equal another one in every number, and those that do so across the split."""
    numbers = [values for values in routing.values() if values.dtype.kind == "f"]
    scores = confidence[:, None] if logits is None else logits
    if scores.shape[1] + len(numbers) < _COMPARABLE:
        return []
    parts = [event, *numbers]
    keys = [
        hash((score.tobytes(), *(part[row] for part in parts)))
        for row, score in enumerate(np.ascontiguousarray(scores))
    ]
    copies = len(keys) - len(set(keys))
    if not copies:
        return []
    note = (
        f"{counted(copies, 'row')} equal to an earlier row in every number; if they are copies "
        "or depend on each other, name what belongs together with `group`."
    )
    return [note, *_crossing(keys, evaluate)]


def _crossing(keys: list[int], evaluate: NDArray[np.bool_] | None) -> list[str]:
    if evaluate is None:
        return []
    fitted = {key for key, evaluated in zip(keys, evaluate, strict=True) if not evaluated}
    known = sum(key in fitted for key, use in zip(keys, evaluate, strict=True) if use)
    if not known:
        return []
    return [f"{counted(known, 'evaluated row')} equal to one that the calibrator is fitted on."]


def _leaking_groups(groups: NDArray[Any] | None, evaluate: NDArray[np.bool_] | None) -> list[str]:
    if groups is None or evaluate is None:
        return []
    both = np.intersect1d(groups[evaluate], groups[~evaluate])
    if not both.size:
        return []
    note = (
        f"{counted(both.size, 'group')} with rows on both sides of the split, so the evaluation "
        "is not independent of the fit."
    )
    return [note]
