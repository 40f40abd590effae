"""One pass over the checkpoints of a training run, holding no more of it than is needed.

Of every checkpoint three numbers a row are kept: the predicted class, the confidence, and whether
the event happened. Of the class probabilities only the last few checkpoints are kept, and running
moments, from which the variance of the finally predicted class is read at the end (B. P. Welford.
"Note on a method for calculating corrected sums of squares and products". Technometrics 4, 1962).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_events, check_probabilities, check_probability_matrix
from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray
from sk_arcal.metrics._inputs import class_inputs

# As in scikit-learn's log loss: a probability of zero costs 36 nats, not infinity.
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Rows:
    """What a model says of each row, and what came: arrays of shape (n_samples,).

    `confidence` is the probability of the event and `event` whether it happened: that the top
    class is right, or the one event whose probability was given. `right` is whether the
    prediction is right, `brier` and `log_loss` are the losses of the row.
    """

    prediction: IntArray
    confidence: FloatArray
    event: NDArray[np.bool_]
    right: NDArray[np.bool_]
    log_loss: FloatArray
    brier: FloatArray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """True class codes of the rows; with `binary`, of an event whose probability is given."""

    codes: IntArray
    n_classes: int
    binary: bool

    def rows(self, probability: FloatArray) -> Rows:
        """Compare class probabilities of shape (n_samples, n_classes) with what came."""
        prediction = probability.argmax(axis=1)
        right = prediction == self.codes
        chosen = probability[np.arange(len(self.codes)), self.codes]
        squares = (probability**2).sum(axis=1) + 1 - 2 * chosen
        return Rows(
            prediction,
            probability[:, 1] if self.binary else probability.max(axis=1),
            self.codes == 1 if self.binary else right,
            right,
            -np.log(np.maximum(chosen, _EPS)),
            # two classes: one of the two equal squares, as scikit-learn has it
            squares / 2 if self.n_classes == 2 else squares,
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A training run seen through its checkpoints, oldest first.

    `prediction`, `confidence` and `event` have shape (n_checkpoints, n_samples), `scores` one
    entry of shape (n_checkpoints,) for each mean over rows. `last` is the last checkpoint,
    `ensemble` the mean of the probabilities of the last few, and `variance` the variance over all
    checkpoints of the probability of the class that the last one predicts.
    """

    prediction: IntArray
    confidence: FloatArray
    event: NDArray[np.bool_]
    scores: dict[str, FloatArray]
    last: Rows
    ensemble: Rows
    variance: FloatArray


def read_trajectory(
    y_true: ArrayLike, staged_proba: Any, labels: ArrayLike | None, n_last: int
) -> Trajectory:
    """Read an array or a one-way iterator of checkpoints."""
    kept: deque[FloatArray] = deque(maxlen=n_last)
    moments, checkpoints, scores = _Moments(), [], []
    for outcomes, probability in _frames(y_true, staged_proba, labels):
        kept.append(probability)
        moments.add(probability)
        rows = outcomes.rows(probability)
        checkpoints.append((rows.prediction, rows.confidence, rows.event))
        scores.append([rows.right.mean(), rows.log_loss.mean(), rows.brier.mean()])
    _check_number(len(checkpoints), n_last)
    prediction, confidence, event = map(np.stack, zip(*checkpoints, strict=True))
    variance = moments.variance()
    return Trajectory(
        prediction,
        confidence,
        event,
        dict(zip(("accuracy", "log_loss", "brier"), np.array(scores).T, strict=True)),
        rows,
        outcomes.rows(np.mean(kept, axis=0)),
        variance[np.arange(len(variance)), rows.prediction],
    )


class _Moments:
    """Running mean and sum of squared deviations of arrays of one shape."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, values: FloatArray) -> None:
        if not self.count:
            self.mean, self.squares = np.zeros_like(values), np.zeros_like(values)
        self.count += 1
        deviation = values - self.mean
        self.mean += deviation / self.count
        self.squares += deviation * (values - self.mean)

    def variance(self) -> FloatArray:
        return self.squares / self.count


def _frames(
    y_true: ArrayLike, staged_proba: Any, labels: ArrayLike | None
) -> Iterator[tuple[Outcomes, FloatArray]]:
    """Yield the outcomes and the class probabilities of every checkpoint, checked."""
    shape = getattr(staged_proba, "shape", None)
    if shape is not None:
        staged_proba = np.asarray(staged_proba)
    if not isinstance(staged_proba, Iterable) or (shape is not None and len(shape) < 2):
        raise TypeError(
            "`staged_proba` must be an array of shape (n_checkpoints, n_samples, n_classes) or "
            "(n_checkpoints, n_samples), or yield one array per checkpoint; got "
            f"{type(staged_proba).__name__}."
        )
    outcomes: Outcomes | None = None
    for k, frame in enumerate(staged_proba):
        if outcomes is None:
            outcomes = _outcomes(y_true, frame, labels)
        yield outcomes, _matrix(frame, f"staged_proba[{k}]", outcomes)


def _outcomes(y_true: ArrayLike, frame: Any, labels: ArrayLike | None) -> Outcomes:
    if np.ndim(frame) == 1:
        return Outcomes(check_events(y_true).astype(np.intp), 2, True)
    codes, probability, _ = class_inputs(y_true, frame, labels, None)
    return Outcomes(codes, probability.shape[1], False)


def _matrix(frame: Any, name: str, outcomes: Outcomes) -> FloatArray:
    if outcomes.binary:
        event = check_probabilities(frame, name, n_samples=len(outcomes.codes))
        return np.column_stack([1 - event, event])
    probability = check_probability_matrix(frame, name, n_samples=len(outcomes.codes))
    if probability.shape[1] != outcomes.n_classes:
        raise ValueError(
            f"`{name}` has {probability.shape[1]} classes where `staged_proba[0]` has "
            f"{outcomes.n_classes}."
        )
    return probability


def _check_number(n_checkpoints: int, n_last: int) -> None:
    if n_checkpoints < max(n_last, 2):
        raise ValueError(
            f"`staged_proba` holds {n_checkpoints} checkpoints where `last`={n_last} are to be "
            "averaged; keep more snapshots or lower `last` (at least 2)."
        )
