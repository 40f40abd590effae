import json

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from sk_arcal.metrics import (
    expected_calibration_error,
    maximum_calibration_error,
    squared_calibration_error,
)


def _gaps_by_definition(y_true, y_prob, n_bins):
    """Weight and gap of every bin (lower, upper], written as a loop over rows."""
    gaps = {}
    for y, p in zip(y_true, y_prob, strict=True):
        for b in range(n_bins):
            lower, upper = b / n_bins, (b + 1) / n_bins
            if lower < p <= upper or (p == 0 and b == 0):
                count, total = gaps.get(b, (0, 0.0))
                gaps[b] = count + 1, total + p - y
    return [(count / len(y_true), abs(total) / count) for count, total in gaps.values()]


@pytest.mark.parametrize("n_bins", [1, 4, 10, 15])
def test_l1_follows_the_definition(n_bins, events):
    gaps = _gaps_by_definition(*events, n_bins)
    expected = sum(share * gap for share, gap in gaps)
    assert expected_calibration_error(*events, n_bins=n_bins) == pytest.approx(expected)


def test_l2_follows_the_definition(events):
    expected = np.sqrt(sum(share * gap**2 for share, gap in _gaps_by_definition(*events, 15)))
    assert expected_calibration_error(*events, norm="l2") == pytest.approx(expected)


def test_maximum_follows_the_definition(events):
    expected = max(gap for _, gap in _gaps_by_definition(*events, 15))
    assert maximum_calibration_error(*events, min_count=1) == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_one_bin_is_the_difference_of_the_means(strategy, events):
    y_true, y_prob = events
    error = expected_calibration_error(y_true, y_prob, n_bins=1, strategy=strategy)
    assert error == pytest.approx(abs(y_true.mean() - y_prob.mean()))


def test_bins_of_single_members_sum_the_absolute_residuals():
    y_true, y_prob = np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9])
    error = expected_calibration_error(y_true, y_prob)
    assert error == pytest.approx(np.abs(y_true - y_prob).mean())


def test_single_row_has_its_residual_as_error():
    assert expected_calibration_error([1], [0.3]) == pytest.approx(0.7)


def test_exact_0_and_1_that_are_right_have_no_error():
    assert expected_calibration_error([0, 1, 0, 1], [0, 1, 0, 1]) == 0


def test_exact_0_and_1_that_are_wrong_have_error_one():
    assert expected_calibration_error([1, 0], [0, 1]) == 1


def test_ties_are_never_split_by_quantile_bins():
    y_true, y_prob = np.arange(60) % 2, np.repeat([0.3, 0.5, 0.7], 20)
    error = expected_calibration_error(y_true, y_prob, strategy="quantile", n_bins=15)
    assert error == pytest.approx((0.2 + 0 + 0.2) / 3)


def test_one_outcome_only_is_allowed():
    assert expected_calibration_error([1, 1, 1], [0.8, 0.8, 0.8]) == pytest.approx(0.2)


def test_constant_confidence_of_many_rows():
    y_true = np.zeros(1_000_000)
    y_true[:600_000] = 1
    y_prob = np.full(1_000_000, 0.7)
    assert expected_calibration_error(y_true, y_prob, strategy="quantile") == pytest.approx(0.1)


def test_maximum_leaves_out_light_bins():
    y_true = np.array([1] * 6 + [0])
    y_prob = np.array([0.9] * 6 + [0.5])
    assert maximum_calibration_error(y_true, y_prob) == pytest.approx(0.1)
    assert maximum_calibration_error(y_true, y_prob, min_count=1) == pytest.approx(0.5)


def test_maximum_counts_weight_not_rows():
    assert maximum_calibration_error([1], [0.4], sample_weight=[5]) == pytest.approx(0.6)


def test_maximum_says_when_no_bin_is_heavy_enough():
    with pytest.raises(ValueError, match=r"No bin reaches `min_count`=5 \(the heaviest has 1\)"):
        maximum_calibration_error([0, 1], [0.2, 0.8])


def test_squared_without_debiasing_is_the_square_of_l2(events):
    squared = squared_calibration_error(*events, strategy="uniform", debias=False)
    assert squared == pytest.approx(expected_calibration_error(*events, norm="l2") ** 2)


def test_squared_follows_the_formula_of_kumar():
    y_true = np.array([0, 1, 1, 0, 1, 1, 1])
    y_prob = np.array([0.3, 0.3, 0.3, 0.3, 0.8, 0.8, 0.8])
    low = (0.5 - 0.3) ** 2 - 0.25 / 3
    high = (1 - 0.8) ** 2
    assert squared_calibration_error(y_true, y_prob, n_bins=2) == pytest.approx(
        (4 * low + 3 * high) / 7
    )


def test_squared_is_unbiased_over_all_outcomes_of_a_small_design():
    y_prob, truth = np.array([0.2] * 3 + [0.7] * 3), np.array([0.4] * 3 + [0.6] * 3)
    mean = 0.0
    for code in range(2**6):
        y_true = (code >> np.arange(6)) & 1
        chance = np.prod(np.where(y_true, truth, 1 - truth))
        mean += chance * squared_calibration_error(y_true, y_prob, n_bins=2)
    assert mean == pytest.approx((0.2**2 + 0.1**2) / 2)


def test_squared_can_be_negative():
    assert squared_calibration_error([0, 1, 0, 1], [0.5] * 4) == pytest.approx(-0.25 / 3)


def test_squared_bin_of_one_row_adds_nothing():
    y_true, y_prob = [1, 1, 0], [0.6, 0.6, 0.1]
    error = squared_calibration_error(y_true, y_prob, strategy="uniform")
    assert error == pytest.approx(2 / 3 * 0.4**2)


def test_squared_needs_a_bin_with_two_rows():
    with pytest.raises(ValueError, match="needs a bin with two rows"):
        squared_calibration_error([1], [0.3])


def test_squared_in_one_bin_per_value_is_the_calibration_part_of_the_brier_score(rng):
    y_prob = rng.choice([0.2, 0.5, 0.8], 300)
    y_true = rng.random(300) < 0.6
    rates = {p: y_true[y_prob == p].mean() for p in (0.2, 0.5, 0.8)}
    recalibrated = np.array([rates[p] for p in y_prob])
    gain = brier_score_loss(y_true, y_prob) - brier_score_loss(y_true, recalibrated)
    error = squared_calibration_error(y_true, y_prob, strategy="uniform", debias=False)
    assert error == pytest.approx(gain)


@pytest.mark.parametrize("name", ["kull2019_densenet40_c100", "kull2019_resnet110_c10"])
def test_published_value_of_kull_2019_is_reproduced(name, shared_data):
    # Uncalibrated confidence-ECE of Kull et al. (NeurIPS 2019), kept beside the predictions.
    published = json.loads((shared_data / "manifest.json").read_text())[f"toplabel/{name}.npz"]
    with np.load(shared_data / "toplabel" / f"{name}.npz") as data:
        right = data["true"] == data["pred"]
        error = expected_calibration_error(right, data["confidence"])
    assert error == pytest.approx(published["ece15"], abs=1e-6)
