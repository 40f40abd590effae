import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.special import ndtri
from scipy.stats import kstest, norm

from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.diagnostics._conditional._methods._weighted_gcm import (
    _largest_normal,
    standard_scores,
    weighted_gcm,
)


def _residual(rank, values):
    """Least squares on nine B-splines of the rank and its normal score, by lstsq."""
    knots = np.quantile(rank, np.linspace(0, 1, 7))
    knots = np.r_[[knots[0]] * 3, knots, [knots[-1]] * 3]
    design = np.column_stack([BSpline.design_matrix(rank, knots, 3).toarray(), ndtri(rank)])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def _statistic(table, units=None):
    """Largest score by a plain loop over directions, weights and units."""
    outcomes, feature = table.outcomes, table.features[0]
    rank = outcomes.rank
    u = (feature.low + feature.high) / 2
    events = _residual(rank, outcomes.events)
    units = np.arange(outcomes.n_samples) if units is None else units
    largest = 0.0
    for direction in (u, (3 * u**2 - 1) / 2):
        plain = events * _residual(rank, direction)
        for weight in (np.ones_like(rank), np.sign(rank - 0.5)):
            products = np.array(
                [(weight * plain)[units == unit].sum() for unit in np.unique(units)]
            )
            score = np.sqrt(len(products)) * products.mean() / products.std()
            largest = max(largest, abs(score))
    return largest


def test_statistic_by_a_plain_loop(make_rows, make_table):
    table = make_table(*make_rows(150, effect=0.3))
    assert weighted_gcm(table)[0].statistic == pytest.approx(_statistic(table))


def test_statistic_of_groups_by_a_plain_loop(make_rows, make_table):
    table = make_table(*make_rows(150, effect=0.3), groups=np.arange(150) // 4)
    expected = _statistic(table, table.outcomes.groups)
    assert weighted_gcm(table)[0].statistic == pytest.approx(expected)


def test_standard_scores_by_hand():
    products = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    scores, correlation = standard_scores(products)
    np.testing.assert_allclose(scores, [np.sqrt(3) * 2 / np.sqrt(2 / 3), 0])
    np.testing.assert_allclose(correlation, [[1, 0], [0, 0]])


def test_largest_of_normals_follows_its_closed_form():
    rng = np.random.default_rng(0)
    independent = _largest_normal(np.eye(3), 4000, rng)
    assert kstest(independent, lambda x: (2 * norm.cdf(x) - 1) ** 3).pvalue > 0.01
    copies = _largest_normal(np.ones((3, 3)), 4000, rng)
    assert kstest(copies, lambda x: 2 * norm.cdf(x) - 1).pvalue > 0.01


def test_level_is_kept_without_a_signal(make_rows, make_table):
    pvalues = [weighted_gcm(make_table(*make_rows(400, seed=k)))[0].pvalue for k in range(80)]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_effect_that_turns_is_found_and_named(make_table):
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.4, 1, 3000), rng.normal(size=3000)
    side = np.where(confidence > 0.7, 1, -1)
    events = rng.random(3000) < confidence - 0.1 + 0.08 * side * np.sign(routing)
    finding = weighted_gcm(make_table(events, confidence, routing))[0]
    assert finding.pvalue <= 0.01
    assert finding.leading == "weighted_gcm: trend of routing turning near confidence 0.70"


def test_bad_expert_is_named(make_table):
    rng = np.random.default_rng(0)
    confidence, expert = rng.uniform(0.5, 1, 3000), rng.integers(0, 6, 3000)
    events = rng.random(3000) < confidence - 0.2 * (expert == 3)
    finding = weighted_gcm(make_table(events, confidence, expert, kind="nominal"))[0]
    assert finding.pvalue <= 0.01
    assert finding.leading == "weighted_gcm: routing 3 over all confidences"


def test_routing_without_variation_among_equals_has_score_zero():
    scores, _ = standard_scores(np.zeros((5, 2)))
    assert not scores.any()


@pytest.mark.parametrize("change", ["rows", "confidence", "routing"])
def test_coding_does_not_matter(make_rows, change):
    events, confidence, routing = make_rows(effect=0.2)
    order = np.random.default_rng(1).permutation(len(events))
    recoded = {
        "rows": (events[order], confidence[order], routing[order]),
        "confidence": (events, confidence**3, routing),
        "routing": (events, confidence, np.exp(routing)),
    }[change]
    one = conditional_calibration_test(
        events, confidence, routing, method="weighted_gcm", random_state=0
    )
    other = conditional_calibration_test(*recoded, method="weighted_gcm", random_state=0)
    assert other.pvalue == one.pvalue
    assert other.statistic == pytest.approx(one.statistic)


def test_pvalue_counts_the_draws_and_the_data(make_rows, make_table):
    finding = weighted_gcm(make_table(*make_rows(300), n_resamples=99))[0]
    assert len(finding.draws) == 99
    assert finding.pvalue == (1 + np.sum(finding.draws >= finding.statistic)) / 100
