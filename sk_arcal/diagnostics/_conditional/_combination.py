"""One p-value from those of several dependent runs, and Holm's correction over features.

Cauchy combination ("is there a run ...?")
    T = mean of tan((1/2 - p_s) pi);  p = P(C >= T), C standard Cauchy. Each term is Cauchy under
    its null, and a mean of Cauchy variables has the same tail whether or not they depend on one
    another, so that p is right for small p without knowing how (Y. Liu and J. Xie, "Cauchy
    combination test: a powerful test with analytic p-value calculation under arbitrary dependency
    structures", Journal of the American Statistical Association 115, 2020, pp. 393-402). A p
    close to 1 is as heavy as one close to 0: 0.995 in one run would undo 0.005 in another. p
    above 0.99 therefore count as 0.99, which leaves the upper tail alone (Y. Fang, C. Chang, Y.
    Park and G. C. Tseng, "Heavy-tailed distribution for combining dependent p-values with
    asymptotic robustness", Statistica Sinica 33, 2023).

Partial conjunction ("are there u runs ...?")
    p = min(1, (S - u + 1) p_(u)), p_(u) the u-th smallest of S. If fewer than u runs have a
    signal then S - u + 1 have none, and the smallest p of those is at most p_(u): Bonferroni's
    bound over them, whatever their dependence (Y. Benjamini and R. Heller, "Screening for partial
    conjunction hypotheses", Biometrics 64, 2008, pp. 1215-1222).

Holm
    The k-th smallest of m p-values times m - k + 1, made non-decreasing: at most alpha of false
    alarms, one or more, whatever the dependence (S. Holm, Scandinavian Journal of Statistics 6,
    1979, pp. 65-70).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def cauchy_combination(pvalues: ArrayLike, largest: float = 0.99) -> float:
    """Return the p-value of "no run has a signal", small if any of `pvalues` is very small.

    Parameters
    ----------
    pvalues : array-like of shape (n_runs,)
        In [0, 1]; a single 0 decides.
    largest : float, default=0.99
        Larger p-values are read as this one; 1 leaves them as they are.

    Returns
    -------
    pvalue : float
        In [0, largest]; NaN without any p-value.
    """
    p = np.minimum(np.asarray(pvalues, dtype=np.float64), largest)
    if p.size == 0:
        return np.nan
    if (p == 0).any():
        return 0.0
    # The cotangent is the same number, and does not round 1/2 - p for a small p.
    statistic = float(np.mean(1 / np.tan(np.pi * p)))
    return float(np.arctan2(1, statistic) / np.pi)


def partial_conjunction(pvalues: ArrayLike, u: int) -> float:
    """Return the p-value of "fewer than `u` runs have a signal".

    Parameters
    ----------
    pvalues : array-like of shape (n_runs,)
        In [0, 1].
    u : int
        From 1 (Bonferroni's "some run") to n_runs (the largest p: "every run").

    Returns
    -------
    pvalue : float
        In [0, 1].
    """
    p = np.sort(np.asarray(pvalues, dtype=np.float64))
    return float(min(1, (len(p) - u + 1) * p[u - 1]))


def holm(pvalues: ArrayLike) -> FloatArray:
    """Return p-values corrected for their number; NaN stay, and are not counted.

    The k-th smallest of m times m - k + 1, made monotone: S. Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6, 1979. Valid however they depend
    on one another.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    asked = np.flatnonzero(~np.isnan(p))
    order = asked[np.argsort(p[asked], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted
