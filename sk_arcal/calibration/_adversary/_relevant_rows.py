r"""The filtered objective: an anchor on all rows, an adversary on those where routing matters.

.. math:: J = \frac1n \sum_i \ell_i + \max_w \sum_{i \in R} \pi_i w_i \ell_i ,

with the second term over the *relevant* rows R alone, or the mean again if there are none. A row is
relevant if mixing made it worse than its best expert, :math:`\ell_i - \min_m \ell_{im}` beyond a
threshold, or if its experts disagree, :math:`\sum_m r_m \|p_m - p\|^2` beyond another.

Source: G. Wong et al., "Toward Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026,
objective "Robust Filtered".
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._adversaries import WorstCase
from sk_arcal.calibration._mixture._mixture import Mixture


class Responder(Protocol):
    """Anything that answers losses by a worst case."""

    def respond(self, losses: FloatArray, start: float | None = None) -> WorstCase:
        """Return the worst case, its weights and its slope; `start` as of :class:`Adversary`."""


@dataclass(frozen=True, slots=True)
class AnchoredAdversary:
    """Mean over all rows plus the worst case over some.

    Attributes
    ----------
    mass : ndarray of shape (n_rows,)
        Base masses.
    rows : ndarray of shape (n_relevant,)
        Positions of the relevant rows.
    inner : Responder or None
        Adversary of these rows; None if there are none.
    """

    mass: FloatArray
    rows: NDArray[np.intp]
    inner: Responder | None

    def respond(self, losses: FloatArray, start: float | None = None) -> WorstCase:
        """Return the value, row weights of mean one, and the slope in the losses."""
        base = self.mass / self.mass.sum()
        mean = float(base @ losses)
        if self.inner is None:
            return WorstCase(2 * mean, np.ones(len(losses)), 2 * base)
        worst = self.inner.respond(losses[self.rows], start)
        slope, weights = base.copy(), np.full(len(losses), 0.5)
        slope[self.rows] += worst.slope
        weights[self.rows] += worst.weights / (2 * base[self.rows].sum())
        return WorstCase(mean + worst.value, weights, slope, worst.threshold)


def mixture_regret(mixture: Mixture, losses: FloatArray, codes: FloatArray) -> FloatArray:
    """Return the loss of a row less that of its best expert, nats.

    Parameters
    ----------
    mixture : Mixture
        Experts as they came.
    losses : ndarray of shape (n_samples,)
        Log loss of the aggregate.
    codes : ndarray of shape (n_samples,)
        Class codes.

    Returns
    -------
    regret : ndarray of shape (n_samples,)
        Positive where some open expert was better.
    """
    log_p = mixture.expert_log_probabilities(np.ones(mixture.n_experts))
    own = -np.take_along_axis(log_p, codes.astype(np.intp)[:, None, None], axis=2)[:, :, 0]
    return losses - np.where(np.isfinite(mixture.log_gates), own, np.inf).min(axis=1)


def gate_disagreement(mixture: Mixture) -> FloatArray:
    """Return the gate-weighted squared distance of the experts to their mixture, in [0, 2]."""
    unit = np.ones(mixture.n_experts)
    probability = np.exp(mixture.expert_log_probabilities(unit))
    apart = probability - np.exp(mixture.log_probabilities(unit))[:, None]
    return np.einsum("im,imk->i", np.exp(mixture.log_gate_weights()), apart**2)
