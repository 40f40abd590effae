import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import ncf, ncx2

from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.diagnostics._conditional._bound import (
    Directions,
    largest_noncentrality,
    shape_free_bound,
    smooth_variance,
)


@pytest.mark.parametrize(("statistic", "degrees"), [(9.0, 3), (30.0, 5), (2.5, 1)])
def test_noncentrality_is_inverted(statistic, degrees):
    largest = largest_noncentrality(statistic, degrees, 0.05)
    assert ncx2.cdf(statistic, degrees, largest) == pytest.approx(0.05)


def test_noncentrality_is_inverted_for_groups():
    """Hotelling: (G - k) / (k (G - 1)) T^2 is noncentral F with k and G - k degrees of freedom."""
    largest = largest_noncentrality(12.0, 3, 0.05, n_groups=40)
    hotelling = 39 * 12 / (40 - 12)
    # the noncentral F of scipy 1.13 is good to six digits
    assert ncf.cdf(hotelling * 37 / (3 * 39), 3, 37, largest) == pytest.approx(0.05, rel=1e-4)


def test_many_groups_are_like_rows():
    one, other = (largest_noncentrality(12.0, 3, 0.05, n) for n in (None, 100_000))
    assert other == pytest.approx(one, rel=1e-3)


def test_lucky_statistics_do_not_lower_the_bound():
    median = ncx2.ppf(0.5, 3, 0)
    assert largest_noncentrality(0.0, 3, 0.05) == largest_noncentrality(median, 3, 0.05) > 0
    assert largest_noncentrality(median + 1, 3, 0.05) > largest_noncentrality(median, 3, 0.05)


def test_bound_by_its_formula(make_rows, make_table):
    """Dense arrays over all rows, and the largest eigenvalue by a symmetric root."""
    table = make_table(*make_rows(600, effect=0.5))
    outcomes, feature = table.outcomes, table.features[0]
    of_bins = smooth_variance(outcomes, table.spline)
    directions = Directions(feature, outcomes, of_bins)
    columns = np.vstack([directions.columns(b) for b in range(outcomes.n_bins)])
    variance = np.repeat(of_bins, outcomes.sizes)
    gram = columns.T @ (variance[:, None] * columns)
    squared = columns.T @ (variance[:, None] ** 2 * columns)
    sums = columns.T @ outcomes.events
    largest = largest_noncentrality(sums @ np.linalg.solve(gram, sums), 3, 0.05)
    kappa = np.linalg.eigvals(np.linalg.solve(gram, squared)).real.max()
    bound = shape_free_bound(feature, outcomes, table.spline, 0.05)
    assert bound.noncentrality_bound == pytest.approx(largest)
    assert bound.rms_gap_bound == pytest.approx(np.sqrt(kappa * largest / 600))
    assert kappa <= variance.max()


def test_directions_are_trend_curvature_and_a_trend_that_turns(make_rows, make_table):
    table = make_table(*make_rows(600))
    outcomes, feature = table.outcomes, table.features[0]
    rows = outcomes.rows(2)
    u = (feature.low + feature.high)[rows] / 2
    expected = np.column_stack([u, (3 * u**2 - 1) / 2, (2 - (outcomes.n_bins - 1) / 2) * u])
    variance = smooth_variance(outcomes, table.spline)
    expected = outcomes.detrended(expected, 2) / np.sqrt(variance[2])
    found = Directions(feature, outcomes, variance).columns(2) * [1, 1, outcomes.n_bins]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_constant_variance_makes_the_bound_a_standard_deviation(make_table):
    rng = np.random.default_rng(0)
    table = make_table(np.arange(400) % 2, np.full(400, 0.5), rng.normal(size=400))
    bound = shape_free_bound(table.features[0], table.outcomes, table.spline, 0.05)
    expected = 0.5 * np.sqrt(bound.noncentrality_bound / 400)
    assert bound.rms_gap_bound == pytest.approx(expected, rel=1e-4)


def test_groups_of_one_row_agree_with_no_groups(make_rows, make_table):
    rows = make_rows(2000, effect=0.5)
    one, other = (make_table(*rows, groups=groups) for groups in (None, np.arange(2000)))
    one, other = (shape_free_bound(t.features[0], t.outcomes, t.spline, 0.05) for t in (one, other))
    assert other.noncentrality_bound == pytest.approx(one.noncentrality_bound, rel=0.15)
    assert other.rms_gap_bound == pytest.approx(one.rms_gap_bound, rel=0.15)


def test_few_groups_bound_nothing(make_rows):
    result = conditional_calibration_test(
        *make_rows(400), groups=np.arange(400) % 4, n_resamples=19
    )
    assert np.isnan([result.noncentrality_bound, result.rms_gap_bound]).all()
    assert not result.equivalent_any_shape
    assert "too few groups" in repr(result)


def _truth(table, gap):
    """True noncentrality and root mean square gap along the directions."""
    outcomes, feature = table.outcomes, table.features[0]
    directions = Directions(feature, outcomes, smooth_variance(outcomes, table.spline))
    gram, squared = directions.grams()
    shift = directions.sums(gap[outcomes.order])
    beta = np.linalg.solve(gram, shift)
    return shift @ beta, np.sqrt(beta @ squared @ beta / outcomes.n_samples)


def test_bounds_hold_in_most_simulations(make_table):
    """A bound with a coverage of 95 % holds in 69 or more of 80, but once in 2000 times."""
    held = np.zeros(2)
    for seed in range(80):
        rng = np.random.default_rng(seed)
        score, noise = rng.normal(size=(2, 500))
        event_rate = expit(0.8 * (1.5 + 1.5 * score))
        gap = 0.4 * np.sign(noise) * event_rate * (1 - event_rate)
        events = (rng.random(500) < event_rate + gap) * 1.0
        table = make_table(events, expit(1.5 + 1.5 * score), 0.5 * score + noise)
        bound = shape_free_bound(table.features[0], table.outcomes, table.spline, 0.05)
        truth = _truth(table, gap)
        held += [truth[0] <= bound.noncentrality_bound, truth[1] <= bound.rms_gap_bound]
    assert held.min() >= 69


def test_any_shape_sees_what_a_gap_between_tertiles_does_not():
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.5, 0.85, 20_000), rng.uniform(-1, 1, 20_000)
    events = rng.random(20_000) < confidence - 0.15 * (3 * routing**2 - 1) / 2
    result = conditional_calibration_test(events, confidence, routing, n_resamples=99)
    assert result.equivalent
    assert not result.equivalent_any_shape
    assert 0.15 / np.sqrt(5) < result.rms_gap_bound < 0.1
    nothing = conditional_calibration_test(
        rng.random(20_000) < confidence, confidence, routing, n_resamples=99
    )
    assert nothing.equivalent_any_shape
