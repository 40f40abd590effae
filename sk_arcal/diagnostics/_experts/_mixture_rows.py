r"""Gates and experts of every row, checked, and the events they speak about.

With two classes there is one event, ``y == 1`` or the second class, and every expert gives it a
probability :math:`p_m`. With more, the *mixture's* event is "its most probable class is the right
one", and an expert's *own* event is "my most probable class is the right one". Expert m's
probability of the mixture's event is that of the mixture's class, so that always

.. math:: p = \sum_m r_m \, p_m .
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    check_events,
    check_length,
    check_probability_matrix,
)
from sk_arcal.metrics._inputs import class_inputs


@dataclass(frozen=True, eq=False, slots=True)
class MixtureRows:
    """Rows of a mixture of experts.

    Attributes
    ----------
    gates : ndarray of shape (n_samples, n_experts)
        Rows sum to one.
    experts : ndarray of shape (n_samples, n_experts)
        Probability of the mixture's event by every expert.
    event : ndarray of shape (n_samples,)
        1.0 where the mixture's event happened, else 0.0.
    own_experts : ndarray of shape (n_samples, n_experts)
        Probability that every expert gives its own event; `experts` with two classes.
    own_events : ndarray of shape (n_samples, n_experts)
        1.0 where an expert's own event happened, else 0.0.
    true_class : ndarray of shape (n_samples, n_experts)
        Probability that every expert gives the true class.
    """

    gates: FloatArray
    experts: FloatArray
    event: FloatArray
    own_experts: FloatArray
    own_events: FloatArray
    true_class: FloatArray

    @property
    def probability(self) -> FloatArray:
        """Probability of the event by the mixture, steady."""
        return np.minimum(steady((self.gates * self.experts).sum(axis=1)), 1.0)

    @property
    def top(self) -> NDArray[np.intp]:
        """Expert of the largest gate, the first under ties."""
        return self.gates.argmax(axis=1)


def read_mixture(
    y_true: ArrayLike,
    expert_prob: ArrayLike,
    gates: ArrayLike,
    labels: ArrayLike | None = None,
) -> MixtureRows:
    """Check outcomes, experts and gates.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Events, 0 or 1; with class probabilities class labels.
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities.
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one.
    labels : array-like of shape (n_classes,), default=None
        Class of every column of an expert; the sorted labels of `y_true` if None.

    Returns
    -------
    rows : MixtureRows
        Events and probabilities.

    Raises
    ------
    ValueError
        If a shape, a probability, a gate or a label cannot be used.
    TypeError
        If an input does not hold numbers, or labels of another kind.
    """
    given = np.asarray(expert_prob)
    if given.ndim not in {2, 3} or 0 in given.shape:
        raise ValueError(
            "`expert_prob` must have shape (n_samples, n_experts), the probability of the event "
            "by every expert, or (n_samples, n_experts, n_classes); "
            f"got shape {given.shape}."
        )
    weights = read_gates(gates, *given.shape[:2])
    if given.ndim == 2:
        return _event_rows(check_events(y_true), _columns(given), weights)
    classes = np.stack([_class_columns(given, m) for m in range(given.shape[1])], axis=1)
    codes, _, _ = class_inputs(y_true, classes[:, 0], labels, None)
    return _class_rows(codes, classes, weights)


def read_gates(gates: ArrayLike, n_samples: int, n_experts: int) -> FloatArray:
    """Return gates as an array whose rows sum to one."""
    weights = np.asarray(gates)
    if weights.shape != (n_samples, n_experts):
        raise ValueError(
            "`gates` must have one column per expert, shape "
            f"{(n_samples, n_experts)} as in `expert_prob`; got shape {weights.shape}."
        )
    if n_experts == 1:
        return np.ones((n_samples, 1))
    return check_probability_matrix(weights, "gates")


def _columns(given: NDArray[Any]) -> FloatArray:
    """Return each expert's probability of the event, checked like class probabilities."""
    pairs = [check_probability_matrix(np.column_stack([1 - p, p]), "expert_prob") for p in given.T]
    return np.column_stack([pair[:, 1] for pair in pairs])


def _class_columns(given: NDArray[Any], expert: int) -> FloatArray:
    return check_probability_matrix(given[:, expert], f"expert_prob[:, {expert}]")


def _event_rows(event: FloatArray, experts: FloatArray, gates: FloatArray) -> MixtureRows:
    check_length("y_true", event, len(experts))
    events = np.repeat(event[:, None], experts.shape[1], axis=1)
    true_class = np.where(events == 1, experts, 1 - experts)
    return MixtureRows(gates, experts, event, experts, events, true_class)


def _class_rows(codes: NDArray[np.intp], classes: FloatArray, gates: FloatArray) -> MixtureRows:
    check_length("y_true", codes, len(classes))
    if classes.shape[2] == 2:
        return _event_rows(codes.astype(np.float64), classes[:, :, 1], gates)
    row = np.arange(len(codes))
    top = np.einsum("im,imk->ik", gates, classes).argmax(axis=1)
    own_top = classes.argmax(axis=2)
    return MixtureRows(
        gates=gates,
        experts=classes[row, :, top],
        event=(top == codes).astype(np.float64),
        own_experts=classes.max(axis=2),
        own_events=(own_top == codes[:, None]).astype(np.float64),
        true_class=classes[row, :, codes],
    )


def steady(probability: FloatArray) -> FloatArray:
    """Return probabilities without the last digits of a sum over experts.

    Two mixtures that are equal on paper may differ there, and would then fall in other bins or
    pass for other confidences.
    """
    return np.round(probability, 12)
