"""Stable logits, entropies, and the temperature of a single row."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, log_softmax, logsumexp, softmax

from sk_arcal._validation import FloatArray

# Elements of one block of rows: small enough that a block and its exponentials stay in cache.
_BLOCK_ELEMENTS = 1 << 16
_NEWTON_STEPS = 200
_RESIDUAL_TOLERANCE = 1e-12
# Logits nearer than this are tied: the temperature that told them apart would overflow.
_SMALLEST_GAP = 1e-200
# At an inverse temperature of zero all classes would tie and the order be lost.
_RANKING_MARGIN = 1e-6


def row_blocks(n_samples: int, n_columns: int) -> list[slice]:
    """Cut rows into slices of about 64 Ki elements, so that temporaries stay small."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, n_columns))
    return [slice(start, start + rows) for start in range(0, n_samples, rows)]


def clipped_logit(probability: FloatArray, margin: float) -> FloatArray:
    """Return log(p / (1 - p)) with p kept `margin` away from 0 and 1."""
    p = np.clip(probability, margin, 1 - margin)
    return np.log(p) - np.log1p(-p)


def predictive_entropy(logits: FloatArray) -> FloatArray:
    """Return -sum p log p of softmax(logits), in nats, shape (n_samples,)."""
    return entr(softmax(logits, axis=1)).sum(axis=1)


def top_two_margin(logits: FloatArray) -> FloatArray:
    """Return the largest class probability less the second largest, shape (n_samples,)."""
    top = np.partition(softmax(logits, axis=1), -2, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def top_probability(logits: FloatArray) -> FloatArray:
    """Return max softmax(logits) of every row, shape (n_samples,)."""
    return np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))


def log_probabilities(logits: FloatArray) -> FloatArray:
    """Return log softmax(logits), shape (n_samples, n_classes)."""
    return log_softmax(logits, axis=1)


def inverse_temperature_for_top(logits: FloatArray, top: FloatArray) -> tuple:
    r"""Return the inverse temperature at which the top class of every row has probability `top`.

    With :math:`d_j = z_j - \max z`, a row's :math:`\beta` solves
    :math:`\sum_{d_j < 0} e^{\beta d_j} = 1/c' - 1 - m`, where m counts the other classes tied at
    the top. The logarithm of the left side is convex and falls in :math:`\beta`, so Newton's
    iteration from a point left of the root rises to it monotonically and needs no bracket.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Class scores.
    top : ndarray of shape (n_samples,)
        Wanted probability c' of the top class, in (0, 1).

    Returns
    -------
    beta : ndarray of shape (n_samples,)
        Inverse temperatures, not negative.
    clipped : ndarray of bool of shape (n_samples,)
        Rows whose `top` cannot be reached without another class overtaking: below 1/K, or above
        what a tie at the top allows. They get the nearest value that can, or a millionth more,
        so that the order of the classes is still there.
    """
    beta = np.empty(len(logits))
    clipped = np.empty(len(logits), dtype=bool)
    for rows in row_blocks(*logits.shape):
        beta[rows], clipped[rows] = _solve_block(logits[rows], top[rows])
    return beta, clipped


def _solve_block(logits: FloatArray, top: FloatArray) -> tuple:
    below = logits - logits.max(axis=1, keepdims=True)
    rival = below < -_SMALLEST_GAP
    n_rivals = rival.sum(axis=1)
    nearest = np.where(rival, below, -np.inf).max(axis=1)
    # What the rivals have to sum to; the other classes tied at the top each hold one.
    rest = np.maximum(1 / top - 1, 1e-15) - (logits.shape[1] - 1 - n_rivals)
    all_tied = n_rivals == 0
    too_low = (rest > n_rivals) & ~all_tied
    too_high = (rest <= 0) & ~all_tied
    rest = np.minimum(rest, (1 - _RANKING_MARGIN) * n_rivals)
    # exp(-40) of the nearest rival is nothing beside the tie, and no exponent overflows.
    beta = np.where(too_high, -40 / np.where(all_tied, -1.0, nearest), 0.0)
    # Where all classes tie every temperature gives 1/K; anything else is out of reach.
    clipped = too_low | too_high | (all_tied & ~np.isclose(top, 1 / logits.shape[1]))
    active = np.flatnonzero(~(too_high | all_tied))
    if active.size:
        beta[active] = _rise_to_root(
            below[active], rival[active], nearest[active], np.log(rest[active])
        )
    return beta, clipped


def _rise_to_root(
    below: FloatArray, rival: NDArray[np.bool_], nearest: FloatArray, target: FloatArray
) -> FloatArray:
    """Newton's iteration on log sum exp(beta d) = target from the left, row by row."""
    # exp(beta * nearest) alone must not exceed the sum: that bounds the root from the left.
    beta = np.maximum(0.0, target / nearest)
    active = np.arange(len(beta))
    for _ in range(_NEWTON_STEPS):
        weight = np.exp(beta[active, None] * below[active]) * rival[active]
        total = weight.sum(axis=1)
        excess = np.log(total) - target[active]
        slope = np.einsum("ij,ij->i", weight, below[active]) / total
        beta[active] += np.maximum(-excess / slope, 0.0)
        active = active[excess > _RESIDUAL_TOLERANCE]
        if not active.size:
            break
    return beta
