r"""A mixture of experts in logarithms, and its slopes.

Expert m with logits :math:`z_m` is tempered by its inverse temperature :math:`b_m`, the gates
:math:`g` by :math:`\gamma`, and *probabilities* are mixed, not logits:

.. math:: p_k = \sum_m r_m p_{mk}, \quad p_m = \mathrm{softmax}(b_m z_m), \quad
          r = \mathrm{softmax}(\gamma g).

With the responsibilities :math:`\rho_{mk} = r_m p_{mk} / p_k`,

.. math:: \frac{\partial \log p_k}{\partial b_m} = \rho_{mk} (z_{mk} - E_{p_m} z_m), \qquad
          \frac{\partial \log p_k}{\partial \gamma} = \sum_m (\rho_{mk} - r_m) g_m.

Source: G. Wong et al., "Toward Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026,
section 2, for the mixture; the slopes are the chain rule.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sk_arcal._validation import FloatArray

# Up to so many terms, adding whole columns is faster than reducing short rows.
_FEW_TERMS = 16


@dataclass(frozen=True, slots=True)
class Mixture:
    """Experts' logits and logarithms of gates.

    Attributes
    ----------
    scores : ndarray of shape (n_samples, n_experts, n_classes)
        Logits of every expert; an event has the two columns (0, log-odds).
    log_gates : ndarray of shape (n_samples, n_experts)
        Minus infinity where a gate is shut.
    """

    scores: FloatArray
    log_gates: FloatArray

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return self.scores.shape[1]

    def take(self, rows: NDArray[np.intp]) -> "Mixture":
        """Return the mixture of some rows."""
        return Mixture(self.scores[rows], self.log_gates[rows])

    def expert_log_probabilities(self, inverse_temperatures: FloatArray) -> FloatArray:
        """Return log softmax(b_m z_m), shape (n_samples, n_experts, n_classes)."""
        tempered = self.scores * inverse_temperatures[:, None]
        return tempered - log_sum_exp(tempered, axis=2)[:, :, None]

    def log_gate_weights(self, inverse_gate_temperature: float = 1.0) -> FloatArray:
        """Return log softmax(gamma g), shape (n_samples, n_experts)."""
        gates = inverse_gate_temperature * self.log_gates
        return gates - log_sum_exp(gates, axis=1)[:, None]

    def hard(self) -> "Mixture":
        """Return the mixture that opens only the largest gate, the first among equals."""
        shut = np.full(self.log_gates.shape, -np.inf)
        shut[np.arange(len(shut)), self.log_gates.argmax(axis=1)] = 0.0
        return Mixture(self.scores, shut)

    def log_probabilities(
        self, inverse_temperatures: FloatArray, inverse_gate_temperature: float = 1.0
    ) -> FloatArray:
        """Return log p of shape (n_samples, n_classes)."""
        joint = self.expert_log_probabilities(inverse_temperatures)
        joint += self.log_gate_weights(inverse_gate_temperature)[:, :, None]
        return log_sum_exp(joint, axis=1)

    def slopes(
        self,
        inverse_temperatures: FloatArray,
        inverse_gate_temperature: float,
        direction: FloatArray,
    ) -> FloatArray:
        """Return slopes of sum_k direction_k log p_k in (b_1, ..., b_M, gamma), row by row.

        Parameters
        ----------
        inverse_temperatures : ndarray of shape (n_experts,)
            b.
        inverse_gate_temperature : float
            gamma.
        direction : ndarray of shape (n_samples, n_classes)
            What each log p_k counts for.

        Returns
        -------
        slopes : ndarray of shape (n_samples, n_experts + 1)
            Experts first, then the gates.
        """
        expert = self.expert_log_probabilities(inverse_temperatures)
        log_weight = self.log_gate_weights(inverse_gate_temperature)
        joint = expert + log_weight[:, :, None]
        share = np.exp(joint - log_sum_exp(joint, axis=1)[:, None, :]) * direction[:, None, :]
        mean = np.einsum("imk,imk->im", np.exp(expert), self.scores)
        by_expert = np.einsum("imk,imk->im", share, self.scores) - share.sum(axis=2) * mean
        # A shut gate stays shut at every temperature: its infinite logarithm counts for nothing.
        gate = np.where(np.isfinite(self.log_gates), self.log_gates, 0.0)
        total = direction.sum(axis=1, keepdims=True)
        by_gate = (share.sum(axis=2) - total * np.exp(log_weight)) * gate
        return np.column_stack([by_expert, by_gate.sum(axis=1)])


def log_sum_exp(values: FloatArray, axis: int) -> FloatArray:
    """Return log sum exp along an axis, fast where that axis is short.

    Parameters
    ----------
    values : ndarray
        Some entry along the axis is finite; others may be minus infinity.
    axis : int
        Axis that is summed over.

    Returns
    -------
    total : ndarray
        Without that axis.
    """
    if values.shape[axis] > _FEW_TERMS:
        return logsumexp(values, axis=axis)
    first, *others = np.moveaxis(values, axis, 0)
    top = first.copy()
    for term in others:
        np.maximum(top, term, out=top)
    total = np.exp(first - top)
    for term in others:
        total += np.exp(term - top)
    return np.log(total) + top


def event_scores(logits: FloatArray) -> FloatArray:
    """Return log-odds as two scores, (0, log-odds); scores of several classes as they are.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
        As in the hooks of a calibrator.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        At least two columns.
    """
    return np.column_stack([np.zeros_like(logits), logits]) if logits.ndim == 1 else logits


def from_scores(scores: FloatArray) -> FloatArray:
    """Return log-odds for two classes, else the scores: the inverse of `event_scores`."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
