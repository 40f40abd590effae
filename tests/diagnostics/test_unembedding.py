"""Shares outside the read-out, effective temperatures, and their correlations."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from sk_arcal.calibration import LinearReadout
from sk_arcal.diagnostics import unembedding_profile
from sk_arcal.diagnostics._readout._correlation import correlation

WIDTH, CLASSES = 10, 4


def _readout(norm="rms", **other):
    rng = np.random.default_rng(0)
    gain = None if norm == "none" else rng.normal(1, 0.2, WIDTH)
    return LinearReadout(rng.normal(size=(CLASSES, WIDTH)), norm=norm, norm_weight=gain, **other)


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_share_is_that_of_a_projection_by_least_squares(norm):
    readout = _readout(norm)
    hidden = np.random.default_rng(1).normal(1, 1, size=(6, WIDTH))
    rows = readout.weight * (1 if norm == "none" else readout.norm_weight)
    rows = rows - rows.mean(axis=0)
    x = hidden
    if norm == "layer":
        rows, x = (a - a.mean(axis=1, keepdims=True) for a in (rows, x))
    fitted = rows.T @ np.linalg.lstsq(rows.T, x.T, rcond=None)[0]
    expected = np.linalg.norm(x.T - fitted, axis=0) / np.linalg.norm(x, axis=1)
    profile = unembedding_profile(hidden, readout)
    np.testing.assert_allclose(profile.unseen_share, expected, rtol=1e-10)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_temperature_explains_the_logits(norm):
    readout = _readout(norm, eps=0.01)
    hidden = np.random.default_rng(2).normal(0.5, 1, size=(50, WIDTH))
    profile = unembedding_profile(hidden, readout)
    without = LinearReadout(readout.weight * readout.norm_weight)
    x = hidden - hidden.mean(axis=1, keepdims=True) if norm == "layer" else hidden
    ratio = without.logits(x) / readout.logits(hidden) / profile.effective_temperature[:, None]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert np.log(profile.effective_temperature).mean() == pytest.approx(0, abs=1e-12)


def test_without_a_norm_all_temperatures_are_one_and_correlate_with_nothing():
    hidden = np.random.default_rng(3).normal(size=(40, WIDTH))
    profile = unembedding_profile(hidden, _readout("none"))
    np.testing.assert_array_equal(profile.effective_temperature, 1)
    assert np.isnan(profile.correlations["log_temperature ~ confidence"]).all()
    assert profile.right is None
    assert "nan" in repr(profile)


def test_random_states_have_the_share_of_chance():
    readout = LinearReadout(np.random.default_rng(4).normal(size=(9, 40)), norm="layer")
    hidden = np.random.default_rng(5).normal(size=(3000, 40))
    profile = unembedding_profile(hidden, readout)
    assert profile.chance_share == pytest.approx(np.sqrt(1 - 8 / 39))
    root = np.sqrt((profile.unseen_share**2).mean())
    assert root == pytest.approx(profile.chance_share, rel=0.01)


def test_rank_leaves_more_unseen():
    readout = LinearReadout(np.random.default_rng(6).normal(size=(30, WIDTH)), norm="rms")
    hidden = np.random.default_rng(7).normal(size=(20, WIDTH))
    assert unembedding_profile(hidden, readout).unseen_share.max() < 1e-6
    assert unembedding_profile(hidden, readout, rank=4).unseen_share.min() > 0.1


def test_longer_states_are_less_sure_and_labels_are_used():
    rng = np.random.default_rng(8)
    readout = LinearReadout(3 * np.eye(CLASSES, WIDTH), norm="rms")
    hidden = rng.normal(size=(800, WIDTH))
    hidden[:, -1] += rng.exponential(5, size=800)
    logits = readout.logits(hidden)
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    profile = unembedding_profile(hidden, readout, y_true=y)
    np.testing.assert_array_equal(profile.right, logits.argmax(axis=1) == y)
    for trait in ("unseen_share", "log_temperature"):
        for outcome in ("confidence", "right"):
            assert profile.correlations[f"{trait} ~ {outcome}"].high < 0
    assert list(profile.to_frame()) == [
        "unseen_share",
        "effective_temperature",
        "confidence",
        "right",
    ]
    assert "800 rows" in repr(profile)


def test_correlation_is_pearsons_and_its_interval_that_of_normal_rows():
    rng = np.random.default_rng(9)
    x, noise = rng.normal(size=(2, 5000))
    y = 0.6 * x + 0.8 * noise
    found = correlation(x, y, 0.95)
    expected = pearsonr(x, y)
    assert found.estimate == pytest.approx(expected.statistic)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found[1:], interval, atol=0.003)


def test_correlation_interval_covers_where_normal_theory_does_not():
    # Heavy tails on both sides: Fisher's interval is far too short here.
    rng = np.random.default_rng(10)
    covered, fisher = 0, 0
    for _ in range(300):
        x = rng.standard_t(6, size=400) * np.abs(rng.normal(size=400))
        y = np.abs(x) * rng.normal(size=400)
        found, reference = correlation(x, y, 0.9), pearsonr(x, y).confidence_interval(0.9)
        covered += found.low < 0 < found.high
        fisher += reference.low < 0 < reference.high
    assert covered / 300 > 0.83 > fisher / 300


def test_what_has_no_spread_has_no_correlation_and_a_perfect_one_has_no_width():
    assert np.isnan(correlation(np.ones(9), np.arange(9.0), 0.95)).all()
    assert correlation(np.arange(9.0), 2 * np.arange(9.0), 0.95) == pytest.approx((1, 1, 1))


def test_inputs_are_checked():
    readout, hidden = _readout(), np.ones((3, WIDTH))
    with pytest.raises(TypeError, match="`readout` must be a LinearReadout"):
        unembedding_profile(hidden, {})
    with pytest.raises(ValueError, match="the width 10"):
        unembedding_profile(np.ones((3, 4)), readout)
    with pytest.raises(ValueError, match=r"`hidden` must have shape \(n, d\)"):
        unembedding_profile(np.ones(WIDTH), readout)
    with pytest.raises(ValueError, match="`hidden` must be finite"):
        unembedding_profile(np.full((3, WIDTH), np.nan), readout)
    with pytest.raises(TypeError, match="as integers"):
        unembedding_profile(hidden, readout, y_true=["a", "b", "c"])
    with pytest.raises(ValueError, match="must lie in 0 to 3"):
        unembedding_profile(hidden, readout, y_true=[0, 1, 4])
    with pytest.raises(ValueError, match="has no length"):
        unembedding_profile(0 * hidden, _readout(eps=0.0))
