"""What every metric promises: weights are repetitions, order and dtype do not matter, bad
input is refused with a sentence that names the argument."""

from functools import partial

import numpy as np
import pytest

from sk_arcal.metrics import (
    calibration_error_difference,
    calibration_error_interval,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_table,
    score_decomposition,
    smooth_calibration_error,
    squared_calibration_error,
    top_label_calibration_error,
    worst_group_calibration_error,
)


def _ece_by_group(y_true, y_prob, **params):
    groups = np.ravel(y_true) == 1 if len(y_true) else []
    return worst_group_calibration_error(y_true, y_prob, groups, **params)


def _log_score_parts(y_true, y_prob, **params):
    parts = score_decomposition(y_true, y_prob, score="log", **params)
    return [parts.score, parts.miscalibration, parts.discrimination, parts.uncertainty]


def _difference_ends(y_true, y_prob, **params):
    other = np.asarray(y_prob) / 2
    difference = calibration_error_difference(y_true, y_prob, other, random_state=0, **params)
    return [difference.estimate]


def _interval_ends(y_true, y_prob, **params):
    interval = calibration_error_interval(y_true, y_prob, random_state=0, **params)
    return [interval.estimate, interval.standard_error]


EVENT_METRICS = {
    "ece": expected_calibration_error,
    "ece_quantile": partial(expected_calibration_error, strategy="quantile"),
    "ece_l2": partial(expected_calibration_error, norm="l2"),
    "ece_quantile_7": partial(expected_calibration_error, strategy="quantile", n_bins=7),
    "maximum": partial(maximum_calibration_error, min_count=1),
    "squared": squared_calibration_error,
    "squared_biased": partial(squared_calibration_error, debias=False),
    "smooth": smooth_calibration_error,
    "brier": lambda *a, **k: score_decomposition(*a, **k).refinement,
    "log": _log_score_parts,
    "worst_group": _ece_by_group,
    "worst_group_quantile": partial(_ece_by_group, strategy="quantile"),
    "difference": _difference_ends,
    "interval": _interval_ends,
    "table": lambda *a, **k: reliability_table(*a, **k).event_rate,
}
CLASS_METRICS = {
    "top_label": top_label_calibration_error,
    "top_label_quantile": partial(top_label_calibration_error, strategy="quantile"),
    "classwise": classwise_calibration_error,
    "classwise_l2": partial(classwise_calibration_error, norm="l2"),
    "classwise_quantile": partial(classwise_calibration_error, strategy="quantile"),
    "classwise_predicted": partial(classwise_calibration_error, variant="predicted"),
}
event_metrics = pytest.mark.parametrize("metric", EVENT_METRICS.values(), ids=EVENT_METRICS)
class_metrics = pytest.mark.parametrize("metric", CLASS_METRICS.values(), ids=CLASS_METRICS)


@event_metrics
def test_event_metric_weight_equals_repetition(metric, events, rng):
    y_true, y_prob = events
    weight = rng.integers(1, 4, len(y_true))
    weighted = metric(y_true, y_prob, sample_weight=weight)
    repeated = metric(np.repeat(y_true, weight), np.repeat(y_prob, weight))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-10, atol=1e-13)


@event_metrics
def test_event_metric_row_of_zero_weight_is_absent(metric, events, rng):
    y_true, y_prob = events
    weight = rng.integers(0, 2, len(y_true))
    kept = weight > 0
    weighted = metric(y_true, y_prob, sample_weight=weight)
    np.testing.assert_allclose(weighted, metric(y_true[kept], y_prob[kept]), rtol=1e-12)


@event_metrics
def test_event_metric_ignores_row_order(metric, events, rng):
    y_true, y_prob = events
    order = rng.permutation(len(y_true))
    np.testing.assert_allclose(
        metric(y_true[order], y_prob[order]), metric(y_true, y_prob), rtol=1e-10, atol=1e-14
    )


@event_metrics
def test_event_metric_float32_input_equals_the_same_values_in_float64(metric, events):
    y_true, y_prob = events
    single = y_prob.astype(np.float32)
    np.testing.assert_array_equal(
        metric(y_true.astype(np.float32), single), metric(y_true, single.astype(np.float64))
    )


@event_metrics
def test_event_metric_takes_lists_columns_and_booleans(metric, events):
    y_true, y_prob = events
    np.testing.assert_array_equal(
        metric((y_true == 1).tolist(), y_prob[:, None]), metric(y_true, y_prob)
    )


@event_metrics
def test_event_metric_of_exact_0_and_1_is_finite_and_zero_where_right(metric):
    y_true = np.array([0.0, 1.0] * 10)
    values = np.asarray(metric(y_true, y_true), dtype=float)
    assert np.isfinite(values[~np.isnan(values)]).all()


@pytest.mark.parametrize(
    ("y_true", "y_prob", "weight", "error", "match"),
    [
        ([0, 1], [0.2, np.nan], None, ValueError, "`y_prob` must be finite; row 1 holds nan"),
        ([0, 1], [0.2, np.inf], None, ValueError, "`y_prob` must be finite"),
        ([0, 1], [0.2, 1.2], None, ValueError, r"`y_prob` must lie in \[0, 1\]; row 1 holds 1.2"),
        ([0, 1], [-0.1, 0.2], None, ValueError, "If these are logits"),
        ([0, 2], [0.1, 0.2], None, ValueError, "`y_true` must be 0 or 1"),
        ([0, np.nan], [0.1, 0.2], None, ValueError, "`y_true` must be finite"),
        (["no", "yes"], [0.1, 0.2], None, TypeError, "`y_true` must hold numbers"),
        ([0, 1], [0.1, 0.2, 0.3], None, ValueError, "`y_prob` has 3 rows where 2"),
        ([0, 1], [[0.1, 0.9], [0.2, 0.8]], None, ValueError, r"`y_prob` must have shape"),
        ([], [], None, ValueError, "`y_true` is empty"),
        ([0, 1], [0.1, 0.2], [1, -1], ValueError, "`sample_weight` must not be negative"),
        ([0, 1], [0.1, 0.2], [0, 0], ValueError, "`sample_weight` is zero in every row"),
        ([0, 1], [0.1, 0.2], [1], ValueError, "`sample_weight` has 1 rows where 2"),
    ],
)
@event_metrics
def test_event_metric_refuses_bad_input(metric, y_true, y_prob, weight, error, match):
    with pytest.raises(error, match=match):
        metric(y_true, y_prob, sample_weight=weight)


@class_metrics
def test_class_metric_weight_equals_repetition(metric, classes, rng):
    y_true, y_prob = classes
    weight = rng.integers(1, 4, len(y_true))
    repeated = metric(np.repeat(y_true, weight), np.repeat(y_prob, weight, axis=0))
    weighted = metric(y_true, y_prob, sample_weight=weight)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)


@class_metrics
def test_class_metric_row_of_zero_weight_is_absent(metric, classes, rng):
    y_true, y_prob = classes
    kept = rng.random(len(y_true)) < 0.5
    weighted = metric(y_true, y_prob, sample_weight=kept.astype(float))
    np.testing.assert_allclose(weighted, metric(y_true[kept], y_prob[kept]), rtol=1e-9)


@class_metrics
def test_class_metric_with_strings_equals_codes(metric, classes):
    y_true, y_prob = classes
    names = np.array(["ant", "bee", "cat", "dog", "elk"])
    assert metric(names[y_true], y_prob) == metric(y_true, y_prob)


@class_metrics
def test_class_metric_ignores_column_order_when_labels_say_it(metric, classes):
    y_true, y_prob = classes
    order = np.array([3, 0, 4, 1, 2])
    permuted = metric(y_true, y_prob[:, order], labels=order)
    np.testing.assert_allclose(permuted, metric(y_true, y_prob), rtol=1e-12)


@pytest.mark.parametrize(
    ("y_true", "y_prob", "params", "error", "match"),
    [
        ([0, 1], [0.2, 0.8], {}, ValueError, "at least two classes"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.7]], {}, ValueError, "row 1 sums to 1.2"),
        ([0, 1], [[0.2, 0.8], [np.nan, 1]], {}, ValueError, "`y_prob` must be finite"),
        ([0, 1], [[0.2, 0.8], [-0.5, 1.5]], {}, ValueError, r"must lie in \[0, 1\]"),
        ([0, 1, 1], [[0.2, 0.8], [0.5, 0.5]], {}, ValueError, "`y_prob` has 2 rows where 3"),
        ([0, 0], [[0.2, 0.8], [0.5, 0.5]], {}, ValueError, "1 different labels and `y_prob` has 2"),
        ([0, 3], [[0.2, 0.8], [0.5, 0.5]], {"labels": [0, 1]}, ValueError, "the label 3 in row 1"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.5]], {"labels": [0, 0]}, ValueError, "every class once"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.5]], {"labels": [0]}, ValueError, "`labels` has 1 rows"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.5]], {"labels": ["a", "b"]}, TypeError, "both as strings"),
        ([], np.empty((0, 2)), {}, ValueError, "`y_true` is empty"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.5]], {"n_bins": 0}, ValueError, "`n_bins` must be at least"),
        ([0, 1], [[0.2, 0.8], [0.5, 0.5]], {"norm": "max"}, ValueError, "`norm` must be one of"),
        (
            [0, 1],
            [[0.2, 0.8], [0.5, 0.5]],
            {"sample_weight": [1, -2]},
            ValueError,
            "must not be negative",
        ),
    ],
)
@pytest.mark.parametrize("metric", [top_label_calibration_error, classwise_calibration_error])
def test_class_metric_refuses_bad_input(metric, y_true, y_prob, params, error, match):
    with pytest.raises(error, match=match):
        metric(y_true, y_prob, **params)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"n_bins": 0}, ValueError, "`n_bins` must be at least 1"),
        ({"n_bins": 2.5}, TypeError, "`n_bins` must be an integer"),
        ({"strategy": "kmeans"}, ValueError, "`strategy` must be one of 'uniform', 'quantile'"),
    ],
)
@pytest.mark.parametrize(
    "metric",
    [
        expected_calibration_error,
        maximum_calibration_error,
        squared_calibration_error,
        reliability_table,
        calibration_error_interval,
    ],
)
def test_binned_metric_refuses_unknown_options(metric, params, error, match):
    with pytest.raises(error, match=match):
        metric([0, 1], [0.2, 0.7], **params)
