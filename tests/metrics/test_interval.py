import numpy as np
import pytest
from scipy.stats import norm

from sk_arcal.metrics import calibration_error_interval, expected_calibration_error, noise_floor
from sk_arcal.metrics._interval import _range_factor


@pytest.fixture
def overconfident(rng):
    y_prob = rng.uniform(0.5, 1, 3000)
    return (rng.random(3000) < y_prob - 0.1).astype(float), y_prob


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_estimate_is_the_calibration_error(strategy, events):
    interval = calibration_error_interval(*events, strategy=strategy, n_bins=7, n_resamples=2)
    expected = expected_calibration_error(*events, strategy=strategy, n_bins=7)
    assert interval.estimate == pytest.approx(expected)


def test_one_bin_far_from_calibrated_gives_the_normal_interval_of_a_mean(rng):
    # With one bin and a sure sign the error is a mean, free of bias.
    y_true = (rng.random(500) < 0.3).astype(float)
    y_prob = np.full(500, 0.8)
    interval = calibration_error_interval(y_true, y_prob, n_bins=1, n_resamples=2000, level=0.9)
    error, se = 0.8 - y_true.mean(), y_true.std(ddof=1) / np.sqrt(500)
    assert interval.standard_error == pytest.approx(se)
    assert interval.corrected == pytest.approx(error, abs=0.1 * se)
    assert interval.low == pytest.approx(error - norm.ppf(0.95) * se, abs=0.2 * se)
    assert interval.high == pytest.approx(error + norm.ppf(0.95) * se, abs=0.2 * se)


def test_interval_covers_a_known_error(overconfident):
    interval = calibration_error_interval(*overconfident, random_state=0)
    assert interval.low < 0.1 < interval.high
    assert interval.high - interval.low < 0.06


def test_interval_of_a_calibrated_model_reaches_zero(rng):
    y_prob = rng.random(2000)
    y_true = rng.random(2000) < y_prob
    interval = calibration_error_interval(y_true, y_prob, random_state=0)
    assert interval.low == 0
    assert interval.high < 0.05


def test_correction_takes_off_most_of_the_noise_floor(rng):
    y_prob = rng.random(1000)
    corrected = [
        calibration_error_interval(
            rng.random(1000) < y_prob, y_prob, random_state=0, n_resamples=50
        ).corrected
        for _ in range(40)
    ]
    assert abs(np.mean(corrected)) < 0.4 * noise_floor(y_prob, random_state=0).mean


def test_corrected_may_be_negative():
    y_true, y_prob = np.array([0, 1] * 200), np.full(400, 0.5)
    interval = calibration_error_interval(y_true, y_prob, random_state=0)
    assert interval.corrected < 0 == interval.low


@pytest.mark.parametrize(("width", "tail"), [(0.0, 0.975), (100.0, 0.95)])
def test_width_is_two_sided_for_a_point_and_one_sided_for_a_wide_range(width, tail):
    assert _range_factor(0.95, width, 0.1) == pytest.approx(norm.ppf(tail))


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_width_covers_every_point_of_the_range(position):
    width, error = 0.13, 0.1
    z = _range_factor(0.95, width, error)
    above = norm.cdf(((1 - position) * width) / error + z)
    assert above - norm.cdf(-position * width / error - z) >= 0.95 - 1e-9


def test_higher_level_gives_a_wider_interval(overconfident):
    narrow = calibration_error_interval(*overconfident, level=0.5, random_state=0)
    wide = calibration_error_interval(*overconfident, level=0.99, random_state=0)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_doubled_weights_equal_doubled_rows_in_both_ends(events):
    y_true, y_prob = events
    weighted = calibration_error_interval(
        y_true, y_prob, sample_weight=np.full(400, 2), n_resamples=2000, random_state=0
    )
    repeated = calibration_error_interval(
        np.repeat(y_true, 2), np.repeat(y_prob, 2), n_resamples=2000, random_state=1
    )
    tolerance = 0.1 * repeated.standard_error
    assert weighted.corrected == pytest.approx(repeated.corrected, abs=tolerance)
    assert weighted.high == pytest.approx(repeated.high, abs=tolerance)


def test_same_seed_gives_the_same_interval(events):
    first = calibration_error_interval(*events, random_state=5)
    second = calibration_error_interval(*events, random_state=np.random.default_rng(5))
    assert first == second


def test_perfect_predictions_have_an_interval_of_zero():
    interval = calibration_error_interval([0, 1, 1], [0, 1, 1], random_state=0)
    assert (interval.estimate, interval.corrected, interval.low, interval.high) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"y_true": [1], "y_prob": [0.3]}, "needs at least two rows"),
        ({"level": 0}, r"`level` must lie in \(0, 1\)"),
        ({"level": 95}, r"`level` must lie in \(0, 1\)"),
        ({"n_resamples": 1}, "`n_resamples` must be at least 2"),
    ],
)
def test_refuses(params, match):
    with pytest.raises(ValueError, match=match):
        calibration_error_interval(**{"y_true": [0, 1], "y_prob": [0.2, 0.7], **params})


def test_frame_and_text_show_both_ends(events):
    pytest.importorskip("pandas")
    interval = calibration_error_interval(*events, n_resamples=5, random_state=0)
    assert interval.to_frame()["high"][0] == interval.high
    assert f"low={interval.low:.4g}, high={interval.high:.4g}" in repr(interval)
