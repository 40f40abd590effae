r"""One pass over logits: the log loss and its derivatives in an inverse temperature.

The k-th derivative of a row's loss in :math:`\beta` is the k-th cumulant of its logits under the
tempered softmax; the first one less the logit of its own class. So one pass gives

.. math:: L(\beta),\ L'(\beta),\ L''(\beta),\ L'''(\beta),\ L''''(\beta)

for a few multiplications an element beyond the exponential. The plain pass subtracts the maximum
of every row and computes in float64. The fast pass subtracts nothing, or one number from a block,
where all exponents of the block stay small; with many elements its exponentials are float32 and
its totals float64. A block with larger exponents takes the plain pass.

Source of the cumulants: P. McCullagh, "Tensor Methods in Statistics", 1987, chapter 2.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sk_arcal._numeric import row_blocks
from sk_arcal._validation import FloatArray

# Sums of a pass: loss, gradient, curvature, third and fourth derivative.
N_SUMS = 5

# Rows of that sum of exponentials or of its inverse lose digits of their powers in float32.
_LOWEST_MASS = float(np.exp(-40))
# Fewer columns than that are summed faster by a product with ones than by a dot per row.
_SHORT_ROW = 32
# From here on the rounding of float32 averages out below 1e-7 in log T, and doubles cost time.
_SINGLE_FROM = 1 << 20
# Powers of an inverse temperature beyond that would overflow.
_SAFE_BETA = (1e-30, 1e30)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Logits with labels and weights, whole or every so many of them.

    Attributes
    ----------
    logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Float32 or float64.
    labels : ndarray of shape (n_samples,)
        0/1 for log-odds, else class codes as integers.
    weight : ndarray of shape (n_samples,)
        Non-negative weights.
    single : bool
        Whether exponentials are taken in float32.
    buffers : tuple of ndarray
        Room for the exponents and exponentials of a block, ones to sum with, and where its rows
        begin. Taken once: new memory for every pass would cost a third of it.
    """

    logits: NDArray[np.floating]
    labels: NDArray[Any]
    weight: FloatArray
    single: bool
    buffers: tuple[NDArray[Any], ...] = ()

    def __post_init__(self) -> None:
        if self.logits.ndim == 2 and not self.buffers:
            n_samples, n_classes = self.logits.shape
            shape = min(row_blocks(n_samples, n_classes)[0].stop, n_samples), n_classes
            dtype = np.dtype(np.float32 if self.single else np.float64)
            room = np.empty(shape, dtype), np.empty(shape, dtype)
            starts = n_classes * np.arange(shape[0])
            object.__setattr__(self, "buffers", (*room, np.ones(n_classes, dtype), starts))

    @classmethod
    def of(
        cls,
        logits: NDArray[np.floating],
        y: FloatArray,
        weight: FloatArray,
        *,
        may_be_single: bool = True,
    ) -> "Rows":
        """Choose the precision by the number of logits."""
        is_event = logits.ndim == 1
        labels = y if is_event else y.astype(np.intp)
        single = may_be_single and not is_event and logits.size >= _SINGLE_FROM
        return cls(logits, labels, weight, single)

    def every(self, stride: int) -> "Rows":
        """Return every `stride`-th row; nothing is copied."""
        return replace(
            self,
            logits=self.logits[::stride],
            labels=self.labels[::stride],
            weight=self.weight[::stride],
        )

    def sums(self, beta: float, *, fourth: bool = True) -> FloatArray:
        """Return the weighted sums at `beta`; the last is zero unless asked for."""
        if self.logits.ndim == 1:
            return event_sums(self.logits, self.labels, self.weight, beta)
        if not _SAFE_BETA[0] < beta < _SAFE_BETA[1]:
            return class_sums(self.logits, self.labels, self.weight, beta)
        return _fast_sums(self, beta, fourth)


def event_sums(
    logits: NDArray[np.floating], y: NDArray[Any], weight: FloatArray, beta: float
) -> FloatArray:
    """Return summed loss and derivatives in beta for log-odds of an event.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,)
        Log-odds.
    y : ndarray of shape (n_samples,)
        0 or 1.
    weight : ndarray of shape (n_samples,)
        Weights.
    beta : float
        Inverse temperature.

    Returns
    -------
    sums : ndarray of shape (5,)
        Loss and its first four derivatives.
    """
    sums = np.zeros(N_SUMS)
    for rows in row_blocks(len(logits), 1):
        # Half a block, so that its dozen temporaries stay in cache; doubles, so that powers do.
        own = logits[rows].astype(np.float64)
        signed = np.where(y[rows] == 1, own, -own)
        exponent = -beta * signed
        wrong = expit(exponent)
        term = weight[rows] * wrong
        # log(1 + e^x) = max(x, 0) - log(1 - expit(-|x|)).
        loss = np.maximum(exponent, 0) + np.log1p(np.exp(-np.abs(exponent)))
        sums[0] += weight[rows] @ loss
        sums[1] -= term @ signed
        # A vanishing variance first: the powers of a huge logit meet a zero.
        term *= 1 - wrong
        for power, shape in ((2, 1.0), (3, 2 * wrong - 1), (4, 1 - 6 * wrong * (1 - wrong))):
            term *= signed if power > 2 else signed * signed
            sums[power] += term @ np.broadcast_to(shape, term.shape)
    return sums


def class_sums(
    logits: NDArray[np.floating], y: NDArray[Any], weight: FloatArray, beta: float
) -> FloatArray:
    """Return summed loss and derivatives in beta for one score per class, in float64.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Class scores.
    y : ndarray of shape (n_samples,)
        Class codes.
    weight : ndarray of shape (n_samples,)
        Weights.
    beta : float
        Inverse temperature.

    Returns
    -------
    sums : ndarray of shape (5,)
        Loss and its first four derivatives.
    """
    sums = np.zeros(N_SUMS)
    labels = y.astype(np.intp)
    for rows in row_blocks(*logits.shape):
        scores = logits[rows].astype(np.float64)
        below = scores - scores.max(axis=1, keepdims=True)
        own = below[np.arange(len(below)), labels[rows]]
        tempered = np.exp(beta * below)
        mass = tempered.sum(axis=1)
        moments = []
        for _ in range(4):
            tempered *= below
            moments.append(tempered.sum(axis=1) / mass)
        sums += _totals(np.log(mass) - beta * own, own, moments, weight[rows])
    return sums


def _fast_sums(rows: Rows, beta: float, fourth: bool) -> FloatArray:
    """Like `class_sums`, but without row maxima where exponents stay small."""
    buffers = rows.buffers
    dtype = buffers[0].dtype
    blocks = row_blocks(*rows.logits.shape)
    rounded = float(dtype.type(beta))
    sums = np.zeros(N_SUMS)
    for block in blocks:
        part = rows.logits[block], rows.labels[block], rows.weight[block]
        found = _block_sums(*part, rounded, buffers, fourth)
        sums += class_sums(*part, rounded) if found is None else found
    # Back from the nearest inverse temperature that the precision holds.
    sums[:2] += (beta - rounded) * sums[1:3]
    return sums


def _block_sums(
    logits: NDArray[np.floating],
    labels: NDArray[Any],
    weight: FloatArray,
    beta: float,
    buffers: tuple[NDArray[Any], ...],
    fourth: bool,
) -> FloatArray | None:
    """Return the sums of one block, or None if a row's exponents are too large for that."""
    exponents, tempered, ones, first = buffers
    x, w = exponents[: len(logits)], tempered[: len(logits)]
    # What overflows here is caught by the test of the sums.
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(logits, x.dtype.type(beta), out=x, casting="same_kind")
        mass = _row_sums(np.exp(x, out=w), ones)
        if not _is_moderate(mass):
            # The difference comes before rounding, so that an offset of all costs no digits.
            np.subtract(logits, logits[0, 0], out=x, casting="same_kind")
            x *= x.dtype.type(beta)
            mass = _row_sums(np.exp(x, out=w), ones)
            if not _is_moderate(mass):
                return None
        own = x.take(first[: len(x)] + labels).astype(np.float64)
        moments = _moments(x, w, ones, mass, 4 if fourth else 3)
        sums = _totals(np.log(mass) - own, own, moments, weight)
    return sums * beta ** -np.arange(N_SUMS) if np.isfinite(sums).all() else None


def _row_sums(w: NDArray[np.floating], ones: NDArray[np.floating]) -> FloatArray:
    """Return the sum of every row."""
    return (w @ ones).astype(np.float64)


def _is_moderate(mass: FloatArray) -> bool:
    """Tell whether the largest exponent of every row is small; the others may be far below."""
    # Negated by the caller, so that NaN counts as too large.
    return bool(mass.min() > _LOWEST_MASS and mass.max() < 1 / _LOWEST_MASS)


def _moments(
    x: NDArray[np.floating],
    w: NDArray[np.floating],
    ones: NDArray[np.floating],
    mass: FloatArray,
    highest: int,
) -> list[FloatArray]:
    """Return the means of the powers of x under w, which is overwritten."""
    moments = []
    for power in range(1, highest + 1):
        if x.shape[1] < _SHORT_ROW:
            w *= x
            moments.append((w @ ones) / mass)
        else:
            moments.append(np.vecdot(w, x) / mass)
            if power < highest:
                w *= x
    return moments


def _totals(
    loss: FloatArray, own: FloatArray, moments: list[FloatArray], weight: FloatArray
) -> FloatArray:
    """Return the weighted sums of the loss and of the cumulants."""
    first, second, third = moments[:3]
    variance = np.maximum(second - first**2, 0)
    sums = [
        weight @ loss,
        weight @ (first - own),
        weight @ variance,
        weight @ (third - first * (3 * second - 2 * first**2)),
    ]
    if len(moments) == 3:
        return np.array([*sums, 0.0])
    fourth = moments[3] - 4 * first * third - 3 * second**2
    return np.array([*sums, weight @ (fourth + first**2 * (12 * second - 6 * first**2))])


def slope_of_constants(rows: Rows) -> float:
    """Return the summed gradient at beta = 0, where all classes are alike; negative is good."""
    slope = 0.0
    for block in row_blocks(len(rows.logits), rows.logits[0].size):
        scores, weight = rows.logits[block].astype(np.float64), rows.weight[block]
        if scores.ndim == 1:
            slope -= float(weight @ np.where(rows.labels[block] == 1, scores / 2, -scores / 2))
            continue
        own = scores[np.arange(len(scores)), rows.labels[block]]
        slope += float(weight @ (scores - own[:, None]).mean(axis=1))
    return slope


def errors_and_leads(rows: Rows) -> tuple[bool, bool]:
    """Tell whether a logit exceeds that of its row's class, and, if none, whether one is lower."""
    leads = False
    # Most data has an error among its first rows.
    for block in [slice(0, 64), *row_blocks(len(rows.logits), rows.logits[0].size)]:
        scores, labels = rows.logits[block], rows.labels[block]
        if scores.ndim == 1:
            signed = np.where(labels == 1, scores, -scores)
            larger, lower = (signed < 0).any(), (signed > 0).any()
        else:
            own = scores[np.arange(len(scores)), labels][:, None]
            larger, lower = (scores > own).any(), (scores < own).any()
        if larger:
            return True, False
        leads = leads or bool(lower)
    return False, leads


def is_separated(rows: Rows) -> bool:
    """Tell whether no row has a larger logit than its own class, and some own ones are larger."""
    return errors_and_leads(rows) == (False, True)
