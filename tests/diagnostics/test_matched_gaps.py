from itertools import product

import numpy as np
import pytest
from scipy.stats import hypergeom
from sklearn.isotonic import IsotonicRegression

from sk_arcal.diagnostics._cells import _cross_fitted_isotonic, rank_strata
from sk_arcal.diagnostics._matched_gaps import matched_confidence_gaps
from sk_arcal.diagnostics._null_gaps import EventNull, ShuffleNull


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1.5, 900)
    routing = rng.standard_normal(900)
    y = (rng.random(900) < np.clip(confidence + 0.1 * np.sign(routing), 0, 1)).astype(float)
    return y, confidence, routing


def gaps_by_definition(value, confidence, routing, n_bins, n_groups, min_count):
    gaps, sizes = [], []
    for b in range(n_bins):
        rows = np.flatnonzero((confidence > b / n_bins) & (confidence <= (b + 1) / n_bins))
        rows = rows[np.argsort(routing[rows])]
        groups = [rows[np.arange(len(rows)) * n_groups // len(rows) == k] for k in range(n_groups)]
        if len(rows) and min(map(len, groups)) >= min_count:
            gaps.append(value[groups[-1]].mean() - value[groups[0]].mean())
            sizes.append(len(rows))
    return np.array(gaps), np.array(sizes)


@pytest.mark.parametrize(
    ("n_bins", "n_groups", "value"),
    list(product([1, 7, 15], [2, 3], ["accuracy", "residual"])),
)
def test_gaps_equal_their_definition(data, n_bins, n_groups, value):
    y, confidence, routing = data
    shown = matched_confidence_gaps(
        *data, n_bins=n_bins, n_groups=n_groups, value=value, n_resamples=1, random_state=0
    )
    averaged = y if value == "accuracy" else y - confidence
    gaps, sizes = gaps_by_definition(averaged, confidence, routing, n_bins, n_groups, 5)
    assert shown.max_gap == pytest.approx(np.abs(gaps).max(), abs=1e-12)
    assert shown.weighted_gap == pytest.approx(np.average(np.abs(gaps), weights=sizes), abs=1e-12)


def test_table_has_the_means_of_its_cells(data):
    y, confidence, routing = data
    table = matched_confidence_gaps(*data, n_resamples=1, random_state=0).to_frame()
    row = table[(table["bin"] == 12) & (table["stratum"] == 2)].iloc[0]
    rows = np.flatnonzero((confidence > 12 / 15) & (confidence <= 13 / 15))
    top = rows[np.argsort(routing[rows])][-int(row["count"]) :]
    assert (row["lower"], row["upper"]) == pytest.approx((12 / 15, 13 / 15))
    assert row["mean_confidence"] == pytest.approx(confidence[top].mean())
    assert row["accuracy"] == pytest.approx(y[top].mean())


def test_table_counts_every_row_once_and_cuts_bins_evenly(data):
    table = matched_confidence_gaps(*data, n_resamples=1, random_state=0).to_frame()
    assert table["count"].sum() == len(data[0])
    counts = table.groupby("bin")["count"]
    assert (counts.max() - counts.min()).max() <= 1


def test_gap_of_a_bin_is_top_minus_bottom_value(data):
    table = matched_confidence_gaps(*data, n_resamples=1, random_state=0).to_frame()
    value = table.pivot(index="bin", columns="stratum", values="value")
    gap = table.groupby("bin")["gap"].first()
    usable = gap.notna()
    assert usable.sum() > 5
    np.testing.assert_allclose(gap[usable], (value[2] - value[0])[usable])


def test_bins_short_of_min_count_have_no_gap(data):
    shown = matched_confidence_gaps(*data, min_count=20, n_resamples=1, random_state=0)
    table = shown.to_frame()
    smallest = table.groupby("bin")["count"].min()
    assert set(np.isnan(table.groupby("bin")["gap"].first()) == (smallest < 20)) == {True}
    assert shown.max_gap == pytest.approx(table["gap"].abs().max())


def test_null_mean_of_one_bin_equals_the_hypergeometric_expectation():
    y = np.r_[np.ones(12), np.zeros(18)]
    routing = np.random.default_rng(0).random(30)
    shown = matched_confidence_gaps(
        y, np.full(30, 0.7), routing, n_groups=2, value="accuracy", n_resamples=40_000,
        random_state=0,
    )  # fmt: skip
    hits = np.arange(13)
    expected = hypergeom(30, 12, 15).pmf(hits) @ np.abs((12 - 2 * hits) / 15)
    assert shown.null_weighted_gap == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("bottom", "top"), [(20, 20), (30, 10)])
def test_permuted_and_hypergeometric_gaps_have_the_same_law(bottom, top):
    values = np.r_[np.ones(9), np.zeros(51)]
    drawn = [
        null.draw(30_000)
        for null in (
            EventNull(9, 51, bottom, top, np.random.default_rng(0)),
            ShuffleNull(values, bottom, top, np.random.default_rng(1)),
        )
    ]
    shares = [np.unique(gaps.round(6), return_counts=True) for gaps in drawn]
    common, first, second = np.intersect1d(shares[0][0], shares[1][0], return_indices=True)
    assert len(common) >= 15
    assert shares[0][1][first].sum() > 29_000
    np.testing.assert_allclose(shares[0][1][first] / 3e4, shares[1][1][second] / 3e4, atol=0.012)


def test_null_draws_do_not_depend_on_the_block_size(data, monkeypatch):
    whole = matched_confidence_gaps(*data, n_resamples=50, random_state=0)
    monkeypatch.setattr("sk_arcal.diagnostics._null_gaps._BLOCK", 2000)
    assert matched_confidence_gaps(*data, n_resamples=50, random_state=0).null_max_gap == (
        pytest.approx(whole.null_max_gap, abs=1e-12)
    )


def test_effect_exceeds_the_null_mean_and_its_shuffle_does_not(data):
    y, confidence, routing = data
    shown = matched_confidence_gaps(*data, random_state=0)
    assert shown.excess_weighted_gap > 0.03
    other = np.random.default_rng(1).permutation(routing)
    shuffled = matched_confidence_gaps(y, confidence, other, random_state=0)
    assert abs(shuffled.excess_weighted_gap) < 0.03


def test_gaps_ignore_the_order_of_rows_and_monotone_maps_of_routing(data):
    order = np.random.default_rng(1).permutation(len(data[0]))
    y, confidence, routing = (column[order] for column in data)
    options = {"value": "residual", "n_resamples": 1}
    first = matched_confidence_gaps(*data, **options)
    second = matched_confidence_gaps(y, confidence, np.exp(3 * routing), **options)
    assert second.max_gap == pytest.approx(first.max_gap)
    assert second.weighted_gap == pytest.approx(first.weighted_gap)


def test_ties_in_routing_are_not_broken_by_row_order():
    y = np.r_[np.zeros(500), np.ones(500)]
    shown = matched_confidence_gaps(
        y, np.full(1000, 0.7), np.zeros(1000), value="accuracy", random_state=0
    )
    assert shown.max_gap < 0.15


def test_quantile_bins_keep_equal_confidences_together():
    rng = np.random.default_rng(0)
    confidence = np.r_[rng.uniform(0.5, 0.99, 300), np.ones(300)]
    y, routing = rng.integers(0, 2, 600), rng.random(600)
    table = matched_confidence_gaps(
        y, confidence, routing, n_bins=5, strategy="quantile", n_resamples=1
    ).to_frame()
    at_one = table[table["lower"] == 1]
    assert at_one["count"].tolist() == [100, 100, 100]
    assert (at_one["upper"] == 1).all()


def test_calibrated_residual_removes_a_gap_that_miscalibration_alone_explains():
    # routing is the confidence: all of the accuracy gap inside wide bins is due to it
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    y = rng.random(20_000) < confidence**4
    excess = {
        value: matched_confidence_gaps(
            y, confidence, confidence, n_bins=4, value=value, n_resamples=50, random_state=0
        ).excess_weighted_gap
        for value in ("accuracy", "residual", "calibrated_residual")
    }
    assert excess["accuracy"] > 0.2
    assert excess["residual"] > 0.1
    assert excess["calibrated_residual"] < 0.01


def test_cross_fitted_map_is_isotonic_regression_on_the_other_folds(data):
    y, confidence, _ = data
    confidence = confidence.round(2)
    fitted = _cross_fitted_isotonic(y, confidence, np.random.default_rng(3))
    fold = np.random.default_rng(3).permutation(len(y)) % 5
    reference = IsotonicRegression(out_of_bounds="clip").fit(confidence[fold != 2], y[fold != 2])
    np.testing.assert_allclose(fitted[fold == 2], reference.predict(confidence[fold == 2]))


def test_own_outcome_does_not_enter_the_cross_fitted_map(data):
    y, confidence, _ = data
    flipped = y.copy()
    flipped[10] = 1 - y[10]
    before, after = (
        _cross_fitted_isotonic(v, confidence, np.random.default_rng(0)) for v in (y, flipped)
    )
    assert before[10] == after[10]
    assert (before != after).any()


def test_strata_are_cut_by_rank_within_bins():
    bins = np.array([0, 1, 0, 1, 0, 1, 1])
    routing = np.array([3.0, 10, 1, 40, 2, 30, 20])
    strata = rank_strata(routing, bins, 3, np.random.default_rng(0))
    assert strata.tolist() == [2, 0, 0, 2, 1, 1, 0]


def test_same_seed_same_result(data):
    first, second = (matched_confidence_gaps(*data, n_resamples=20, random_state=7) for _ in "ab")
    assert first.null_max_gap == second.null_max_gap
    assert first.max_gap == second.max_gap


def test_repr_names_gap_and_chance(data):
    text = repr(matched_confidence_gaps(*data, n_resamples=20, random_state=7))
    assert text.startswith("MatchedGaps(weighted_gap=0.")
    assert "by chance" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": "gap"}, "`value` must be one of"),
        ({"strategy": "width"}, "`strategy` must be one of"),
        ({"n_groups": 1}, "`n_groups` must be at least 2"),
        ({"n_bins": 0}, "`n_bins` must be at least 1"),
        ({"min_count": 400}, "no confidence bin has `min_count`=400 rows"),
    ],
)
def test_bad_options_are_named(data, options, message):
    with pytest.raises(ValueError, match=message):
        matched_confidence_gaps(*data, **options)


def test_one_row_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="no confidence bin has"):
        matched_confidence_gaps([1], [0.9], [0.0])


def test_missing_routing_value_is_named(data):
    y, confidence, routing = data
    with pytest.raises(ValueError, match="`routing` must be finite; row 3"):
        matched_confidence_gaps(y, confidence, np.where(np.arange(900) == 3, np.nan, routing))
