"""Stable logits, entropies, and the temperature of a single row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, log_softmax, logsumexp, softmax

from sk_arcal._validation import FloatArray

# Elements of one block of rows: small enough that a block and its exponentials stay in cache.
_BLOCK_ELEMENTS = 1 << 16
# Exponent of a row's sum up to which softmax subtracts nothing, by bytes of a number: the relative
# error of a probability is that times the rounding, so 1e-6 in float32 and 1e-14 in float64.
_LARGEST_SHIFT = {4: 16.0, 8: 64.0}
_NEWTON_STEPS = 200
_RESIDUAL_TOLERANCE = 1e-13
# Float32 is good for that; from as many columns on it pays.
_ROUGH_TOLERANCE = 1e-5
_LONG_ROW = 32
# So far below the top that a class weighs nothing at any temperature, in logits and in units of
# the nearest rival: for the classes that are tied with the top, which are no rivals.
_NO_RIVAL, _NO_RIVAL_SINGLE = -1e300, -1e30
_LEAST_BETA = 1e-200
# Logits nearer than this are tied: the temperature that told them apart would overflow.
_SMALLEST_GAP = 1e-200
# At an inverse temperature of zero all classes would tie and the order be lost.
_RANKING_MARGIN = 1e-6


def row_blocks(n_samples: int, n_columns: int) -> list[slice]:
    """Cut rows into slices of about 64 Ki elements, so that temporaries stay small."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, n_columns))
    return [slice(start, start + rows) for start in range(0, n_samples, rows)]


def take_columns(X: NDArray[Any], positions: NDArray[np.intp]) -> NDArray[Any]:
    """Return columns of X: a view where they are neighbours in order, else a copy."""
    if len(positions) and (np.diff(positions) == 1).all():
        return X[:, positions[0] : positions[-1] + 1]
    return X[:, positions]


def tempered_softmax(
    logits: NDArray[np.floating], temperature: float, out: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Write softmax(logits / temperature) to `out` block by block, in the precision of `out`.

    Nothing is subtracted where the sum of exponentials of every row of a block is moderate:
    the digits lost to the size of an exponent are then those that the precision allows for.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Class scores.
    temperature : float
        Positive.
    out : ndarray of shape (n_samples, n_classes)
        Float32 or float64; must not overlap `logits`.

    Returns
    -------
    out : ndarray of shape (n_samples, n_classes)
        Its rows sum to one.
    """
    divisor = out.dtype.type(temperature)
    wide = np.result_type(logits, out)
    ones = np.ones(logits.shape[1], out.dtype)
    largest = np.exp(_LARGEST_SHIFT[out.dtype.itemsize])
    for rows in row_blocks(*logits.shape):
        part = out[rows]
        with np.errstate(over="ignore"):
            np.divide(logits[rows], divisor, out=part, casting="same_kind")
            mass = np.exp(part, out=part) @ ones
        if not 1 / largest < mass.min() <= mass.max() < largest:
            # Differences first: of a likely class they are small, and so is their rounding.
            top = logits[rows].max(axis=1, keepdims=True)
            with np.errstate(over="ignore"):
                np.subtract(logits[rows], top, out=part, dtype=wide, casting="same_kind")
                part /= divisor
            np.exp(part, out=part)
            mass = part @ ones
        part *= (1 / mass)[:, None]
    return out


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
    iteration from a point left of the root rises to it monotonically and needs no bracket. Long
    rows take their first steps in float32; the last ones are in float64 for all.

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
    tied = below >= -_SMALLEST_GAP
    n_rivals = logits.shape[1] - np.count_nonzero(tied, axis=1)
    distance = np.vecdot(below, np.ones(logits.shape[1]))
    np.copyto(below, _NO_RIVAL, where=tied)
    # What the rivals have to sum to; the other classes tied at the top each hold one.
    rest = np.maximum(1 / top - 1, 1e-15) - (logits.shape[1] - 1 - n_rivals)
    all_tied = n_rivals == 0
    nearest = np.where(all_tied, -1.0, below.max(axis=1))
    too_low = (rest > n_rivals) & ~all_tied
    too_high = (rest <= 0) & ~all_tied
    rest = np.minimum(rest, (1 - _RANKING_MARGIN) * n_rivals)
    # exp(-40) of the nearest rival is nothing beside the tie, and no exponent overflows.
    beta = np.where(too_high, -40 / nearest, 0.0)
    # Where all classes tie every temperature gives 1/K; anything else is out of reach.
    clipped = too_low | too_high | (all_tied & ~np.isclose(top, 1 / logits.shape[1]))
    active = np.flatnonzero(~(too_high | all_tied))
    if active.size:
        if active.size < len(below):
            below = below[active]
        beta[active] = _root_of_rows(
            below, nearest[active], distance[active], n_rivals[active], np.log(rest[active])
        )
    return beta, clipped


def _root_of_rows(
    below: FloatArray,
    nearest: FloatArray,
    distance: FloatArray,
    n_rivals: NDArray[np.intp],
    target: FloatArray,
) -> FloatArray:
    """Return where log sum exp(beta d) = target, row by row; `distance` sums the d of a row."""
    # The nearest rival alone must not exceed the sum, nor, by convexity, must what the mean
    # distance gives: both bound the root from the left.
    start = np.maximum(target / nearest, (target - np.log(n_rivals)) * n_rivals / distance)
    start = np.maximum(start, _LEAST_BETA)
    beta = start
    if below.shape[1] >= _LONG_ROW:
        # In units of the nearest rival float32 holds all that matters; it only finds the start.
        single = np.empty(below.shape, np.float32)
        with np.errstate(over="ignore"):
            np.multiply(below, -1 / nearest[:, None], out=single, casting="same_kind")
        np.maximum(single, _NO_RIVAL_SINGLE, out=single)
        rough = _newton(single, -start * nearest, target, _ROUGH_TOLERANCE) / -nearest
        beta = np.where(np.isfinite(rough), np.maximum(rough, start), start)
    return _newton(below, beta, target, _RESIDUAL_TOLERANCE, start)


def _newton(
    below: NDArray[np.floating],
    beta: FloatArray,
    target: FloatArray,
    tolerance: float,
    lowest: FloatArray | float = 0.0,
) -> FloatArray:
    """Newton's iteration on log sum exp(beta d) = target; rows that are done drop out."""
    beta, lowest = beta.copy(), np.broadcast_to(lowest, beta.shape)
    active, ones = np.arange(len(beta)), np.ones(below.shape[1], below.dtype)
    for _ in range(_NEWTON_STEPS):
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            weight = beta[active, None].astype(below.dtype) * below
            np.exp(weight, out=weight)
            total = np.vecdot(weight, ones).astype(np.float64)
            excess = np.log(total) - target[active]
            slope = np.vecdot(weight, below) / total
            weight *= below
            square = np.vecdot(weight, below) / total
            beta[active] = np.maximum(beta[active] - excess / slope, lowest[active])
            # What the curvature leaves of the excess after this step.
            left = (square / slope**2 - 1) / 2 * excess**2
        # Negated, so that a row that is not a number stops, too.
        going = ~(np.abs(left) <= tolerance) & np.isfinite(left)
        active = active[going]
        if not active.size:
            break
        if not going.all():
            below = below[going]
    return beta
