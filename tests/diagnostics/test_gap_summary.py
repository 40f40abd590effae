import numpy as np
import pytest
from scipy.stats import norm

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._effect_size import matched_gaps
from sk_arcal.diagnostics._conditional._gap_summary import summarise_gap
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

EMPTY = np.empty(0)
PART_DRAWS = np.linspace(0, 10, 1001)


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    return BinnedOutcomes.from_rows((rng.random(600) < 0.7) * 1.0, rng.random(600), None, rng)


def _levels(n_levels):
    level = np.random.default_rng(1).integers(0, n_levels, 600)
    return RoutingFeature(EMPTY, EMPTY, level, tuple("abcdef"[:n_levels]))


def _level_gaps(feature, outcomes):
    def indicators(b):
        columns = feature.columns(outcomes.rows(b))
        return columns, np.zeros_like(columns)

    return matched_gaps(outcomes, indicators)


def test_tertile_gap_has_normal_intervals_and_detects_at_eighty_percent(outcomes):
    u = 2 * np.random.default_rng(1).permutation(np.arange(1, 601)) / 601 - 1
    summary = summarise_gap(RoutingFeature(u, u), outcomes, PART_DRAWS, 0.05)
    half = norm.ppf(0.975) * summary.gap_se
    np.testing.assert_allclose(summary.gap_interval, [summary.gap - half, summary.gap + half])
    inner = norm.ppf(0.95) * summary.gap_se
    np.testing.assert_allclose(
        summary.equivalence_interval, [summary.gap - inner, summary.gap + inner]
    )
    assert summary.min_detectable_gap == pytest.approx(2.8016 * summary.gap_se, rel=1e-4)


def test_minimum_detectable_gap_is_found_with_eighty_percent():
    """Two-sided test of an estimate with the given error, at its own detectable gap."""
    gap = 2.8016
    assert norm.sf(1.96 - gap) + norm.cdf(-1.96 - gap) == pytest.approx(0.8, abs=1e-3)


def test_level_that_stands_out_is_reported_with_a_simultaneous_interval(outcomes):
    feature = _levels(5)
    gaps = _level_gaps(feature, outcomes)
    k = int(np.argmax(np.abs(gaps.estimate / gaps.error)))
    summary = summarise_gap(feature, outcomes, PART_DRAWS, 0.05)
    assert summary.gap == pytest.approx(gaps.estimate[k])
    assert summary.gap_contrast == f"routing {'abcde'[k]} minus the rest"
    half = np.sqrt(9.5) * gaps.error[k]
    np.testing.assert_allclose(summary.gap_interval, [summary.gap - half, summary.gap + half])


def test_all_levels_count_for_equivalence_and_detection(outcomes):
    feature = _levels(5)
    gaps = _level_gaps(feature, outcomes)
    summary = summarise_gap(feature, outcomes, PART_DRAWS, 0.05)
    half = norm.ppf(0.95) * gaps.error
    np.testing.assert_allclose(
        summary.equivalence_interval,
        [(gaps.estimate - half).min(), (gaps.estimate + half).max()],
    )
    expected = (np.sqrt(9.5) + norm.ppf(0.8)) * gaps.error.max()
    assert summary.min_detectable_gap == pytest.approx(expected)


def test_of_two_mirror_levels_the_better_is_reported(outcomes):
    feature = _levels(2)
    swapped = RoutingFeature(EMPTY, EMPTY, 1 - feature.level, ("b", "a"))
    one = summarise_gap(feature, outcomes, PART_DRAWS, 0.05)
    other = summarise_gap(swapped, outcomes, PART_DRAWS, 0.05)
    assert one.gap > 0
    assert (one.gap_contrast, one.gap) == (other.gap_contrast, pytest.approx(other.gap))


def test_single_contrast_needs_no_simultaneous_quantile(outcomes):
    upper = RoutingFeature(EMPTY, EMPTY, _levels(2).level, ("1",))
    summary = summarise_gap(upper, outcomes, PART_DRAWS, 0.05)
    low, high = summary.gap_interval
    assert (high - low) / 2 == pytest.approx(norm.ppf(0.975) * summary.gap_se)
