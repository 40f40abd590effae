"""The textbook maps, against scikit-learn and the means of bins."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics._probing._baselines import BASELINES, baseline_predictions

RNG = np.random.default_rng(0)
CONFIDENCE = expit(2 * logit(RNG.beta(6, 2, 600)))
Y = (RNG.random(600) < expit(logit(CONFIDENCE) / 2 - 0.3)).astype(float)
FOLDS = [(np.arange(300), np.arange(300, 600)), (np.arange(300, 600), np.arange(300))]


def predict(name, y=Y, confidence=CONFIDENCE):
    return baseline_predictions(name, y, confidence, FOLDS)


def cross_fitted(fit_predict):
    out = np.empty(600)
    for fit, test in FOLDS:
        out[test] = fit_predict(CONFIDENCE[fit], Y[fit], CONFIDENCE[test])
    return out


def test_raw_is_the_confidence():
    np.testing.assert_array_equal(predict("raw"), CONFIDENCE)


def test_temperature_is_the_scaler():
    def scaler(c, y, query):
        return TemperatureScaler().fit(c[:, None], y).predict_proba(query[:, None])[:, 1]

    np.testing.assert_allclose(predict("temperature"), cross_fitted(scaler), rtol=1e-9)


def test_platt_is_that_of_scikit_learn():
    def platt(c, y, query):
        # A logistic regression with slope one hands the logits through.
        model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        model.coef_, model.intercept_ = np.ones((1, 1)), np.zeros(1)
        calibrator = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid", cv=2)
        return calibrator.fit(logit(c)[:, None], y).predict_proba(logit(query)[:, None])[:, 1]

    # Fitted on single folds there, with the same rows in either: the mean of two fits.
    expected = cross_fitted(platt)
    np.testing.assert_allclose(predict("Platt"), expected, atol=2e-2)


def test_platt_solves_its_own_equations():
    fit, test = FOLDS[0]
    z, y = logit(CONFIDENCE[fit]), Y[fit]
    slope, intercept = np.polyfit(logit(CONFIDENCE[test]), logit(predict("Platt")[test]), 1)
    n_events = y.sum()
    target = np.where(y == 1, (n_events + 1) / (n_events + 2), 1 / (300 - n_events + 2))
    residual = expit(slope * z + intercept) - target
    np.testing.assert_allclose([residual.mean(), (residual * z).mean()], 0, atol=1e-6)


def test_isotonic_is_that_of_scikit_learn():
    def isotonic(c, y, query):
        return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(c, y).predict(query)

    np.testing.assert_allclose(predict("isotonic"), cross_fitted(isotonic))


def test_histogram_predicts_the_event_rate_of_the_quantile_bin():
    fit, test = FOLDS[0]
    order = np.argsort(CONFIDENCE[fit])
    bins = np.array_split(order, 15)
    rates = np.array([Y[fit][rows].mean() for rows in bins])
    tops = np.array([CONFIDENCE[fit][rows].max() for rows in bins[:-1]])
    bottoms = np.array([CONFIDENCE[fit][rows].min() for rows in bins[1:]])
    expected = rates[np.searchsorted((tops + bottoms) / 2, CONFIDENCE[test])]
    np.testing.assert_allclose(predict("histogram")[test], expected)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    ("y", "confidence"),
    [
        (np.ones(600), CONFIDENCE),
        (np.zeros(600), CONFIDENCE),
        ((np.arange(600) % 300 >= 150).astype(float), np.arange(600) % 300 / 299),
        (Y, np.full(600, 0.7)),
        (Y, (np.arange(600) % 2).astype(float)),
    ],
    ids=["all", "none", "separated", "constant", "exactly-0-and-1"],
)
def test_confidence_of_every_kind(name, y, confidence):
    predictions = predict(name, y, confidence)
    assert ((predictions >= 0) & (predictions <= 1)).all()
