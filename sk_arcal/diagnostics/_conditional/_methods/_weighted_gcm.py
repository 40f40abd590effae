"""The weighted generalised covariance measure: products of two residuals, weighted by confidence.

With t the rank of the confidence, y^ and f^ regressions on `ConfidenceSpline`, f_j the directions
of the routing (u and its curvature; the levels) and w_k fixed functions of t,

    R_jk,i = w_k(t_i) (y_i - y^(t_i)) (f_j,i - f^_j(t_i)),
    T = max_jk sqrt(n) |mean R_jk| / sd R_jk.

w = 1 is the covariance measure of R. D. Shah and J. Peters ("The hardness of conditional
independence testing and the generalised covariance measure", Annals of Statistics 48, 2020);
w = sign(t - 1/2) sees a trend that turns with the confidence (C. Scheidegger, J. Hörrmann and
P. Bühlmann, "The weighted generalised covariance measure", JMLR 23, 2022, fixed weights). The
null law of T is that of the largest of normals with the correlations of R, which is the
multiplier bootstrap of the latter with normal multipliers, drawn directly. With groups R is
summed over each group first.

Measured at level 5 %, n = 2500 (A7: 5000), scenarios as in `benchmarks.scenarios`, with
``python -m benchmarks.conditional_test_level_and_power --tests weighted_gcm --n-jobs 2`` and
``--parts level --replicates 200`` (+/- 3 points), ``--parts power --replicates 100`` (+/- 10):

    true nulls rejected, %  N1 6.5 N2 2.5 N3 5.5 N4 2.0 N5 6.0 N6 2.5 N7 7.0 N8 4.5
                            N9 7.0 N10 3.0 N11 6.0 N12 74.5 N13 5.0 N14 5.0 N15 8.0
    effects found, %        A1 85 A2 88 A3 81 A4 13 A5 83 A6 51 A7 17 A8 30 A9 25
                            A10 23 A11 63

The level rests on both regressions being good everywhere: what they miss is multiplied and summed.
It is lost in N12, where the routing follows a calibration curve that bends more than the spline.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table, trend_words
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]

_TINY = 1e-12
# Where the weights change sign, in ranks of the confidence. Of none, one, two and three places, and
# of signs estimated on a third of the rows, one place kept the level and found most.
_TURNS = (0.5,)


def weighted_gcm(table: Table) -> list[Finding]:
    """Test each feature by the largest weighted covariance of residuals."""
    generators = table.rng.spawn(len(table.features))
    events = table.outcomes.events - table.spline.fit(table.outcomes.events)
    return [
        _test_one(table, feature, events, rng)
        for feature, rng in zip(table.features, generators, strict=True)
    ]


def _test_one(
    table: Table, feature: RoutingFeature, events: FloatArray, rng: np.random.Generator
) -> Finding:
    products = _products(table.outcomes, table.spline, feature, events)
    scores, correlation = standard_scores(products)
    observed = float(np.abs(scores).max())
    draws = _largest_normal(correlation, table.n_resamples, rng)
    turn, column = divmod(int(np.abs(scores).argmax()), products.shape[1] // (1 + len(_TURNS)))
    return Finding(
        statistic=observed,
        pvalue=(1 + int((draws >= observed).sum())) / (1 + len(draws)),
        leading=_words(table.outcomes, feature, column, turn),
        draws=draws,
    )


def _products(
    outcomes: BinnedOutcomes,
    spline: ConfidenceSpline,
    feature: RoutingFeature,
    events: FloatArray,
) -> FloatArray:
    """Return R, shape (rows or groups, weights * directions)."""
    columns = feature.columns(slice(None))[:, feature.directions]
    plain = events[:, None] * (columns - spline.fit(columns))
    signs = [np.sign(outcomes.rank - turn) for turn in _TURNS]
    products = np.hstack([plain, *(sign[:, None] * plain for sign in signs)])
    if outcomes.groups is None:
        return products
    sums = np.zeros((int(outcomes.groups.max()) + 1, products.shape[1]))
    np.add.at(sums, outcomes.groups, products)
    return sums


def standard_scores(products: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sqrt(n) mean / sd of each column of R, zero where nothing varies, and correlations."""
    centred = products - products.mean(axis=0)
    covariance = centred.T @ centred / len(products)
    variance = np.diag(covariance)
    inverse = np.where(variance > _TINY, 1 / np.sqrt(np.maximum(variance, _TINY)), 0.0)
    scores = np.sqrt(len(products)) * products.mean(axis=0) * inverse
    return scores, covariance * np.outer(inverse, inverse)


def _largest_normal(correlation: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Draw the largest absolute value of normals with the given correlations."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.abs(rng.standard_normal((n_draws, len(root))) @ root.T).max(axis=1)


def _words(outcomes: BinnedOutcomes, feature: RoutingFeature, column: int, turn: int) -> str:
    if turn == 0:
        return f"weighted_gcm: {trend_words(feature, column)}"
    place = int(np.searchsorted(outcomes.rank, _TURNS[turn - 1]))
    where = outcomes.confidence[min(place, outcomes.n_samples - 1)]
    return f"weighted_gcm: {feature.contrast_name(column)} turning near confidence {where:.2f}"
