from itertools import permutations

import numpy as np
import pytest

from sk_arcal.diagnostics._cyclic_shifts import _all_shifts, drawn_shifts, shift_tables


def kernel(m, bottom, top):
    strata = np.zeros(m)
    strata[:bottom], strata[m - top :] = -1 / bottom, 1 / top
    return strata


@pytest.mark.parametrize("m", [7, 64, 257, 1021, 4096])
def test_table_has_the_gap_under_every_shift(m):
    rng = np.random.default_rng(m)
    strata, values = rng.permutation(kernel(m, m // 3, m // 4)), rng.random(m)
    expected = [strata @ np.roll(values, -s) for s in range(m)]
    np.testing.assert_allclose(_all_shifts(strata, values), expected, atol=1e-14)


@pytest.mark.parametrize("n_parts", [1, 2, 8])
@pytest.mark.parametrize("m", [2503, 40_009])
def test_the_identity_is_a_member(m, n_parts):
    values = np.random.default_rng(0).random(m)
    tables = shift_tables(values, m // 3, m // 3, n_parts, np.random.default_rng(1))
    observed = values[-(m // 3) :].mean() - values[: m // 3].mean()
    assert sum(map(len, tables)) == m
    assert sum(table[0] for table in tables) == pytest.approx(observed, abs=1e-14)


@pytest.mark.parametrize("two_sided", [False, True])
def test_pvalue_of_a_tiny_bin_is_exact_over_all_its_arrangements(two_sided):
    m, order = 6, np.array([3, 0, 5, 1, 4, 2])
    strata, values = kernel(m, 2, 2)[order], np.array([0.13, 0.71, 0.24, 0.92, 0.41, 0.37])
    pvalues = []
    for arranged in permutations(values):
        gaps = _all_shifts(strata, np.array(arranged)[order])
        gaps = np.abs(gaps) if two_sided else gaps
        pvalues.append(round(np.mean(gaps >= gaps[0] - 1e-12) * m))
    reached = np.bincount(pvalues, minlength=m + 1).cumsum() / len(pvalues)
    allowed = np.arange(m + 1) / m
    assert (reached <= allowed + 1e-12).all()
    if not two_sided:
        np.testing.assert_allclose(reached, allowed)


@pytest.mark.parametrize("n_parts", [1, 3])
def test_null_has_mean_and_variance_of_all_permutations(n_parts):
    m, bottom, top = 900, 300, 250
    values = np.random.default_rng(0).exponential(size=m)
    expected = values.var(ddof=1) * (1 / bottom + 1 / top)
    tables = [
        shift_tables(values, bottom, top, n_parts, np.random.default_rng(k)) for k in range(100)
    ]
    means = np.array([sum(table.mean() for table in parts) for parts in tables])
    spread = np.array([sum(table.var() for table in parts) for parts in tables])
    if n_parts == 1:
        np.testing.assert_allclose(means, 0, atol=1e-15)
    total = means.var() + spread.mean()
    assert abs(means.mean()) < 4 * np.sqrt(expected / m)
    assert total == pytest.approx(expected, rel=0.03)


def test_draws_are_sums_of_one_entry_of_each_table():
    tables = [np.array([0.0, 1.0]), np.array([10.0, 20.0, 30.0])]
    drawn = drawn_shifts(tables, 600, np.random.default_rng(0))
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [10, 11, 20, 21, 30, 31]
    assert (np.abs(counts - 100) < 40).all()
