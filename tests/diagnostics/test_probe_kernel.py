"""The two kernels of the probe, against the same sums written out."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._probing._probe_kernel import feature_axis, gains_over_base, prepare_fold

SHRINKAGES = (0, 4, 16, 64, 256, 1024)


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    confidence, feature = rng.beta(3, 2, n), rng.random(n)
    y = rng.random(n) < np.clip(confidence + 0.5 * (feature - 0.5), 0, 1)
    return y.astype(float), confidence, feature, np.arange(n) % 2 == 1


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
    y, confidence, _, held_out = rows()
    fold = prepare_fold(y, expit(3 * logit(confidence)), held_out)
    axis, base = expected_base(y, expit(3 * logit(confidence)), np.flatnonzero(~held_out))
    np.testing.assert_allclose(fold.axis, axis, rtol=1e-7)
    np.testing.assert_allclose(fold.base, base, rtol=1e-7)


def test_gain_is_that_of_a_second_kernel_over_the_base():
    y, confidence, feature, held_out = rows()
    folds = [prepare_fold(y, confidence, held_out == side) for side in (True, False)]
    axis = feature_axis(
        read_routing(feature, "routing", "auto", len(y)),
        feature,
        confidence,
        np.random.default_rng(0),
    )
    expected = np.empty(len(y))
    for fold in folds:
        spread = fold.axis[fold.fit].std()
        bandwidths = [[np.inf, np.inf]]
        bandwidths += [[w * spread, h] for w in (np.inf, 0.5) for h in axis.bandwidths]
        axes = np.column_stack([fold.axis, axis.values])
        q = written_out(y, fold.base, axes, bandwidths, fold.fit)[fold.test]
        expected[fold.test] = log_loss(y, fold.base)[fold.test] - log_loss(y[fold.test], q)
    np.testing.assert_allclose(gains_over_base(folds, axis), expected, rtol=1e-7, atol=1e-10)


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


@pytest.mark.parametrize("held_out", [np.zeros(60, dtype=bool), np.ones(60, dtype=bool)])
def test_both_halves_need_rows(held_out):
    y, confidence, *_ = rows()
    with pytest.raises(ValueError, match="at least two rows, or two groups"):
        prepare_fold(y, confidence, held_out)
