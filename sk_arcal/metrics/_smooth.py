"""SmoothECE: calibration error by kernel smoothing at the one scale it calls for itself."""

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, check_number
from sk_arcal.metrics._blocks import node_ruler
from sk_arcal.metrics._sums import outcome_sums

# Nodes 0, 1/m, ..., 1 carry the residuals. The smallest bandwidth spans eight of their steps.
_N_CELLS = 8000
_SMALLEST_BANDWIDTH = 1e-3
LEAST_CELLS = 4096
# The smoothed residual is integrated on so many steps per bandwidth where the nodes allow it.
_STEPS_PER_BANDWIDTH = 64
# The bandwidth is searched for on fewer; the fine steps have the last word.
_COARSE_STEPS = 8
_FIRST_BANDWIDTH = 0.05
# exp(-8.5**2 / 2) is the rounding of a number near one.
_DAMPED = 8.5
_TINY = float(np.finfo(np.float64).tiny)
# Relative, for the fixed point.
_TOLERANCE = 1e-6
_MOST_STEPS = 60


def smooth_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    bandwidth: float | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute SmoothECE, a calibration error without bins.

    The residuals are smoothed along confidence by a Gaussian kernel reflected at 0 and 1, and
    the error is the integral of their absolute value. The bandwidth is the one that equals the
    error it yields, so nothing has to be chosen. Unlike the ECE it changes continuously with
    the predictions. Like the ECE it is biased upwards; see :func:`noise_floor`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    bandwidth : float, default=None
        Standard deviation of the kernel in probability units, at least 0.001. None means the
        fixed point of [1]_.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each. A row of weight zero counts
        as absent.

    Returns
    -------
    error : float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, a weight is
        negative, or `bandwidth` is below 0.001.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    expected_calibration_error : The error in bins.

    Notes
    -----
    With the reflected kernel :math:`K_\sigma` on [0, 1],

    .. math:: \mathrm{smECE}_\sigma = \int_0^1 \Big| \frac1n \sum_i K_\sigma(t, c_i)
        (c_i - y_i) \Big| \, dt , \qquad \sigma^* = \mathrm{smECE}_{\sigma^*} ,

    and the value returned is :math:`\mathrm{smECE}_{\sigma^*}`. The reflected Gaussian is
    diagonal in the cosine basis, with factor :math:`e^{-(\pi k \sigma)^2 / 2}` for
    :math:`\cos \pi k t`. So residuals are shared out to 8 001 nodes, transformed once, and each
    bandwidth tried costs one short cosine transform; time is linear in the number of rows and
    the discretisation changes the error by less than 1e-6. A fixed point below 0.001 is not
    resolved: the value at bandwidth 0.001 is returned. Smoothing on the logit axis, another
    convention under the same name, gives other values. Rows of confidence exactly 0 or 1 count
    in full, as the kernel demands; relplot 1.0.3, which agrees to 1e-3 otherwise, counts half.

    References
    ----------
    .. [1] J. Błasiok and P. Nakkiran. "Smooth ECE: principled reliability diagrams via kernel
       smoothing". ICLR 2024 (arXiv 2309.12236). Definitions 3 and 4.

    Examples
    --------
    >>> from sk_arcal.metrics import smooth_calibration_error
    >>> round(smooth_calibration_error([1], [0.3]), 6)
    0.7
    >>> round(smooth_calibration_error([0, 1, 0, 1], [0.2, 0.3, 0.8, 0.9]), 4)
    0.2159
    """
    bandwidth = check_bandwidth(bandwidth)
    sums, _ = outcome_sums(y_true, y_prob, sample_weight, node_ruler(_N_CELLS))
    return smooth_error_of_cells(sums.weight[0], sums.confidence[0], bandwidth)


def check_bandwidth(bandwidth: float | None) -> float | None:
    """Return the bandwidth, None for the fixed point, or raise."""
    if bandwidth is None:
        return None
    return check_number("bandwidth", bandwidth, low=_SMALLEST_BANDWIDTH)


def smooth_error_of_cells(
    weight: FloatArray, confidence: FloatArray, bandwidth: float | None
) -> float:
    """Return SmoothECE of rows that lie at the mean confidence of their outcome and cell."""
    coefficients = _cosine_coefficients(weight, confidence)
    if bandwidth is None:
        return _at_fixed_point(coefficients)
    return _smoothed_error(bandwidth, coefficients)


def _cosine_coefficients(weight: FloatArray, confidence: FloatArray) -> FloatArray:
    """Return sum_i w_i (c_i - y_i) cos(pi k c_i) / sum_i w_i for k = 0 ... m.

    Within a cell the rows of one outcome have nearly one residual, so that their mean
    confidence says where they are to second order. There they are shared between two nodes.
    """
    n_cells, hits = weight.shape[1], weight[1]
    residual = np.stack([confidence[0], confidence[1] - hits]) / weight.sum()
    offset = n_cells * (confidence / np.maximum(weight, _TINY))
    offset -= np.arange(n_cells)
    to_right = (residual * offset).sum(axis=0)
    node = np.zeros(n_cells + 1)
    node[:-1] = residual.sum(axis=0) - to_right
    node[1:] += to_right
    # A cosine transform of type 1 counts inner nodes twice.
    node[1:-1] /= 2
    return scipy.fft.dct(node, type=1)


def _smoothed_error(
    bandwidth: float, coefficients: FloatArray, per_bandwidth: int = _STEPS_PER_BANDWIDTH
) -> float:
    """Return the integral of the absolute smoothed residual by the midpoint rule."""
    wanted = int(np.ceil(max(per_bandwidth / bandwidth, per_bandwidth)))
    steps = scipy.fft.next_fast_len(min(wanted, len(coefficients) - 1), real=True)
    # Cosines damped below rounding are left out.
    kept = min(steps, len(coefficients), int(_DAMPED / (np.pi * bandwidth)) + 1)
    damping = np.exp(-((np.pi * bandwidth * np.arange(kept)) ** 2) / 2)
    damped = np.zeros(steps)
    np.multiply(coefficients[:kept], damping, out=damped[:kept])
    # A transform of type 3 counts all but the first cosine twice, as a density does.
    return float(np.abs(scipy.fft.dct(damped, type=3, overwrite_x=True)).mean())


def _at_fixed_point(coefficients: FloatArray) -> float:
    """Return the error at the bandwidth that equals it."""

    def excess(width: float, per_bandwidth: int = _STEPS_PER_BANDWIDTH) -> float:
        return _smoothed_error(width, coefficients, per_bandwidth) - width

    def coarse(width: float) -> float:
        return excess(width, _COARSE_STEPS)

    first = coarse(_FIRST_BANDWIDTH)
    # As the error only decreases, the fixed point is between any bandwidth and its error.
    width, slope = _decreasing_root(coarse, _FIRST_BANDWIDTH, first, -1.0, 1e-3)
    if width <= 1.1 * _SMALLEST_BANDWIDTH:
        smallest = _smoothed_error(_SMALLEST_BANDWIDTH, coefficients)
        if smallest <= _SMALLEST_BANDWIDTH:
            return smallest
    return _decreasing_root(excess, width, excess(width), slope, _TOLERANCE)[0]


def _decreasing_root(
    function: Callable[[float], float], point: float, value: float, slope: float, tolerance: float
) -> tuple[float, float]:
    """Return the root between the smallest bandwidth and 1 by secants, and the last slope."""
    low, high = _SMALLEST_BANDWIDTH, 1.0
    for _ in range(_MOST_STEPS):
        low, high = (point, high) if value > 0 else (low, point)
        proposed = point - value / slope
        # A secant that leaves the bracket is replaced by its middle, an end by the end.
        if not low <= proposed <= high:
            end = _SMALLEST_BANDWIDTH if proposed < low else 1.0
            proposed = end if end in {low, high} else (low + high) / 2
        step = proposed - point
        if abs(step) <= tolerance * proposed:
            return proposed, slope
        following = function(proposed)
        slope = min((following - value) / step, -1.0)
        point, value = proposed, following
    return point, slope
