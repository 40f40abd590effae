r"""Log loss of a score map plus a ridge, and its minimiser.

What is minimised over the parameters :math:`\theta` of a map that adds :math:`A_i \theta` to the
scores :math:`u_i` of row i is

.. math:: \frac{\sum_i w_i \{\log \sum_k \exp(u_{ik} + (A_i \theta)_k)
          - u_{iy_i} - (A_i \theta)_{y_i}\}}{\sum_i w_i} + \frac12 \sum_p \lambda_p \theta_p^2,

a convex function. Its gradient and products with its Hessian cost two matrix products each. The
trust-region Newton method of scipy sees parameters whitened by those blocks of the Hessian at zero
that belong to one class; there it needs about five steps, whatever the scale of the scores.

Source: J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd edition, Springer, 2006,
algorithm 7.2, for the solver.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._structure._score_map import ScoredRows, ScoreMap

# Relative to the largest curvature: keeps the whitening defined where a direction has none.
_JITTER = 1e-10
_ROUNDING = 1e-6


class PenalisedLoss:
    """Mean log loss of a map on some rows plus the ridge, and its minimiser.

    Parameters
    ----------
    score_map : ScoreMap
        The structure.
    rows : ScoredRows
        The rows.
    y : ndarray of int of shape (n_samples,)
        Class codes.
    sample_weight : ndarray of shape (n_samples,)
        Repetitions.
    blocks : tuple of ndarray, default=None
        `blocks` of an earlier object on the same rows, which cost the most to find.
    """

    def __init__(
        self,
        score_map: ScoreMap,
        rows: ScoredRows,
        y: NDArray[np.intp],
        sample_weight: FloatArray,
        blocks: tuple[FloatArray, FloatArray] | None = None,
    ) -> None:
        self.score_map, self.rows, self.y = score_map, rows, y
        self.total = float(sample_weight.sum())
        self._share = sample_weight / self.total
        self._seen: FloatArray | None = None
        self.blocks = self._hessian_blocks() if blocks is None else blocks

    def value_and_gradient(
        self, parameters: FloatArray, penalties: FloatArray
    ) -> tuple[float, FloatArray]:
        """Return the objective, in nats, and its gradient."""
        own = np.arange(len(self.y)), self.y
        scores = self.rows.scores + self.score_map.change(parameters, self.rows)
        scores -= scores.max(axis=1, keepdims=True)
        lead = scores[own]
        self._probability, self._seen = np.exp(scores, out=scores), parameters.copy()
        mass = scores.sum(axis=1)
        self._probability /= mass[:, None]
        value = float(self._share @ (np.log(mass) - lead) + penalties @ parameters**2 / 2)
        residual = self._probability * self._share[:, None]
        residual[own] -= self._share
        return value, self.score_map.pull_back(residual, self.rows) + penalties * parameters

    def curvature(
        self, parameters: FloatArray, direction: FloatArray, penalties: FloatArray
    ) -> FloatArray:
        """Return the Hessian at the parameters times a direction."""
        # The solver comes back to a point it has left when a step was refused.
        if self._seen is None or not np.array_equal(parameters, self._seen):
            self.value_and_gradient(parameters, penalties)
        change = self.score_map.change(direction, self.rows)
        change -= np.einsum("ik,ik->i", self._probability, change)[:, None]
        change *= self._probability
        change *= self._share[:, None]
        return self.score_map.pull_back(change, self.rows) + penalties * direction

    def minimise(
        self, penalties: FloatArray, start: FloatArray, *, tolerance: float, max_iter: int
    ) -> tuple[FloatArray, bool, int]:
        """Return the best parameters, whether the solver got there, and its iterations.

        The tolerance is that of the gradient in whitened parameters: half its square is about
        what the objective could still fall, in nats.
        """
        whitening = _Whitening(self.score_map, self.blocks, penalties)

        def objective(whitened: FloatArray) -> tuple[float, FloatArray]:
            at = whitening.to_parameters(whitened)
            value, gradient = self.value_and_gradient(at, penalties)
            return value, whitening.gradient(gradient)

        def product(whitened: FloatArray, direction: FloatArray) -> FloatArray:
            at, along = whitening.to_parameters(whitened), whitening.to_parameters(direction)
            return whitening.gradient(self.curvature(at, along, penalties))

        fit = minimize(
            objective,
            whitening.from_parameters(start),
            jac=True,
            hessp=product,
            method="trust-ncg",
            options={"gtol": tolerance, "maxiter": max_iter},
        )
        # Below that the objective changes by less than it is rounded, and the solver stops early.
        arrived = bool(np.linalg.norm(fit.jac) <= max(tolerance, _ROUNDING))
        return whitening.to_parameters(fit.x), arrived, int(fit.nit)

    def _hessian_blocks(self) -> tuple[FloatArray, FloatArray]:
        """Return the blocks at zero: of the slopes (1, 1 + J, 1 + J), and one of every class."""
        rows, score_map = self.rows, self.score_map
        p = np.exp(rows.scores)
        mean = np.einsum("ik,ik->i", p, rows.scores)
        spread = np.maximum(np.einsum("ik,ik->i", p, rows.scores**2) - mean**2, 0.0)
        multipliers = np.column_stack([np.ones(len(p)), rows.routing])
        slopes = (multipliers * (self._share * spread)[:, None]).T @ multipliers
        blocks = np.empty((score_map.n_classes, score_map.n_coefficients, score_map.n_coefficients))
        own = score_map.n_scales == 1
        x = np.hstack([rows.features[:, :1] if own else rows.features, multipliers])
        for k in range(score_map.n_classes if score_map.n_scales else 0):
            if own:
                x[:, 0] = rows.features[:, k]
            blocks[k] = (x * (self._share * p[:, k] * (1 - p[:, k]))[:, None]).T @ x
        return slopes[None], blocks


class _Whitening:
    """Parameters in units in which the blocks of the Hessian at zero are the identity."""

    def __init__(
        self, score_map: ScoreMap, blocks: tuple[FloatArray, FloatArray], penalties: FloatArray
    ) -> None:
        self._map = score_map
        slopes, lines = score_map.split(penalties)
        factors = _factors(blocks[0], slopes[None]), _factors(blocks[1], lines)
        self._factors = factors
        # Explicit inverses: thousands of small triangular systems would each cost a call.
        self._inverses = _inverse(factors[0]), _inverse(factors[1])

    def to_parameters(self, whitened: FloatArray) -> FloatArray:
        return self._apply("kji,kj->ki", self._inverses, whitened)

    def from_parameters(self, parameters: FloatArray) -> FloatArray:
        return self._apply("kji,kj->ki", self._factors, parameters)

    def gradient(self, gradient: FloatArray) -> FloatArray:
        return self._apply("kij,kj->ki", self._inverses, gradient)

    def _apply(self, word: str, factors: tuple[FloatArray, ...], vector: FloatArray) -> FloatArray:
        slopes, lines = self._map.split(vector)
        parts = np.einsum(word, factors[0], slopes[None]), np.einsum(word, factors[1], lines)
        return np.concatenate([part.ravel() for part in parts])


def _factors(blocks: FloatArray, penalties: FloatArray) -> FloatArray:
    """Return lower Cholesky factors of the penalised blocks."""
    if not blocks.size:
        return blocks
    diagonal = np.einsum("kii->ki", blocks) + penalties
    jitter = _JITTER * diagonal.max() + np.finfo(np.float64).tiny
    return np.linalg.cholesky(blocks + (penalties + jitter)[:, :, None] * np.eye(blocks.shape[1]))


def _inverse(factors: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(factors), dtype=np.float64)
