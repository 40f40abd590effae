r"""One temperature by maximum likelihood.

With logits :math:`z_i`, labels :math:`y_i` and :math:`\beta = 1/T` the weighted loss

.. math:: L(\beta) = \frac{\sum_i w_i [\log \sum_k e^{\beta z_{ik}} - \beta z_{iy_i}]}{\sum_i w_i}

is convex in :math:`\beta` (not in T, nor in log T). One pass over the rows gives its first
derivatives, and the next :math:`\beta` is the root of the Taylor polynomial of the gradient, kept
inside a bracket on the gradient's sign: with the third derivative the error of a step is cubed
like that of Halley's, with the fourth it is raised to its fourth power.

The start is a cascade: solved on every 64th row, then on every 8th, whose optimum is off by its
sampling error only. Its fourth derivative serves the pass over all rows, which needs no own.

Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. The
step: A. S. Householder, "The Numerical Treatment of a Single Nonlinear Equation", 1970, chapter 4.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray, check_number
from sk_arcal.calibration._temper_passes import Rows, is_separated, slope_of_constants
from sk_arcal.calibration._warning import CalibrationWarning

_LARGEST_FACTOR = 4.0
# A step this small, relative to beta, has nothing left to gain but rounding.
_STEP_TOLERANCE = 1e-9
# Expected relative error of beta after the last step; float32 exponentials know no better.
_DOUBLE_TOLERANCE = 1e-11
_SINGLE_TOLERANCE = 2e-7
# Shares of the rows solved first, how exactly, and the least number of rows and logits for it.
_CASCADE = ((64, 3e-2), (8, 3e-3))
_FEWEST_ROWS = 2048
_FEWEST_LOGITS = 1 << 14
_FEWEST_OF_A_SHARE = 256
# Passes over a share of the rows; a share that needs more says nothing about the whole.
_PASSES_OF_A_SHARE = 15
# Relative change of beta over which the fourth derivative of a share still serves.
_REACH = 0.1


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
        Passes over all rows; those over a share of them at the start are not counted.
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
    logits: NDArray[np.floating],
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
        Log-odds of the event, or one score per class; float32 is not copied.
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
    rows = Rows.of(logits, y, sample_weight)
    low, high = 1 / bounds[1], 1 / bounds[0]
    separated = is_separated(rows)
    # The steps would crawl there: near zero loss they do not grow.
    start = high if separated else float(np.clip(1.0, low, high))
    kurtosis = None
    if not separated and low < high and len(y) >= _FEWEST_ROWS and logits.size >= _FEWEST_LOGITS:
        start, kurtosis = _cascade(rows, start, low, high)
    tolerance = _SINGLE_TOLERANCE if rows.single else _DOUBLE_TOLERANCE
    beta, loss, n_iter, converged, _ = _solve(
        rows, start, _Bracket(low, high), tolerance, max_iter, kurtosis
    )
    if beta == high:
        cause = "separated" if separated else "narrow"
        return TemperatureFit(bounds[0], loss, n_iter, converged, "lower", cause)
    if beta == low:
        cause = "narrow" if slope_of_constants(rows) < 0 else "unranked"
        return TemperatureFit(bounds[1], loss, n_iter, converged, "upper", cause)
    return TemperatureFit(1 / beta, loss, n_iter, converged, None, None)


def _cascade(rows: Rows, start: float, low: float, high: float) -> tuple[float, float | None]:
    """Return where to start on all rows, and the fourth derivative there over the curvature."""
    beta, kurtosis = start, None
    for stride, tolerance in _CASCADE:
        share = rows.every(stride)
        if len(share.weight) < _FEWEST_OF_A_SHARE or not share.weight.any() or is_separated(share):
            continue
        found, _, _, converged, kurtosis = _solve(
            share, beta, _Bracket(low, high), tolerance, _PASSES_OF_A_SHARE
        )
        # A share without an optimum, such as rows of one class, says nothing about the whole.
        if converged and low < found < high:
            beta = found
    return beta, kurtosis


def _solve(
    rows: Rows,
    beta: float,
    bracket: "_Bracket",
    tolerance: float,
    max_iter: int,
    kurtosis: float | None = None,
) -> tuple[float, float, int, bool, float | None]:
    """Return beta, the loss there, passes, whether they were enough, and the kurtosis."""
    total, start, own = rows.weight.sum(), beta, kurtosis is None
    for n_iter in range(1, max_iter + 1):
        derivatives = [float(s) for s in rows.sums(beta, fourth=own) / total]
        if kurtosis is not None and abs(beta / start - 1) < _REACH:
            derivatives[4] = kurtosis * derivatives[2]
        proposal = bracket.next_point(beta, *derivatives[1:])
        converged = proposal == beta
        if not converged and _expected_error(beta, derivatives, own) <= tolerance:
            # Not where bisection would look: the root is nearer than that.
            proposal, converged = bracket.clip(bracket.wanted), True
        if converged or n_iter == max_iter:
            break
        beta = proposal
    loss, slope, curvature, third, fourth = derivatives
    if converged and proposal != beta:
        step, beta = proposal - beta, proposal
        loss += step * (slope + step * (curvature + step * (third + step * fourth / 4) / 3) / 2)
    return beta, loss, n_iter, converged, fourth / curvature if curvature > 0 else None


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


class _Bracket:
    """Interval that holds the root of an increasing gradient, and where to look next."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.wanted = np.nan
        self._low_seen = self._high_seen = False

    def clip(self, beta: float) -> float:
        """Return the nearest point inside."""
        return min(max(beta, self.low), self.high)

    def next_point(
        self,
        beta: float,
        gradient: float,
        curvature: float,
        third: float = 0.0,
        fourth: float = 0.0,
    ) -> float:
        """Taylor's step, at most a factor of four, bisected on visited ground; beta at the root."""
        if gradient == 0:
            return beta
        newton = step = -np.sign(gradient) * _LARGEST_FACTOR * beta
        # A quotient beyond that would be cut to it, and may overflow.
        if abs(gradient) < abs(step) * curvature:
            newton = -gradient / curvature
            step = _taylor_step(newton, curvature, third, fourth)
        # Far from the optimum a step of higher order may be small by accident.
        if abs(newton) <= _STEP_TOLERANCE * beta:
            return beta
        self.wanted = float(beta + step)
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


def _taylor_step(newton: float, curvature: float, third: float, fourth: float) -> float:
    """Return the root of the gradient's cubic, by Newton's iteration from Newton's own step."""
    step, a, b = newton, third / curvature, fourth / curvature
    for _ in range(6):
        slope = 1 + step * (a + step * b / 2)
        # Negated, so that NaN from an overflow leaves here, too.
        if not 0.1 < slope < 10:
            return newton
        step -= (step - newton + step * step * (a / 2 + step * b / 6)) / slope
    return step if 0.25 < step / newton < 4 else newton


def _expected_error(beta: float, derivatives: list[float], own: bool) -> float:
    """Return about how far, relative to beta, the step from these derivatives is off."""
    _, gradient, curvature, third, fourth = derivatives
    if not 0 < abs(gradient) < beta * curvature:
        return np.inf
    step = abs(gradient) / (beta * curvature)
    skew, kurtosis = abs(third) * beta / curvature / 2, abs(fourth) * beta**2 / curvature / 6
    # The fourth derivative of a share is off by its sampling error, taken as a tenth.
    borrowed = 0.0 if own else 0.1 * kurtosis * step**3
    return (1 + skew + kurtosis) ** 3 * step**4 + borrowed
