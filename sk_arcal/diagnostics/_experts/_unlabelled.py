"""Experts and gates where no outcome is needed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, check_probability_matrix
from sk_arcal.diagnostics._experts._mixture_rows import read_mixture


@dataclass(frozen=True, eq=False, slots=True)
class UnlabelledRows:
    """What a mixture says, whatever happened.

    Attributes
    ----------
    gates : ndarray of shape (n_samples, n_experts)
        Rows sum to one.
    experts : ndarray of shape (n_samples, n_experts)
        Probability of the mixture's event by every expert.
    own_experts : ndarray of shape (n_samples, n_experts)
        Probability that every expert gives its own event.
    top : ndarray of shape (n_samples,)
        Expert of the largest gate.
    """

    gates: FloatArray
    experts: FloatArray
    own_experts: FloatArray
    top: NDArray[np.intp]


def read_unlabelled(expert_prob: ArrayLike, gates: ArrayLike) -> UnlabelledRows:
    """Check experts and gates as `read_mixture` does, without outcomes."""
    given = np.asarray(expert_prob)
    labels = np.arange(given.shape[2]) if given.ndim == 3 else None
    # The first class everywhere is as good as any outcome: what depends on it is left out.
    rows = read_mixture(np.zeros(given.shape[:1]), given, gates, labels)
    return UnlabelledRows(rows.gates, rows.experts, rows.own_experts, rows.top)


def class_probabilities(expert_prob: ArrayLike) -> FloatArray:
    """Return checked experts as (n_samples, n_experts, n_classes); an event has two classes."""
    given = np.asarray(expert_prob)
    if given.ndim == 2:
        given = np.stack([1 - given, given], axis=2)
    columns = [
        check_probability_matrix(given[:, m], f"expert_prob[:, {m}]") for m in range(given.shape[1])
    ]
    return np.stack(columns, axis=1)
