"""Learn a score of (profile, confidence) that predicts the outcome beyond the confidence.

The target is r = w_b (y - line of y in the confidence rank, inside bin b of like confidence),
w_b = v_b^(-1/2), so that a learner has nothing to gain from the confidence alone.

linear
    For each kind of term (trend, curvature, turn, pair) a ridge regression of r on the terms,
    detrended in the same bins; the penalty of smallest leave-one-out error. The score adds up
    the kinds, each times its share of the variance explained in leave-one-out, or all alike where
    none explains any.
boosting
    scikit-learn's HistGradientBoostingRegressor on the columns and the confidence rank.
any estimator
    A regressor is fitted to r. A classifier is fitted to y itself; its score is the logit of the
    probability of the event.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.ensemble import HistGradientBoostingRegressor

from sk_arcal._numeric import clipped_logit
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._profile._profile_columns import ProfileColumns, Term

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
# From columns and confidence rank to the score of each row.
Score = Callable[[ProfileColumns], FloatArray]

LEARNERS = ("linear", "boosting")
_KINDS = ("trend", "curvature", "turn", "pair")
_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def check_learner(learner: Any) -> Any:
    """Return None, a known word or an estimator, or raise."""
    if learner is None or (isinstance(learner, str) and learner in LEARNERS):
        return learner
    if isinstance(learner, str):
        words = ", ".join(map(repr, LEARNERS))
        raise ValueError(f"`learner` must be None, {words} or an estimator; got {learner!r}.")
    if isinstance(learner, type):
        raise TypeError(
            f"`learner` must be an estimator, not its class; pass {learner.__name__}()."
        )
    wanted = "predict_proba" if is_classifier_like(learner) else "predict"
    if not all(hasattr(learner, method) for method in ("fit", wanted)):
        raise TypeError(
            f"`learner` must be None, 'linear', 'boosting' or an estimator with fit and {wanted}; "
            f"got {learner!r}."
        )
    return learner


def is_classifier_like(learner: Any) -> bool:
    """Whether scikit-learn calls it a classifier; things without tags are none."""
    return hasattr(learner, "__sklearn_tags__") and is_classifier(learner)


def learn_score(
    learner: Any, columns: ProfileColumns, outcomes: BinnedOutcomes, rng: np.random.Generator
) -> Score:
    """Fit a score on rows in order of confidence.

    Parameters
    ----------
    learner : "linear", "boosting" or estimator
        What to fit.
    columns : ProfileColumns
        Columns of the rows that are fitted.
    outcomes : BinnedOutcomes
        The same rows, in the same order.
    rng : numpy Generator
        Seeds an estimator whose random_state is None.

    Returns
    -------
    score : callable
        From ProfileColumns to one number a row.
    """
    if isinstance(learner, str) and learner == "linear":
        return _linear(columns, outcomes)
    if isinstance(learner, str):
        learner = HistGradientBoostingRegressor(
            max_iter=60, max_depth=3, min_samples_leaf=40, early_stopping=False
        )
    return _estimator(learner, columns, outcomes, rng)


def residuals(outcomes: BinnedOutcomes) -> FloatArray:
    """Return r: outcomes less their straight line in each bin, over their standard deviation."""
    bins, events = range(outcomes.n_bins), outcomes.events[:, None]
    return np.concatenate(
        [outcomes.weights[b] * outcomes.detrended(events[outcomes.rows(b)], b)[:, 0] for b in bins]
    )


def _linear(columns: ProfileColumns, outcomes: BinnedOutcomes) -> Score:
    weight = np.repeat(outcomes.weights, outcomes.sizes)
    target = residuals(outcomes)
    fits: list[tuple[list[Term], FloatArray, float]] = []
    for kind in _KINDS:
        terms = [term for term in columns.terms if term.kind == kind]
        if terms:
            values = columns.of_terms(terms)
            bins = range(outcomes.n_bins)
            inside = [outcomes.detrended(values[outcomes.rows(b)], b) for b in bins]
            table = weight[:, None] * np.vstack(inside)
            fits.append((terms, *ridge(table, target)))
    gains = np.array([max(gain, 0.0) for *_, gain in fits])
    shares = gains if gains.any() else np.ones(len(fits))

    def score(rows: ProfileColumns) -> FloatArray:
        parts = (rows.of_terms(terms) @ slopes for terms, slopes, _ in fits)
        return sum(share * part for share, part in zip(shares, parts, strict=True))

    return score


def ridge(table: FloatArray, target: FloatArray) -> tuple[FloatArray, float]:
    """Ridge regression without intercept, penalty by leave-one-out.

    Returns
    -------
    slopes : ndarray of shape (n_columns,)
        (A'A + n c I)^-1 A'r, c of smallest leave-one-out error among `_PENALTIES`.
    gain : float
        1 minus the leave-one-out error over the mean of r^2.
    """
    values, vectors = np.linalg.eigh(table.T @ table)
    values = np.maximum(values, 0)
    turned = table @ vectors
    product = turned.T @ target
    errors, slopes = [], []
    for penalty in _PENALTIES:
        inverse = 1 / (values + penalty * len(target))
        leverage = (turned * turned) @ inverse
        error = (target - turned @ (inverse * product)) / (1 - leverage)
        errors.append(float(np.mean(error**2)))
        slopes.append(vectors @ (inverse * product))
    best = int(np.argmin(errors))
    return slopes[best], 1 - errors[best] / max(float(np.mean(target**2)), 1e-300)


def design(columns: ProfileColumns) -> FloatArray:
    """Columns and confidence rank, as estimators see them."""
    return np.column_stack([columns.values, 2 * columns.rank - 1])


def _estimator(
    learner: Any, columns: ProfileColumns, outcomes: BinnedOutcomes, rng: np.random.Generator
) -> Score:
    fitted = clone(learner)
    if "random_state" in fitted.get_params() and fitted.get_params()["random_state"] is None:
        fitted.set_params(random_state=int(rng.integers(2**31 - 1)))
    if is_classifier_like(fitted):
        fitted.fit(design(columns), outcomes.events.astype(np.intp))
        return lambda rows: clipped_logit(fitted.predict_proba(design(rows))[:, -1], 1e-12)
    fitted.fit(design(columns), residuals(outcomes))
    return lambda rows: np.asarray(fitted.predict(design(rows)), dtype=np.float64).ravel()
