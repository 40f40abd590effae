"""Mean and deviation of columns or colour channels, without a copy of the data in float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._numeric import row_blocks
from sk_arcal._validation import FloatArray


def weighted_moments(x: NDArray[Any], weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation along the last axis.

    Parameters
    ----------
    x : ndarray of shape (n_samples, ..., n_columns)
        Numbers; axes in between count as more rows of the same weight.
    weight : ndarray of shape (n_samples,)
        Not all zero.

    Returns
    -------
    mean, deviation : ndarray of shape (n_columns,)
        The deviation of a constant column is one.
    """
    between = tuple(range(1, x.ndim - 1))
    n_between = int(np.prod(x.shape[1:-1]))
    total = weight.sum() * n_between
    blocks = row_blocks(len(x), n_between * x.shape[-1])
    mean = sum(weight[rows] @ x[rows].sum(axis=between, dtype=np.float64) for rows in blocks)
    mean = np.asarray(mean / total)
    variance = np.zeros_like(mean)
    for rows in blocks:
        variance += weight[rows] @ np.square(x[rows] - mean).sum(axis=between)
    deviation = np.sqrt(variance / total)
    # Sums in another order leave a constant column a deviation of rounding size.
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)
