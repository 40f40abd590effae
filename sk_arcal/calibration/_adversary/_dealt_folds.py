r"""Folds that know a weight of 3 from three rows only by the work they save.

Distinct rows, sorted, are dealt to the folds like cards, one unit of weight at a time: row i
covers the interval :math:`[C_{i-1}, C_i)` of cumulated weights, and the unit interval number j
belongs to fold :math:`j \bmod k`. A heavy row lies in several folds with a part of its weight. So
folds depend neither on the order of rows nor on whether weights or repetitions were given, and as
neighbours in the sorted table go to different folds they are stratified by confidence. Where
weights are fractions the unit is the smallest of them.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray


def deal(weight: FloatArray, n_folds: int) -> FloatArray:
    """Share the weights of sorted, distinct rows out to folds.

    Parameters
    ----------
    weight : ndarray of shape (n_distinct,)
        Positive weights.
    n_folds : int
        Number of folds.

    Returns
    -------
    parts : ndarray of shape (n_folds, n_distinct)
        Parts of the weights; they sum to `weight` over the folds.
    """
    unit = min(1.0, float(weight.min()))
    ends = np.r_[0.0, np.cumsum(weight)] / unit
    rounds, within = np.divmod(ends, n_folds)
    held = [unit * np.diff(rounds + np.clip(within - fold, 0, 1)) for fold in range(n_folds)]
    return np.maximum(np.array(held), 0.0)


def is_divisible(parts: NDArray[np.float64]) -> bool:
    """Tell whether every fold got something."""
    return bool((parts.sum(axis=1) > 0).all())
