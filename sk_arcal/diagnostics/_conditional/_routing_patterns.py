"""How much of the outcomes a set of patterns over the routing explains, slice by slice.

Patterns of a continuous feature are functions of u, its rank among rows of like confidence: u,
(3 u^2 - 1) / 2, sign u, and the indicators of both outer deciles, each averaged over ties. Those of
a feature with levels are the indicators of its levels. The confidence bins are put together to a
few slices, and every slice has coefficients of its own, so that a pattern may change along the
confidence.

A pattern is blurred where u is wrong, so u rests on the plain regression of the routing on the
normal score of the confidence unless the spline fits better by Akaike's criterion (H. Akaike,
IEEE Trans. Automatic Control 19, 1974): eight numbers less to estimate, which cost a step at the
median more than a line.

Columns f are residuals of the patterns from a straight line in every bin. Made orthonormal in a
slice, (1/n) sum f_j f_k = 1[j = k], they give t_j = (1/n) sum f_j y, whose squared mean is the
part of E[(E[y|c,z] - E[y|c])^2] that pattern j explains. The covariance of t is

    M_jk = (1/n^2) sum f_j f_k e^2 / (1 - h),

e the residual of the outcome from the line in its bin and h its leverage, which is unbiased where
the outcomes of a bin vary alike (J. G. MacKinnon and H. White, Journal of Econometrics 29, 1985,
HC2). With groups f e and h are summed over each group before.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline, residual_rank
from sk_arcal.diagnostics._conditional._routing_feature import level_columns
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Patterns = Callable[[slice], FloatArray]

_OUTER = 0.8
# A pattern that varies so little among rows of like confidence is a function of the confidence.
_LEAST_VARIANCE = 1e-6
# Numbers the spline has beyond a level and a slope.
_N_BENDS = 8


class PlainOrBent(ConfidenceSpline):
    """Regression on the normal score of the confidence rank, or on splines where they fit better.

    Parameters
    ----------
    rank : ndarray of shape (n_samples,)
        Rank of the confidence, sorted upwards.
    """

    def __init__(self, rank: FloatArray) -> None:
        super().__init__(rank)
        score = ndtri(rank)
        self._score = score - score.mean()

    def fit(self, values: FloatArray) -> FloatArray:
        """Return fitted values (n_samples,)."""
        bent, level = super().fit(values), values.mean()
        length = float(self._score @ self._score)
        slope = float(self._score @ values) / length if length > 0 else 0.0
        plain = level + slope * self._score
        left = ((values - bent) ** 2).sum() * np.exp(2 * _N_BENDS / len(values))
        return bent if left < ((values - plain) ** 2).sum() else plain


def routing_patterns(
    values: RoutingValues, order: IntArray, rank: FloatArray, rng: np.random.Generator
) -> Patterns:
    """Return a function from places in order of confidence to patterns (n_rows, n_patterns).

    Parameters
    ----------
    values : RoutingValues
        Routing, rows as the user gave them.
    order : ndarray of shape (n_samples,)
        Rows in order of confidence.
    rank : ndarray of shape (n_samples,)
        Rank of the confidence in that order.
    rng : numpy Generator
        For ties.
    """
    if values.kind == "continuous":
        low, high = residual_rank(values.numbers[order], PlainOrBent(rank), rng)
        return lambda rows: _rank_patterns(low[rows], high[rows])
    level, kept = level_columns(values.codes[order], len(values.levels))
    return lambda rows: (level[rows, None] == np.arange(len(kept))) * 1.0


def _rank_patterns(low: FloatArray, high: FloatArray) -> FloatArray:
    """Average five functions of u over the intervals of ties."""
    width = np.maximum(high - low, 1e-12)

    def below(cut: float) -> FloatArray:
        return np.clip((cut - low) / width, 0, 1)

    return np.column_stack(
        [
            (low + high) / 2,
            (low * low + low * high + high * high - 1) / 2,
            1 - 2 * below(0),
            below(-_OUTER),
            1 - below(_OUTER),
        ]
    )


def explained(
    outcomes: BinnedOutcomes, patterns: Patterns, n_slices: int
) -> tuple[FloatArray, FloatArray]:
    """Return t and its covariance.

    Parameters
    ----------
    outcomes : BinnedOutcomes
        Rows in order of confidence.
    patterns : callable
        As `routing_patterns` returns it.
    n_slices : int
        Slices wanted; there are no more than bins.

    Returns
    -------
    vector : ndarray of shape (n_directions,)
        One entry per slice and pattern that varies in it.
    covariance : ndarray of shape (n_directions, n_directions)
        Zero between slices, unless groups tie them.
    """
    vectors, scores = [], []
    for bins in _slices(outcomes, n_slices):
        columns = _orthonormal(
            np.vstack([outcomes.detrended(patterns(outcomes.rows(b)), b) for b in bins]),
            outcomes.n_samples,
        )
        rows = slice(int(outcomes.edges[bins[0]]), int(outcomes.edges[bins[-1] + 1]))
        vectors.append(outcomes.events[rows] @ columns / outcomes.n_samples)
        scores.append((rows, columns))
    residual, leverage = residuals(outcomes)
    if outcomes.groups is None:
        covariance = _by_row(scores, residual / np.sqrt(np.maximum(1 - leverage, 1e-6)))
    else:
        covariance = _by_group(scores, residual, leverage, outcomes.groups)
    return np.concatenate(vectors), covariance / outcomes.n_samples**2


def residuals(outcomes: BinnedOutcomes) -> tuple[FloatArray, FloatArray]:
    """Return each outcome's residual from the line in its bin, and its leverage there."""
    bins = range(outcomes.n_bins)
    residual = [outcomes.detrended(outcomes.events[outcomes.rows(b), None], b)[:, 0] for b in bins]
    return np.concatenate(residual), np.concatenate([outcomes.leverage(b) for b in bins])


def _slices(outcomes: BinnedOutcomes, n_slices: int) -> list[IntArray]:
    """Cut the bins into neighbouring parts of about equally many rows."""
    middle = (outcomes.edges[:-1] + outcomes.edges[1:]) / 2
    part = np.floor(n_slices * middle / outcomes.n_samples).astype(np.intp)
    return [np.flatnonzero(part == k) for k in np.unique(part)]


def _orthonormal(columns: FloatArray, n_samples: int) -> FloatArray:
    """Turn columns of some rows into ones with mean square one over all rows."""
    values, vectors = np.linalg.eigh(columns.T @ columns / len(columns))
    used = values > _LEAST_VARIANCE
    return columns @ (vectors[:, used] * np.sqrt(n_samples / len(columns) / values[used]))


def _by_row(scores: list[tuple[slice, FloatArray]], residual: FloatArray) -> FloatArray:
    widths = np.cumsum([0, *(columns.shape[1] for _, columns in scores)])
    covariance = np.zeros((widths[-1], widths[-1]))
    for start, end, (rows, columns) in zip(widths[:-1], widths[1:], scores, strict=True):
        own = columns * residual[rows, None]
        covariance[start:end, start:end] = own.T @ own
    return covariance


def _by_group(
    scores: list[tuple[slice, FloatArray]],
    residual: FloatArray,
    leverage: FloatArray,
    groups: IntArray,
) -> FloatArray:
    slack = np.sqrt(np.maximum(1 - np.bincount(groups, weights=leverage), 1e-6))
    sums = [
        np.column_stack(
            [
                np.bincount(groups[rows], weights=column, minlength=len(slack))
                for column in (columns * residual[rows, None]).T
            ]
        )
        for rows, columns in scores
        if columns.shape[1]
    ]
    if not sums:
        return np.zeros((0, 0))
    own = np.hstack(sums) / slack[:, None]
    return own.T @ own
