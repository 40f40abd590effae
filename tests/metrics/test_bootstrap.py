import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from sk_arcal.metrics import bootstrap_interval, worst_group_calibration_error


def test_estimate_is_the_metric(events):
    interval = bootstrap_interval(brier_score_loss, *events, n_resamples=5, random_state=0)
    assert interval.estimate == pytest.approx(brier_score_loss(*events))


def test_interval_of_a_mean_is_nearly_the_normal_one(events):
    squares = (events[0] - events[1]) ** 2
    half = norm.ppf(0.95) * squares.std() / np.sqrt(len(squares))
    interval = bootstrap_interval(
        lambda y, p: np.mean((y - p) ** 2), *events, level=0.9, n_resamples=3000, random_state=0
    )
    assert interval.low == pytest.approx(squares.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(squares.mean() + half, abs=0.15 * half)


def test_ends_are_quantiles_of_the_values(events):
    interval = bootstrap_interval(
        brier_score_loss, *events, level=0.8, n_resamples=50, random_state=0
    )
    assert interval.low == np.quantile(interval.values, 0.1)
    assert interval.high == pytest.approx(np.quantile(interval.values, 0.9))


def test_class_probabilities_and_string_labels(classes):
    y_true, y_prob = classes
    names = np.array(["ant", "bee", "cat", "dog", "elk"])
    interval = bootstrap_interval(
        log_loss, names[y_true], y_prob, n_resamples=20, random_state=0, labels=names
    )
    assert interval.low < log_loss(y_true, y_prob) < interval.high


def test_rows_groups_and_weights_are_drawn_together():
    y_true = np.arange(30) % 2

    def metric(outcome, probability, groups, *, sample_weight):
        np.testing.assert_array_equal(outcome, probability)
        np.testing.assert_array_equal(outcome, groups)
        np.testing.assert_array_equal(outcome + 1, sample_weight)
        return 0.0

    bootstrap_interval(
        metric, y_true, y_true, groups=y_true, sample_weight=y_true + 1, n_resamples=5
    )


def test_groups_reach_a_group_metric(events):
    groups = np.arange(400) % 3
    interval = bootstrap_interval(
        worst_group_calibration_error, *events, groups=groups, n_resamples=10, random_state=0
    )
    assert interval.estimate == worst_group_calibration_error(*events, groups)


def test_same_seed_gives_the_same_interval_for_any_number_of_jobs(events):
    first = bootstrap_interval(brier_score_loss, *events, n_resamples=6, random_state=1)
    second = bootstrap_interval(brier_score_loss, *events, n_resamples=6, random_state=1, n_jobs=2)
    # Processes, not threads: the closure over the rows has to travel.
    np.testing.assert_array_equal(first.values, second.values)


def test_any_labels_are_passed_through():
    interval = bootstrap_interval(
        accuracy_score, ["a", "b", "a"], ["a", "b", "b"], n_resamples=5, random_state=0
    )
    assert interval.estimate == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"y_prob": [0.1]}, "`y_prob` has 1 rows where 2"),
        ({"groups": [0, 1, 2]}, "`groups` has 3 rows where 2"),
        ({"sample_weight": [1, -1]}, "`sample_weight` must not be negative"),
        ({"level": 1}, r"`level` must lie in \(0, 1\)"),
        ({"n_resamples": 0}, "`n_resamples` must be at least 2"),
        ({"y_true": []}, "`y_true` is empty"),
    ],
)
def test_refuses(params, match):
    arguments = {"y_true": [0, 1], "y_prob": [0.1, 0.8], **params}
    with pytest.raises(ValueError, match=match):
        bootstrap_interval(brier_score_loss, **arguments)


def test_refuses_a_metric_that_is_not_callable():
    with pytest.raises(TypeError, match="`metric` must be callable"):
        bootstrap_interval("brier", [0, 1], [0.1, 0.8])
