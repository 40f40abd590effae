"""From statistics of the data and of the draws to p-values, one or many at a time.

Every statistic is ranked among the same {data, draw 1, ..., draw B}: its p is the share of them
with a statistic at least as large. A test that looks at several components scores each of them
by its smallest component p, ties by their mean, and its own p is the share with a score at most
that of the data. Smallest-p of dependent components needs no correction: the draws pay it.

Over several features, Westfall and Young's step-down min-p (P. H. Westfall and S. S. Young,
"Resampling-Based Multiple Testing", Wiley, 1993, algorithm 2.8) bounds the chance of one false
alarm among all features, and uses how the features depend on one another.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Equal arrangements give equal statistics only up to rounding; below this they are ties.
_DECIMALS = 9


def rank_pvalues(statistics: FloatArray) -> FloatArray:
    """Return the share of rows with a statistic at least as large, column by column.

    Parameters
    ----------
    statistics : ndarray of shape (1 + n_resamples, k)
        Row 0 belongs to the data, the others to the draws.

    Returns
    -------
    pvalues : ndarray of shape (1 + n_resamples, k)
        In (0, 1].
    """
    rounded = np.round(statistics, _DECIMALS)
    n = len(rounded)
    pvalues = np.empty(rounded.shape)
    for k, column in enumerate(rounded.T):
        pvalues[:, k] = (n - np.searchsorted(np.sort(column), column, side="left")) / n
    return pvalues


def smallest_pvalue_test(component_pvalues: FloatArray) -> FloatArray:
    """Return the p-value of each row's smallest component p, shape (1 + n_resamples,).

    Counted in draws, so that ties are exact: a row comes before another if its smallest count
    is smaller, or equal with a smaller sum of counts.
    """
    n, k = component_pvalues.shape
    counts = np.rint(component_pvalues * n).astype(np.int64)
    score = counts.min(axis=1) * (k * n + 1) + counts.sum(axis=1)
    return np.searchsorted(np.sort(score), score, side="right") / n


def step_down(pvalues: FloatArray) -> FloatArray:
    """Return Westfall-Young adjusted p-values of the data.

    Parameters
    ----------
    pvalues : ndarray of shape (1 + n_resamples, n_features)
        Row 0 belongs to the data; the draws are shared by all features.

    Returns
    -------
    adjusted : ndarray of shape (n_features,)
        In (0, 1], none below its unadjusted p-value.

    Notes
    -----
    In order of the observed p-values, feature j is compared with the smallest p among the
    features not yet passed: adjusted_j = share of {data, draws} with
    min_{i >= j} p_i <= p_j(data), made non-decreasing.
    """
    order = np.argsort(pvalues[0], kind="stable")
    ordered = pvalues[:, order]
    smallest = np.minimum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
    share = np.mean(smallest <= ordered[0] + 1e-12, axis=0)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(share)
    return adjusted
