"""Folds dealt from sorted, distinct rows."""

import numpy as np
import pytest

from sk_arcal.calibration._adversary._dealt_folds import deal, is_divisible
from sk_arcal.calibration._distinct_rows import merge_equal_rows


def test_parts_sum_to_the_weights():
    weight = np.random.default_rng(0).random(50) * 5
    parts = deal(weight, 4)
    np.testing.assert_allclose(parts.sum(axis=0), weight, rtol=1e-9)
    assert (parts >= 0).all()


def test_unit_weights_are_dealt_like_cards():
    np.testing.assert_array_equal(deal(np.ones(7), 3).argmax(axis=0), [0, 1, 2, 0, 1, 2, 0])


def test_a_heavy_row_is_dealt_like_its_repetitions():
    weight = np.array([3.0, 1.0, 5.0, 2.0])
    cards = np.repeat(np.arange(4), weight.astype(int))
    for fold, part in enumerate(deal(weight, 3)):
        expected = np.bincount(cards[np.arange(len(cards)) % 3 == fold], minlength=4)
        np.testing.assert_allclose(part, expected, atol=1e-12)


def test_fractions_are_shared_out_too():
    parts = deal(np.array([0.2, 0.4, 0.4]), 2)
    assert is_divisible(parts)
    np.testing.assert_allclose(parts.sum(axis=1), [0.6, 0.4], rtol=1e-9)


def test_too_few_rows_leave_a_fold_empty():
    assert not is_divisible(deal(np.ones(2), 3))


@pytest.mark.parametrize("seed", range(5))
def test_merged_rows_do_not_depend_on_order_or_repetition(seed):
    rng = np.random.default_rng(seed)
    table, weight = rng.integers(0, 3, (40, 3)).astype(float), rng.integers(1, 4, 40)
    first, merged, kind = merge_equal_rows(table, weight.astype(float))
    order = rng.permutation(weight.sum())
    rows = table.repeat(weight, axis=0)[order]
    again, sums, _ = merge_equal_rows(rows, np.ones(len(rows)))
    np.testing.assert_array_equal(table[first], rows[again])
    np.testing.assert_array_equal(merged, sums)
    np.testing.assert_array_equal(table[first][kind], table)
    expected, counts = np.unique(table, axis=0, return_inverse=True)
    np.testing.assert_array_equal(table[first], expected)
    np.testing.assert_array_equal(merged, np.bincount(counts.ravel(), weights=weight))


def test_rows_that_differ_in_the_last_column_only_are_told_apart():
    table = np.zeros((4, 20))
    table[:, -1] = [2, 1, 2, 0]
    first, merged, kind = merge_equal_rows(table, np.ones(4))
    np.testing.assert_array_equal(table[first, -1], [0, 1, 2])
    np.testing.assert_array_equal(merged, [1, 1, 2])
    np.testing.assert_array_equal(kind, [2, 1, 2, 0])
