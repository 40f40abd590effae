import numpy as np
import pytest
from scipy.special import log_softmax

from sk_arcal.calibration._network._mlp_rows import (
    DistinctRows,
    columns_by_content,
    event_log_odds,
    orientation,
)


@pytest.fixture
def sample():
    """Rows with many repetitions and ties: log-odds, two routing columns, events."""
    rng = np.random.default_rng(0)
    n = 300
    return (
        rng.integers(-3, 4, n) / 2,
        rng.integers(0, 3, (n, 2)).astype(float),
        rng.integers(0, 2, n).astype(float),
    )


def test_distinct_rows_are_those_of_numpy_with_counts_as_weights(sample):
    z, r, y = sample
    rows = DistinctRows.collect(z, r, y, np.ones(len(z)))
    expected, counts = np.unique(np.column_stack([z, y, r]), axis=0, return_counts=True)
    found = np.column_stack([rows.log_odds, rows.event, rows.routing])
    order = np.lexsort(found.T[::-1])
    np.testing.assert_array_equal(found[order], expected)
    np.testing.assert_array_equal(rows.weight[order], counts)


def test_weight_and_repetition_give_the_same_rows(sample):
    z, r, y = sample
    weight = np.random.default_rng(1).integers(1, 5, len(z))
    weighted = DistinctRows.collect(z, r, y, weight.astype(float))
    copies = [np.repeat(array, weight, axis=0) for array in (z, r, y)]
    repeated = DistinctRows.collect(*copies, np.ones(weight.sum()))
    for name in ("log_odds", "routing", "event", "weight", "varying"):
        np.testing.assert_array_equal(getattr(weighted, name), getattr(repeated, name))


def test_order_of_rows_does_not_show(sample):
    z, r, y = sample
    order = np.random.default_rng(1).permutation(len(z))
    first = DistinctRows.collect(z, r, y, np.ones(len(z)))
    second = DistinctRows.collect(z[order], r[order], y[order], np.ones(len(z)))
    np.testing.assert_array_equal(first.routing, second.routing)
    np.testing.assert_array_equal(first.weight, second.weight)


def test_order_of_columns_does_not_show():
    rng = np.random.default_rng(0)
    z, r, y = rng.normal(size=50), rng.normal(size=(50, 4)), rng.integers(0, 2, 50).astype(float)
    order = columns_by_content(z, y, r)
    for _ in range(10):
        shuffle = rng.permutation(4)
        np.testing.assert_array_equal(shuffle[columns_by_content(z, y, r[:, shuffle])], order)


def test_constant_columns_are_left_out():
    r = np.column_stack([np.full(4, 0.1), [1.0, 2, 3, 4], np.zeros(4)])
    np.testing.assert_array_equal(columns_by_content(np.arange(4.0), np.zeros(4), r), [1])


def test_zero_has_one_sign():
    z, y = np.arange(3.0), np.zeros(3)
    plus = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 3.0]])
    minus = plus.copy()
    minus[0, 0] = -0.0
    np.testing.assert_array_equal(columns_by_content(z, y, plus), columns_by_content(z, y, minus))


def test_event_of_several_classes_is_that_the_top_class_is_right():
    logits = 3 * np.random.default_rng(0).normal(size=(40, 5))
    top = np.exp(log_softmax(logits, axis=1).max(axis=1))
    np.testing.assert_allclose(event_log_odds(logits), np.log(top / (1 - top)), rtol=1e-12)


def test_log_odds_of_a_sure_class_are_exact():
    logits = np.array([[0.0, 1000.0, 0.0], [0.0, 0.0, 1e300]])
    np.testing.assert_allclose(event_log_odds(logits), [1000 - np.log(2), 1e300], rtol=1e-14)


def test_order_of_classes_does_not_show_in_the_log_odds():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 9))
    shuffled = logits[:, rng.permutation(9)]
    np.testing.assert_array_equal(event_log_odds(logits), event_log_odds(shuffled))


def test_orientation_turns_with_the_name_of_the_event():
    rng = np.random.default_rng(0)
    for _ in range(20):
        z, y, w = rng.normal(size=7), rng.integers(0, 2, 7).astype(float), rng.random(7)
        assert orientation(z, y, w) == -orientation(-z, 1 - y, w)


def test_orientation_of_a_balanced_sample_follows_the_log_odds():
    z, y = np.array([3.0, -1.0]), np.array([1.0, 0.0])
    assert orientation(z, y, np.ones(2)) == 1
    assert orientation(-z, 1 - y, np.ones(2)) == -1
