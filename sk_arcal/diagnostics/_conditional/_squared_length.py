r"""Interval for the squared length of a mean vector that is measured with noise.

Let t be normal with mean theta and covariance M. Then q = t't has

.. math:: \mathrm{E}\, q = \gamma + \mathrm{tr}\, M, \qquad
    \mathrm{var}\, q = 2\, \mathrm{tr}\, M^2 + 4\, \theta' M \theta, \qquad \gamma = \theta'\theta.

It is taken for a times a noncentral chi-square with d degrees of freedom and noncentrality
gamma / a, where a = t'M t / t't and d = tr M / a. At gamma = 0, a is near tr M^2 / tr M, and the
first two moments agree with those above (F. E. Satterthwaite, Biometrics Bulletin 2, 1946); far
from it a is near theta' M theta / gamma, and they agree again, with a law close to the normal.

The interval holds every gamma >= 0 that a test does not refuse. A test of gamma leaves the share
s(gamma) of its error to the lower tail,

.. math:: s(\gamma) = \tfrac{1}{2}\, \gamma / (\gamma + a \sqrt{2 d}),

so that at zero all of it lies in the upper tail. Whatever s, the error of every such test is
1 - level. So the interval is never empty and starts at zero exactly where a one-sided test of
gamma = 0 does not reject, but covers zero no more often than any other value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import ncx2

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SquaredLength:
    """An unbiased estimate of a squared length, and what its interval needs.

    Attributes
    ----------
    estimate : float
        t't - tr M; may be negative.
    noise : float
        tr M, what t't measures where theta is zero.
    scale : float
        a, the variance of t along itself.
    n_directions : int
        Length of t.
    """

    estimate: float
    noise: float
    scale: float
    n_directions: int

    @classmethod
    def of(cls, vector: FloatArray, covariance: FloatArray) -> "SquaredLength":
        """Measure `vector` (n_directions,) with the given covariance."""
        square, noise = float(vector @ vector), float(np.trace(covariance))
        along = float(vector @ covariance @ vector)
        return cls(square - noise, noise, along / square if square > 0 else 0.0, len(vector))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the squared lengths >= 0 that a test of error 1 - `level` does not refuse."""
        if self.scale <= 0:
            # No noise along the vector, or no vector.
            return max(self.estimate, 0.0), max(self.estimate, 0.0)
        lowest, far = 0.0, 2 * (self.estimate + self.noise) + self.scale
        while self._too_low(far, level) > 0:
            far *= 2
        high = brentq(self._too_low, 0.0, far, args=(level,), xtol=1e-12 * far)
        if self._too_high(0.0, level) > 0:
            lowest = brentq(self._too_high, 0.0, far, args=(level,), xtol=1e-12 * far)
        return float(lowest), float(high)

    def _too_low(self, gamma: float, level: float) -> float:
        """Positive where q is not too low for `gamma`."""
        # At zero no q is too low; a bracket for the root needs more than the sign of nothing.
        if gamma == 0:
            return 1.0
        return self._below(gamma) - (1 - level) * self._lower_share(gamma)

    def _too_high(self, gamma: float, level: float) -> float:
        """Positive where q is too high for `gamma`."""
        return self._below(gamma) - level - (1 - level) * self._lower_share(gamma)

    def _lower_share(self, gamma: float) -> float:
        return gamma / (gamma + np.sqrt(2 * self.scale * self.noise)) / 2

    def _below(self, gamma: float) -> float:
        """Probability that q comes out lower than it did."""
        square = (self.estimate + self.noise) / self.scale
        return float(ncx2.cdf(square, self.noise / self.scale, gamma / self.scale))
