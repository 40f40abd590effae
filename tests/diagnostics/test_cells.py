from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kstest

from sk_arcal.diagnostics import conditional_calibration_test, conditional_calibration_tests
from sk_arcal.diagnostics._conditional._methods._cells import cells, strata, stratum_names


def _naive(table):
    """Gap, standard score and rows of every cell, by a double loop over bins and strata."""
    outcomes, feature = table.outcomes, table.features[0]
    gaps, scores, counts = [], [], []
    for b in range(outcomes.n_bins):
        rows = outcomes.rows(b)
        events, m = outcomes.events[rows], int(outcomes.sizes[b])
        for k in range(len(stratum_names(feature))):
            inside = strata(feature, rows)[:, k] == 1
            count, h = int(inside.sum()), events.sum()
            counts.append(count)
            if count in {0, m}:
                gaps.append(np.nan)
                scores.append(0)
                continue
            line = np.column_stack([np.ones(m), outcomes.rank[rows]])
            left = inside - line @ np.linalg.lstsq(line, inside * 1.0, rcond=None)[0]
            gaps.append(np.linalg.lstsq(np.column_stack([inside, line]), events, rcond=None)[0][0])
            thin = count * min(h, m - h) / m < 2
            spread = np.sqrt(h * (m - h) / m / (m - 1) * (left**2).sum())
            scores.append(0 if thin else abs(left @ events) / spread)
    return np.array(gaps), np.array(scores), np.array(counts)


@pytest.mark.parametrize("kind", ["continuous", "nominal"])
def test_cells_by_a_double_loop(make_rows, make_table, kind):
    events, confidence, routing = make_rows(500, effect=0.5)
    routing = routing if kind == "continuous" else np.digitize(routing, [-1, 0.5])
    table = make_table(events, confidence, routing, kind=kind)
    gaps, scores, counts = _naive(table)
    finding = cells(table)[0]
    assert finding.statistic == pytest.approx(scores.max())
    np.testing.assert_allclose(finding.cells.gap, gaps)
    np.testing.assert_array_equal(finding.cells.n_samples, counts)
    np.testing.assert_array_equal(np.isnan(finding.cells.pvalue_adjusted), scores == 0)


def test_pvalue_is_that_of_all_arrangements_of_one_bin(make_table):
    """Eighteen rows, seven of them wrong: 31 824 arrangements."""
    rng = np.random.default_rng(3)
    confidence, routing = np.sort(rng.uniform(0.5, 1, 18)), rng.normal(size=18)
    events = np.ones(18)
    events[[0, 2, 4, 7, 11, 12, 15]] = 0
    table = make_table(events, confidence, routing, kind="continuous", n_resamples=4000)
    assert table.outcomes.n_bins == 1
    left = table.outcomes.detrended(strata(table.features[0], slice(None)), 0)
    sd = np.sqrt(7 * 11 / 18 / 17 * (left**2).sum(axis=0))
    wrong = np.array(list(combinations(range(18), 7)))
    largest = np.abs(left[wrong].sum(axis=1) / sd).max(axis=1)
    observed = np.abs(table.outcomes.events @ left / sd).max()
    exact = np.mean(largest >= observed - 1e-9)
    assert 0.02 < exact < 0.98
    assert cells(table)[0].pvalue == pytest.approx(exact, abs=0.03)


def test_statistic_of_groups_by_a_plain_loop(make_rows, make_table):
    table = make_table(*make_rows(1200, effect=0.5), groups=np.arange(1200) // 5)
    outcomes, feature = table.outcomes, table.features[0]
    largest = 0.0
    for b in range(outcomes.n_bins):
        rows = outcomes.rows(b)
        events = outcomes.events[rows]
        indicators = strata(feature, rows)
        residual = outcomes.detrended(events[:, None], b)[:, 0]
        for k in range(3):
            terms = outcomes.detrended(indicators[:, [k]], b)[:, 0] * residual
            of_group = [terms[outcomes.groups[rows] == g].sum() for g in range(240)]
            if indicators[:, k].sum() * min(events.mean(), 1 - events.mean()) >= 8:
                score = terms.sum() / np.sqrt(np.sum(np.square(of_group)))
                largest = max(largest, abs(score))
    assert cells(table)[0].statistic == pytest.approx(largest)


def test_interval_excludes_zero_exactly_where_the_pvalue_is_small(make_rows, make_table):
    finding = cells(make_table(*make_rows(3000, effect=1.5), n_resamples=999))[0]
    table = finding.cells
    excludes = (table.gap_low > 0) | (table.gap_high < 0)
    tested = ~np.isnan(table.pvalue_adjusted)
    assert excludes[tested].any()
    np.testing.assert_array_equal(excludes[tested], table.pvalue_adjusted[tested] <= 0.05)
    assert np.nanmin(table.pvalue_adjusted) == finding.pvalue


def test_leading_cell_is_named_with_its_interval(make_rows):
    result = conditional_calibration_test(
        *make_rows(3000, effect=1.5), method="cells", random_state=0
    )
    best = int(np.flatnonzero(result.cells.gap == result.leading_gap)[0])
    assert result.leading == f"cells: {result.cells.words(best)}"
    assert result.cells.pvalue_adjusted[best] == result.pvalue
    assert "tertile of routing" in result.leading
    low, high = result.leading_interval
    assert low < result.leading_gap < high
    assert result.leading_gap != result.gap


def test_few_errors_leave_no_cell_to_test(make_table):
    rng = np.random.default_rng(0)
    events = np.r_[np.zeros(3), np.ones(597)]
    finding = cells(make_table(events, rng.random(600), rng.normal(size=600)))[0]
    assert finding.pvalue == 1
    assert finding.leading == "cells: none can be tested"


def test_level_is_kept_without_a_signal(make_rows, make_table):
    pvalues = [
        cells(make_table(*make_rows(400, seed=k), n_resamples=99))[0].pvalue for k in range(60)
    ]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_features_share_their_draws(make_rows):
    events, confidence, routing = make_rows(effect=0.5)
    tests = conditional_calibration_tests(
        events,
        confidence,
        {"one": routing, "copy": routing},
        method="cells",
        n_resamples=199,
        random_state=0,
    )
    # a copy costs nothing, where Holm would double the p-value
    assert tests.pvalue_adjusted["one"] == tests.results["one"].pvalue


@pytest.mark.parametrize("change", ["rows", "confidence", "routing"])
def test_coding_does_not_matter(make_rows, change):
    events, confidence, routing = make_rows(effect=0.5)
    order = np.random.default_rng(1).permutation(len(events))
    recoded = {
        "rows": (events[order], confidence[order], routing[order]),
        "confidence": (events, confidence**3, routing),
        "routing": (events, confidence, np.exp(routing)),
    }[change]
    kwargs = {"method": "cells", "n_resamples": 199, "random_state": 0}
    one = conditional_calibration_test(events, confidence, routing, **kwargs)
    other = conditional_calibration_test(*recoded, **kwargs)
    assert other.pvalue == one.pvalue
    np.testing.assert_array_equal(other.cells.gap, one.cells.gap)
