"""How far the rows of an axis are spread, and the bandwidth that goes with it."""

import numpy as np

from sk_arcal._validation import FloatArray


def axis_deviation(axes: FloatArray, sample_weight: FloatArray | None = None) -> FloatArray:
    """Return the population standard deviation of every axis.

    Parameters
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.

    Returns
    -------
    deviation : ndarray of shape (n_axes,)
        Exactly zero where all rows agree.
    """
    weight = np.ones(len(axes)) if sample_weight is None else sample_weight
    share = weight / weight.sum()
    centred = axes - share @ axes
    # Squares of huge positions overflow, and rounding in the mean makes constant axes vary.
    largest = np.where((axes == axes[0]).all(axis=0), 0.0, np.abs(centred).max(axis=0))
    return largest * np.sqrt(share @ (centred / np.where(largest > 0, largest, 1.0)) ** 2)


def scott_bandwidth(axes: FloatArray, sample_weight: FloatArray | None = None) -> FloatArray:
    r"""Return Scott's rule :math:`\sigma_d n^{-1/(D + 4)}` for each of the D axes.

    Axes on which all rows agree carry no distance: they get an infinite bandwidth and do not
    count in D. Deviations are population ones, n is the total weight.

    Parameters
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.

    Returns
    -------
    bandwidth : ndarray of shape (n_axes,)
        Positive, or infinite.

    References
    ----------
    .. [1] D. W. Scott. "Multivariate Density Estimation". Wiley, 1992. Equation 6.42.
    """
    total = len(axes) if sample_weight is None else sample_weight.sum()
    deviation = axis_deviation(axes, sample_weight)
    n_varying = np.count_nonzero(deviation)
    return np.where(deviation > 0, deviation * total ** (-1 / (n_varying + 4)), np.inf)
