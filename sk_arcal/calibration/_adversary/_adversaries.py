r"""Worst-case weights of losses: exact inner maximisers.

With base masses :math:`\pi` of sum one and losses :math:`\ell`, an adversary chooses weights
:math:`w \ge 0`, :math:`\sum_i \pi_i w_i = 1`, and the worst case is

.. math:: J(\ell) = \max_w \sum_i \pi_i w_i \ell_i .

``"cvar"``
    :math:`w \le 1/\alpha`: the mean of the worst share :math:`\alpha`.
``"chi2"``
    :math:`\sum_i \pi_i (w_i - 1)^2 \le \rho`. Then :math:`w = c\,(\ell - \tau)_+`, and
    :math:`\sum \pi (\ell - \tau)_+^2 = (1 + \rho) (\sum \pi (\ell - \tau)_+)^2`, solved in
    :mod:`sk_arcal.calibration._adversary._chi_square`.
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
from sk_arcal.calibration._adversary._chi_square import (
    find_threshold,
    on_maximum,
    sorted_weights,
)

ADVERSARIES = ("tilted", "softmax", "cvar", "chi2", "kl", "none")


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

    def respond(
        self, losses: FloatArray, mass: FloatArray | None, start: float | None = None
    ) -> "WorstCase":
        """Return the worst case of losses.

        Parameters
        ----------
        losses : ndarray of shape (n,)
            Losses.
        mass : ndarray of shape (n,) or None
            Base masses, which need not sum to one; None if all are equal.
        start : float, default=None
            Threshold of the answer to nearly the same losses, of use to "chi2"; the answer does
            not depend on it.

        Returns
        -------
        worst : WorstCase
            Value, weights, slope.
        """
        if mass is not None and bool((mass == mass[0]).all()):
            mass = None
        if self.name == "cvar" and mass is None:
            return _cvar_of_equals(losses, self.alpha)
        base = None if mass is None else mass / mass.sum()
        if self.name == "chi2" and self.radius > 0:
            found = find_threshold(losses, base, self.radius, start)
            if found is not None:
                return WorstCase(found.value, *found.answer(losses, base), found.tau)
        return self._by_rows(
            losses, np.full(len(losses), 1 / len(losses)) if base is None else base
        )

    def _by_rows(self, losses: FloatArray, base: FloatArray) -> "WorstCase":
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
        return {"chi2": sorted_weights, "kl": _kl}[self.name](losses, base, self.radius)


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
    threshold : float or None
        Loss at which weights begin, where it was searched for; `start` for losses alike.
    """

    value: float
    weights: FloatArray
    slope: FloatArray
    threshold: float | None = None


def _tilt(losses: FloatArray, base: FloatArray, eta: float) -> FloatArray:
    """Weights proportional to exp(eta loss), mean one."""
    tilt = np.exp(eta * (losses - losses.max()))
    return tilt / (base @ tilt)


def _softmax(losses: FloatArray, base: FloatArray, eta: float) -> WorstCase:
    weights = _tilt(losses, base, eta)
    value = float((base * weights) @ losses)
    return WorstCase(value, weights, base * weights * (1 + eta * (losses - value)))


def _cvar_of_equals(losses: FloatArray, alpha: float) -> WorstCase:
    """CVaR of rows of equal mass, by selection: it is linear in time, sorting is not."""
    n = len(losses)
    rank = min(max(int(np.ceil(alpha * n * (1 - 1e-15))), 1), n)
    threshold = np.partition(losses, n - rank)[n - rank]
    rows = np.flatnonzero(losses >= threshold)
    is_above = losses[rows] > threshold
    n_above = int(np.count_nonzero(is_above))
    left = max(1 - n_above / (alpha * n), 0.0)
    own = np.where(is_above, 1 / alpha, left * n / (len(rows) - n_above))
    weights, slope = np.zeros(n), np.zeros(n)
    weights[rows] = own
    slope[rows] = own / n
    return WorstCase(float(own @ losses[rows]) / n, weights, slope)


def _cvar(losses: FloatArray, base: FloatArray, alpha: float) -> FloatArray:
    """1/alpha above the quantile; rows tied at it share what is left."""
    threshold = _upper_quantile(losses, base, alpha)
    above, tied = losses > threshold, losses == threshold
    weights = np.where(above, 1 / alpha, 0.0)
    weights[tied] = max(1 - base[above].sum() / alpha, 0.0) / base[tied].sum()
    return weights


def _upper_quantile(losses: FloatArray, base: FloatArray, alpha: float) -> float:
    """Largest loss at or above which there is a mass of alpha."""
    order = np.argsort(losses)[::-1]
    above = np.cumsum(base[order])
    rank = min(int(np.searchsorted(above, alpha * (1 - 1e-15))), len(losses) - 1)
    return float(losses[order[rank]])


def _kl(losses: FloatArray, base: FloatArray, radius: float) -> FloatArray:
    at_top = on_maximum(losses, base, np.exp(-radius))
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
