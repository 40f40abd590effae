"""A correlation with its interval, whatever the distribution of the two."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from sk_arcal._validation import FloatArray


class Correlation(NamedTuple):
    """A correlation with its interval; NaN where one of the two does not vary.

    A named tuple: ``estimate, low, high = correlation``.
    """

    estimate: float
    low: float
    high: float


def correlation(x: FloatArray, y: FloatArray, level: float) -> Correlation:
    r"""Return Pearson's correlation with an interval on Fisher's scale.

    The standard error is that of the influences
    :math:`u v - r (u^2 + v^2) / 2` of the standardised rows, so neither normal nor continuous
    values are needed; the interval is symmetric in :math:`\operatorname{artanh} r`.
    """
    n = len(x)
    spread = np.array([np.std(x), np.std(y)])
    if n < 3 or not (spread > 1e-12 * np.abs([np.mean(x), np.mean(y)])).all():
        return Correlation(np.nan, np.nan, np.nan)
    u, v = (x - x.mean()) / spread[0], (y - y.mean()) / spread[1]
    r = float(np.clip(np.mean(u * v), -1, 1))
    if 1 - abs(r) < 1e-12:
        return Correlation(r, r, r)
    influence = u * v - r * (u**2 + v**2) / 2
    half = ndtri((1 + level) / 2) * np.std(influence) / np.sqrt(n) / (1 - r**2)
    return Correlation(r, *(float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1)))
