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
from typing import Any

import numpy as np
from scipy.special import expit

from sk_arcal._numeric import row_blocks
from sk_arcal._validation import FloatArray, check_number
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
    converged : bool
        False if the passes ran out first.
    bound : str or None
        "lower" or "upper" if T stopped at that bound.
    cause : str or None
        Why it did: "separated" (no row is wrong), "unranked" (the confidence ranks backwards or
        not at all) or "narrow" (the optimum lies beyond the bound).
    """

    temperature: float
    loss: float
    n_iter: int
    converged: bool
    bound: str | None
    cause: str | None


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
    separated = _is_separated(logits, y)
    # Newton would crawl there: near zero loss its steps in beta do not grow.
    beta = bracket.high if separated else float(np.clip(1.0, bracket.low, bracket.high))
    total = sample_weight.sum()
    for n_iter in range(1, max_iter + 1):
        loss, gradient, curvature = moments(logits, y, sample_weight, beta) / total
        proposal = bracket.next_point(beta, gradient, curvature)
        if proposal == beta or n_iter == max_iter:
            break
        beta = proposal
    temperature, bound, cause = 1 / beta, None, None
    if beta == 1 / bounds[0]:
        temperature, bound, cause = bounds[0], "lower", "separated" if separated else "narrow"
    elif beta == 1 / bounds[1]:
        falls = moments(logits, y, sample_weight, 0.0)[1] < 0
        temperature, bound, cause = bounds[1], "upper", "narrow" if falls else "unranked"
    return TemperatureFit(temperature, float(loss), n_iter, proposal == beta, bound, cause)


def check_temperature_bounds(bounds: Any) -> tuple[float, float]:
    """Return the parameter `bounds` as two temperatures, or say what they have to be."""
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ValueError(f"`bounds` must be two temperatures; got {bounds!r}.") from None
    low = check_number("bounds[0]", low, low=0, strict=True)
    return low, check_number("bounds[1]", high, low=low, strict=True)


_CAUSES = {
    "unranked": "the confidence ranks backwards or not at all (rows it is sure of are wrong more "
    "often). Usual causes: the wrong column, the probability of the other class, or labels out of "
    "order.",
    "separated": "the confidence separates right from wrong perfectly. Usual causes: the rows "
    "were also trained on, too few rows, or no errors among them.",
    "narrow": "the log loss still falls beyond it. Usual causes: logits in unusual units, or "
    "`bounds` that are too narrow.",
}


def warn_at_bound(
    fit: TemperatureFit, *, name: str = "The temperature", stacklevel: int = 4
) -> None:
    """Say what a temperature at its bound usually means; the default blames the caller of `fit`."""
    if fit.cause is not None:
        warnings.warn(
            f"{name} stopped at its {fit.bound} bound, {fit.temperature:g}: {_CAUSES[fit.cause]}",
            CalibrationWarning,
            stacklevel=stacklevel,
        )


def _is_separated(logits: FloatArray, y: FloatArray) -> bool:
    """Tell whether no row has a larger logit than its own class, and some own ones are larger."""
    some_larger = False
    for rows in row_blocks(len(logits), logits[0].size):
        if logits.ndim == 1:
            lead = lag = np.where(y[rows] == 1, logits[rows], -logits[rows])
        else:
            own = logits[rows][np.arange(len(logits[rows])), y[rows].astype(np.intp)]
            lag, lead = own - logits[rows].max(axis=1), own - logits[rows].min(axis=1)
        if (lag < 0).any():
            return False
        some_larger = some_larger or bool((lead > 0).any())
    return some_larger


class _Bracket:
    """Interval that holds the root of an increasing gradient, and where to look next."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._low_seen = self._high_seen = False

    def next_point(self, beta: float, gradient: float, curvature: float) -> float:
        """Newton's step, at most a factor of four, bisected on visited ground; beta at the root."""
        if gradient == 0:
            return beta
        step = -np.sign(gradient) * _LARGEST_FACTOR * beta
        # A quotient beyond that would be cut to it, and may overflow.
        if abs(gradient) < abs(step) * curvature:
            step = -gradient / curvature
        # Newton squares the error, so a step this small has nothing left to gain but rounding.
        if abs(step) <= _STEP_TOLERANCE * beta:
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
