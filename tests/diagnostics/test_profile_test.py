"""The test of a whole profile: against its parts written out, invariances, and simulated truth."""

from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import chi2, kstest
from sklearn.cluster import DBSCAN
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from sk_arcal.diagnostics import (
    conditional_calibration_test,
    conditional_calibration_tests,
    routing_profile_test,
)
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._profile._held_out import fit_part, merged_pvalue
from sk_arcal.diagnostics._profile._joint_draws import joint_sums
from sk_arcal.diagnostics._profile._joint_test import kind_statistics, smallest_pvalues
from sk_arcal.diagnostics._profile._learners import ridge
from sk_arcal.diagnostics._profile._profile_answer import read_rows
from sk_arcal.diagnostics._profile._profile_columns import profile_columns

QUICK = {"n_resamples": 199, "random_state": 0}


def table(effect, n=1200, n_columns=4, seed=0):
    """Overconfident model; `effect` of the noise behind the profile shifts P(event)."""
    rng = np.random.default_rng(seed)
    confidence, noise = rng.uniform(0.5, 1, n), rng.normal(size=(n, n_columns))
    truth = confidence - 0.1 + effect(noise) * (1 - confidence)
    return (rng.random(n) < truth) * 1.0, confidence, confidence[:, None] + 0.2 * noise


def none(_):
    return 0.0


def either_or(noise):
    return 0.6 * np.sign(noise[:, 1] * noise[:, 3])


def first(noise):
    return 0.6 * np.sign(noise[:, 0])


def names(profile):
    return {f"depth_{k}": column for k, column in enumerate(profile.T)}


# --- simulated truth ------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [None, "linear", "boosting"])
def test_finds_two_columns_that_matter_only_together(learner):
    y, confidence, profile = table(either_or)
    tests = conditional_calibration_tests(y, confidence, profile, **QUICK)
    assert min(tests.pvalue_adjusted.values()) > 0.1
    result = routing_profile_test(y, confidence, profile, learner=learner, n_splits=3, **QUICK)
    assert result.pvalue <= 0.02
    assert set(sorted(result.importance, key=result.importance.get)[2:]) == {
        "routing_1",
        "routing_3",
    }


def test_leading_names_the_pair_and_its_sign():
    result = routing_profile_test(*table(either_or), **QUICK)
    assert result.leading.startswith("routing_1 x routing_3 (z = +")
    assert result.kind_pvalues["pair"] == 0.005
    assert result.kind_pvalues["trend"] > 0.1


def test_finds_many_weak_columns_better_than_the_largest_of_them():
    signs = np.resize([-1, 1], 16)
    y, confidence, profile = table(lambda noise: 0.5 * np.sign(noise @ signs), n_columns=16)
    tests = conditional_calibration_tests(y, confidence, profile, **QUICK)
    result = routing_profile_test(y, confidence, profile, **QUICK)
    assert result.kind_pvalues["trend"] < min(tests.pvalue_adjusted.values())
    assert result.pvalue <= 0.05


def test_pvalues_are_uniform_without_an_effect():
    pvalues = [
        routing_profile_test(
            *table(none, n=200, n_columns=3, seed=k), n_resamples=39, random_state=k
        ).pvalue
        for k in range(100)
    ]
    assert (
        kstest(pvalues - np.random.default_rng(0).uniform(0, 1 / 40, 100), "uniform").pvalue > 0.01
    )


def test_score_predicts_events_beyond_the_confidence_on_rows_it_has_not_seen():
    y, confidence, profile = table(first)
    result = routing_profile_test(y, confidence, profile, learner="linear", n_splits=1, **QUICK)
    rows, scores = result.held_out_rows[0], result.held_out_scores[0]
    high = scores > np.median(scores)
    beyond = (y - confidence)[rows]
    assert beyond[high].mean() - beyond[~high].mean() > 0.1
    assert result.splits[0].gap_interval[0] > 0


# --- against definitions --------------------------------------------------------------------


@pytest.fixture(scope="module")
def sums():
    """Terms of two columns, their matrix written out, and 4000 shuffles."""
    rng = np.random.default_rng(1)
    rows = read_rows(*table(first, n=400, n_columns=2), None, rng)
    columns = profile_columns(rows.profile, rows.outcomes, rng)
    x, v = columns.values, 2 * rows.outcomes.rank - 1
    terms = np.column_stack([x, (x**2 - 1) / 2, x * v[:, None], x[:, :1] * x[:, 1:]])
    return (
        rows.outcomes,
        columns,
        terms,
        joint_sums(columns, columns.terms, rows.outcomes, 4000, rng, None),
    )


def test_terms_are_trends_curvatures_turns_and_pairs(sums):
    _, columns, terms, _ = sums
    np.testing.assert_allclose(columns.of_terms(columns.terms), terms)
    kinds = [term.kind for term in columns.terms]
    assert kinds == ["trend"] * 2 + ["curvature"] * 2 + ["turn"] * 2 + ["pair"]


def test_sums_of_the_data_are_weighted_sums_of_detrended_terms(sums):
    outcomes, _, terms, found = sums
    expected = 0
    for b in range(outcomes.n_bins):
        rows = outcomes.rows(b)
        line = np.polynomial.polynomial.polyfit(outcomes.rank[rows], terms[rows], 1)
        rest = terms[rows] - np.polynomial.polynomial.polyval(outcomes.rank[rows], line).T
        expected = expected + outcomes.weights[b] * outcomes.events[rows] @ rest
    np.testing.assert_allclose(found.values[0], expected, atol=1e-8)


def test_shuffles_have_mean_zero_and_the_covariance_of_the_formula(sums):
    found = sums[-1]
    scale = np.sqrt(np.diag(found.covariance))
    drawn = found.values[1:] / scale
    assert np.abs(drawn.mean(axis=0)).max() < 4 / np.sqrt(4000)
    correlation = found.covariance / np.multiply.outer(scale, scale)
    np.testing.assert_allclose(np.cov(drawn.T), correlation, atol=0.1)


def test_sign_flips_have_mean_zero_and_the_covariance_of_the_groups():
    rng = np.random.default_rng(1)
    rows = read_rows(*table(first, n=400, n_columns=2), np.arange(400) // 4, rng)
    columns = profile_columns(rows.profile, rows.outcomes, rng)
    found = joint_sums(columns, columns.terms, rows.outcomes, 4000, rng, None)
    scale = np.sqrt(np.diag(found.covariance))
    drawn = found.values[1:] / scale
    assert np.abs(drawn.mean(axis=0)).max() < 4 / np.sqrt(4000)
    correlation = found.covariance / np.multiply.outer(scale, scale)
    np.testing.assert_allclose(np.cov(drawn.T), correlation, atol=0.1)
    # Detrended outcomes or raw ones: detrended terms give the same sums of the data.
    outcomes = rows.outcomes
    whole = sum(
        outcomes.weights[b]
        * outcomes.events[outcomes.rows(b)]
        @ outcomes.detrended(columns.of_terms(columns.terms, outcomes.rows(b)), b)
        for b in range(outcomes.n_bins)
    )
    np.testing.assert_allclose(found.values[0], whole, atol=1e-8)


def test_tied_values_take_the_middle_of_their_ranks():
    rng = np.random.default_rng(0)
    y, confidence, profile = table(first, n=500)
    few = np.digitize(profile[:, 0] - confidence, [-0.15, 0, 0.15])
    rows = read_rows(y, confidence, few, None, rng)
    values = profile_columns(rows.profile, rows.outcomes, rng).values[:, 0]
    assert abs(values.mean()) < 0.05
    for level in range(4):
        assert values[rows.profile.columns["routing_0"].numbers == level].std() < 0.2


def test_columns_have_mean_0_and_variance_1_at_every_confidence(sums):
    _, columns, _, _ = sums
    low = columns.rank < 0.5
    for half in (low, ~low):
        np.testing.assert_allclose(columns.values[half].mean(axis=0), 0, atol=0.15)
        np.testing.assert_allclose(columns.values[half].var(axis=0), 1, atol=0.2)


def test_statistics_of_uncorrelated_scores_are_the_largest_and_half_the_sum_of_squares():
    scores = np.random.default_rng(0).normal(size=(5000, 3))
    largest, added = kind_statistics(scores, np.eye(3)).T
    np.testing.assert_allclose(largest, (scores**2).max(axis=1))
    np.testing.assert_allclose(2 * added, (scores**2).sum(axis=1))
    assert kstest(2 * added, chi2(3).cdf).pvalue > 0.01
    assert kind_statistics(scores[:, :1], np.eye(1)).shape == (5000, 1)


def test_smallest_pvalue_decides_and_the_others_break_ties():
    pvalues = np.array([[1, 4], [2, 1], [3, 3], [4, 2]]) / 4
    # Smallest 1, 1, 3, 2; rows 0 and 1 tie, and row 1 has the smaller sum.
    np.testing.assert_allclose(smallest_pvalues(pvalues), [0.5, 0.25, 1, 0.75])
    np.testing.assert_allclose(smallest_pvalues(pvalues[:, :1]), [0.25, 0.5, 0.75, 1])


def test_ridge_is_scikit_learns_at_the_penalty_of_smallest_leave_one_out_error():
    rng = np.random.default_rng(0)
    table_, target = rng.normal(size=(25, 4)), rng.normal(size=25)
    slopes, gain = ridge(table_, target)
    errors = {}
    for penalty in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        model = Ridge(alpha=25 * penalty, fit_intercept=False)
        left_out = [
            target[i]
            - model.fit(np.delete(table_, i, 0), np.delete(target, i)).predict([table_[i]])
            for i in range(25)
        ]
        # The penalty is that of 25 rows although 24 are fitted.
        errors[penalty] = np.mean(np.square(left_out))
    best = min(errors, key=errors.get)
    expected = Ridge(alpha=25 * best, fit_intercept=False).fit(table_, target).coef_
    np.testing.assert_allclose(slopes, expected)
    assert gain == pytest.approx(1 - errors[best] / np.mean(target**2))


def test_merged_pvalue_is_cauchys():
    same = merged_pvalue(np.full(4, 0.03), 999)
    assert same == pytest.approx(0.03)
    # tan(pi (1/2 - p)) is 1 / (pi p) for small p: the harmonic mean, nearly.
    assert merged_pvalue(np.array([0.001, 0.01]), 999) == pytest.approx(2 / 1100, rel=1e-3)
    assert merged_pvalue(np.array([0.02, np.nan]), 999) == pytest.approx(0.02)
    assert np.isnan(merged_pvalue(np.array([np.nan]), 999))
    assert merged_pvalue(np.array([1.0, 1.0]), 99) == pytest.approx(0.995)


def test_splits_are_tests_of_the_scores_on_the_held_out_rows():
    y, confidence, profile = table(first, n=500)
    result = routing_profile_test(y, confidence, profile, learner="linear", n_splits=2, **QUICK)
    for split, rows, scores in zip(
        result.splits, result.held_out_rows, result.held_out_scores, strict=True
    ):
        again = conditional_calibration_test(y[rows], confidence[rows], scores, **QUICK)
        assert again.gap == pytest.approx(split.gap)
        assert abs(again.pvalue - split.pvalue) < 0.1
    assert result.pvalue == merged_pvalue(np.array([split.pvalue for split in result.splits]), 199)


# --- invariances ----------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [None, "linear"])
def test_order_of_rows_and_increasing_maps_change_nothing(learner):
    y, confidence, profile = table(first, n=600)
    # Ties in both, so that an order of rows could matter.
    confidence, profile = confidence.round(2), profile.round(1)
    options = QUICK | {"learner": learner, "n_splits": 2}
    result = routing_profile_test(y, confidence, profile, **options)
    order = np.random.default_rng(5).permutation(len(y))
    moved = routing_profile_test(y[order], confidence[order], np.exp(profile[order]), **options)
    assert moved.pvalue == result.pvalue
    assert moved.importance == pytest.approx(result.importance)
    for rows, old in zip(moved.held_out_rows, result.held_out_rows, strict=True):
        same = np.column_stack([y, confidence, profile])
        np.testing.assert_array_equal(same[order[rows]], same[old])


@pytest.mark.parametrize("learner", [None, "linear"])
@pytest.mark.parametrize("groups", [None, np.arange(600) // 4])
def test_jobs_change_nothing(learner, groups):
    data = table(first, n=600)
    options = QUICK | {"learner": learner, "n_splits": 2, "groups": groups}
    one, two = (routing_profile_test(*data, n_jobs=jobs, **options) for jobs in (1, 2))
    assert one.pvalue == two.pvalue
    assert one.importance == two.importance


def test_frames_and_mappings_are_arrays_with_names():
    y, confidence, profile = table(first, n=400)
    expected = routing_profile_test(y, confidence, profile, **QUICK).pvalue
    for named in (names(profile), pd.DataFrame(names(profile)), pl.DataFrame(names(profile))):
        result = routing_profile_test(y, confidence, named, **QUICK)
        assert result.pvalue == expected
        assert list(result.importance) == ["depth_0", "depth_1", "depth_2", "depth_3"]


# --- groups ---------------------------------------------------------------------------------


def test_no_group_is_in_both_parts():
    data = table(first, n=600)
    groups = np.random.default_rng(0).integers(0, 60, 600)
    result = routing_profile_test(*data, groups=groups, learner="linear", n_splits=3, **QUICK)
    for rows in result.held_out_rows:
        held_out = np.isin(np.arange(600), rows)
        assert not set(groups[held_out]) & set(groups[~held_out])
        assert 0.4 < held_out.mean() < 0.6
    assert not np.array_equal(result.held_out_rows[0], result.held_out_rows[1])
    assert result.n_groups == 60
    assert result.null == "sign-flip"


@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.999])
def test_both_parts_have_rows_and_the_fraction_is_met(fraction):
    rng = np.random.default_rng(0)
    outcomes = BinnedOutcomes.from_rows(np.resize([0.0, 1.0], 100), rng.random(100), None, rng)
    share = fit_part(outcomes, fraction, rng).mean()
    assert share == pytest.approx(np.clip(fraction, 0.01, 0.99))


def test_copies_in_one_group_are_no_evidence():
    y, confidence, profile = table(none, n=150, seed=3)
    groups = np.tile(np.arange(150), 8)
    copied = np.tile(y, 8), np.tile(confidence, 8), np.tile(profile, (8, 1))
    assert routing_profile_test(*copied, **QUICK).pvalue <= 0.02
    assert routing_profile_test(*copied, groups=groups, **QUICK).pvalue > 0.05


# --- columns of all kinds -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("learner", [None, "linear", "boosting"])
def test_one_column_is_enough(shape, learner):
    y, confidence, profile = table(first)
    column = profile[:, 0].reshape(shape)
    result = routing_profile_test(y, confidence, column, learner=learner, n_splits=2, **QUICK)
    assert result.pvalue <= 0.02
    assert "pair" not in result.kind_pvalues


def test_names_are_levels_without_order():
    rng = np.random.default_rng(0)
    confidence, expert = rng.uniform(0.5, 1, 1500), rng.integers(0, 5, 1500)
    y = rng.random(1500) < confidence - 0.2 * (expert == 2)
    pvalues = []
    for letters in ("abcde", "ecbad"):
        frame = {"expert": np.array(list(letters))[expert], "depth": rng.normal(size=1500)}
        result = routing_profile_test(y, confidence, frame, **QUICK)
        assert result.leading.startswith(f"expert = {letters[2]} (z = -")
        assert result.n_columns == 6
        pvalues.append(result.pvalue)
    assert max(pvalues) <= 0.02


def test_rare_levels_have_no_column_and_are_noted():
    rng = np.random.default_rng(0)
    expert = np.array([f"e{k:02d}" for k in range(20)])[rng.integers(0, 20, 1000)]
    confidence = rng.uniform(0.5, 1, 1000)
    result = routing_profile_test(rng.random(1000) < confidence, confidence, {"e": expert}, **QUICK)
    assert result.n_columns == 12
    assert any("8 of 20 levels of e have no column" in note for note in result.notes)


def test_constant_columns_and_functions_of_the_confidence_are_left_out_with_a_note():
    y, confidence, profile = table(first, n=600)
    columns = {"same": np.ones(600), "entropy": np.log(confidence)} | names(profile)
    result = routing_profile_test(y, confidence, columns, **QUICK)
    assert list(result.importance) == list(names(profile))
    assert "Left out, with one value in all rows: same." in result.notes
    assert "Left out, functions of the confidence: entropy." in result.notes


@pytest.mark.parametrize("learner", [None, "linear"])
def test_without_an_answer_the_pvalue_is_nan(learner):
    y, confidence, profile = table(none, n=300)
    cases = {
        "All outcomes are the same": (np.ones(300), profile, None),
        "All rows are in one group": (y, profile, np.zeros(300)),
        "No column of the profile is left": (y, np.ones((300, 2)), None),
    }
    for words, (events, columns, groups) in cases.items():
        options = QUICK | {"groups": groups, "learner": learner}
        result = routing_profile_test(events, confidence, columns, **options)
        assert np.isnan(result.pvalue)
        assert not result.identifiable
        assert words in result.notes[0]
        assert "no answer" in repr(result)


# --- learners -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "learner", [LogisticRegression(), Ridge(), DecisionTreeRegressor(max_depth=2)]
)
def test_estimators_learn_the_score(learner):
    result = routing_profile_test(*table(first), learner=learner, n_splits=2, **QUICK)
    assert result.pvalue <= 0.02
    assert result.learner == type(learner).__name__
    assert max(result.importance, key=result.importance.get) == "routing_0"
    assert all(split.gap > 0 for split in result.splits)
    assert not hasattr(learner, "n_features_in_")


def test_a_constant_score_has_no_answer():
    data = table(first, n=400)
    stump = DecisionTreeRegressor(min_samples_leaf=300)
    result = routing_profile_test(*data, learner=stump, n_splits=2, **QUICK)
    assert not result.identifiable
    assert np.isnan(result.pvalue)
    assert "2 of 2 splits have no answer" in result.notes[0]


# --- output ---------------------------------------------------------------------------------


def test_frame_and_text_hold_the_numbers():
    y, confidence, profile = table(first, n=400)
    joint = routing_profile_test(y, confidence, names(profile), **QUICK)
    row = joint.to_frame().iloc[0]
    assert row["pvalue"] == joint.pvalue
    assert row["pvalue_pair"] == joint.kind_pvalues["pair"]
    assert row["importance_depth_0"] == joint.importance["depth_0"]
    assert "400 rows, 4 columns, learner none, 199 draws (shuffle)" in repr(joint)
    learned = routing_profile_test(
        y, confidence, names(profile), learner="linear", n_splits=2, **QUICK
    )
    row = learned.to_frame().iloc[0]
    assert [row["pvalue_split_0"], row["pvalue_split_1"]] == [s.pvalue for s in learned.splits]
    assert f"p-value     {learned.pvalue:.3g}  (splits" in repr(learned)


def test_many_rows_are_drawn_from_the_normal_law():
    result = routing_profile_test(*table(none, n=20_001, n_columns=2), n_resamples=99)
    assert result.null == "normal"
    assert 0 < result.pvalue <= 1


# --- bad input ------------------------------------------------------------------------------

Y, C, P = table(none, n=50)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"profile": np.where(P > 0.9, np.nan, P)},
            ValueError,
            r"`profile\['routing_0'\]` must be f",
        ),
        ({"profile": P[:-1]}, ValueError, r"has 49 rows where 50 were expected"),
        ({"profile": {}}, ValueError, "`profile` has no columns"),
        ({"profile": P.reshape(50, 2, 2)}, ValueError, r"must have shape \(n_samples, n_columns\)"),
        ({"profile": {"a": P[:, 0], "b": [None] * 50}}, ValueError, r"`profile\['b'\]`"),
        ({"profile": pd.DataFrame(P[:, :2], columns=["a", "a"])}, ValueError, "repeated: .'a'."),
        ({"y_true": Y + 1}, ValueError, "`y_true` must be 0 or 1"),
        ({"y_prob": C + 1}, ValueError, r"`y_prob` must lie in \[0, 1\]"),
        ({"groups": [1, 2]}, ValueError, "`groups` has 2 rows"),
        ({"learner": "forest"}, ValueError, "must be None, 'linear', 'boosting' or an estimator"),
        ({"learner": Ridge}, TypeError, r"not its class; pass Ridge\(\)"),
        ({"learner": DBSCAN()}, TypeError, "or an estimator with fit and predict; got DBSCAN"),
        ({"fit_fraction": 1.0}, ValueError, r"`fit_fraction` must lie in \(0"),
        ({"n_splits": 0}, ValueError, "`n_splits` must be at least 1"),
        ({"delta": 0}, ValueError, "`delta`"),
        ({"alpha": 0.7}, ValueError, "`alpha`"),
        ({"n_resamples": 5}, ValueError, "`n_resamples` must be at least 19"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change, error, words):
    with pytest.raises(error, match=words):
        routing_profile_test(**({"y_true": Y, "y_prob": C, "profile": P} | change))


def test_pairs_of_more_than_64_columns_are_left_out_with_a_note():
    y, confidence, profile = table(none, n=300, n_columns=65)
    result = routing_profile_test(y, confidence, profile, n_resamples=19, random_state=0)
    assert "pair" not in result.kind_pvalues
    assert any("65 columns are more than 64" in note for note in result.notes)
    with_levels = {"a": np.resize(["x", "y", "z"], 300), "b": profile[:, 0]}
    rng = np.random.default_rng(0)
    rows = read_rows(y, confidence, with_levels, None, rng)
    terms = profile_columns(rows.profile, rows.outcomes, rng).terms
    assert len([t for t in terms if t.kind == "pair"]) == len(list(combinations(range(4), 2))) - 3
