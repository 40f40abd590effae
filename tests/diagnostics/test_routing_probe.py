"""The probe with the feature against its twins without."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from sk_arcal.diagnostics import routing_probe
from sk_arcal.diagnostics._routing_probe import _summarise


def rows(effect=0.0, n=800, seed=0):
    """Confidence, an independent feature, and an event that the feature shifts by `effect`."""
    rng = np.random.default_rng(seed)
    confidence, feature = rng.beta(6, 2, n), rng.random(n)
    truth = np.clip(confidence + effect * (2 * feature - 1), 0, 1)
    return (rng.random(n) < truth).astype(int), confidence, feature


def probe(y, confidence, feature, **settings):
    return routing_probe(y, confidence, feature, **{"random_state": 0, "n_shuffles": 8} | settings)


def log_likelihood(y, p):
    return np.log(np.where(y == 1, p, 1 - p)).mean()


# --- the answer ----------------------------------------------------------------------------------


def test_feature_that_matters_gains_more_than_its_shuffled_twins():
    result = probe(*rows(0.3))
    assert 0 < result.gain_low < result.gain < result.gain_high
    assert result.gain > result.shuffled_gains.max()


def test_gain_nears_that_of_the_truth():
    y, confidence, feature = rows(0.25, n=2000)
    truth = np.clip(confidence + 0.25 * (2 * feature - 1), 1e-9, 1 - 1e-9)
    best = log_likelihood(y, truth) - log_likelihood(y, confidence)
    assert 0.6 * best < probe(y, confidence, feature, n_shuffles=1).gain < 1.1 * best


def test_useless_feature_is_not_credited_with_what_calibration_gains():
    y, confidence, feature = rows(n=2000)
    overconfident = expit(3 * logit(confidence))
    result = probe(y, overconfident, feature)
    assert result.gain < 0.005
    assert result.pvalue > 0.2


def test_rank_among_the_twins_is_a_pvalue():
    n_tests = 40
    pvalues = [
        probe(*rows(n=150, seed=seed), random_state=seed, n_shuffles=9).pvalue
        for seed in range(n_tests)
    ]
    for level in (0.1, 0.2, 0.5):
        assert np.sum(np.array(pvalues) <= level + 1e-9) <= binom.ppf(0.999, n_tests, level)


def test_levels_without_order_are_told_apart():
    y, confidence, feature = rows()
    names = np.array(["red", "green", "blue"])[(3 * feature).astype(int)]
    truth = np.clip(confidence + np.where(names == "green", -0.4, 0.1), 0, 1)
    y = (np.random.default_rng(1).random(len(y)) < truth).astype(int)
    result = probe(y, confidence, names)
    assert result.gain > max(0.03, result.shuffled_gains.max())


# --- definitions ---------------------------------------------------------------------------------


def test_pvalue_counts_the_twins_that_do_as_well():
    result = probe(*rows(0.3), n_shuffles=6)
    assert result.pvalue == (1 + np.sum(result.shuffled_gains >= result.gain)) / 7


def test_shuffling_stops_at_the_third_twin_that_does_as_well():
    result = probe(*rows(), n_shuffles=500)
    places = 1 + np.flatnonzero(result.shuffled_gains >= result.gain)
    assert len(result.shuffled_gains) < 500
    assert result.pvalue == 3 / places[2]


def test_constant_feature_has_the_gain_of_its_twins():
    y, confidence, _ = rows()
    result = probe(y, confidence, np.ones(len(y)))
    assert (result.shuffled_gains == result.gain).all()
    assert result.pvalue == 1


# --- invariances ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [np.exp, lambda f: 1e300 * f, lambda f: f.astype(object)])
def test_only_the_ranks_of_numbers_count(change):
    y, confidence, feature = rows(0.2)
    expected, changed = (probe(y, confidence, f) for f in (feature, change(feature)))
    np.testing.assert_allclose(changed.gain, expected.gain, rtol=1e-9)


def test_names_of_levels_do_not_count():
    y, confidence, feature = rows(0.2)
    code = (3 * feature).astype(int)
    expected, renamed = (
        probe(y, confidence, np.array(list(names))[code], n_shuffles=1) for names in ("abc", "bca")
    )
    np.testing.assert_allclose(renamed.gain, expected.gain, rtol=1e-9)


def test_columns_and_series_equal_vectors():
    y, confidence, feature = rows(0.2)
    expected = probe(y, confidence, feature)
    column = probe(pd.Series(y), confidence[:, None], pd.DataFrame({"depth": feature}))
    np.testing.assert_array_equal(column.shuffled_gains, expected.shuffled_gains)


def test_result_does_not_depend_on_the_number_of_jobs():
    data = rows(0.1, n=200)
    alone, together = (probe(*data, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(alone.shuffled_gains, together.shuffled_gains)
    assert alone.gain == together.gain


def test_equal_seeds_give_equal_results_and_others_do_not():
    data = rows(0.1, n=200)
    first, again, other = (probe(*data, random_state=seed).gain for seed in (0, 0, 1))
    assert first == again != other


# --- groups and size -----------------------------------------------------------------------------


def test_groups_stay_in_one_fold():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 10)
    # Within a group all outcomes agree, so that a row gives away its group.
    y = np.repeat(rng.random(60) < 0.5, 10).astype(int)
    names, confidence = np.array([f"g{g}" for g in group]), np.full(600, 0.5)
    assert probe(y, confidence, names).gain > 0.3
    assert probe(y, confidence, names, groups=group).gain < 0.05


def test_interval_of_rows_that_repeat_each_other_is_that_of_the_groups():
    gains = np.random.default_rng(0).normal(size=50)
    once = _summarise(gains, np.zeros(1), 1, np.arange(50))
    often = _summarise(np.repeat(gains, 4), np.zeros(1), 1, np.repeat(np.arange(50), 4))
    half_width = 1.96 * gains.std() / np.sqrt(50)
    np.testing.assert_allclose(
        [once.gain - once.gain_low, often.gain_high - often.gain], half_width
    )


def test_more_rows_than_asked_for_are_thinned():
    result = probe(*rows(n=500), max_samples=200)
    assert result.n_samples == 200


@pytest.mark.parametrize("seed", range(3))
def test_large_groups_survive_thinning(seed):
    data = rows(n=500)
    group = np.where(np.arange(500) < 400, "large", "small")
    assert probe(*data, groups=group, max_samples=200, random_state=seed).n_samples == 200


@pytest.mark.parametrize("n", [2, 3, 5])
def test_very_few_rows(n):
    y, confidence, feature = rows(n=n)
    assert np.isfinite(probe(y, confidence, feature).gain)


@pytest.mark.parametrize(
    ("y", "confidence"),
    [
        (np.ones(100), np.linspace(0.1, 0.9, 100)),
        (np.zeros(100), np.linspace(0.1, 0.9, 100)),
        (np.arange(100) % 2, np.full(100, 0.7)),
        (np.arange(100) % 2, np.arange(100) // 2 % 2),
        (np.arange(100) >= 50, np.linspace(0, 1, 100)),
        (np.arange(100) < 50, np.linspace(0, 1, 100)),
    ],
    ids=["all", "none", "constant", "exactly-0-and-1", "separated", "backwards"],
)
def test_confidence_of_every_kind(y, confidence):
    result = probe(y, confidence, np.random.default_rng(0).random(100))
    assert np.isfinite([result.gain, result.gain_low, result.gain_high]).all()


# --- bad input -----------------------------------------------------------------------------------


Y, CONFIDENCE, FEATURE = rows(n=100)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"y_true": Y + 1}, ValueError, "`y_true` must be 0 or 1"),
        ({"y_prob": 2 * CONFIDENCE}, ValueError, r"`y_prob` must lie in \[0, 1\]"),
        ({"y_prob": CONFIDENCE[1:]}, ValueError, "99 rows where 100 were expected"),
        ({"routing": FEATURE[1:]}, ValueError, "`routing` has 99 rows where 100"),
        ({"routing": np.where(FEATURE > 0.5, np.nan, 1)}, ValueError, "`routing` must be finite"),
        ({"routing": np.array([None, "a"] * 50)}, ValueError, "`routing` has no value in row 0"),
        ({"routing": np.ones((100, 2))}, ValueError, r"`routing` must have shape \(n_samples,\)"),
        ({"routing": 1.0}, ValueError, r"`routing` must have shape \(n_samples,\)"),
        ({"routing": FEATURE + 1j}, TypeError, "must hold real numbers"),
        ({"groups": np.zeros(100)}, ValueError, "at least two rows, or two groups"),
        ({"groups": [1]}, ValueError, "`groups` has 1 rows"),
        ({"n_shuffles": 0}, ValueError, "`n_shuffles` must be at least 1"),
        ({"max_samples": 1}, ValueError, "`max_samples` must be at least 2"),
        ({"max_samples": 1e3}, TypeError, "`max_samples` must be an integer"),
        ({"random_state": "seed"}, TypeError, "`random_state` must be"),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    arguments = {"y_true": Y, "y_prob": CONFIDENCE, "routing": FEATURE} | changes
    with pytest.raises(error, match=message):
        routing_probe(**arguments)


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="at least two rows"):
        routing_probe([1], [0.5], [0.0])
