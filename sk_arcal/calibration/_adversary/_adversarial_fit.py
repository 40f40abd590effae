r"""Minimise a worst case: the outer problem, and how strong its ridge should be.

.. math:: \min_\theta \; J(\ell(\theta)) + \lambda \, (\theta - \theta_0)^\top Q (\theta - \theta_0)

with :math:`\theta_0` the plain temperature. Quasi-Newton steps in a box come first; Newton steps on
the coordinates off its walls, with a Hessian from differences of exact gradients, then take the
error from what a line search can see (the square root of the rounding) down to the rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._relevant_rows import Responder
from sk_arcal.calibration._adversary._temperature_map import TemperatureMap

_PRECISION = {False: {"ftol": 1e-14, "gtol": 1e-9}, True: {"ftol": 1e-8, "gtol": 1e-5}}
_POLISH_STEPS = 6
_LARGEST_POLISHED = 120
_DIFFERENCE = 1e-5
# Gradients below this are rounding.
_FLAT = 1e-13


@dataclass(frozen=True, slots=True)
class OuterProblem:
    """A map, outcomes, an adversary and a ridge.

    Attributes
    ----------
    map : TemperatureMap
        theta to losses.
    codes : ndarray of shape (n_samples,)
        Class codes.
    adversary : Responder
        Losses to worst case.
    ridge : float
        Strength, nats.
    """

    map: TemperatureMap
    codes: FloatArray
    adversary: Responder
    ridge: float

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the penalised worst case and its gradient in theta."""
        return self._evaluated(theta, None)[:2]

    def remembering(self) -> Callable[[FloatArray], tuple[float, FloatArray]]:
        """Return `value_and_gradient` with the last threshold as the start of the next search."""
        threshold: float | None = None

        def evaluated(theta: FloatArray) -> tuple[float, FloatArray]:
            nonlocal threshold
            value, gradient, threshold = self._evaluated(theta, threshold)
            return value, gradient

        return evaluated

    def _evaluated(
        self, theta: FloatArray, start: float | None
    ) -> tuple[float, FloatArray, float | None]:
        mapped = self.map.losses(theta, self.codes)
        worst = self.adversary.respond(mapped.losses, start)
        change = theta - self.map.neutral
        pull = self.ridge * (self.map.ridge @ change)
        value = worst.value + float(change @ pull)
        return value, mapped.gradient(worst.slope) + 2 * pull, worst.threshold

    def solve(self, start: FloatArray, max_iter: int, *, rough: bool = False) -> "OuterFit":
        """Minimise from `start`.

        Parameters
        ----------
        start : ndarray of shape (n_parameters,)
            First theta.
        max_iter : int
            Largest number of quasi-Newton iterations.
        rough : bool, default=False
            Whether a few digits are enough, as for comparing held-out losses.

        Returns
        -------
        fit : OuterFit
            theta and how it was reached.
        """
        low, high = np.array(self.map.bounds).T
        function = self.remembering()
        found = minimize(
            function,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=self.map.bounds,
            options={"maxiter": max_iter, "maxfun": 10 * max_iter, **_PRECISION[rough]},
        )
        theta = found.x
        if not rough and len(theta) <= _LARGEST_POLISHED:
            theta = _polish(function, theta, low, high)
        return OuterFit(theta, max(int(found.nit), 1), found.nit < max_iter)


@dataclass(frozen=True, slots=True)
class OuterFit:
    """Where the outer problem ended.

    Attributes
    ----------
    theta : ndarray of shape (n_parameters,)
        Solution.
    n_iter : int
        Quasi-Newton iterations, at least 1.
    converged : bool
        False if they ran out.
    """

    theta: FloatArray
    n_iter: int
    converged: bool


def _polish(
    function: Callable[[FloatArray], tuple[float, FloatArray]],
    theta: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Newton's iteration on the free coordinates while it shrinks the gradient."""
    gradient = function(theta)[1]
    free = _free(theta, gradient, low, high)
    if not free.any() or np.abs(gradient[free]).max() < _FLAT:
        return theta
    hessian = _hessian(function, theta, free)
    for _ in range(_POLISH_STEPS):
        step = np.linalg.lstsq(hessian, gradient[free], rcond=1e-12)[0]
        trial = theta.copy()
        trial[free] -= step
        if ((trial < low) | (trial > high)).any():
            break
        new = function(trial)[1]
        if not np.abs(new[free]).max() < np.abs(gradient[free]).max():
            break
        theta, gradient = trial, new
    return theta


def _free(theta: FloatArray, gradient: FloatArray, low: FloatArray, high: FloatArray) -> np.ndarray:
    """Coordinates that no wall of the box holds back."""
    held = ((theta <= low) & (gradient >= 0)) | ((theta >= high) & (gradient <= 0))
    return ~held


def _hessian(
    function: Callable[[FloatArray], tuple[float, FloatArray]],
    theta: FloatArray,
    free: np.ndarray,
) -> FloatArray:
    places = np.flatnonzero(free)
    columns = []
    for place in places:
        ends = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[place] += sign * _DIFFERENCE
            ends.append(function(moved)[1][free])
        columns.append((ends[0] - ends[1]) / (2 * _DIFFERENCE))
    hessian = np.column_stack(columns)
    return (hessian + hessian.T) / 2
