import copy
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_arcal.metrics import (
    expected_calibration_error,
    neg_brier_scorer,
    neg_calibration_error_scorer,
    neg_log_loss_scorer,
    top_label_calibration_error,
)

SCORERS = [neg_log_loss_scorer, neg_brier_scorer, neg_calibration_error_scorer]
all_scorers = pytest.mark.parametrize("scorer", SCORERS, ids=repr)


def _fitted(n_classes, names=None):
    X, y = make_classification(
        n_samples=300, n_informative=4, n_classes=n_classes, random_state=0, flip_y=0.2
    )
    y = y if names is None else np.array(names)[y]
    return LogisticRegression().fit(X, y), X, y


@pytest.mark.parametrize("n_classes", [2, 4])
def test_log_loss_equals_sklearn(n_classes, rng):
    model, X, y = _fitted(n_classes)
    weight = rng.random(len(y))
    expected = log_loss(y, model.predict_proba(X), sample_weight=weight)
    assert neg_log_loss_scorer(model, X, y, sample_weight=weight) == pytest.approx(-expected)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_brier_equals_sklearn(n_classes, rng):
    model, X, y = _fitted(n_classes)
    weight = rng.random(len(y))
    y_prob = model.predict_proba(X)
    y_prob = y_prob[:, 1] if n_classes == 2 else y_prob
    expected = brier_score_loss(y, y_prob, sample_weight=weight)
    assert neg_brier_scorer(model, X, y, sample_weight=weight) == pytest.approx(-expected)


def test_calibration_error_of_two_classes_is_that_of_the_second():
    model, X, y = _fitted(2, names=["no", "yes"])
    expected = expected_calibration_error(y == "yes", model.predict_proba(X)[:, 1])
    assert neg_calibration_error_scorer(model, X, y) == pytest.approx(-expected)


def test_calibration_error_of_more_classes_is_that_of_the_top_label():
    model, X, y = _fitted(4)
    expected = top_label_calibration_error(y, model.predict_proba(X))
    assert neg_calibration_error_scorer(model, X, y) == pytest.approx(-expected)


@all_scorers
def test_fold_that_lacks_a_class_is_scored_with_the_columns_of_the_model(scorer):
    model, X, y = _fitted(4)
    whole = [scorer(model, X[i : i + 1], y[i : i + 1]) for i in np.flatnonzero(y == 3)[:20]]
    part = scorer(model, X[y == 3][:20], y[y == 3][:20])
    if scorer is neg_calibration_error_scorer:
        assert part >= np.mean(whole)
    else:
        assert part == pytest.approx(np.mean(whole))


@all_scorers
def test_sorted_folds_do_not_break_cross_validation(scorer):
    _, X, y = _fitted(3)
    order = np.argsort(y, kind="stable")
    # Each contiguous fold lacks classes; the training part keeps them all.
    scores = cross_val_score(LogisticRegression(), X[order], y[order], cv=KFold(6), scoring=scorer)
    assert np.isfinite(scores).all()


@all_scorers
def test_label_the_model_has_not_seen_is_named(scorer):
    model, X, _ = _fitted(2, names=["cat", "dog"])
    with pytest.raises(ValueError, match=r"label 'eel' in row 0, .* classes \['cat', 'dog'\]"):
        scorer(model, X[:2], ["eel", "cat"])


@all_scorers
def test_model_without_probabilities_is_refused(scorer):
    _, X, y = _fitted(2)
    with pytest.raises(TypeError, match="needs a fitted classifier with `predict_proba`; Ridge"):
        scorer(Ridge().fit(X, y), X, y)


@all_scorers
def test_model_not_fitted_is_refused(scorer):
    _, X, y = _fitted(2)
    with pytest.raises(TypeError, match="needs a fitted classifier with `classes_`"):
        scorer(LogisticRegression(), X, y)


@all_scorers
def test_grid_search_with_the_scorer_can_be_cloned_and_refitted(scorer):
    _, X, y = _fitted(3, names=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": [1e-3, 1]}, scoring=scorer, cv=3)
    search = clone(search).fit(X, y)
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())


@all_scorers
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copy", "pickle"]
)
def test_copy_scores_the_same(scorer, duplicate):
    model, X, y = _fitted(3)
    assert duplicate(scorer)(model, X, y) == scorer(model, X, y)


@all_scorers
def test_weight_equals_repetition(scorer, rng):
    model, X, y = _fitted(3)
    weight = rng.integers(0, 3, len(y))
    weighted = scorer(model, X, y, sample_weight=weight)
    repeated = scorer(model, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert weighted == pytest.approx(repeated)


def test_log_loss_of_a_confident_error_is_finite():
    class Certain:
        classes_ = np.array([0, 1])

        def predict_proba(self, X):
            return np.tile([0.0, 1.0], (len(X), 1))

    score = neg_log_loss_scorer(Certain(), np.zeros((2, 1)), [0, 1])
    assert score == pytest.approx(np.log(np.finfo(float).eps) / 2)


def test_metadata_routing_brings_weights_to_the_scorer(rng):
    _, X, y = _fitted(2)
    weight = (rng.random(len(y)) < 0.3).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        scorer = neg_log_loss_scorer.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"C": [1.0]}, scoring=scorer, cv=KFold(2))
        search.fit(X, y, sample_weight=weight)
    expected = []
    for train, test in KFold(2).split(X):
        fitted = LogisticRegression().fit(X[train], y[train], sample_weight=weight[train])
        expected.append(neg_log_loss_scorer(fitted, X[test], y[test], weight[test]))
    assert search.best_score_ == pytest.approx(np.mean(expected))


def test_set_score_request_leaves_the_shared_scorer_alone():
    neg_brier_scorer.set_score_request(sample_weight=True)
    assert neg_brier_scorer.request is None
