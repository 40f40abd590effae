r"""The kernel estimate of the residual.

With an anchor :math:`p` (the confidence after temperature scaling) and kernel weights
:math:`K_j(x)` the estimate is

.. math:: q(x) = p(x) + \frac{\sum_j w_j K_j(x) (y_j - p_j)}{\sum_j w_j K_j(x) + \lambda}.

The pseudo-counts :math:`\lambda` are rows that would agree with the anchor. Smoothing residuals
instead of outcomes avoids the bias that a kernel has near confidence 1, and leaves the anchor
alone where there are few rows.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray

# A kernel mass this close below a threshold has reached it up to rounding.
_ROUNDING = 1e-9
# Below this share of one row, sums are rounding errors.
_TINY_MASS = 1e-8
_PROBABILITY_MARGIN = 1e-12


def too_thin(mass: FloatArray, min_mass: float) -> NDArray[np.bool_]:
    """Tell where the kernel mass is too small to correct anything."""
    return mass < max(min_mass * (1 - _ROUNDING), _TINY_MASS)


def corrected_probability(
    anchor: FloatArray,
    sums: FloatArray,
    mass: FloatArray,
    *,
    shrinkage: float,
    min_mass: float,
    bounded: bool = True,
) -> FloatArray:
    """Return the anchor plus the shrunk mean residual of the neighbours.

    Parameters
    ----------
    anchor : ndarray of shape (n_samples,)
        Probability before the correction.
    sums : ndarray of shape (n_samples,)
        Kernel-weighted sum of residuals.
    mass : ndarray of shape (n_samples,)
        Kernel mass.
    shrinkage : float
        Pseudo-counts; infinite switches the correction off.
    min_mass : float
        Rows with less kernel mass keep the anchor.
    bounded : bool, default=True
        Keep a corrected probability half a row away from 0 and 1, i.e. above 1/(2M + 2), unless
        the anchor itself is nearer: M rows cannot prove more.

    Returns
    -------
    probability : ndarray of shape (n_samples,)
        In (0, 1).
    """
    thin = too_thin(mass, min_mass)
    if thin.any():
        sums, mass_or_one = np.where(thin, 0.0, sums), np.where(thin, 1.0, mass + shrinkage)
    else:
        mass_or_one = mass + shrinkage
    probability = sums / mass_or_one
    probability += anchor
    margin: FloatArray | float = _PROBABILITY_MARGIN
    if bounded:
        margin = np.minimum(0.5 / (mass + 1), np.minimum(anchor, 1 - anchor))
        np.maximum(margin, _PROBABILITY_MARGIN, out=margin)
    np.maximum(probability, margin, out=probability)
    return np.minimum(probability, 1 - margin, out=probability)


def log_loss(probability: FloatArray, y: FloatArray) -> FloatArray:
    """Return -log of the probability given to what happened, per row, nats, at most 28."""
    probability = np.clip(probability, _PROBABILITY_MARGIN, 1 - _PROBABILITY_MARGIN)
    # p where y is 1 and 1 - p where it is 0.
    return -np.log(np.abs(probability - (1 - y)))
