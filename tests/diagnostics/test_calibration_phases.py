"""Planted plateaus, peaks and corrections are found, and none where layers differ by noise."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from sk_arcal.diagnostics._calibration_phases import CalibrationPhases, calibration_phases
from sk_arcal.diagnostics._depth._batches import deal
from sk_arcal.diagnostics._depth._crossed import plateau_and_peak
from sk_arcal.diagnostics._depth._layer_error import correction_limits
from sk_arcal.diagnostics._layerwise import layerwise_calibration
from sk_arcal.metrics import calibration_error_interval

# Share of the truth in each layer, and how much it exaggerates: plateau from 4 on, peak at 5.
SHARE = np.array([0, 0, 0.3, 0.5, 1, 1, 1, 1])
FACTOR = np.array([1, 1, 1, 1, 1.7, 3, 1.5, 1])


def curves(n_rows, *, share=SHARE, factor=FACTOR, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    truth, other = 1.5 * rng.normal(size=(2, n_rows, 4))
    y_true = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    scores = [f * (s * truth + (1 - s) * other) for s, f in zip(share, factor, strict=True)]
    scores = np.stack(scores, axis=1)
    return y_true, scores + noise * rng.normal(size=scores.shape)


def layers_of(*data, **options):
    options = {"n_resamples": 2, "random_state": 0} | options
    return layerwise_calibration(*data, **options)


@pytest.fixture(scope="module")
def planted():
    return layers_of(*curves(1500))


@pytest.fixture(scope="module")
def phases(planted):
    return calibration_phases(planted, n_resamples=200, random_state=0)


# --- planted truth ---------------------------------------------------------------------------


def test_planted_phases_are_found(phases):
    assert phases.present
    assert (phases.plateau_start, phases.peak) == (4, 5)
    assert phases.measured_peaks == (5, 5)
    assert phases.plateau_interval == (4, 4)
    assert phases.peak_interval == (5, 5)
    assert phases.peak_shares[5] == 1
    assert phases.accuracy_change == 0
    assert phases.accuracy_interval == (0, 0)


def test_strength_is_the_planted_one(phases):
    y_true, scores = curves(100_000, share=SHARE[[5, 7]], factor=FACTOR[[5, 7]], seed=9)
    peak, last = layers_of(y_true, scores).table["ece_corrected"]
    low, high = phases.strength_interval
    assert low < peak - last < high
    assert high - low < 0.1


def test_flat_curve_has_no_phase():
    flat = [
        calibration_phases(
            layers_of(*curves(400, share=np.ones(8), factor=np.ones(8), noise=0.3, seed=seed)),
            n_resamples=60, random_state=0,
        )
        for seed in range(8)
    ]  # fmt: skip
    assert not any(one.present for one in flat)
    naive = np.mean([one.naive_strength for one in flat])
    strength = np.mean([one.strength for one in flat])
    # What the same rows would say is the reason for halving them.
    assert naive > 0.015
    assert abs(strength) < naive / 3
    assert np.mean([one.peak_interval[1] - one.peak_interval[0] for one in flat]) > 3


def test_last_layer_may_be_the_worst():
    rising = calibration_phases(
        layers_of(*curves(600, share=np.ones(4), factor=[1, 1.5, 2, 4])),
        n_resamples=50, random_state=0,
    )  # fmt: skip
    assert rising.peak == 3
    assert (rising.strength, rising.strength_interval) == (0, (0, 0))
    assert not rising.present
    assert "the last layer, so nothing corrects the confidence after it" in rising.summary


def test_fall_with_accuracy_is_no_correction():
    share = np.array([0, 0.65, 1])
    layers = layers_of(*curves(1500, share=share, factor=np.array([1, 3, 1])))
    wide = calibration_phases(layers, tolerance=0.3, n_resamples=50, random_state=0)
    assert wide.peak == 1
    assert wide.present
    low, high = wide.accuracy_interval
    assert 0 < low < wide.accuracy_change < high
    assert wide.measured_peaks == (1, 1)
    change = layers.right[:, 2].astype(float) - layers.right[:, 1]
    half = 1.959964 * change.std(ddof=1) / np.sqrt(len(change))
    assert (low, high) == pytest.approx((change.mean() - half, change.mean() + half))
    moved = CalibrationPhases(**{**vars(wide), "tolerance": 0.01})
    assert not moved.present
    assert "accuracy moves with it" in moved.summary


def test_one_event_has_an_accuracy_too():
    rng = np.random.default_rng(0)
    odds = 2 * rng.normal(size=1200)
    y_true = (odds + rng.logistic(size=1200) > 0).astype(int)
    scores = np.stack([rng.normal(size=1200), 4 * odds, odds], axis=1)
    found = calibration_phases(layers_of(y_true, scores), n_resamples=60, random_state=0)
    assert (found.plateau_start, found.peak, found.present) == (1, 1, True)


# --- definitions -----------------------------------------------------------------------------


def test_rule_of_plateau_and_peak():
    accuracy = np.array([0.3, 0.75, 0.79, 0.80, 0.80])
    error = np.array([0.9, 0.8, 0.1, 0.3, 0.2])
    assert plateau_and_peak(accuracy, error, 0.05) == (2, 3)
    assert plateau_and_peak(accuracy, error, 0.1) == (1, 1)
    assert plateau_and_peak(accuracy, error, 0) == (3, 3)


def test_batches_hold_the_errors_and_their_correction(planted):
    batches = deal(
        planted.event, planted.right, planted.confidence, None, 15, np.random.default_rng(0)
    )
    assert len(batches.count) == 1500
    errors = np.abs(batches.gap.sum(axis=0)).sum(axis=1) / 1500
    np.testing.assert_allclose(errors, planted.table["ece"])
    np.testing.assert_allclose(batches.accuracy(), planted.table["accuracy"])
    simulated = [
        calibration_error_interval(event, trust, n_resamples=400, random_state=0).corrected
        for event, trust in zip(planted.event.T, planted.confidence.T, strict=True)
    ]
    np.testing.assert_allclose(batches.corrected_errors(), simulated, atol=2e-3)
    accuracy, error = batches.resampled(300, np.random.default_rng(0))
    np.testing.assert_allclose(error.mean(axis=0), batches.corrected_errors())
    spread = np.sqrt(planted.table["accuracy"] * (1 - planted.table["accuracy"]) / 1500)
    np.testing.assert_allclose(accuracy.std(axis=0), spread, rtol=0.15)


def pair_of(confidence, event, groups=None):
    """Batches of two layers, a batch for every row or group."""
    rows = (event, event, confidence.astype(np.float32), groups, 15, np.random.default_rng(1))
    return deal(*rows)


def test_interval_of_the_difference_is_its_formula(planted):
    trust, event = planted.confidence[:, [5, 7]].astype(float), planted.event[:, [5, 7]]
    strength, (low, high) = pair_of(trust, event).error_difference(0.9)
    parts, shares = [], []
    for c, y in zip(trust.T, (event * 1.0).T, strict=True):
        told = calibration_error_interval(y, c, n_resamples=2000, random_state=0)
        bins = np.minimum((c * 15).astype(int), 14)
        sign = np.sign(np.bincount(bins, c - y, minlength=15))
        shares.append(sign[bins] * (c - y))
        # The corrected error is the middle of both corrections.
        gap, noise = np.bincount(bins, c - y), np.bincount(bins, (c - y) ** 2)
        above, below = correction_limits(gap, np.sqrt(noise - gap**2 / len(c)))
        parts.append((above.sum() / len(c), below.sum() / len(c)))
        assert sum(parts[-1]) / 2 == pytest.approx(told.corrected, abs=1e-3)
    error = np.std(shares[0] - shares[1], ddof=1) / np.sqrt(len(trust))
    most, least = parts[0][0] - parts[1][1], parts[0][1] - parts[1][0]
    assert strength == pytest.approx((most + least) / 2, abs=1e-4)
    z = (high - most) / error
    assert (least - low) / error == pytest.approx(z, abs=0.02)
    assert norm.cdf(z + (most - least) / error) - norm.cdf(-z) == pytest.approx(0.9, abs=0.005)


def test_exchanged_layers_mirror_the_interval(planted):
    trust, event = planted.confidence[:, [5, 7]], planted.event[:, [5, 7]]
    strength, (low, high) = pair_of(trust, event).error_difference(0.95)
    mirrored = pair_of(trust[:, ::-1], event[:, ::-1]).error_difference(0.95)
    assert mirrored[0] == pytest.approx(-strength)
    assert mirrored[1] == pytest.approx((-high, -low))


def test_interval_covers_the_difference():
    # Truth of 15 bins: twice the log-odds against the log-odds themselves.
    rng, held = np.random.default_rng(0), 0
    odds = 1.5 * np.random.default_rng(1).normal(size=200_000)
    grid = np.c_[expit(2 * odds), expit(odds)]
    bins = (grid[:, 0] * 15).astype(int).clip(0, 14)
    truth = np.abs(np.bincount(bins, grid[:, 0] - grid[:, 1])).sum() / len(odds)
    for _ in range(80):
        chosen = rng.choice(len(odds), 800)
        event = rng.random(800) < grid[chosen, 1]
        batches = pair_of(grid[chosen], np.c_[event, event])
        low, high = batches.error_difference(0.9)[1]
        held += low <= truth <= high
    assert 68 <= held <= 80


def test_batches_of_many_rows_have_the_same_noise(monkeypatch, planted):
    def spread(most):
        monkeypatch.setattr("sk_arcal.diagnostics._depth._batches.MOST_BATCHES", most)
        rng = np.random.default_rng(0)
        batches = deal(planted.event, planted.right, planted.confidence, None, 15, rng)
        chosen = batches.of_layers(np.full(len(batches.count), 3))
        return len(batches.count), np.sqrt(chosen.accuracy_change()[1])

    (few, coarse), (many, fine) = spread(300), spread(5000)
    assert (few, many) == (300, 1500)
    assert coarse == pytest.approx(fine, rel=0.12)


def test_groups_widen_the_interval():
    y_true, scores = curves(400)
    thrice = layers_of(np.repeat(y_true, 3), np.repeat(scores, 3, axis=0))
    groups = np.repeat(np.arange(400), 3)
    alone, together = (
        calibration_phases(thrice, groups=g, n_resamples=150, random_state=0)
        for g in (None, groups)
    )
    widths = [np.diff(one.strength_interval)[0] for one in (alone, together)]
    assert widths[1] > 1.3 * widths[0]


# --- form ------------------------------------------------------------------------------------


def test_same_seed_same_phases(planted):
    first, second = (calibration_phases(planted, n_resamples=20, random_state=3) for _ in range(2))
    assert repr(first) == repr(second)
    assert first.strength_interval == second.strength_interval


def test_words_and_table(phases):
    assert phases.summary.startswith("Accuracy is on its plateau from layer 4 on, and calibration")
    assert "The confidence is corrected after that" in phases.summary
    assert "accuracy changes by +0.0 points" in phases.summary
    frame = phases.to_frame()
    assert frame.index.tolist() == ["plateau_start", "peak", "strength", "accuracy_change"]
    assert frame.loc["peak"].tolist() == [5, 5, 5]
    assert repr(phases).startswith("CalibrationPhases: present=True\nAccuracy")


def test_wrong_input_is_refused(planted):
    with pytest.raises(TypeError, match="which `layerwise_calibration` returns"):
        calibration_phases(planted.table)
    with pytest.raises(ValueError, match="`tolerance` must be below 1"):
        calibration_phases(planted, tolerance=1)
    with pytest.raises(ValueError, match="got 3"):
        calibration_phases(planted, groups=np.arange(1500) % 3)
    with pytest.raises(ValueError, match="1500 were expected"):
        calibration_phases(planted, groups=np.arange(15))
    y_true, scores = curves(50)
    with pytest.raises(ValueError, match="has one layer"):
        calibration_phases(layers_of(y_true, scores[:, :1]))
