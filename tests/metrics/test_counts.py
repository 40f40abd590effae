from functools import partial

import numpy as np
import pytest
from joblib import parallel_config
from scipy.stats import binom

from sk_arcal.metrics import (
    _bootstrap,
    _interval,
    _noise_floor,
    bootstrap_interval,
    calibration_error_interval,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
    smooth_calibration_error,
    worst_group_calibration_error,
)
from sk_arcal.metrics._blocks import cell_ruler
from sk_arcal.metrics._counts import MANY_ROWS, draw_outcomes, draw_rows, metric_of_cells
from sk_arcal.metrics._sums import outcome_sums

N_ROWS = MANY_ROWS + 1000
METRICS = {
    "expected": (expected_calibration_error, {}),
    "expected_l2": (expected_calibration_error, {"norm": "l2", "n_bins": 7}),
    "maximum": (maximum_calibration_error, {"n_bins": 10}),
    "smooth": (smooth_calibration_error, {}),
    "smooth_width": (smooth_calibration_error, {"bandwidth": 0.05}),
    "worst_group": (worst_group_calibration_error, {}),
}
metrics = pytest.mark.parametrize(("metric", "params"), METRICS.values(), ids=METRICS)


@pytest.fixture
def many(rng):
    y_prob = np.concatenate([rng.random(N_ROWS // 2), rng.beta(9, 1, N_ROWS - N_ROWS // 2)])
    y_true = (rng.random(N_ROWS) < 0.1 + 0.8 * y_prob).astype(float)
    return y_true, y_prob, rng.integers(0, 3, N_ROWS)


@pytest.fixture
def by_rows(monkeypatch):
    """A call with every row drawn, whatever their number."""

    def call(function, *args, **params):
        with monkeypatch.context() as patch:
            for module in (_bootstrap, _interval, _noise_floor):
                patch.setattr(module, "MANY_ROWS", np.inf)
            return function(*args, **params)

    return call


def _groups(metric, groups):
    return groups if metric is worst_group_calibration_error else None


@metrics
def test_metric_of_cells_is_that_of_the_rows(metric, params, many):
    y_true, y_prob, groups = many
    groups = _groups(metric, groups)
    n_cells, of_cells = metric_of_cells(metric, params, grouped=groups is not None)
    ruler = cell_ruler(n_cells)
    sums, _ = outcome_sums(y_true, y_prob, None, ruler, groups, 1 if groups is None else 3)
    expected = metric(*((y_true, y_prob) if groups is None else many), **params)
    assert of_cells(ruler)(sums) == pytest.approx(expected, abs=1e-6)


@metrics
def test_floor_by_counts_is_that_by_rows(metric, params, many, by_rows):
    _, y_prob, groups = many
    use = partial(
        noise_floor, y_prob, metric=metric, groups=_groups(metric, groups), n_resamples=60, **params
    )
    counted, drawn = use(random_state=0), by_rows(use, random_state=1)
    assert (counted.values != by_rows(use, random_state=0).values).all()
    spread = drawn.std / np.sqrt(60)
    assert counted.mean == pytest.approx(drawn.mean, abs=5 * spread)
    assert 0.5 < counted.std / drawn.std < 2


def test_floor_of_one_confidence_is_the_mean_absolute_deviation_of_a_binomial():
    n, p = N_ROWS, 0.3
    hits = np.arange(n + 1)
    expected = binom.pmf(hits, n, p) @ np.abs(hits / n - p)
    floor = noise_floor(np.full(n, p), n_resamples=1000, random_state=0)
    assert floor.mean == pytest.approx(expected, abs=4 * floor.std / np.sqrt(1000))


def test_drawn_outcomes_have_mean_and_variance_of_their_confidence(rng):
    y_prob = 0.2 + rng.random(20_000) / 1024
    cells, _ = outcome_sums(np.zeros(20_000), y_prob, None, cell_ruler(1024))
    hits = np.array([draw_outcomes(cells, rng).hits.sum() for _ in range(500)])
    variance = (y_prob * (1 - y_prob)).sum()
    assert hits.mean() == pytest.approx(y_prob.sum(), abs=4 * np.sqrt(variance / 500))
    assert hits.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 500))


@pytest.mark.parametrize("low", [0.0, 0.3, 1 - 1 / 1024])
def test_variance_within_a_cell_is_bounded_as_stated(low, rng):
    width = 1 / 1024
    for values in (rng.random(1000), rng.random(1000) < 0.5, rng.random(1000) < 0.01):
        y_prob = low + width * values
        mean = y_prob.mean()
        assert y_prob.var() <= 2 * width * mean * (1 - mean)


def test_drawn_rows_keep_number_and_mean_confidence_of_cells(many):
    y_true, y_prob, _ = many
    cells, _ = outcome_sums(y_true, y_prob, None, cell_ruler(7680))
    drawn = draw_rows(cells, N_ROWS, np.random.default_rng(0))
    assert drawn.weight.sum() == N_ROWS
    assert (drawn.weight[cells.weight == 0] == 0).all()
    mean = drawn.confidence.sum() / N_ROWS
    assert mean == pytest.approx(y_prob.mean(), abs=4 * y_prob.std() / np.sqrt(N_ROWS))


@metrics
def test_bootstrap_by_counts_is_that_by_rows(metric, params, many, by_rows):
    y_true, y_prob, groups = many
    use = partial(
        bootstrap_interval, metric, y_true, y_prob, groups=_groups(metric, groups), n_resamples=60
    )
    counted = use(random_state=0, **params)
    drawn = by_rows(use, random_state=1, **params)
    assert counted.estimate == drawn.estimate
    spread = drawn.values.std() / np.sqrt(60)
    assert counted.values.mean() == pytest.approx(drawn.values.mean(), abs=5 * spread)
    assert 0.5 < counted.values.std() / drawn.values.std() < 2


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_interval_by_counts_is_that_by_rows(strategy, many, by_rows):
    use = partial(calibration_error_interval, *many[:2], strategy=strategy, n_resamples=60)
    counted, drawn = use(random_state=0), by_rows(use, random_state=1)
    assert counted.estimate == drawn.estimate
    assert counted.standard_error == drawn.standard_error
    assert counted.corrected == pytest.approx(drawn.corrected, abs=0.15 * drawn.standard_error)
    assert counted.low == pytest.approx(drawn.low, abs=0.15 * drawn.standard_error)


@pytest.mark.parametrize(
    ("metric", "params", "grouped"),
    [
        (np.mean, {}, False),
        (METRICS, {}, False),
        (expected_calibration_error, {"strategy": "quantile"}, False),
        (expected_calibration_error, {"sample_weight": 1}, False),
        (expected_calibration_error, {}, True),
        (worst_group_calibration_error, {}, False),
    ],
)
def test_other_metrics_and_other_uses_see_the_rows(metric, params, grouped):
    assert metric_of_cells(metric, params, grouped=grouped) is None


@pytest.mark.parametrize(
    ("metric", "params", "match"),
    [
        (expected_calibration_error, {"n_bins": 0}, "`n_bins` must be at least 1"),
        (expected_calibration_error, {"norm": "max"}, "`norm` must be one of"),
        (maximum_calibration_error, {"min_count": -1}, "`min_count` must lie in"),
        (smooth_calibration_error, {"bandwidth": 0}, "`bandwidth` must lie in"),
    ],
)
def test_options_are_refused_as_by_the_metric(metric, params, match, many):
    with pytest.raises(ValueError, match=match):
        noise_floor(many[1], metric=metric, **params)


def test_floor_by_counts_does_not_depend_on_the_number_of_jobs(many):
    first = noise_floor(many[1], n_resamples=6, random_state=3)
    with parallel_config(backend="threading"):
        second = noise_floor(many[1], n_resamples=6, random_state=3, n_jobs=2)
    np.testing.assert_array_equal(first.values, second.values)
