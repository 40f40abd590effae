r"""The shift of hidden states that minimises the log loss of their read-out.

With u the shift in units of the median norm m of the states,

.. math:: \frac{1}{n} \sum_i \Big[ -\log p_{i, y_i}(m u)
    + \lambda \max(0, \max_{k \ne c_i} z_{ik} - z_{i c_i})^2 \Big] + \rho\,|u|^2

where :math:`c_i` is the class predicted without a shift: a row pays once another class overtakes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._layers._row_space import project_out
from sk_arcal.calibration._layers._shifted_states import ShiftedStates


class ShiftObjective:
    """Log loss of a shift with a penalty on label flips, and its gradient.

    Parameters
    ----------
    states : ShiftedStates
        Rows and read-out.
    codes : ndarray of shape (n,)
        Class of every row.
    unit : float
        Length that counts as one.
    flip_penalty, ridge : float
        Weights of the penalties.
    basis : ndarray of shape (r, d) or None
        Orthonormal rows that the shift stays orthogonal to.
    """

    def __init__(
        self,
        states: ShiftedStates,
        codes: NDArray[Any],
        *,
        unit: float,
        flip_penalty: float,
        ridge: float,
        basis: FloatArray | None,
    ) -> None:
        self._states, self._codes, self._unit, self._basis = states, codes, unit, basis
        self._flip_penalty, self._ridge = flip_penalty, ridge
        width = states.hidden.shape[1]
        self._before = states.along(np.zeros(width))(0.0).argmax(axis=1)

    def shift(self, u: FloatArray) -> FloatArray:
        """Return the shift that the variables stand for, shape (d,)."""
        return self._unit * self._allowed(u)

    def __call__(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient by the variables."""
        value, gradient = self._states.with_gradient(self.shift(u), self._loss)
        value += self._ridge * float(u @ u)
        return value, self._unit * self._allowed(gradient) + 2 * self._ridge * u

    def _allowed(self, vector: FloatArray) -> FloatArray:
        return vector if self._basis is None else project_out(vector, self._basis)

    def _loss(self, logits: FloatArray) -> tuple[float, FloatArray]:
        n, rows = len(logits), np.arange(len(logits))
        log_p = log_softmax(logits, axis=1)
        slope = np.exp(log_p)
        slope[rows, self._codes] -= 1
        value = -log_p[rows, self._codes].sum()
        rivals = logits.copy()
        rivals[rows, self._before] = -np.inf
        runner_up = rivals.argmax(axis=1)
        overtaken = np.maximum(logits[rows, runner_up] - logits[rows, self._before], 0)
        value += self._flip_penalty * (overtaken**2).sum()
        slope[rows, runner_up] += 2 * self._flip_penalty * overtaken
        slope[rows, self._before] -= 2 * self._flip_penalty * overtaken
        return float(value) / n, slope / n


def optimised_shift(objective: ShiftObjective, width: int, max_iter: int) -> tuple[FloatArray, int]:
    """Return the shift that L-BFGS finds from no shift, shape (1, d), and its iterations."""
    found = minimize(
        objective, np.zeros(width), jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
    )
    return objective.shift(found.x)[None, :], max(1, int(found.nit))
