import numpy as np
import pytest
from scipy import sparse

from sk_arcal.diagnostics._conditional._contrast_covariance import (
    ContrastCovariance,
    window_lengths,
    window_sums,
)

N_BINS, N_COLUMNS, N_GROUPS = 9, 3, 40
TREND = slice(0, 2)


@pytest.fixture
def contributions():
    """What each group adds to each bin and column; half of it nothing."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_GROUPS, N_BINS, N_COLUMNS)) * (
        rng.random((N_GROUPS, N_BINS, 1)) < 0.5
    )


@pytest.fixture
def of_groups(contributions):
    flat = sparse.csc_array(contributions.reshape(N_GROUPS, -1))
    return ContrastCovariance.from_groups(flat, N_BINS, TREND)


@pytest.mark.parametrize(
    ("n_bins", "expected"),
    [(1, [1]), (3, [1]), (4, [1, 2]), (20, [1, 2, 4, 8]), (16, [1, 2, 4, 8])],
)
def test_windows_double_up_to_half_of_the_bins(n_bins, expected):
    assert window_lengths(n_bins) == expected


def test_window_sums_by_loops():
    per_bin = np.random.default_rng(0).normal(size=(4, 9, 2))
    for length, sums in zip([1, 2, 4], window_sums(per_bin), strict=True):
        assert sums.shape == (4, 9 - length + 1, 2)
        for start in range(9 - length + 1):
            expected = per_bin[:, start : start + length].sum(axis=1)
            np.testing.assert_allclose(sums[:, start], expected)


def test_windows_of_uncorrelated_bins_add_variances():
    covariance = np.array([np.diag([b + 1.0, 2, 5]) for b in range(N_BINS)])
    known = ContrastCovariance.from_bins(covariance, TREND)
    np.testing.assert_allclose(known.total, covariance.sum(axis=0))
    np.testing.assert_allclose(known.windows[2][3], [4 + 5 + 6 + 7, 8])
    np.testing.assert_allclose(known.turn[0, 0], known.turn_weights**2 @ np.arange(1, 10))


def test_turn_is_uncorrelated_with_a_single_trend():
    covariance = np.random.default_rng(0).uniform(1, 5, N_BINS)[:, None, None]
    known = ContrastCovariance.from_bins(covariance, slice(0, 1))
    assert known.turn_weights @ covariance[:, 0, 0] == pytest.approx(0, abs=1e-12)


def test_total_of_groups_is_the_sum_of_their_squares(contributions, of_groups):
    total = contributions.sum(axis=1)
    np.testing.assert_allclose(of_groups.total, sum(np.outer(g, g) for g in total))


def test_windows_of_groups_count_what_bins_share(contributions, of_groups):
    for length, variance in zip([1, 2, 4], of_groups.windows, strict=True):
        for start in range(N_BINS - length + 1):
            in_window = contributions[:, start : start + length, TREND].sum(axis=1)
            np.testing.assert_allclose(variance[start], (in_window**2).sum(axis=0))


def test_turn_of_groups_by_the_definition(contributions, of_groups):
    turned = np.einsum("gbk,b->gk", contributions[:, :, TREND], of_groups.turn_weights)
    np.testing.assert_allclose(of_groups.turn, turned.T @ turned)


def test_groups_that_keep_to_one_bin_are_uncorrelated_bins():
    rng = np.random.default_rng(0)
    contributions = np.zeros((N_GROUPS, N_BINS, N_COLUMNS))
    contributions[np.arange(N_GROUPS), np.arange(N_GROUPS) % N_BINS] = rng.normal(
        size=(N_GROUPS, 3)
    )
    grams = np.einsum("gbi,gbj->bij", contributions, contributions)
    one = ContrastCovariance.from_bins(grams, TREND)
    flat = sparse.csc_array(contributions.reshape(N_GROUPS, -1))
    other = ContrastCovariance.from_groups(flat, N_BINS, TREND)
    np.testing.assert_allclose(one.total, other.total)
    np.testing.assert_allclose(one.turn_weights, other.turn_weights)
    np.testing.assert_allclose(one.turn, other.turn)
    for a, b in zip(one.windows, other.windows, strict=True):
        np.testing.assert_allclose(a, b)


def test_thin_windows_of_levels_are_dropped_and_wide_ones_kept():
    covariance = np.array([np.diag([4.0, 1, 1])] * N_BINS)
    known = ContrastCovariance.from_bins(covariance, TREND)
    information = np.tile([3.0, 0.5], (N_BINS, 1))
    kept = known.without_thin_windows(information)
    assert not kept.windows[0].any()
    np.testing.assert_array_equal(kept.windows[1][:, 0], known.windows[1][:, 0])
    assert not kept.windows[2][:, 1].any()
    np.testing.assert_array_equal(kept.total, known.total)
