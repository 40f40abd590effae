"""The published probe, against the same sums in two loops and in log space."""

import numpy as np
import pytest

from sk_arcal.diagnostics._probing._published_kernel import published_predictions

RNG = np.random.default_rng(0)
N = 80
CONFIDENCE, FEATURE = RNG.beta(3, 2, N), RNG.normal(size=N)
Y = (RNG.random(N) < CONFIDENCE).astype(float)
FOLDS = [(np.arange(0, N, 2), np.arange(1, N, 2)), (np.arange(1, N, 2), np.arange(0, N, 2))]


def in_loops(axes, fit, test):
    """Nadaraya-Watson with Scott's rule on standardised axes, weights in log space."""
    n, d = len(fit), axes.shape[1]
    z = (axes - axes[fit].mean(axis=0)) / axes[fit].std(axis=0)
    h = n ** (-1 / (d + 4))
    out = np.empty(len(test))
    for k, i in enumerate(test):
        log_weight = np.array([-0.5 * sum(((z[i] - z[j]) / h) ** 2) for j in fit])
        weight = np.exp(log_weight - log_weight.max())
        out[k] = weight @ Y[fit] / weight.sum()
    return out


@pytest.mark.parametrize("columns", [[CONFIDENCE], [CONFIDENCE, FEATURE]], ids=["alone", "both"])
def test_estimate_is_kernel_regression_under_scotts_rule(columns):
    feature = columns[1] if len(columns) == 2 else None
    predictions = published_predictions(Y, CONFIDENCE, feature, FOLDS)
    for fit, test in FOLDS:
        expected = in_loops(np.column_stack(columns), fit, test)
        np.testing.assert_allclose(predictions[test], expected, rtol=1e-9)


def test_row_without_neighbours_falls_back_to_the_confidence_then_to_the_rate():
    confidence, feature = CONFIDENCE.copy(), FEATURE.copy()
    confidence[1:40:2] = np.linspace(0.2, 0.8, 20)
    fit, test = FOLDS[0]
    feature[test[3]] = 1e6
    alone = published_predictions(Y, confidence, None, FOLDS[:1])
    both = published_predictions(Y, confidence, feature, FOLDS[:1])
    assert both[test[3]] == alone[test[3]]
    assert both[test[4]] != alone[test[4]]
    narrow = np.full(N, 0.5) + 1e-9 * RNG.normal(size=N)
    narrow[test[5]] = 1.0
    assert published_predictions(Y, narrow, None, FOLDS[:1])[test[5]] == Y[fit].mean()


def test_constant_feature_is_the_confidence_alone():
    alone = published_predictions(Y, CONFIDENCE, None, FOLDS)
    for nominal in (False, True):
        constant = published_predictions(Y, CONFIDENCE, np.ones(N), FOLDS, nominal=nominal)
        np.testing.assert_array_equal(constant, alone)


def test_levels_without_order_are_neighbours_of_their_own():
    level = (np.arange(N) // 2 % 3).astype(float)
    fit, test = FOLDS[0]
    predictions = published_predictions(Y, CONFIDENCE, level, FOLDS[:1], nominal=True)
    h = CONFIDENCE[fit].std() * len(fit) ** (-1 / 5)
    for i in test:
        same = fit[level[fit] == level[i]]
        weight = np.exp(-0.5 * ((CONFIDENCE[i] - CONFIDENCE[same]) / h) ** 2)
        np.testing.assert_allclose(predictions[i], weight @ Y[same] / weight.sum(), rtol=1e-9)
