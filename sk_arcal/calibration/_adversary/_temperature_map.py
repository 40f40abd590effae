r"""An inverse temperature that depends on routing: theta to log losses and their slopes.

Scores :math:`s` (log-probabilities or logits) are multiplied by :math:`\beta_i`, and

.. math:: \ell_i = \log \sum_k e^{\beta_i s_{ik}} - \beta_i s_{iy_i}, \qquad
          \frac{\partial \ell_i}{\partial \beta_i} = \sum_k (p_{ik} - 1\{k = y_i\})\, s_{ik}.

With :math:`\beta_i` linear in :math:`\theta` each loss is convex in :math:`\theta`, and so is every
adversary's worst case that is a maximum over weights.

With the experts of a mixture, :math:`s_{ik} = \log \sum_m r_m p_{mk}` is recomputed from one
inverse temperature per expert and one for the gates, relative to what came in; that part is not
convex.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._mixture._mixture import Mixture, log_sum_exp

# beta >= this share of the plain one: at zero all classes would tie.
_SMALLEST_SHARE, _LARGEST_SHARE = 0.02, 50.0
_EXPERT_BOUNDS = (0.1, 10.0)
# Shares of the level between columns have no effect; this picks the equal ones.
_SHARE_RIDGE = 1e-4


@dataclass(frozen=True)
class TemperatureMap:
    """Losses as a function of hat coefficients and, with experts, their inverse temperatures.

    Attributes
    ----------
    mixture : Mixture
        Experts; a single one is used as it is.
    design : csr_array of shape (n_samples, n_hats)
        Hats; see :class:`RankBasis`.
    sizes : list of int
        Hats per routing column, empty for one temperature.
    scale : float
        Plain inverse temperature of the aggregate; theta is relative to it.
    """

    mixture: Mixture
    design: csr_array
    sizes: list[int]
    scale: float

    @property
    def has_experts(self) -> bool:
        """Whether an aggregate is recomputed."""
        return self.mixture.n_experts > 1

    @property
    def n_hats(self) -> int:
        """Number of hat coefficients, which come first in theta."""
        return self.design.shape[1]

    @property
    def neutral(self) -> FloatArray:
        """The theta that is plain temperature scaling."""
        hats = np.full(self.n_hats, 1 / max(len(self.sizes), 1))
        return np.r_[hats, np.ones(self.mixture.n_experts + 1)] if self.has_experts else hats

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Box of theta."""
        low = _SMALLEST_SHARE / max(len(self.sizes), 1)
        box = [(low, _LARGEST_SHARE)] * self.n_hats
        return box + [_EXPERT_BOUNDS] * (len(self.neutral) - self.n_hats)

    @cached_property
    def ridge(self) -> FloatArray:
        """Matrix of the quadratic penalty on theta - neutral.

        Per column the variance of its hats, the squared change of the level, and for experts and
        gates the mean squared change.
        """
        n = len(self.neutral)
        matrix, level, start = np.zeros((n, n)), np.zeros(n), 0
        for size in self.sizes or [1]:
            block = slice(start, start + size)
            level[block] = 1 / size
            own = np.where((np.arange(n) >= start) & (np.arange(n) < start + size), 1 / size, 0.0)
            matrix[block, block] += np.eye(size) / size - 1 / size**2
            matrix += _SHARE_RIDGE * np.outer(own, own)
            start += size
        matrix += np.outer(level, level)
        if self.has_experts:
            shares = np.r_[np.full(self.mixture.n_experts, 1 / self.mixture.n_experts), 1.0]
            matrix[start:, start:] += np.diag(shares)
        return matrix

    def scores(self, theta: FloatArray) -> FloatArray:
        """Return the aggregate before its temperature, shape (n_samples, n_classes)."""
        if not self.has_experts:
            return self.mixture.scores[:, 0]
        return self.mixture.log_probabilities(theta[self.n_hats : -1], float(theta[-1]))

    def inverse_temperature(self, theta: FloatArray) -> FloatArray:
        """Return beta of every row."""
        return self.scale * (self.design @ theta[: self.n_hats])

    def losses(self, theta: FloatArray, codes: FloatArray) -> "MappedLosses":
        """Return the log loss of every row, ready to be differentiated.

        Parameters
        ----------
        theta : ndarray of shape (n_parameters,)
            Coefficients.
        codes : ndarray of shape (n_samples,)
            Class codes.

        Returns
        -------
        mapped : MappedLosses
            Losses in nats, and what their gradient needs.
        """
        scores, beta = self.scores(theta), self.inverse_temperature(theta)
        log_p = beta[:, None] * scores
        log_p -= log_sum_exp(log_p, axis=1)[:, None]
        rows, labels = np.arange(len(codes)), codes.astype(np.intp)
        residual = np.exp(log_p)
        losses = -log_p[rows, labels]
        residual[rows, labels] -= 1
        return MappedLosses(self, theta, losses, scores, beta, residual)


@dataclass(frozen=True, slots=True)
class MappedLosses:
    """Losses at one theta.

    Attributes
    ----------
    parent : TemperatureMap
        Whose they are.
    theta : ndarray of shape (n_parameters,)
        Coefficients.
    losses : ndarray of shape (n_samples,)
        Nats.
    scores, residual : ndarray of shape (n_samples, n_classes)
        Aggregate, and probability less outcome.
    beta : ndarray of shape (n_samples,)
        Inverse temperatures.
    """

    parent: TemperatureMap
    theta: FloatArray
    losses: FloatArray
    scores: FloatArray
    beta: FloatArray
    residual: FloatArray

    def temperature_scores(self) -> FloatArray:
        """Return d loss_i / d beta_i."""
        return np.einsum("ik,ik->i", self.residual, self.scores)

    def gradient(self, slope: FloatArray) -> FloatArray:
        """Return the gradient of sum_i slope_i loss_i in theta."""
        own = self.parent
        hats = own.scale * (own.design.T @ (slope * self.temperature_scores()))
        if not own.has_experts:
            return hats
        direction = self.residual * (slope * self.beta)[:, None]
        b, gamma = self.theta[own.n_hats : -1], float(self.theta[-1])
        return np.r_[hats, own.mixture.slopes(b, gamma, direction).sum(axis=0)]
