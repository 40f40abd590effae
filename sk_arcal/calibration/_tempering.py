r"""One temperature by maximum likelihood.

With logits :math:`z_i`, labels :math:`y_i` and :math:`\beta = 1/T` the weighted loss

.. math:: L(\beta) = \frac{\sum_i w_i [\log \sum_k e^{\beta z_{ik}} - \beta z_{iy_i}]}{\sum_i w_i}

is convex in :math:`\beta` (not in T, nor in log T), and its first two derivatives are the
differences of means and the variances of the logits under the tempered softmax. One pass over
the rows gives all three; Newton's step is kept inside a bracket on the sign of the gradient.

Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sk_arcal._numeric import row_blocks
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._warning import CalibrationWarning

_STEP_TOLERANCE = 1e-9
_LARGEST_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class TemperatureFit:
    """A fitted temperature.

    Attributes
    ----------
    temperature : float
        T; the calibrated logits are z / T.
    loss : float
        Mean log loss at T, nats.
    n_iter : int
        Passes over the data.
    bound : str or None
        "lower" or "upper" if T stopped at that bound.
    """

    temperature: float
    loss: float
    n_iter: int
    bound: str | None


def fit_temperature(
    logits: FloatArray,
    y: FloatArray,
    sample_weight: FloatArray,
    *,
    bounds: tuple[float, float] = (1e-3, 1e3),
    max_iter: int = 100,
) -> TemperatureFit:
    """Minimise the weighted log loss over one temperature.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Log-odds of the event, or one score per class.
    y : ndarray of shape (n_samples,)
        0/1 for log-odds, class codes otherwise.
    sample_weight : ndarray of shape (n_samples,)
        Non-negative weights.
    bounds : tuple of float, default=(1e-3, 1e3)
        Smallest and largest T considered.
    max_iter : int, default=100
        Largest number of passes.

    Returns
    -------
    fit : TemperatureFit
        T, its loss, and whether it stopped at a bound.
    """
    moments = _event_moments if logits.ndim == 1 else _class_moments
    bracket = _Bracket(1 / bounds[1], 1 / bounds[0])
    beta, total = float(np.clip(1.0, bracket.low, bracket.high)), sample_weight.sum()
    loss, gradient, curvature = moments(logits, y, sample_weight, beta) / total
    n_iter = 1
    while n_iter < max_iter:
        proposal = bracket.next_point(beta, gradient, curvature)
        if proposal == beta:
            break
        beta = proposal
        loss, gradient, curvature = moments(logits, y, sample_weight, beta) / total
        n_iter += 1
    bound = {1 / bounds[1]: "upper", 1 / bounds[0]: "lower"}.get(beta)
    return TemperatureFit(1 / beta, float(loss), n_iter, bound)


def warn_at_bound(fit: TemperatureFit) -> None:
    """Say what a temperature at its bound usually means."""
    if fit.bound == "upper":
        warnings.warn(
            f"The temperature stopped at its upper bound, {fit.temperature:g}: the confidence "
            "ranks backwards or not at all (rows it is sure of are wrong more often). Usual "
            "causes: the wrong column, the probability of the other class, or labels out of order.",
            CalibrationWarning,
            stacklevel=4,
        )
    elif fit.bound == "lower":
        warnings.warn(
            f"The temperature stopped at its lower bound, {fit.temperature:g}: the confidence "
            "separates right from wrong perfectly. Usual causes: the rows were also trained on, "
            "too few rows, or no errors among them.",
            CalibrationWarning,
            stacklevel=4,
        )


class _Bracket:
    """Interval that holds the root of an increasing gradient, and where to look next."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._low_seen = self._high_seen = False

    def next_point(self, beta: float, gradient: float, curvature: float) -> float:
        """Newton's step, at most a factor of four, bisected on visited ground; beta at the root."""
        step = -gradient / curvature if curvature > 0 else -np.sign(gradient) * np.inf
        # Newton squares the error, so a step this small has nothing left to gain but rounding.
        if gradient == 0 or abs(step) <= _STEP_TOLERANCE * beta:
            return beta
        if gradient > 0:
            self.high, self._high_seen = beta, True
        else:
            self.low, self._low_seen = beta, True
        point = float(np.clip(beta + step, beta / _LARGEST_FACTOR, beta * _LARGEST_FACTOR))
        # An end that was never evaluated may be the answer itself; one that was is not.
        if point <= self.low:
            return float(np.sqrt(self.low * self.high)) if self._low_seen else self.low
        if point >= self.high:
            return float(np.sqrt(self.low * self.high)) if self._high_seen else self.high
        return point


def _event_moments(
    logits: FloatArray, y: FloatArray, sample_weight: FloatArray, beta: float
) -> FloatArray:
    """Return summed loss, gradient and curvature in beta for log-odds of an event."""
    sums = np.zeros(3)
    for rows in row_blocks(len(logits), 1):
        signed = np.where(y[rows] == 1, logits[rows], -logits[rows])
        weight = sample_weight[rows]
        wrong = expit(-beta * signed)
        sums += (
            weight @ np.logaddexp(0, -beta * signed),
            -weight @ (signed * wrong),
            weight @ (signed**2 * wrong * (1 - wrong)),
        )
    return sums


def _class_moments(
    logits: FloatArray, y: FloatArray, sample_weight: FloatArray, beta: float
) -> FloatArray:
    """Return summed loss, gradient and curvature in beta for one score per class."""
    sums = np.zeros(3)
    labels = y.astype(np.intp)
    for rows in row_blocks(*logits.shape):
        below = logits[rows] - logits[rows].max(axis=1, keepdims=True)
        weight = sample_weight[rows]
        own = below[np.arange(len(below)), labels[rows]]
        tempered = np.exp(beta * below)
        mass = tempered.sum(axis=1)
        tempered *= below
        mean = tempered.sum(axis=1) / mass
        square = np.einsum("ij,ij->i", tempered, below) / mass
        sums += (
            weight @ (np.log(mass) - beta * own),
            weight @ (mean - own),
            weight @ np.maximum(square - mean**2, 0),
        )
    return sums
