import numpy as np
import pytest

from sk_arcal.metrics._binning import bin_codes, bin_sums
from sk_arcal.metrics._blocks import BLOCK, bin_ruler, cell_ruler
from sk_arcal.metrics._sums import outcome_sums, sums_of_bins, sums_of_groups, uniform_gaps


@pytest.fixture
def rows(rng):
    n = 2 * BLOCK + 5
    y_prob = np.concatenate([np.round(rng.random(BLOCK), 2), rng.random(n - BLOCK)])
    return (rng.random(n) < y_prob).astype(float), y_prob, rng.integers(0, 3, n).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
def test_gaps_are_sums_over_the_rows_of_a_bin(weighted, rows):
    y_true, y_prob, weight = rows
    used = weight if weighted else np.ones_like(weight)
    gap, mass = uniform_gaps(y_true, y_prob, weight if weighted else None, 15)
    codes = bin_codes(y_prob, np.linspace(0, 1, 16))
    np.testing.assert_allclose(gap, bin_sums(codes, used * (y_prob - y_true)), atol=1e-9)
    np.testing.assert_array_equal(mass, bin_sums(codes, used))


@pytest.mark.parametrize("weighted", [False, True])
def test_total_weight_is_there_without_the_weight_of_each_bin(weighted, rows):
    y_true, y_prob, weight = rows
    _, mass = uniform_gaps(y_true, y_prob, weight if weighted else None, 15, with_mass=False)
    assert mass.sum() == (weight.sum() if weighted else len(weight))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ruler", [bin_ruler(15), cell_ruler(7680)], ids=["bins", "cells"])
def test_sums_by_group_outcome_and_bin(weighted, ruler, rows, rng):
    y_true, y_prob, weight = rows
    groups = rng.integers(0, 3, len(y_true))
    used = weight if weighted else np.ones_like(weight)
    sums, n_rows = outcome_sums(
        y_true, y_prob, weight if weighted else None, ruler, groups, n_groups=3
    )
    assert n_rows == np.count_nonzero(used)
    bins = sums_of_bins(sums, cell_ruler(7680), 15) if ruler.size > 15 else sums
    codes = bin_codes(y_prob, np.linspace(0, 1, 16))
    for group in range(3):
        for outcome in range(2):
            kept = used * ((groups == group) & (y_true == outcome))
            np.testing.assert_allclose(bins.weight[group, outcome], bin_sums(codes, kept, 15))
            np.testing.assert_allclose(
                bins.confidence[group, outcome], bin_sums(codes, kept * y_prob, 15)
            )
    together = sums_of_groups(bins)
    gap = bin_sums(codes, used * (y_prob - y_true))
    np.testing.assert_allclose(together.gap, gap, atol=1e-9)
    np.testing.assert_allclose(together.mass, bin_sums(codes, used))
    np.testing.assert_allclose(together.hits, bin_sums(codes, used * y_true))
    np.testing.assert_allclose(together.total_confidence, bin_sums(codes, used * y_prob))
