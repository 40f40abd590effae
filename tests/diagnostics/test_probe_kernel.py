"""The two kernels of the probe, against the same sums written out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._probing._probe_kernel import (
    base_predictions,
    feature_axis,
    feature_predictions,
    gains_over_base,
    prepare_fold,
)

SHRINKAGES = (0, 4, 16, 64, 256, 1024)


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    confidence, feature = rng.beta(3, 2, n), rng.random(n)
    y = rng.random(n) < np.clip(confidence + 0.5 * (feature - 0.5), 0, 1)
    return y.astype(float), confidence, feature, np.arange(0, n, 2), np.arange(1, n, 2)


def log_loss(y, q):
    return -np.log(np.where(y == 1, q, 1 - q))


def written_out(y, base, axes, bandwidths, fit):
    """Return the corrected base, with the setting of smallest leave-one-out loss."""
    margin = 1 / (len(fit) + 2)
    best, chosen = np.inf, None
    for h in bandwidths:
        distance = ((axes[:, None] - axes[None, fit]) / h) ** 2
        kernel = np.exp(-distance.sum(axis=2) / 2)
        kernel[fit, np.arange(len(fit))] = 0
        for shrinkage in SHRINKAGES:
            mass = kernel.sum(axis=1) + shrinkage
            correction = kernel @ (y - base)[fit] / np.where(mass > 0, mass, np.inf)
            q = np.clip(base + correction, margin, 1 - margin)
            loss = log_loss(y[fit], q[fit]).mean()
            if loss < best:
                best, chosen = loss, q
    return chosen


def expected_base(y, confidence, fit):
    scaler = TemperatureScaler().fit(confidence[fit, None], y[fit])
    anchor = scaler.predict_proba(confidence[:, None])[:, 1]
    axis = logit(anchor.clip(1e-4, 1 - 1e-4))
    scott = axis[fit].std() * len(fit) ** (-1 / 5)
    bandwidths = [[scott * multiple] for multiple in (0.5, 1, 2, 4)]
    return axis, written_out(y, anchor, axis[:, None], bandwidths, fit)


def test_base_is_the_residual_kernel_on_the_tempered_confidence():
    y, confidence, _, fit, test = rows()
    fold = prepare_fold(y, expit(3 * logit(confidence)), fit, test)
    axis, base = expected_base(y, expit(3 * logit(confidence)), fit)
    np.testing.assert_allclose(fold.axis, axis, rtol=1e-7)
    np.testing.assert_allclose(fold.base, base, rtol=1e-7)


def two_folds(y, confidence, fit, test):
    return [prepare_fold(y, confidence, fit, test), prepare_fold(y, confidence, test, fit)]


def axis_of(feature, confidence):
    values = read_routing(feature, "routing", "auto", len(feature))
    return feature_axis(values, values.numbers, confidence, np.random.default_rng(0))


def effect_bandwidths(fold, axis):
    spread = fold.axis[fold.fit].std()
    return [[w * spread, h] for w in (np.inf, 0.5) for h in axis.bandwidths]


def test_gain_is_that_of_a_second_kernel_over_the_base():
    y, confidence, feature, *halves = rows()
    folds, axis = two_folds(y, confidence, *halves), axis_of(feature, confidence)
    expected = np.empty(len(y))
    for fold in folds:
        bandwidths = [[np.inf, np.inf], *effect_bandwidths(fold, axis)]
        axes = np.column_stack([fold.axis, axis.values])
        q = written_out(y, fold.base, axes, bandwidths, fold.fit)[fold.test]
        expected[fold.test] = log_loss(y, fold.base)[fold.test] - log_loss(y[fold.test], q)
    np.testing.assert_allclose(gains_over_base(folds, axis), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("shift", [0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_nested_probe_corrects_by_the_feature_or_not_at_all(seed, shift):
    y, confidence, feature, *halves = rows(seed=seed)
    axis = axis_of(feature, confidence)
    folds = [
        # A base that is wrong everywhere alike tempts a correction that is, too.
        replace(fold, base=(fold.base - shift).clip(1 / 32, 31 / 32))
        for fold in two_folds(y, confidence, *halves)
    ]
    expected = np.empty(len(y))
    for fold in folds:
        axes = np.column_stack([fold.axis, axis.values])
        q = written_out(y, fold.base, axes, effect_bandwidths(fold, axis), fold.fit)
        if log_loss(y, fold.base)[fold.fit].mean() <= log_loss(y, q)[fold.fit].mean():
            q = fold.base
        expected[fold.test] = q[fold.test]
    np.testing.assert_allclose(feature_predictions(folds, axis, nested=True), expected, rtol=1e-7)


@pytest.mark.parametrize("constant", [0.3, "level"])
def test_constant_feature_leaves_the_base_alone_if_nested(constant):
    y, confidence, _, *halves = rows()
    folds = two_folds(y, confidence, *halves)
    axis = axis_of(np.array([constant] * len(y)), confidence)
    np.testing.assert_array_equal(
        feature_predictions(folds, axis, nested=True), base_predictions(folds)
    )


def test_numbers_are_ranked_among_rows_of_like_confidence():
    rng = np.random.default_rng(0)
    confidence = rng.random(2000)
    # All that the feature adds to a steep function of the confidence is the noise.
    noise = rng.normal(size=2000)
    axis = feature_axis(
        read_routing(10 * confidence + noise, "routing", "auto", 2000),
        10 * confidence + noise,
        confidence,
        rng,
    )
    assert ((axis.values > 0) & (axis.values < 1)).all()
    assert np.corrcoef(axis.values, rankdata(noise))[0, 1] > 0.95


def test_levels_keep_their_codes():
    names = np.array(["b", "a", "b"])
    routing = read_routing(names, "routing", "auto", 3)
    axis = feature_axis(routing, routing.numbers, np.ones(3), np.random.default_rng(0))
    np.testing.assert_array_equal(axis.values, [1, 0, 1])
