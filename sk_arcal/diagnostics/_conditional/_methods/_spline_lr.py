"""Likelihood ratio of two nested logistic regressions, without and with the routing.

    logit P(y = 1) = s(t)                                    without
    logit P(y = 1) = s(t) + sum_jk beta_jk f_j(u) q_k(t)      with

s is a cubic spline of the confidence rank t (the basis of `ConfidenceSpline`), f_j are u and its
curvature, or the levels, and q_k = 1, 2t - 1. Twice the difference of the log likelihoods is
compared with the chi-square law whose degrees of freedom are the columns the routing adds (S. S.
Wilks, "The large-sample distribution of the likelihood ratio for testing composite hypotheses",
Annals of Mathematical Statistics 9, 1938). What s misses of the calibration curve, the routing
columns are free to pick up: the level rests on s being good everywhere. Rows have to be
independent.

Measured at level 5 %, n = 2500 (A7: 5000), scenarios as in `benchmarks.scenarios`, with
``python -m benchmarks.conditional_test_level_and_power --tests spline_lr --n-jobs 2`` and ``--parts
level --replicates 200`` (+/- 3 points), ``--parts power --replicates 100`` (+/- 10 points):

    true nulls rejected, %  N1 4.0 N2 5.0 N3 6.0 N4 4.0 N5 7.0 N6 3.0 N7 8.0 N8 5.0
                            N9 5.5 N10 6.5 N11 11.0 N12 81.5 N13 4.0 N14 8.0 N15 7.0
    effects found, %        A1 94 A2 93 A3 86 A4 9 A5 56 A6 49 A7 35 A8 42 A9 37
                            A10 47 A11 68

The level is lost in N12, where the routing follows a calibration curve that bends more than the
spline, and in N11, whose rows come in groups and are taken for independent here.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from scipy.stats import chi2

from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]

_MAX_STEPS = 50
_STEP_SIZES = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 64)
_TOLERANCE = 1e-9
_RANK_TOLERANCE = 1e-9


class _SplineBasis(ConfidenceSpline):
    """The basis of the regression on confidence, as columns."""

    def columns(self) -> FloatArray:
        return self._basis.toarray()


def spline_lr(table: Table) -> list[Finding]:
    """Test each feature by the likelihood ratio of nested logistic regressions."""
    basis = orthonormal(_SplineBasis(table.outcomes.rank).columns())
    without = fit_logistic(basis, table.outcomes.events)
    return [_test_one(table, feature, basis, without) for feature in table.features]


def _test_one(
    table: Table,
    feature: RoutingFeature,
    basis: FloatArray,
    without: tuple[float, FloatArray],
) -> Finding:
    events = table.outcomes.events
    directions = feature.columns(slice(None))[:, feature.directions]
    turning = (2 * table.outcomes.rank - 1)[:, None] * directions
    added = orthonormal(np.hstack([directions, turning]), apart_from=basis)
    ratio = 2 * (fit_logistic(np.hstack([basis, added]), events)[0] - without[0])
    scores = _scores(np.hstack([directions, turning]), basis, events - without[1])
    turns, column = divmod(int(scores.argmax()), directions.shape[1])
    name = feature.contrast_name(column)
    where = "turning along the confidence" if turns else "over all confidences"
    return Finding(
        statistic=ratio,
        pvalue=float(chi2.sf(ratio, max(added.shape[1], 1))),
        leading=f"spline_lr: {name} {where}",
    )


def _scores(columns: FloatArray, basis: FloatArray, residual: FloatArray) -> FloatArray:
    """Squared correlation of each column, as far as it is new, with what is unexplained."""
    new = columns - basis @ (basis.T @ columns) / len(basis)
    explained: FloatArray = (new.T @ residual) ** 2
    spread = np.maximum(residual**2 @ new**2, _RANK_TOLERANCE)
    return explained / spread


def orthonormal(columns: FloatArray, *, apart_from: FloatArray | None = None) -> FloatArray:
    """Return sqrt(n) times an orthonormal basis of what `columns` span beyond `apart_from`."""
    n = len(columns)
    scale = np.sqrt((columns * columns).mean(axis=0))
    columns = columns / np.where(scale > 0, scale, 1)
    if apart_from is not None:
        # Twice, because one pass leaves rounding of the size of what it removes.
        for _ in range(2):
            columns = columns - apart_from @ (apart_from.T @ columns) / n
    values, vectors = np.linalg.eigh(columns.T @ columns / n)
    kept = values > _RANK_TOLERANCE
    return columns @ (vectors[:, kept] / np.sqrt(values[kept]))


def fit_logistic(design: FloatArray, events: FloatArray) -> tuple[float, FloatArray]:
    """Return the largest log likelihood of a logistic regression and its probabilities.

    Newton's steps; one that would lower the likelihood is halved. Where outcomes can be told
    apart perfectly the coefficients run away and the likelihood converges all the same.
    """
    sign = 2 * events - 1
    linear = np.zeros(len(events))
    best = float(log_expit(sign * linear).sum())
    for _ in range(_MAX_STEPS):
        step = design @ _newton_step(design, events - expit(linear), expit(linear))
        higher = (_height(linear + size * step, sign) for size in _STEP_SIZES)
        better = next((trial for trial in higher if trial[1] > best), None)
        if better is None:
            break
        gained, (linear, best) = better[1] - best, better
        if gained < _TOLERANCE:
            break
    return best, expit(linear)


def _height(linear: FloatArray, sign: FloatArray) -> tuple[FloatArray, float]:
    return linear, float(log_expit(sign * linear).sum())


def _newton_step(design: FloatArray, residual: FloatArray, probability: FloatArray) -> FloatArray:
    information = design.T @ ((probability * (1 - probability))[:, None] * design)
    # Keeps the step finite where all fitted probabilities are 0 or 1.
    information += 1e-9 * len(design) * np.eye(len(information))
    return np.asarray(np.linalg.solve(information, design.T @ residual), dtype=np.float64)
