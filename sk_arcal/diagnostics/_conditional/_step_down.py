"""From statistics of the data and of the draws to p-values, one or many at a time.

Every statistic is ranked among the same {data, draw 1, ..., draw B}: its p is the share of them
with a statistic at least as large. A test that looks at several components scores each of them
by sum_k w_k (-log p_k)^3 over its components k, and its own p is the share with a score at least
that of the data. The cube lets one component with strong evidence speak for itself, as the smallest
p would, and lets several with some evidence speak together, as Fisher's sum of logarithms would.
Dependent components need no correction: the draws pay it.

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


def combined_scores(component_pvalues: FloatArray, weights: FloatArray) -> FloatArray:
    """Return sum_k w_k (-log p_k)^3 of each row, shape (1 + n_resamples,).

    Parameters
    ----------
    component_pvalues : ndarray of shape (1 + n_resamples, n_components)
        p-values of the components; row 0 belongs to the data.
    weights : ndarray of shape (n_components,)
        How much each component counts.
    """
    return (-np.log(component_pvalues)) ** 3 @ weights


def combined_pvalues(component_pvalues: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the p-value of each row's combined score, shape (1 + n_resamples,)."""
    return rank_pvalues(combined_scores(component_pvalues, weights)[:, None])[:, 0]


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
