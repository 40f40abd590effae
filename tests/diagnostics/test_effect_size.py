import numpy as np
import pytest
from scipy.stats import norm, t

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._effect_size import matched_gaps


def _outcomes(groups=None, seed=0):
    rng = np.random.default_rng(seed)
    confidence = np.minimum(rng.beta(4, 1, 300), 0.98)
    events = (rng.random(300) < confidence) * 1.0
    return BinnedOutcomes.from_rows(events, confidence, groups, rng)


@pytest.fixture
def codes():
    return np.random.default_rng(5).integers(-1, 2, (300, 2)).astype(float)


def _contrasts(outcomes, codes, variance=None):
    variance = np.zeros_like(codes) if variance is None else variance
    return lambda b: (codes[outcomes.rows(b)], variance[outcomes.rows(b)])


def _regression(outcomes, code, bins=None):
    """Design of y on the code and a line in every bin, and the outcomes, by brute force."""
    bins = range(outcomes.n_bins) if bins is None else bins
    rows = np.concatenate([np.arange(300)[outcomes.rows(b)] for b in bins])
    columns = [code[rows]]
    for b in bins:
        inside = np.isin(rows, np.arange(300)[outcomes.rows(b)])
        columns += [inside, inside * outcomes.rank[rows]]
    return np.column_stack(columns), outcomes.events[rows], rows


def _hc3(design, events):
    inverse = np.linalg.pinv(design)
    residual = events - design @ inverse @ events
    leverage = np.einsum("ij,ji->i", design, inverse)
    return inverse[0], residual, leverage


def test_gap_is_the_regression_coefficient_with_hc3_error(codes):
    outcomes = _outcomes()
    gaps = matched_gaps(outcomes, _contrasts(outcomes, codes), scale=2)
    for k in range(2):
        design, events, _ = _regression(outcomes, codes[:, k])
        weight, residual, leverage = _hc3(design, events)
        assert gaps.estimate[k] == pytest.approx(2 * weight @ events)
        error = np.sqrt(np.sum((weight * residual / (1 - leverage)) ** 2))
        assert gaps.error[k] == pytest.approx(2 * error)


def test_gap_of_a_window_is_the_regression_in_the_window(codes):
    outcomes = _outcomes()
    bins = range(2, 5)
    gaps = matched_gaps(outcomes, _contrasts(outcomes, codes), bins=bins)
    design, events, _ = _regression(outcomes, codes[:, 0], bins)
    weight, residual, leverage = _hc3(design, events)
    assert gaps.estimate[0] == pytest.approx(weight @ events)
    assert gaps.error[0] == pytest.approx(
        np.sqrt(np.sum((weight * residual / (1 - leverage)) ** 2))
    )


def test_groups_are_summed_before_squaring(codes):
    groups = np.random.default_rng(2).integers(0, 25, 300)
    outcomes = _outcomes(groups)
    gaps = matched_gaps(outcomes, _contrasts(outcomes, codes))
    design, events, rows = _regression(outcomes, codes[:, 0])
    weight, residual, leverage = _hc3(design, events)
    detrended = weight / (weight @ weight)
    variance = 0.0
    for g in range(25):
        own = outcomes.groups[rows] == g
        share = np.sum(detrended[own] ** 2) / np.sum(detrended**2)
        variance += (np.sum((weight * residual / (1 - leverage))[own]) / (1 - share)) ** 2
    assert gaps.error[0] == pytest.approx(np.sqrt(variance))
    assert gaps.quantile(0.975) == pytest.approx(t.ppf(0.975, 24))


def test_one_row_per_group_is_nearly_no_groups(codes):
    outcomes, grouped = _outcomes(), _outcomes(np.arange(300))
    one = matched_gaps(outcomes, _contrasts(outcomes, codes))
    other = matched_gaps(grouped, _contrasts(grouped, codes))
    np.testing.assert_allclose(one.estimate, other.estimate)
    np.testing.assert_allclose(one.error, other.error, rtol=0.02)


def test_interval_is_symmetric_and_normal_without_groups(codes):
    outcomes = _outcomes()
    gaps = matched_gaps(outcomes, _contrasts(outcomes, codes))
    low, high = gaps.interval(gaps.quantile(0.975))
    np.testing.assert_allclose((low + high) / 2, gaps.estimate)
    np.testing.assert_allclose(high - low, 2 * norm.ppf(0.975) * gaps.error)


def test_ties_shrink_the_gap_to_what_breaking_them_at_random_gives():
    """Half of the rows undecided between -1 and +1: the mean estimate over random decisions."""
    outcomes = _outcomes()
    rng = np.random.default_rng(3)
    code = np.where(rng.random(300) < 0.5, 0.0, np.sign(rng.normal(size=300)))[:, None]
    undecided = (code == 0) * 1.0
    averaged = matched_gaps(outcomes, _contrasts(outcomes, code, undecided)).estimate[0]
    broken = [
        matched_gaps(
            outcomes,
            _contrasts(outcomes, np.where(undecided, rng.choice([-1.0, 1.0], (300, 1)), code)),
        ).estimate[0]
        for _ in range(400)
    ]
    assert averaged == pytest.approx(np.mean(broken), abs=5 * np.std(broken) / 20)


def test_contrast_that_never_varies_has_no_gap():
    outcomes = _outcomes()
    gaps = matched_gaps(outcomes, _contrasts(outcomes, np.ones((300, 1))))
    assert np.isnan(gaps.estimate[0])
    assert np.isnan(gaps.error[0])


def test_swapping_outcomes_turns_the_gap(codes):
    outcomes = _outcomes()
    swapped = BinnedOutcomes(
        outcomes.order, outcomes.confidence, 1 - outcomes.events, outcomes.rank, outcomes.edges
    )
    one = matched_gaps(outcomes, _contrasts(outcomes, codes))
    other = matched_gaps(swapped, _contrasts(swapped, codes))
    np.testing.assert_allclose(one.estimate, -other.estimate)
    np.testing.assert_allclose(one.error, other.error)
