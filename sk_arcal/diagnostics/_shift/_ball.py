r"""How far a shift may go: a ball of row weights, and the weights in it that raise a mean most.

The balls "kl", "chi2" and "cvar" are those of
:mod:`sk_arcal.calibration._adversary._adversaries`. The box

.. math:: a \le w_i \le b, \qquad \textstyle\sum_i \pi_i w_i = 1

has b on the largest losses, up to a mass of (1 - a) / (b - a), and a on the others. With that mass
as :math:`\alpha`, its weights are :math:`a + (1 - a)\, w_\mathrm{cvar}`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray, check_number, check_option, check_vector
from sk_arcal.calibration._adversary._adversaries import Adversary

BALLS = ("kl", "chi2", "cvar", "box")


@dataclass(frozen=True, slots=True)
class Ball:
    """A ball of weights of mean one.

    Attributes
    ----------
    name : str
        One of `BALLS`.
    radius : float
        Of "kl", in nats, and of "chi2".
    alpha : float
        Smallest share of the mass that may carry all weight, of "cvar".
    bounds : tuple of float
        Smallest and largest weight, of "box".
    """

    name: str
    radius: float
    alpha: float
    bounds: tuple[float, float]

    @classmethod
    def of(cls, name: object, radius: object, alpha: object, bounds: Any) -> "Ball":
        """Return the ball, or say which option is wrong."""
        low, high = check_vector(bounds, "bounds", n_samples=2)
        if not 0 <= low <= 1 <= high:
            raise ValueError(
                "`bounds` must be (low, high) with 0 <= low <= 1 <= high, since the weights have "
                f"mean one; got ({low:g}, {high:g})."
            )
        share = check_number("alpha", alpha, low=0, high=1)
        if share == 0:
            raise ValueError("`alpha` must be positive: no weight fits on a share of zero.")
        return cls(
            check_option("ball", name, BALLS),
            check_number("radius", radius, low=0, high=float(np.finfo(np.float64).max)),
            share,
            (float(low), float(high)),
        )

    @property
    def strength(self) -> str:
        """The option that counts for this ball, in words."""
        if self.name == "cvar":
            return f"alpha={self.alpha:g}"
        if self.name == "box":
            return f"bounds=({self.bounds[0]:g}, {self.bounds[1]:g})"
        return f"radius={self.radius:g}"

    def weights(self, losses: FloatArray, mass: FloatArray) -> FloatArray:
        """Return the maximiser for base masses that are positive and need not sum to one."""
        if losses.max() == losses.min():
            return np.ones(len(losses))
        if self.name == "box":
            return self._box(losses, mass)
        adversary = Adversary(self.name, alpha=self.alpha, radius=self.radius)
        return adversary.respond(losses, mass).weights

    def _box(self, losses: FloatArray, mass: FloatArray) -> FloatArray:
        low, high = self.bounds
        if low == 1 or high == 1:
            return np.ones(len(losses))
        top = Adversary("cvar", alpha=(1 - low) / (high - low)).respond(losses, mass)
        return low + (1 - low) * top.weights
