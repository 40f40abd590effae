r"""Weights of smallest divergence with given means: the dual, by Newton's method.

:math:`f(\theta) = \log \frac1n \sum_i e^{\theta \cdot x_i}`, with x the columns less their aims, is
convex; its gradient is the weighted mean of x and its Hessian their weighted covariance. It has a
minimum if and only if the aims lie inside the convex hull of the rows, or on its edge in the limit.
"""

import numpy as np
from scipy.special import logsumexp, softmax

from sk_arcal._validation import FloatArray

_MAX_STEPS = 200
_TOLERANCE = 1e-10
# Close enough to the aims where the minimum lies at infinity.
_ENOUGH = 1e-7
# Halvings of a step, and the share of the slope that a step has to gain.
_HALVINGS, _SUFFICIENT = 40, 1e-4


def entropy_balance(rows: FloatArray, aims: FloatArray) -> FloatArray:
    """Return weights of mean one under which the columns of `rows` have the means `aims`.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_columns)
        Gates.
    aims : ndarray of shape (n_columns,)
        Means wanted.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Positive.

    Raises
    ------
    ValueError
        If there are none.
    """
    centred = rows - aims
    theta = np.zeros(len(aims))
    for _ in range(_MAX_STEPS):
        share = softmax(centred @ theta)
        slope = share @ centred
        if np.abs(slope).max() <= _TOLERANCE:
            break
        theta = _step(centred, theta, share, slope)
    share = softmax(centred @ theta)
    reached = share @ rows
    if np.abs(reached - aims).max() > _ENOUGH:
        raise ValueError(
            "`shares` cannot be reached: no weights of these rows have the mean gates "
            f"{aims.round(4).tolist()}; the nearest found are {reached.round(4).tolist()}. Ask for "
            "a milder shift."
        )
    return share * len(rows)


def _step(
    centred: FloatArray, theta: FloatArray, share: FloatArray, slope: FloatArray
) -> FloatArray:
    """Take a damped Newton step; the gates of a row sum to one, so the Hessian is singular."""
    deviation = centred - slope
    hessian = (share[:, None] * deviation).T @ deviation
    direction = -np.linalg.lstsq(hessian, slope, rcond=1e-12)[0]
    now, gain = logsumexp(centred @ theta), slope @ direction
    size = 1.0
    for _ in range(_HALVINGS):
        if logsumexp(centred @ (theta + size * direction)) <= now + _SUFFICIENT * size * gain:
            break
        size /= 2
    return theta + size * direction
