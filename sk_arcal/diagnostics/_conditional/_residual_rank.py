"""The rank of the routing among rows of like confidence, and how much of it is left to rank.

With t the rank of the confidence and s the normal scores of the routing,

    u_i = 2 rank((s_i - m(t_i)) / d(t_i)) / (n + 1) - 1,

where m and d are regressions of s and of |s - m| on nine cubic B-splines of t and on the
normal score of t, which fits joint normal ranks exactly and bends at both ends as they do. u
lies in (-1, 1), is close to uniform at every confidence, and increasing maps of either variable
leave it alone.

Rows that share one routing value could be ranked in any order. Instead of drawing one, such a
row gets the whole interval of u its value covers, and later every function of u is averaged
over that interval: the mean over all ways to break the tie, without their noise.

The share of the routing that the confidence leaves open is

    nu = mean (z_(i-1) - 2 z_i + z_(i+1))^2 / (6 var z),

z the rank of the routing, rows in order of confidence: 1 if the two are independent, 0 if the
routing is a smooth function of the confidence, and then "beyond the confidence" has no meaning.
Second differences (the error variance of Gasser, Sroka and Jennen-Steinmetz, Biometrika 73,
1986, pp. 625-633, for equal spacing) tell a smooth function from noise with a tenth of the
rows that first differences need.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.linalg import pinvh
from scipy.special import ndtri

from sk_arcal.diagnostics._conditional._binned_outcomes import random_order
from sk_arcal.diagnostics._confidence_bins import tie_midranks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_N_KNOTS = 7
_DEGREE = 3
_SPREAD_FLOOR = 0.05


class ConfidenceSpline:
    """Least-squares regression on cubic B-splines and the normal score of the confidence rank.

    Parameters
    ----------
    rank : ndarray of shape (n_samples,)
        Rank of the confidence, sorted upwards. Knots sit at its sextiles; where ties make
        sextiles coincide there are fewer.
    """

    def __init__(self, rank: FloatArray) -> None:
        knots = np.unique(np.quantile(rank, np.linspace(0, 1, _N_KNOTS)))
        if len(knots) == 1:
            self._basis = sparse.csr_array(np.ones((len(rank), 1)))
        else:
            knots = np.r_[[knots[0]] * _DEGREE, knots, [knots[-1]] * _DEGREE]
            splines = BSpline.design_matrix(rank, knots, _DEGREE)
            score = sparse.csr_array(ndtri(rank)[:, None])
            self._basis = sparse.hstack([splines, score], format="csr")
        gram = self._basis.T @ self._basis
        self._inverse = pinvh(gram.toarray(), rtol=1e-10)

    def fit(self, values: FloatArray) -> FloatArray:
        """Return fitted values, same shape as `values` (n_samples,) or (n_samples, k)."""
        return self._basis @ (self._inverse @ (self._basis.T @ values))


def residual_rank(
    routing: FloatArray, spline: ConfidenceSpline, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the interval of u in (-1, 1) that each row covers.

    Parameters
    ----------
    routing : ndarray of shape (n_samples,)
        Routing feature, rows in the order `spline` was made for.
    spline : ConfidenceSpline
        Regression on the rank of the confidence.
    rng : numpy Generator
        Puts ties in random order, never that of the rows, while m and d are fitted.

    Returns
    -------
    low, high : ndarray of shape (n_samples,)
        Equal where the routing value occurs once.
    """
    n = len(routing)
    order = random_order(routing, rng)
    score = np.empty(n)
    score[order] = ndtri((np.arange(n) + 0.5) / n)
    centre = spline.fit(score)
    spread = spline.fit(np.abs(score - centre))
    # The smallest number is for so few rows that the spline meets every one of them.
    spread = np.maximum(spread, max(_SPREAD_FLOOR * spread.mean(), 1e-12))
    residual = (score - centre) / spread
    u = np.empty(n)
    u[np.argsort(residual)] = 2 * np.arange(1, n + 1) / (n + 1) - 1
    low, high = u, u.copy()
    first, last = _tie_ends(routing[order])
    tied = last > first
    if tied.any():
        rows, ordered = order[tied], np.sort(residual)
        for ends, side in ((first[tied], low), (last[tied] + 1, high)):
            edge: FloatArray = (ndtri(ends / n) - centre[rows]) / spread[rows]
            side[rows] = 2 * np.searchsorted(ordered, edge) / n - 1
    return low, high


def _tie_ends(ordered: FloatArray) -> tuple[IntArray, IntArray]:
    """First and last place of the run of equal values around each place."""
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    return np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)


def share_left_open(routing: FloatArray) -> float:
    """Return nu for a routing feature whose rows are in order of confidence."""
    rank = tie_midranks(routing)
    variance = rank.var()
    if len(rank) < 3 or variance == 0:
        return 0.0
    bend = rank[:-2] - 2 * rank[1:-1] + rank[2:]
    return float(min(bend @ bend / (6 * len(bend) * variance), 1))


def share_of_levels_left_open(level: IntArray, n_levels: int) -> float:
    """Return nu for levels without order: changes between neighbours over those by chance.

    A function of the confidence that keeps each level on one or two stretches changes at most
    2 (n_levels - 1) times; those changes are not counted.
    """
    share = np.bincount(level, minlength=n_levels) / len(level)
    by_chance = (len(level) - 1) * (1 - share @ share)
    if by_chance == 0:
        return 0.0
    changes = int(np.count_nonzero(np.diff(level))) - 2 * (n_levels - 1)
    return min(max(changes, 0) / float(by_chance), 1.0)
