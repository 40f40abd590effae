"""What happened: was the prediction right, or did the binary event occur."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._cells import as_events, counted, distinct_labels, encode_labels
from sk_arcal.audit._reading._model_scores import ModelScores
from sk_arcal.audit._reading._roles import Roles
from sk_arcal.audit._reading._source import Source

BINARY = {"0", "1"}
_EVEN = 0.5
_SINGLE_SCORE_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """The event, and the class labels where class scores are known too.

    Attributes
    ----------
    event : ndarray of shape (n_samples,)
        1 where the prediction was right or the event happened, else 0.
    words : str
        What the event is.
    labels : ndarray of int of shape (n_samples,) or None
        Position of the true class among `classes`.
    classes : tuple of str or None
        Names of the classes.
    notes : tuple of str
        Remarks.
    compared : bool
        Whether the stated predictions were looked at.
    """

    event: FloatArray
    words: str
    labels: NDArray[np.intp] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    compared: bool = False


def read_outcome(source: Source, roles: Roles, model: ModelScores) -> Outcome:
    """Decide from the columns at hand what the event is."""
    label, correct = roles.label, roles.correct
    if label is not None and model.top is not None:
        return _top_label(source, roles, label, model.top, model.n_classes)
    if correct is not None and (label is None or roles.scores.kind == "confidence"):
        event = as_events(source[correct], correct, source.where(correct))
        unlabelled = "No true labels were found, so the class scores only give the confidence."
        notes = (unlabelled,) if model.top is not None else ()
        return Outcome(event, f"`{correct}` is 1", notes=notes)
    if label is None:
        raise ValueError("A true label or the correctness of the prediction is needed.")
    if roles.scores.kind == "confidence":
        if roles.predicted is not None:
            return _equal_labels(source, roles, label, roles.predicted, model.confidence)
        return Outcome(as_events(source[label], label, source.where(label)), f"`{label}` is 1")
    return _class_event(source, roles, label)


def _top_label(
    source: Source, roles: Roles, name: str, top: NDArray[np.intp], n_classes: int
) -> Outcome:
    classes = roles.scores.classes or source.classes
    if classes is not None and len(classes) != n_classes:
        raise ValueError(
            f"`classes` must name the {n_classes} score columns; got {len(classes)} names."
        )
    labels, names = encode_labels(
        source[name], name, source.where(name), n_classes=n_classes, classes=classes
    )
    right = top == labels
    words = f"`{name}` is the class with the largest score, out of {n_classes}"
    notes = _disagreement(source, roles.predicted, names, top)
    compared = roles.predicted is not None
    return Outcome(right.astype(np.float64), words, labels, names, notes, compared)


def _disagreement(
    source: Source, name: str | None, classes: tuple[str, ...], top: NDArray[np.intp]
) -> tuple[str, ...]:
    """Compare the stated predictions with the largest scores."""
    if name is None:
        return ()
    try:
        predicted, _ = encode_labels(
            source[name], name, source.where(name), n_classes=len(classes), classes=classes
        )
    except ValueError:
        return (f"`{name}` holds other things than classes and is not used.",)
    differ = int((predicted != top).sum())
    if not differ:
        return ()
    note = (
        f"`{name}` is not the class with the largest score in {counted(differ, 'row')}; "
        "the largest score decides here."
    )
    return (note,)


def _equal_labels(
    source: Source, roles: Roles, name: str, predicted: str, confidence: FloatArray
) -> Outcome:
    """Compare predicted and true labels."""
    if states_correctness(source, name, predicted):
        return Outcome(as_events(source[name], name, source.where(name)), f"`{name}` is 1")
    truth, true_codes = distinct_labels(source[name], name, source.where(name))
    said, said_codes = distinct_labels(source[predicted], predicted, source.where(predicted))
    _refuse_positive_class(roles.scores.names[0], predicted, np.array(said)[said_codes], confidence)
    right = np.array(truth)[true_codes] == np.array(said)[said_codes]
    words = f"`{predicted}` equals `{name}`"
    return Outcome(right.astype(np.float64), words, compared=True)


def _refuse_positive_class(
    score: str, predicted: str, said: NDArray[np.str_], confidence: FloatArray
) -> None:
    """Refuse a probability of class 1 where the confidence in the prediction is meant."""
    low = confidence < _EVEN
    thresholded = np.array_equal(said == "0", low) and np.array_equal(said == "1", ~low)
    if low.any() and not low.all() and thresholded:
        raise ValueError(
            f"`{score}` is below 0.5 exactly where `{predicted}` is 0, so it looks like the "
            "probability of class 1 and not like the confidence in the prediction; call it "
            f"`proba`, or leave `{predicted}` out."
        )


def states_correctness(source: Source, label: str, predicted: str) -> bool:
    """Whether `label` is 0/1 correctness beside predictions of another kind."""
    truth, _ = distinct_labels(source[label], label, source.where(label))
    said, _ = distinct_labels(source[predicted], predicted, source.where(predicted))
    if source[label].dtype.kind == "b" and source[predicted].dtype.kind != "b":
        return True
    if set(truth) <= BINARY and not set(said) <= BINARY:
        raise ValueError(
            f"`{label}` holds only 0 and 1 while `{predicted}` holds {said[-1]!r}: is it the true "
            f"class or whether `{predicted}` was right? In the second case call it `correct`."
        )
    if _all_integers(truth) != _all_integers(said):
        raise ValueError(
            f"`{label}` and `{predicted}` name classes in different ways ({truth[0]!r} and "
            f"{said[0]!r}); write both the same way, or pass 0/1 correctness as `correct`."
        )
    return False


def _all_integers(texts: list[str]) -> bool:
    return all(text.lstrip("-").isdecimal() for text in texts)


def _class_event(source: Source, roles: Roles, name: str) -> Outcome:
    """Return the event that one score of a class speaks about."""
    values, locate = source[name], source.where(name)
    if roles.scores.classes is None and source.classes is not None:
        if len(source.classes) != _SINGLE_SCORE_CLASSES:
            raise ValueError(
                f"`classes` must name two classes for a single score; got {len(source.classes)}."
            )
        codes, names = encode_labels(values, name, locate, n_classes=2, classes=source.classes)
        return Outcome((codes == 1).astype(np.float64), f"`{name}` is {names[1]}")
    positive = roles.scores.classes[0] if roles.scores.classes else None
    texts, codes = distinct_labels(values, name, locate)
    if positive is None or (positive not in texts and set(texts) <= BINARY):
        return Outcome(as_events(values, name, locate), f"`{name}` is 1")
    if positive not in texts and len(texts) > 1:
        raise ValueError(
            f"`{roles.scores.names[0]}` is the score of the class {positive!r}, which no row of "
            f"`{name}` holds; its labels are {', '.join(texts[:10])}."
        )
    event = np.array([float(text == positive) for text in texts])[codes]
    return Outcome(event, f"`{name}` is {positive}")
