r"""Worst-case weights of losses: exact inner maximisers.

With base masses :math:`\pi` of sum one and losses :math:`\ell`, an adversary chooses weights
:math:`w \ge 0`, :math:`\sum_i \pi_i w_i = 1`, and the worst case is

.. math:: J(\ell) = \max_w \sum_i \pi_i w_i \ell_i .

``"cvar"``
    :math:`w \le 1/\alpha`: the mean of the worst share :math:`\alpha`.
``"chi2"``
    :math:`\sum_i \pi_i (w_i - 1)^2 \le \rho`. Then :math:`w = c\,(\ell - \tau)_+`, and
    :math:`\psi(\tau) = \sum \pi (\ell - \tau)_+^2 / (\sum \pi (\ell - \tau)_+)^2 = 1 + \rho`. Since
    :math:`\psi` grows, prefix sums over the sorted losses find the rows above :math:`\tau`, on
    which the equation is quadratic.
``"kl"``
    :math:`\sum_i \pi_i w_i \log w_i \le \rho`. Then :math:`w \propto e^{t \ell}`, and the
    divergence grows in t: one root.
``"tilted"``
    :math:`J = \frac1\eta \log \sum_i \pi_i e^{\eta \ell_i}`, the maximum of the weighted loss less
    :math:`1/\eta` times the divergence; :math:`w \propto e^{\eta \ell}`.
``"softmax"``
    :math:`J = \sum_i q_i \ell_i` with :math:`q_i \propto \pi_i e^{\eta \ell_i}` differentiated too,
    as published: :math:`\partial J / \partial \ell_i = q_i (1 + \eta (\ell_i - J))`, which is
    negative for easy rows.
``"none"``
    The plain mean.

Sources: H. Namkoong and J. Duchi, "Variance-based Regularization with Convex Objectives", JMLR 2019
(chi-square ball); R. Rockafellar and S. Uryasev, "Optimization of Conditional Value-at-Risk", 2000;
T. Li et al., "Tilted Empirical Risk Minimization", ICLR 2021; the softmax weights are those of
G. Wong et al., ICML 2026.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from sk_arcal._validation import FloatArray

ADVERSARIES = ("tilted", "softmax", "cvar", "chi2", "kl", "none")

# Losses closer than this share of their spread are tied.
_TIE = 1e-13


@dataclass(frozen=True, slots=True)
class Adversary:
    """An adversary and its strength.

    Attributes
    ----------
    name : str
        One of `ADVERSARIES`.
    eta : float
        Tilt per nat, of "tilted" and "softmax".
    alpha : float
        Share of the rows, of "cvar".
    radius : float
        Of the balls "chi2" and "kl".
    """

    name: str
    eta: float = 2.0
    alpha: float = 0.2
    radius: float = 1.0

    def respond(self, losses: FloatArray, mass: FloatArray) -> "WorstCase":
        """Return the worst case of `losses` with base masses `mass`, which need not sum to one."""
        base = mass / mass.sum()
        if self.name == "softmax":
            return _softmax(losses, base, self.eta)
        if self.name == "tilted":
            weights = _tilt(losses, base, self.eta)
            value = losses @ base
            if self.eta > 0:
                value = logsumexp(self.eta * losses, b=base) / self.eta
            return WorstCase(float(value), weights, base * weights)
        weights = self._in_ball(losses, base)
        return WorstCase(float((base * weights) @ losses), weights, base * weights)

    def _in_ball(self, losses: FloatArray, base: FloatArray) -> FloatArray:
        if self.name == "cvar":
            return _cvar(losses, base, self.alpha)
        if self.name == "none" or self.radius == 0:
            return np.ones(len(losses))
        return {"chi2": _chi2, "kl": _kl}[self.name](losses, base, self.radius)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """What an adversary answers to losses.

    Attributes
    ----------
    value : float
        J.
    weights : ndarray of shape (n,)
        w, with mean one under the base masses.
    slope : ndarray of shape (n,)
        dJ / d losses.
    """

    value: float
    weights: FloatArray
    slope: FloatArray


def _tilt(losses: FloatArray, base: FloatArray, eta: float) -> FloatArray:
    """Weights proportional to exp(eta loss), mean one."""
    tilt = np.exp(eta * (losses - losses.max()))
    return tilt / (base @ tilt)


def _softmax(losses: FloatArray, base: FloatArray, eta: float) -> WorstCase:
    weights = _tilt(losses, base, eta)
    value = float((base * weights) @ losses)
    return WorstCase(value, weights, base * weights * (1 + eta * (losses - value)))


def _cvar(losses: FloatArray, base: FloatArray, alpha: float) -> FloatArray:
    """1/alpha above the quantile; rows tied at it share what is left."""
    threshold = _upper_quantile(losses, base, alpha)
    above, tied = losses > threshold, losses == threshold
    weights = np.where(above, 1 / alpha, 0.0)
    weights[tied] = max(1 - base[above].sum() / alpha, 0.0) / base[tied].sum()
    return weights


def _upper_quantile(losses: FloatArray, base: FloatArray, alpha: float) -> float:
    """Largest loss at or above which there is a mass of alpha."""
    n = len(losses)
    if base.min() == base.max():
        # Selection is linear in time, sorting is not.
        rank = min(max(int(np.ceil(alpha * n * (1 - 1e-15))), 1), n)
        return float(np.partition(losses, n - rank)[n - rank])
    order = np.argsort(losses)[::-1]
    above = np.cumsum(base[order])
    rank = min(int(np.searchsorted(above, alpha * (1 - 1e-15))), n - 1)
    return float(losses[order[rank]])


def _on_maximum(losses: FloatArray, base: FloatArray, is_enough: float) -> FloatArray | None:
    """All weight on the largest losses, if their mass is at least `is_enough`."""
    spread = losses.max() - losses.min()
    top = losses >= losses.max() - _TIE * spread
    mass = base[top].sum()
    return np.where(top, 1 / mass, 0.0) if mass >= is_enough else None


def _chi2(losses: FloatArray, base: FloatArray, radius: float) -> FloatArray:
    at_top = _on_maximum(losses, base, 1 / (1 + radius))
    if at_top is not None:
        return at_top
    # Measured from the top in units of the spread, the sums below keep their digits.
    below = (losses.max() - losses) / (losses.max() - losses.min())
    order = np.argsort(below)
    sorted_below, mass = below[order], base[order]
    total, first, second = (np.cumsum(mass * sorted_below**k) for k in range(3))
    # psi at the loss of each row, over the rows above it; the solution lies above every row whose
    # psi is no larger than 1 + radius.
    squares = total * sorted_below**2 - 2 * sorted_below * first + second
    linear = total * sorted_below - first
    is_active = squares > (1 + radius) * linear**2
    # Of the first rows psi is 0 / 0; they are active, and so is what the ball needs as mass.
    is_active |= (linear <= 0) | (total * (1 + radius) <= 1)
    count = len(is_active) if is_active.all() else int(is_active.argmin())
    # The mass must exceed 1 / (1 + radius), which the last comparison cannot tell at equality.
    count += bool(total[count - 1] * (1 + radius) <= 1)
    active = order[:count]
    excess = np.maximum(_chi2_depth(below[active], base[active], radius) - below, 0.0)
    return excess / (base @ excess)


def _chi2_depth(below: FloatArray, mass: FloatArray, radius: float) -> float:
    """Depth below the top at which the weights of the active rows reach zero."""
    total = mass.sum()
    mean = mass @ below / total
    variance = mass @ (below - mean) ** 2 / total
    return float(mean + np.sqrt(variance / (total * (1 + radius) - 1)))


def _kl(losses: FloatArray, base: FloatArray, radius: float) -> FloatArray:
    at_top = _on_maximum(losses, base, np.exp(-radius))
    if at_top is not None:
        return at_top
    scaled = (losses - losses.max()) / (losses.max() - losses.min())

    def excess(tilt: float) -> float:
        weights = _tilt(scaled, base, tilt)
        normaliser = np.log(base @ np.exp(tilt * scaled))
        return float(tilt * ((base * weights) @ scaled) - normaliser - radius)

    high = 1.0
    while excess(high) < 0 and high < 1e15:
        high *= 4
    tilt = brentq(excess, 0.0, high, xtol=1e-15, rtol=1e-14) if excess(high) > 0 else high
    return _tilt(scaled, base, tilt)
