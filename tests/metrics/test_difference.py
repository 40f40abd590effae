import numpy as np
import pytest
from scipy.stats import norm

from sk_arcal.metrics import calibration_error_difference, expected_calibration_error


def ends(difference):
    return difference.estimate, difference.corrected, difference.low, difference.high


def compare(y_true, y_prob, other, **settings):
    return calibration_error_difference(
        y_true, y_prob, other, **{"random_state": 0, "n_resamples": 300} | settings
    )


@pytest.fixture
def rows(rng):
    """An overconfident prediction, and the truth it is made from."""
    truth = rng.uniform(0.3, 0.9, 2000)
    return (rng.random(2000) < truth).astype(float), truth + 0.1, truth


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_estimate_is_the_difference_of_the_errors(strategy, events):
    y_true, y_prob = events
    options = {"strategy": strategy, "n_bins": 7}
    difference = compare(y_true, y_prob, y_prob**2, **options)
    expected = expected_calibration_error(y_true, y_prob, **options)
    expected -= expected_calibration_error(y_true, y_prob**2, **options)
    assert difference.estimate == pytest.approx(expected, abs=1e-12)


def test_exchanging_the_predictions_mirrors_everything(rows):
    y_true, y_prob, other = rows
    there, back = compare(y_true, y_prob, other), compare(y_true, other, y_prob)
    assert (back.estimate, back.corrected) == (-there.estimate, -there.corrected)
    assert (back.low, back.high) == (-there.high, -there.low)


def test_equal_predictions_differ_by_exactly_nothing(events):
    y_true, y_prob = events
    assert ends(compare(y_true, y_prob, y_prob.copy())) == (0, 0, 0, 0)


def test_nearly_equal_predictions_differ_by_next_to_nothing(rows):
    y_true, y_prob, _ = rows
    difference = compare(y_true, y_prob, y_prob + 1e-9)
    assert max(np.abs(ends(difference))) < 1e-6


def test_shift_of_a_sure_error_in_one_bin_is_known_without_noise(rng):
    # Both gaps have the same sign and the same noise, which cancels.
    y_true = (rng.random(500) < 0.2).astype(float)
    difference = compare(y_true, np.full(500, 0.8), np.full(500, 0.7), n_bins=1)
    assert ends(difference) == pytest.approx((0.1, 0.1, 0.1, 0.1), abs=5e-4)


def test_opposite_sure_errors_in_one_bin_have_the_normal_interval_of_two_means(rng):
    y_true = (rng.random(4000) < 0.5).astype(float)
    difference = compare(
        y_true, np.full(4000, 0.9), np.full(4000, 0.2), n_bins=1, n_resamples=4000, level=0.9
    )
    # 0.9 - mean minus (mean - 0.2)
    expected, se = 1.1 - 2 * y_true.mean(), 2 * y_true.std(ddof=1) / np.sqrt(4000)
    assert difference.estimate == pytest.approx(expected)
    assert difference.corrected == pytest.approx(expected, abs=0.15 * se)
    assert difference.low == pytest.approx(expected - norm.ppf(0.95) * se, abs=0.2 * se)
    assert difference.high == pytest.approx(expected + norm.ppf(0.95) * se, abs=0.2 * se)


def test_finds_the_better_calibrated_and_takes_the_bias_off(rows):
    y_true, y_prob, truth = rows
    difference = compare(y_true, y_prob, truth)
    assert 0.03 < difference.low < 0.1 <= difference.high < 0.11
    assert abs(difference.corrected - 0.1) < abs(difference.estimate - 0.1)


def test_correction_is_on_average_smaller_than_the_bias_it_takes_off(rng):
    truth = rng.uniform(0.1, 0.9, 800)
    runs = [compare(rng.random(800) < truth, truth + 0.1, truth) for _ in range(25)]
    plain = np.mean([run.estimate for run in runs]) - 0.1
    corrected = np.mean([run.corrected for run in runs]) - 0.1
    assert plain < -0.01
    assert abs(corrected) < 0.6 * abs(plain)


def test_weights_are_repetitions(events, rng):
    y_true, y_prob = events
    weight = rng.integers(0, 4, len(y_true))
    weighted = compare(y_true, y_prob, y_prob**2, sample_weight=weight)
    again = np.repeat(np.arange(len(y_true)), weight)
    repeated = compare(y_true[again], y_prob[again], y_prob[again] ** 2)
    assert ends(weighted) == pytest.approx(ends(repeated), abs=1e-8)


def test_order_of_rows_does_not_matter(events, rng):
    y_true, y_prob = events
    order = rng.permutation(len(y_true))
    shuffled = compare(y_true[order], y_prob[order], y_prob[order] ** 2)
    assert ends(shuffled) == pytest.approx(ends(compare(y_true, y_prob, y_prob**2)), abs=1e-8)


def test_groups_of_one_row_are_no_groups(rows):
    single = compare(*rows, groups=np.arange(2000))
    assert ends(single) == pytest.approx(ends(compare(*rows)), abs=1e-8)


def test_copies_of_rows_widen_nothing_if_their_groups_are_given(rows):
    copied = [np.repeat(array, 4) for array in rows]
    alone, grouped = compare(*rows), compare(*copied, groups=np.repeat(np.arange(2000), 4))
    naive = compare(*copied)
    width = alone.high - alone.low
    assert grouped.high - grouped.low == pytest.approx(width, rel=0.06)
    assert naive.high - naive.low < 0.65 * width


def test_higher_level_gives_a_wider_interval(rows):
    narrow, wide = compare(*rows, level=0.5), compare(*rows, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_perfect_predictions_and_exact_0_and_1_are_finite():
    y_true = np.array([0.0, 1.0] * 10)
    difference = compare(y_true, y_true, 1 - y_true)
    assert ends(difference) == pytest.approx((-1, -1, -1, -1), abs=0.2)


def test_huge_samples_are_not_pulled_to_zero(rng):
    truth = rng.uniform(0.2, 0.8, 200_000)
    difference = compare(rng.random(200_000) < truth, truth + 0.2, truth + 0.1)
    assert difference.corrected == pytest.approx(difference.estimate, abs=2e-4)


def test_same_seed_gives_the_same_interval(rows):
    first = calibration_error_difference(*rows, random_state=5)
    assert first == calibration_error_difference(*rows, random_state=np.random.default_rng(5))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"y_true": [1], "y_prob": [0.3], "y_prob_other": [0.3]}, "at least two rows"),
        ({"groups": ["a", "a"]}, "two groups"),
        ({"groups": ["a"]}, "`groups` has 1 rows where 2"),
        ({"y_prob_other": [0.2]}, "`y_prob_other` has 1 rows where 2"),
        ({"y_prob_other": [0.2, 1.7]}, "`y_prob_other` must lie in"),
        ({"y_prob": [0.2, np.nan]}, "`y_prob` must be finite"),
        ({"y_true": [0, 2]}, "`y_true` must be 0 or 1"),
        ({"sample_weight": [1, -1]}, "`sample_weight` must not be negative"),
        ({"level": 95}, r"`level` must lie in \(0, 1\)"),
        ({"n_resamples": 1}, "`n_resamples` must be at least 2"),
        ({"strategy": "best"}, "`strategy` must be one of"),
    ],
)
def test_refuses(params, match):
    good = {"y_true": [0, 1], "y_prob": [0.2, 0.7], "y_prob_other": [0.1, 0.9]}
    with pytest.raises(ValueError, match=match):
        calibration_error_difference(**good | params)


def test_frame_and_text_show_both_ends(rows):
    pytest.importorskip("pandas")
    difference = compare(*rows)
    assert difference.to_frame()["high"][0] == difference.high
    assert f"low={difference.low:.4g}, high={difference.high:.4g}" in repr(difference)
