"""Choosing a calibrator, its bandwidth, its columns and its lift by scikit-learn's searches."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_arcal.calibration import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.metrics import (
    expected_calibration_error,
    neg_brier_scorer,
    neg_log_loss_scorer,
)

NAMES = ["logit__1", "routing__depth", "routing__noise"]
USEFUL, NOISE = ["routing__depth"], ["routing__noise"]


def event_data(n=400, effect=1.8, seed=0):
    """Logits that deserve trust where depth is high, and a column of noise."""
    rng = np.random.default_rng(seed)
    logit, depth, noise = rng.normal(0, 2, n), rng.random(n), rng.normal(size=n)
    trust = 1 + effect * (depth - 0.5)
    return np.column_stack([logit, depth, noise]), (rng.random(n) < expit(logit * trust)).astype(
        int
    )


def class_data(n=300, seed=0):
    rng = np.random.default_rng(seed)
    logits, depth = rng.normal(0, 2, (n, 4)), rng.random(n)
    y = (logits * (0.2 + depth[:, None]) + rng.gumbel(size=(n, 4))).argmax(axis=1)
    names = [*(f"logit__{k}" for k in range(4)), "routing__depth"]
    return pd.DataFrame(np.column_stack([logits, depth]), columns=names), y


def pipeline(positions=False, **settings):
    """Scale the routing, then calibrate."""
    confidence, routing = ([0], [1, 2]) if positions else (NAMES[:1], NAMES[1:])
    scale = ColumnTransformer(
        [("confidence", "passthrough", confidence), ("routing", StandardScaler(), routing)],
        verbose_feature_names_out=False,
    )
    settings = {"bandwidth": "scott", "shrinkage": 1.0, **settings}
    steps = [("scale", scale), ("calibrator", NWConditionalCalibrator(**settings))]
    return Pipeline(steps)


# --- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars", "numpy"])
def test_grid_over_bandwidth_and_columns_finds_the_useful_one(kind):
    X, y = event_data()
    weight = np.random.default_rng(1).integers(1, 4, len(y))
    model = pipeline(positions=kind == "numpy")
    choices = [[], [1], [2]] if kind == "numpy" else [[], USEFUL, NOISE]
    if kind != "numpy":
        X = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[kind](
            dict(zip(NAMES, X.T, strict=True))
        )
        model.set_output(transform=kind)
    grid = {
        "calibrator__bandwidth_scale": [0.5, 1.0, 2.0],
        "calibrator__routing_columns": choices,
    }
    search = GridSearchCV(model, grid, scoring=neg_log_loss_scorer, cv=3, n_jobs=2)
    search.fit(X, y, calibrator__sample_weight=weight)
    assert search.best_params_["calibrator__routing_columns"] == choices[1]
    assert len(search.cv_results_["params"]) == 9
    assert search.predict_proba(X).shape == (400, 2)


def test_frame_and_array_give_the_same_scores():
    X, y = event_data()
    frame = pd.DataFrame(X, columns=NAMES)
    scores = []
    for table, model, choices in (
        (X, pipeline(positions=True), [[], [1]]),
        (frame, pipeline().set_output(transform="pandas"), [[], USEFUL]),
    ):
        grid = {"calibrator__routing_columns": choices}
        search = GridSearchCV(model, grid, scoring=neg_log_loss_scorer, cv=3).fit(table, y)
        scores.append(search.cv_results_["mean_test_score"])
    assert_allclose(*scores, rtol=1e-12)


def by_hand(model, X, y, weight, *, weighted_scores):
    """Mean over three folds of the negative weighted log loss, without any search."""
    scores = []
    for train, test in KFold(3).split(X):
        fitted = clone(model).fit(X[train], y[train], calibrator__sample_weight=weight[train])
        probability = fitted.predict_proba(X[test])
        scoring_weight = weight[test] if weighted_scores else None
        scores.append(-log_loss(y[test], probability, sample_weight=scoring_weight))
    return np.mean(scores)


def test_weights_as_a_fit_parameter_reach_the_calibrator():
    X, y = event_data()
    weight = np.random.default_rng(1).random(len(y))
    model = pipeline(positions=True)
    search = GridSearchCV(model, {}, scoring=neg_log_loss_scorer, cv=KFold(3))
    search.fit(X, y, calibrator__sample_weight=weight)
    expected = by_hand(model, X, y, weight, weighted_scores=False)
    assert search.best_score_ == pytest.approx(expected, rel=1e-12)


def test_weights_by_metadata_routing_reach_calibrator_and_scorer():
    X, y = event_data()
    weight = np.random.default_rng(1).random(len(y))
    plain = pipeline(positions=True)
    expected = by_hand(plain, X, y, weight, weighted_scores=True)
    with config_context(enable_metadata_routing=True):
        model = pipeline(positions=True)
        model["calibrator"].set_fit_request(sample_weight=True)
        model["scale"].transformers[1][1].set_fit_request(sample_weight=False)
        scorer = neg_log_loss_scorer.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {}, scoring=scorer, cv=KFold(3))
        search.fit(X, y, sample_weight=weight)
    assert search.best_score_ == pytest.approx(expected, rel=1e-12)


# --- random searches -----------------------------------------------------------------------------


def test_search_over_the_calibrator_itself():
    X, y = event_data(800)
    model = pipeline(positions=True)
    kernel = NWConditionalCalibrator(bandwidth="scott", shrinkage=1.0)
    choices = {"calibrator": [TemperatureScaler(), kernel.set_params(routing_columns=[1])]}
    search = RandomizedSearchCV(
        model, choices, n_iter=2, scoring=neg_brier_scorer, cv=3, random_state=0
    ).fit(X, y)
    assert isinstance(search.best_estimator_["calibrator"], NWConditionalCalibrator)
    assert list(search.best_estimator_["calibrator"].column_roles_.routing) == [1]


def test_search_over_lift_and_columns():
    X, y = class_data()
    model = Pipeline([("calibrator", NWConditionalCalibrator(bandwidth="scott", shrinkage=1.0))])
    choices = {
        "calibrator__lift": ["temperature", "proportional", "uniform"],
        "calibrator__routing_columns": [[], ["routing__depth"]],
        "calibrator__bandwidth_scale": [0.5, 1.0, 2.0],
    }
    search = RandomizedSearchCV(
        model, choices, n_iter=12, scoring=neg_log_loss_scorer, cv=3, random_state=0
    ).fit(X, y)
    tried = {setting["calibrator__lift"] for setting in search.cv_results_["params"]}
    assert tried == {"temperature", "proportional", "uniform"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["calibrator__lift"] == "temperature"


def test_a_fold_may_lack_a_class():
    X, y = class_data(120)
    y[y == 3] = np.where(np.arange((y == 3).sum()) < 2, 3, 0)
    model = NWConditionalCalibrator(bandwidth="scott", classes=range(4))
    grid = {"routing_columns": [[], None]}
    search = GridSearchCV(model, grid, scoring=neg_log_loss_scorer, cv=KFold(4)).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- the end of the recipe -----------------------------------------------------------------------


def searched(X, y):
    grid = {
        "calibrator__bandwidth_scale": [0.5, 1.0, 2.0],
        "calibrator__routing_columns": [[], [1], [2]],
    }
    return GridSearchCV(pipeline(positions=True), grid, scoring=neg_log_loss_scorer, cv=3).fit(X, y)


def row_losses(model, X, y):
    probability = model.predict_proba(X)
    return -np.log(probability[np.arange(len(y)), y])


def test_held_out_comparison_shows_a_planted_signal():
    X, y = event_data(1600)
    fit, held_out = slice(0, 800), slice(800, None)
    chosen, plain = searched(X[fit], y[fit]), TemperatureScaler().fit(X[fit], y[fit])
    gain = row_losses(plain, X[held_out], y[held_out]) - row_losses(
        chosen, X[held_out], y[held_out]
    )
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_held_out_comparison_shows_nothing_where_nothing_is():
    gains = []
    for seed in range(4):
        X, y = event_data(1600, effect=0.0, seed=seed)
        fit, held_out = slice(0, 800), slice(800, None)
        chosen, plain = searched(X[fit], y[fit]), TemperatureScaler().fit(X[fit], y[fit])
        losses = [row_losses(model, X[held_out], y[held_out]) for model in (plain, chosen)]
        gains.append(losses[0] - losses[1])
    gain = np.concatenate(gains)
    assert gain.mean() < 2 * gain.std() / np.sqrt(len(gain))


def test_bandwidth_chosen_on_the_test_set_beats_the_truth_there_and_nowhere_else():
    """The oracle bandwidth, in a world where no calibrator can beat the confidence itself."""
    errors = []
    for seed in range(8):
        X, y = event_data(1500, effect=0.0, seed=seed)
        fit, test, fresh = slice(0, 400), slice(400, 800), slice(800, None)
        truth = expit(X[:, 0])
        candidates = [
            NWConditionalCalibrator(
                anchor="none", bandwidth="scott", bandwidth_scale=scale, shrinkage=0.0, min_mass=0.0
            )
            .fit(X[fit], y[fit])
            .predict_proba(X)[:, 1]
            for scale in np.geomspace(0.1, 5, 20)
        ]
        oracle = min(candidates, key=lambda p: expected_calibration_error(y[test], p[test]))
        errors.append(
            [
                expected_calibration_error(y[rows], p[rows])
                for rows in (test, fresh)
                for p in (oracle, truth)
            ]
        )
    oracle_test, truth_test, oracle_fresh, truth_fresh = np.mean(errors, axis=0)
    assert oracle_test < truth_test
    assert oracle_fresh > truth_fresh
