"""How much the routing could at most add, whatever its shape within the directions tested.

Columns X: in bin b, w_b f~ for the directions f of the feature (trend and curvature; all levels)
and w_b a_b f~ for its trends, a_b counting the bins, so that a trend may turn; f~ is detrended in
the bin, w = v^-1/2, and v the variance of one outcome. With S = sum X y,

    Q = S' C^-1 S,   C = sum v X X'   (with groups: sum over groups of X_g' X_g, X_g the sums of
                                       X times the outcome detrended in its bin),

is noncentral chi-square with rank(C) degrees of freedom and noncentrality lambda = mu' C^-1 mu,
mu = sum X h, where h = E[y|c,z] - E[y|c] is the gap of each row (normal approximation). With G
groups (G - 1) Q / (G - Q) is Hotelling's T^2 and has a noncentral F law instead. Lambda is the
lambda at which a Q as small as the one observed has probability alpha; Q counts as no smaller than
its null median, because a bound smaller than that of half of all tables without a signal would be
luck (G. Cowan, K. Cranmer, E. Gross and O. Vitells, "Power-constrained limits", arXiv:1105.3166).

In probability units: with A = sum v X X' and beta = A^-1 mu, the part of h that follows the
directions, its projection in the inner product sum h h' / v, is h^ = v X' beta. Its sum of squares
is mu' A^-1 D A^-1 mu, D = sum v^2 X X', and the largest value of that for lambda <= Lambda is
kappa Lambda, kappa the largest eigenvalue of C^(1/2) A^-1 D A^-1 C^(1/2). Hence

    sqrt(mean h^^2) <= sqrt(kappa Lambda / n).

Without groups kappa is at most the largest v, and sqrt(Lambda / n) is the bound in standard
deviations of one outcome.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_RANK_TOLERANCE = 1e-9
_VARIANCE_FLOOR = 0.01
_RATE_FLOOR = 0.005


@dataclass(frozen=True)
class ShapeFreeBound:
    """Upper bounds; NaN where there are too few groups to have any.

    Attributes
    ----------
    noncentrality_bound : float
        Lambda.
    rms_gap_bound : float
        Root mean square of the gap along the directions, in probability units.
    """

    noncentrality_bound: float
    rms_gap_bound: float


def shape_free_bound(
    feature: RoutingFeature, outcomes: BinnedOutcomes, spline: ConfidenceSpline, alpha: float
) -> ShapeFreeBound:
    """Bound the gap along the directions of a feature, with confidence 1 - alpha."""
    directions = Directions(feature, outcomes, smooth_variance(outcomes, spline))
    gram, gram_squared = directions.grams()
    groups = outcomes.groups
    known = gram if groups is None else directions.group_covariance(groups)
    root, inverse_root = _roots(known)
    rank = inverse_root.shape[1]
    if outcomes.n_groups is not None and outcomes.n_groups <= rank + 1:
        return ShapeFreeBound(np.nan, np.nan)
    statistic = float(np.sum((directions.sums(outcomes.events) @ inverse_root) ** 2))
    largest = largest_noncentrality(statistic, rank, alpha, outcomes.n_groups)
    solved = np.linalg.pinv(gram, rcond=_RANK_TOLERANCE, hermitian=True) @ root
    kappa = float(np.linalg.eigvalsh(solved.T @ gram_squared @ solved)[-1]) if rank else 0.0
    return ShapeFreeBound(largest, float(np.sqrt(kappa * largest / outcomes.n_samples)))


def smooth_variance(outcomes: BinnedOutcomes, spline: ConfidenceSpline) -> FloatArray:
    """Mean variance of an outcome in each bin, from the regression of outcomes on confidence.

    The rate of the bin itself would not do: a bin with few errors by luck would count more, and
    has less of a gap to show, by the same luck.
    """
    rate = np.clip(spline.fit(outcomes.events), _RATE_FLOOR, 1 - _RATE_FLOOR)
    return np.add.reduceat(rate * (1 - rate), outcomes.edges[:-1]) / outcomes.sizes


@dataclass(frozen=True)
class Directions:
    """The columns X and their moments; `variance` is v of each bin."""

    feature: RoutingFeature
    outcomes: BinnedOutcomes
    variance: FloatArray

    def columns(self, b: int) -> FloatArray:
        """Return X of the rows of bin `b`."""
        outcomes, feature = self.outcomes, self.feature
        columns = outcomes.detrended(feature.columns(outcomes.rows(b)), b)
        turn = (b - (outcomes.n_bins - 1) / 2) / outcomes.n_bins
        parts = [columns[:, feature.directions]]
        if outcomes.n_bins > 1:
            parts.append(turn * columns[:, feature.trend])
        return max(self.variance[b], _VARIANCE_FLOOR) ** -0.5 * np.hstack(parts)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return sum X y for any values y of the rows, in order of confidence."""
        bins = range(self.outcomes.n_bins)
        return np.sum([values[self.outcomes.rows(b)] @ self.columns(b) for b in bins], axis=0)

    def grams(self) -> tuple[FloatArray, FloatArray]:
        """Return A = sum v X X' and D = sum v^2 X X'."""
        columns = (self.columns(b) for b in range(self.outcomes.n_bins))
        per_bin = np.stack([inside.T @ inside for inside in columns])
        return (
            np.tensordot(self.variance, per_bin, axes=1),
            np.tensordot(self.variance**2, per_bin, axes=1),
        )

    def group_covariance(self, groups: IntArray) -> FloatArray:
        """Return the sum over groups of X_g' X_g."""
        outcomes = self.outcomes
        sums = np.zeros((int(groups.max()) + 1, self.columns(0).shape[1]))
        for b in range(outcomes.n_bins):
            rows = outcomes.rows(b)
            residual = outcomes.detrended(outcomes.events[rows, None], b)
            np.add.at(sums, groups[rows], self.columns(b) * residual)
        return sums.T @ sums


def largest_noncentrality(
    statistic: float, degrees: int, alpha: float, n_groups: int | None = None
) -> float:
    """Return the noncentrality at which a smaller statistic has probability `alpha`."""
    if degrees == 0:
        return 0.0
    law, median, scale = _law(degrees, n_groups)
    if n_groups is not None:
        statistic = (n_groups - 1) * statistic / max(n_groups - statistic, 1e-9)
    value = max(statistic / scale, median)
    upper = 10.0 + 4 * scale * value
    while law(value, upper) > alpha:
        upper *= 2
    return float(brentq(lambda noncentrality: law(value, noncentrality) - alpha, 0, upper))


def _law(
    degrees: int, n_groups: int | None
) -> tuple[Callable[[float, float], float], float, float]:
    """Distribution function of (value, noncentrality), its null median, and statistic per value."""
    if n_groups is None:
        return (
            lambda value, lam: float(special.chndtr(value, degrees, lam)),
            float(special.chdtri(degrees, 0.5)),
            1.0,
        )
    rest = n_groups - degrees
    return (
        lambda value, lam: float(special.ncfdtr(degrees, rest, lam, value)),
        float(special.fdtri(degrees, rest, 0.5)),
        degrees * (n_groups - 1) / rest,
    )


def _roots(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return R and P with R R' the covariance and P P' its pseudo-inverse."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _RANK_TOLERANCE * max(values[-1], 1e-12)
    scale = np.sqrt(values[kept])
    return vectors[:, kept] * scale, vectors[:, kept] / scale
