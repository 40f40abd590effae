import numpy as np
import pytest
from scipy.stats import chisquare

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes, random_order


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    confidence = np.minimum(rng.beta(5, 1, 400), 0.97)
    return BinnedOutcomes.from_rows(
        (rng.random(400) < confidence) * 1.0, confidence, rng.integers(0, 90, 400), rng
    )


def _design(outcomes, b):
    """Intercept and rank of bin `b`, as a regression would write them."""
    rank = outcomes.rank[outcomes.rows(b)]
    return np.column_stack([np.ones(len(rank)), rank])


def test_bins_are_slices_of_sorted_rows(outcomes):
    assert (np.diff(outcomes.confidence) >= 0).all()
    assert outcomes.edges[0] == 0
    assert outcomes.edges[-1] == outcomes.n_samples == 400
    assert sorted(outcomes.order) == list(range(400))


def test_event_rates_are_smoothed_by_half_a_row(outcomes):
    for b in range(outcomes.n_bins):
        events = outcomes.events[outcomes.rows(b)]
        rate = (events.sum() + 0.5) / (len(events) + 1)
        assert outcomes.variance[b] == pytest.approx(rate * (1 - rate))
        assert outcomes.weights[b] == pytest.approx(max(rate * (1 - rate), 0.01) ** -0.5)


def test_detrended_columns_are_residuals_of_a_line(outcomes):
    for b in range(outcomes.n_bins):
        columns = np.random.default_rng(b).normal(size=(outcomes.sizes[b], 3))
        design = _design(outcomes, b)
        expected = columns - design @ np.linalg.lstsq(design, columns, rcond=None)[0]
        np.testing.assert_allclose(outcomes.detrended(columns, b), expected, atol=1e-12)


def test_line_in_the_rank_leaves_exactly_nothing(outcomes):
    line = (3 - 2 * outcomes.rank[outcomes.rows(0)])[:, None]
    assert not outcomes.detrended(line, 0).any()


def test_leverage_is_the_diagonal_of_the_hat_matrix(outcomes):
    for b in range(outcomes.n_bins):
        design = _design(outcomes, b)
        expected = np.diag(design @ np.linalg.pinv(design))
        np.testing.assert_allclose(outcomes.leverage(b), expected, rtol=1e-9)


def test_equal_values_come_in_random_order():
    rng = np.random.default_rng(0)
    first = [random_order(np.zeros(5), rng)[0] for _ in range(2000)]
    assert chisquare(np.bincount(first, minlength=5)).pvalue > 1e-3


def test_groups_follow_their_rows(outcomes):
    rng = np.random.default_rng(0)
    confidence = rng.random(100)
    sorted_rows = BinnedOutcomes.from_rows(np.ones(100), confidence, np.arange(100), rng)
    np.testing.assert_array_equal(sorted_rows.groups, np.argsort(confidence))
    assert sorted_rows.n_groups == 100
