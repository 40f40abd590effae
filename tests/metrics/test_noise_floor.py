import numpy as np
import pytest
from joblib import parallel_config
from scipy.stats import binom

from sk_arcal.metrics import (
    classwise_calibration_error,
    expected_calibration_error,
    group_calibration_error,
    noise_floor,
    worst_group_calibration_error,
)


def test_mean_is_the_mean_absolute_deviation_of_a_binomial():
    n, p = 60, 0.3
    hits = np.arange(n + 1)
    expected = binom.pmf(hits, n, p) @ np.abs(hits / n - p)
    floor = noise_floor(np.full(n, p), n_resamples=4000, random_state=0)
    assert floor.mean == pytest.approx(expected, abs=4 * floor.std / np.sqrt(4000))


def test_quantile_is_that_of_a_binomial():
    n, p = 400, 0.5
    expected = binom.ppf(0.975, n, p) / n - p
    floor = noise_floor(np.full(n, p), n_resamples=2000, random_state=0)
    assert floor.quantile_95 == pytest.approx(expected, abs=0.003)


def test_floor_of_certain_predictions_is_zero():
    floor = noise_floor(np.array([0.0, 1.0] * 20), n_resamples=5, random_state=0)
    np.testing.assert_array_equal(floor.values, 0)


def test_metric_is_applied_as_on_data(rng):
    y_prob, groups = rng.random(50), rng.choice(["x", "y"], 50)
    seen = []

    def metric(y_true, probability, codes, *, n_bins):
        seen.append((set(np.unique(y_true)), probability.tolist(), codes.tolist(), n_bins))
        return 0.0

    noise_floor(y_prob, metric=metric, groups=groups, n_resamples=2, n_bins=3)
    outcomes, probability, codes, n_bins = seen[0]
    assert outcomes <= {0.0, 1.0}
    assert probability == y_prob.tolist()
    assert codes == (groups == "y").astype(int).tolist()
    assert n_bins == 3


def test_worst_of_three_groups_reads_about_twice_the_overall_floor(rng):
    y_prob, groups = 0.5 + 0.5 * rng.random(3000), np.arange(3000) % 3
    overall = noise_floor(y_prob, random_state=0)
    worst = noise_floor(y_prob, metric=worst_group_calibration_error, groups=groups, random_state=0)
    assert 1.7 < worst.mean / overall.mean < 2.5


def test_floor_of_class_probabilities_keeps_absent_classes(rng):
    y_prob = rng.dirichlet([5, 1, 0.01], 40)
    floor = noise_floor(y_prob, metric=classwise_calibration_error, n_resamples=20, random_state=0)
    assert 0 < floor.mean < 0.1


def test_drawn_labels_follow_the_class_probabilities(rng):
    y_prob = np.tile([0.2, 0.0, 0.5, 0.3], (4000, 1))
    shares = []

    def metric(y_true, probability, labels):
        shares.append(np.bincount(y_true, minlength=len(labels)) / len(y_true))
        return 0.0

    noise_floor(y_prob, metric=metric, n_resamples=2, random_state=0)
    np.testing.assert_allclose(shares[0], [0.2, 0.0, 0.5, 0.3], atol=0.03)
    assert shares[0][1] == 0


def test_same_seed_gives_the_same_floor_for_any_number_of_jobs(rng):
    y_prob = rng.random(100)
    first = noise_floor(y_prob, n_resamples=6, random_state=3)
    with parallel_config(backend="threading"):
        second = noise_floor(y_prob, n_resamples=6, random_state=3, n_jobs=2)
    np.testing.assert_array_equal(first.values, second.values)


def test_passes_options_to_the_metric(rng):
    y_prob = rng.random(200)
    few = noise_floor(y_prob, n_bins=2, random_state=0)
    many = noise_floor(y_prob, n_bins=50, random_state=0)
    assert few.mean < many.mean


def test_single_row_has_a_floor():
    floor = noise_floor([0.3], random_state=0)
    assert floor.mean == pytest.approx(2 * 0.3 * 0.7, abs=0.05)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"y_prob": [0.2, 1.3]}, ValueError, r"`y_prob` must lie in \[0, 1\]"),
        ({"y_prob": []}, ValueError, "`y_prob` is empty"),
        ({"n_resamples": 1}, ValueError, "`n_resamples` must be at least 2"),
        ({"metric": "ece"}, TypeError, "`metric` must be callable"),
        ({"groups": [0, 1, 1]}, ValueError, "`groups` has 3 rows where 2"),
        ({"random_state": "seed"}, TypeError, "`random_state` must be"),
        (
            {"metric": group_calibration_error, "groups": [0, 1]},
            TypeError,
            "group_calibration_error returned GroupCalibrationError",
        ),
    ],
)
def test_refuses(params, error, match):
    with pytest.raises(error, match=match):
        noise_floor(**{"y_prob": [0.2, 0.7], **params})


def test_real_predictions_far_above_their_floor(shared_data):
    with np.load(shared_data / "toplabel" / "kull2019_resnet110_c10.npz") as data:
        right, confidence = data["true"] == data["pred"], data["confidence"]
    floor = noise_floor(confidence, n_resamples=50, random_state=0)
    assert expected_calibration_error(right, confidence) > 5 * floor.quantile_95
