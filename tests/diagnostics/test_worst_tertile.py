import numpy as np
import pytest

from sk_arcal.diagnostics._confidence_bins import confidence_bins
from sk_arcal.diagnostics._worst_tertile import worst_tertile_error
from sk_arcal.metrics import rank_groups, worst_group_calibration_error


def simulated(n, rng, effect=0.0):
    confidence, routing = rng.uniform(0.5, 1, n), rng.standard_normal(n)
    probability = np.clip(confidence + effect * np.sign(routing), 0, 1)
    return (rng.random(n) < probability).astype(float), confidence, routing


@pytest.mark.parametrize(("n_groups", "n_bins"), [(3, 15), (2, 15), (5, 4)])
def test_error_is_the_worst_group_calibration_error_of_rank_groups(n_groups, n_bins):
    y, confidence, routing = simulated(1001, np.random.default_rng(0))
    result = worst_tertile_error(
        y, confidence, routing, n_groups=n_groups, n_bins=n_bins, n_resamples=1
    )
    groups = rank_groups(routing, n_groups)
    expected = worst_group_calibration_error(y, confidence, groups, n_bins=n_bins)
    assert result.error == pytest.approx(expected, abs=1e-12)
    assert len(result.stratum_errors) == n_groups


def test_null_law_is_that_of_outcomes_shuffled_inside_bins():
    rng = np.random.default_rng(1)
    y, confidence, routing = simulated(400, rng)
    result = worst_tertile_error(y, confidence, routing, n_resamples=4000, random_state=0)
    codes, n_bins = confidence_bins(confidence)
    groups, errors = rank_groups(routing, 3), []
    for _ in range(800):
        shuffled = y.copy()
        for b in range(n_bins):
            rows = codes == b
            shuffled[rows] = rng.permutation(y[rows])
        errors.append(worst_group_calibration_error(shuffled, confidence, groups))
    assert result.null_mean == pytest.approx(np.mean(errors), abs=4 * np.std(errors) / 800**0.5)
    assert result.null_std == pytest.approx(np.std(errors), rel=0.12)


def test_shuffles_keep_the_number_of_events():
    # one stratum holds every row of a bin: its error cannot change under the shuffles
    rng = np.random.default_rng(0)
    confidence = np.repeat([0.6, 0.8, 0.95], 200)
    y = (rng.random(600) < 0.7).astype(float)
    result = worst_tertile_error(y, confidence, confidence, random_state=0)
    assert result.null_std == pytest.approx(0, abs=1e-12)
    assert result.null_mean == pytest.approx(result.error)
    assert result.pvalue == 1


def test_pvalue_is_not_anticonservative_when_routing_is_unrelated():
    pvalues = np.array(
        [
            worst_tertile_error(
                *simulated(500, np.random.default_rng(seed)), n_resamples=99, random_state=seed
            ).pvalue
            for seed in range(300)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        assert (pvalues <= level).mean() < level + 3 * np.sqrt(level * (1 - level) / 300)


def test_strong_effect_stands_out_of_the_null():
    data = simulated(3000, np.random.default_rng(0), effect=0.15)
    result = worst_tertile_error(*data, random_state=0)
    assert result.error > result.null_mean + 5 * result.null_std
    assert result.pvalue == pytest.approx(1 / 201)


def test_ties_in_routing_are_not_broken_by_row_order():
    y = np.r_[np.zeros(300), np.ones(700)]
    assert worst_tertile_error(y, np.full(1000, 0.7), np.zeros(1000), random_state=0).error < 0.08


def test_same_seed_same_result():
    data = simulated(500, np.random.default_rng(0))
    assert worst_tertile_error(*data, random_state=1) is not None
    first, second = (worst_tertile_error(*data, random_state=1).null_mean for _ in range(2))
    assert first == second


def test_fewer_rows_than_strata_are_refused():
    with pytest.raises(ValueError, match="3 strata need at least as many rows; got 2"):
        worst_tertile_error([0, 1], [0.5, 0.6], [1.0, 2.0])
