"""Probe scores are those of scikit-learn's cross-validated prediction, layer by layer."""

import joblib
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_arcal.diagnostics._layerwise import layerwise_calibration
from sk_arcal.diagnostics._probe_layers import probe_layers


def draw(n_rows=150, seed=0):
    """Labels, and states of three layers that know nothing, something, much."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % 3
    states = rng.normal(size=(n_rows, 3, 4))
    states[:, :, 0] += np.array([0, 1, 4]) * (y[:, None] - 1)
    return y, states


Y, STATES = draw()


def test_scores_are_cross_validated_predictions():
    cv = StratifiedKFold(4, shuffle=True, random_state=1)
    scores = probe_layers(STATES, Y, cv=cv)
    assert scores.dtype == np.float32
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    for layer in range(3):
        expected = cross_val_predict(probe, STATES[:, layer], Y, cv=cv, method="predict_proba")
        np.testing.assert_allclose(np.exp(scores[:, layer]), expected, rtol=1e-5)


def test_layers_know_what_was_planted():
    scores = probe_layers(STATES, Y, random_state=0)
    accuracy = layerwise_calibration(Y, scores, n_resamples=2).table["accuracy"]
    assert accuracy[0] < 0.45
    assert accuracy[0] < accuracy[1] < accuracy[2]
    assert accuracy[2] > 0.8


def test_rows_are_scored_by_probes_that_have_not_seen_them():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 1, 100))
    y = np.arange(60) % 2
    scores = probe_layers(noise, y, random_state=0)
    assert (scores[:, 0].argmax(axis=1) == y).mean() < 0.8


def test_forms_of_the_same_states_agree():
    class Reading:
        hidden = STATES

    expected = probe_layers(STATES, Y, random_state=0)
    layers = [STATES[:, layer] for layer in range(3)]
    for same in (layers, dict(enumerate(layers)), Reading()):
        np.testing.assert_array_equal(probe_layers(same, Y, random_state=0), expected)
    words = np.array(["a", "b", "c"])[Y]
    np.testing.assert_array_equal(probe_layers(STATES, words, random_state=0), expected)
    ragged = probe_layers([layers[0], layers[1][:, :2]], Y, random_state=0)
    np.testing.assert_array_equal(ragged[:, 0], expected[:, 0])


def test_result_does_not_depend_on_jobs():
    expected = probe_layers(STATES, Y, random_state=0)
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(probe_layers(STATES, Y, random_state=0, n_jobs=2), expected)
    assert not np.array_equal(probe_layers(STATES, Y, random_state=1), expected)


def test_estimator_is_cloned():
    estimator = LinearDiscriminantAnalysis()
    scores = probe_layers(STATES, Y, estimator=estimator, cv=KFold(3))
    assert not hasattr(estimator, "classes_")
    expected = cross_val_predict(
        estimator, STATES[:, 2], Y, cv=KFold(3), method="predict_log_proba"
    )
    np.testing.assert_allclose(scores[:, 2], np.maximum(expected, -36.043653), rtol=1e-4)


def test_certain_probe_has_finite_scores():
    class Certain(LinearDiscriminantAnalysis):
        def predict_proba(self, X):
            return np.eye(3)[super().predict(X)]

    scores = probe_layers(STATES, Y, estimator=Certain())
    assert scores.min() == pytest.approx(-52 * np.log(2))


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_groups_are_never_split(cv):
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            seen.append(set(X[:, 1]))
            return super().fit(X, y)

        def predict_proba(self, X):
            assert not seen[-1] & set(X[:, 1])
            return super().predict_proba(X)

    groups = np.repeat(np.arange(50), 3)
    states = np.stack([STATES[:, 2, 0], groups], axis=1)[:, None]
    probe_layers(states, Y, cv=cv, groups=groups, estimator=Spy())
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.zeros(150)}, ValueError, "class 0.0 alone"),
        ({"y": Y[:20]}, ValueError, "has 150 rows and `y` 20"),
        ({"y": np.r_[3, 3, Y[2:]]}, ValueError, "a class of `y` has 2 rows"),
        ({"y": np.sort(Y), "cv": KFold(3)}, ValueError, "without the class 0"),
        ({"cv": [(np.arange(100), np.arange(100, 140))]}, ValueError, "row 0 is tested 0 times"),
        ({"cv": 1}, ValueError, "`cv` must be at least 2"),
        ({"hidden": STATES[:, 0]}, ValueError, "n_samples, n_layers, n_features"),
        ({"hidden": []}, ValueError, "no layer"),
        ({"hidden": None}, TypeError, "`hidden` must be an array, or a mapping"),
        ({"hidden": [STATES[:, 0, 0]]}, ValueError, "Layer 0 of `hidden` must have shape"),
        ({"hidden": STATES.astype(str)}, TypeError, "must hold numbers"),
        ({"hidden": np.full((150, 1, 2), np.nan)}, ValueError, r"`hidden\[0\]` must be finite"),
        ({"estimator": RidgeClassifier()}, TypeError, "`estimator` must have `predict_proba`"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    given = {"hidden": STATES, "y": Y} | change
    with pytest.raises(error, match=message):
        probe_layers(**given)
