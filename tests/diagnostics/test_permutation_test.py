from itertools import combinations

import numpy as np
import pytest

from sk_arcal.diagnostics._matched_gaps import matched_confidence_gaps, usable_cells
from sk_arcal.diagnostics._null_gaps import null_gaps
from sk_arcal.diagnostics._permutation_test import routing_permutation_test


def simulated(n, rng, effect=0.0):
    confidence, routing = rng.uniform(0.5, 1, n), rng.standard_normal(n)
    probability = np.clip(confidence**2 + effect * np.sign(routing), 0, 1)
    return (rng.random(n) < probability).astype(float), confidence, routing


@pytest.mark.parametrize("value", ["accuracy", "residual"])
def test_pvalue_equals_enumeration_of_all_splits(value):
    rng = np.random.default_rng(5)
    y = np.array([1.0, 1, 1, 0, 1, 0, 0, 1, 0, 0])
    confidence, routing = rng.uniform(0.61, 0.66, 10), np.arange(10.0)
    values = y if value == "accuracy" else y - confidence
    observed = abs(values[5:].mean() - values[:5].mean())
    splits = [np.array(top) for top in combinations(range(10), 5)]
    gaps = [abs(values[top].mean() - np.delete(values, top).mean()) for top in splits]
    exact = np.mean(np.array(gaps) >= observed - 1e-12)
    result = routing_permutation_test(
        y, confidence, routing, n_groups=2, value=value, n_resamples=20_000, random_state=0
    )
    assert result.statistic == pytest.approx(observed)
    assert result.pvalue == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


@pytest.mark.parametrize("statistic", ["weighted_gap", "max_gap"])
def test_statistic_and_null_mean_are_those_of_the_gap_table(statistic):
    data = simulated(1500, np.random.default_rng(0))
    gaps = matched_confidence_gaps(*data, n_resamples=200, random_state=3)
    result = routing_permutation_test(*data, statistic=statistic, n_resamples=200, random_state=3)
    assert result.statistic == getattr(gaps, statistic)
    assert result.null_mean == getattr(gaps, f"null_{statistic}")


@pytest.mark.parametrize("statistic", ["weighted_gap", "max_gap"])
def test_pvalues_are_uniform_when_routing_is_unrelated(statistic):
    pvalues = [
        routing_permutation_test(
            *simulated(400, np.random.default_rng(seed)),
            statistic=statistic, n_resamples=99, random_state=seed,
        ).pvalue
        for seed in range(300)
    ]  # fmt: skip
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(pvalues) <= level)
        assert share == pytest.approx(level, abs=3.3 * np.sqrt(level * (1 - level) / 300))


def test_strong_effect_reaches_the_smallest_pvalue():
    data = simulated(3000, np.random.default_rng(0), effect=0.2)
    assert routing_permutation_test(*data, n_resamples=99, random_state=0).pvalue == 0.01


def test_no_variation_in_the_outcome_gives_pvalue_one():
    _, confidence, routing = simulated(300, np.random.default_rng(0))
    result = routing_permutation_test(np.ones(300), confidence, routing, value="accuracy")
    assert (result.statistic, result.pvalue) == (0, 1)


def test_accuracy_gaps_reject_a_true_null_when_routing_is_confidence():
    # the failure the documentation warns of, at its worst
    rng = np.random.default_rng(0)
    y, confidence, _ = simulated(10_000, rng)
    pvalues = {
        value: routing_permutation_test(
            y, confidence, confidence, n_bins=5, value=value, n_resamples=99, random_state=0
        ).pvalue
        for value in ("accuracy", "calibrated_residual")
    }
    assert pvalues["accuracy"] == 0.01
    assert pvalues["calibrated_residual"] > 0.05


def test_settings_tell_how_the_number_was_made():
    data = simulated(500, np.random.default_rng(0))
    result = routing_permutation_test(*data, n_bins=8, statistic="max_gap", n_resamples=10)
    assert result.settings == {
        "statistic": "max_gap", "n_bins": 8, "strategy": "uniform", "n_groups": 3,
        "value": "calibrated_residual", "min_count": 5,
    }  # fmt: skip


def test_unknown_statistic_is_refused():
    data = simulated(500, np.random.default_rng(0))
    with pytest.raises(ValueError, match="`statistic` must be one of 'weighted_gap', 'max_gap'"):
        routing_permutation_test(*data, statistic="ece")


@pytest.mark.parametrize("h", [1, 40, 3000])
def test_sequential_pvalue_stops_at_the_exceedance_asked_for(h):
    y, confidence, routing = simulated(9000, np.random.default_rng(3))
    options = {"value": "residual", "max_exceedances": h, "n_resamples": 20_000}
    result = routing_permutation_test(y, confidence, routing, random_state=4, **options)
    ties, _, shuffles = np.random.default_rng(4).spawn(3)
    cells, bins = usable_cells(confidence, routing, 15, "uniform", 3, min_count=5, rng=ties)
    drawn = null_gaps(cells, y - confidence, bins, 20_000, shuffles)
    sizes = cells.counts[bins].sum(axis=1)
    gaps = np.abs(drawn) @ (sizes / sizes.sum())
    n_drawn = int(np.flatnonzero(gaps >= result.statistic - 1e-12)[h - 1]) + 1
    assert result.n_resamples == n_drawn
    assert result.pvalue == h / n_drawn
    assert result.null_mean == pytest.approx(gaps[:n_drawn].mean(), rel=1e-12)
    assert result.settings["max_exceedances"] == h


def test_sequential_pvalue_is_the_plain_one_where_nothing_stops_it():
    data = simulated(3000, np.random.default_rng(0), effect=0.2)
    plain, sequential = (
        routing_permutation_test(*data, n_resamples=2500, max_exceedances=h, random_state=0)
        for h in (None, 5)
    )
    assert sequential.pvalue == plain.pvalue == 1 / 2501
    assert sequential.n_resamples == 2500
    assert sequential.null_std == plain.null_std


def test_sequential_pvalues_keep_their_level():
    pvalues = np.array([
        routing_permutation_test(
            *simulated(400, np.random.default_rng(seed)), n_resamples=400, max_exceedances=8,
            random_state=seed,
        ).pvalue
        for seed in range(250)
    ])  # fmt: skip
    for level in (0.05, 0.2, 0.5):
        limit = level + 3 * np.sqrt(level * (1 - level) / 250)
        assert level / 2 < np.mean(pvalues <= level) < limit


def test_ties_count_against_rejection():
    # rounding of the transforms must not make the observed gap larger than its equals
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(600), np.zeros(600)]
    confidence = np.full(1200, 0.9)
    result = routing_permutation_test(
        y, confidence, np.arange(1200.0), n_groups=2, n_bins=1, value="residual",
        n_resamples=2000, random_state=rng,
    )  # fmt: skip
    assert result.statistic == pytest.approx(1)
    everything_equal = routing_permutation_test(
        np.ones(1200), np.full(1200, 0.9), rng.random(1200), value="residual", random_state=0
    )
    assert everything_equal.pvalue == 1


def test_result_does_not_depend_on_the_number_of_jobs():
    data = simulated(3000, np.random.default_rng(0))
    options = {"n_resamples": 1500, "max_exceedances": 1400, "random_state": 0}
    alone, shared = (routing_permutation_test(*data, n_jobs=k, **options) for k in (None, 2))
    assert alone.pvalue == shared.pvalue
    assert alone.null_mean == shared.null_mean


def test_no_exceedance_is_no_rule_to_stop_by():
    data = simulated(500, np.random.default_rng(0))
    with pytest.raises(ValueError, match="`max_exceedances` must be at least 1"):
        routing_permutation_test(*data, max_exceedances=0)
