"""Routing entropy by subset."""

import numpy as np
import pytest
from scipy.stats import entropy, ttest_1samp, ttest_ind

from sk_arcal.diagnostics._routing_entropy import routing_entropy_by_subset

SUBSETS = np.repeat(["easy", "hard", "odd"], [120, 60, 20])


def routed(seed=0):
    rng = np.random.default_rng(seed)
    return np.vstack([rng.dirichlet([a] * 4, n) for a, n in ((0.3, 120), (2, 60), (0.3, 20))])


def test_means_and_intervals_are_those_of_scipy():
    gates = routed()
    h = entropy(gates, axis=1)
    table = routing_entropy_by_subset(gates, SUBSETS, level=0.9).table
    for row, name in enumerate(["easy", "hard", "odd"]):
        own, rest = h[name == SUBSETS], h[name != SUBSETS]
        assert table["subset"][row] == name
        assert table["n_rows"][row] == len(own)
        assert table["entropy"][row] == pytest.approx(own.mean())
        assert table["normalized"][row] == pytest.approx(own.mean() / np.log(4))
        assert table["standard_error"][row] == pytest.approx(own.std(ddof=1) / np.sqrt(len(own)))
        mean = ttest_1samp(own, 0).confidence_interval(0.9)
        assert (table["low"][row], table["high"][row]) == pytest.approx((mean.low, mean.high))
        assert table["difference"][row] == pytest.approx(own.mean() - rest.mean())
        welch = ttest_ind(own, rest, equal_var=False).confidence_interval(0.9)
        ends = (table["difference_low"][row], table["difference_high"][row])
        assert ends == pytest.approx((welch.low, welch.high))


@pytest.mark.parametrize("m", [2, 5])
def test_even_gates_have_full_entropy_and_one_open_gate_has_none(m):
    gates = np.vstack([np.full((10, m), 1 / m), np.tile(np.eye(m)[0], (10, 1))])
    table = routing_entropy_by_subset(gates, np.repeat([0, 1], 10)).table
    np.testing.assert_allclose(table["entropy"], [np.log(m), 0], atol=1e-12)
    np.testing.assert_allclose(table["normalized"], [1, 0], atol=1e-12)
    np.testing.assert_allclose(table["standard_error"], 0, atol=1e-12)


def test_floor_is_the_mean_of_permutations():
    gates, rng = routed(), np.random.default_rng(1)
    result = routing_entropy_by_subset(gates, SUBSETS)
    spreads = np.array(
        [routing_entropy_by_subset(gates, rng.permutation(SUBSETS)).spread for _ in range(400)]
    )
    square = spreads**2
    error = square.std() / np.sqrt(400)
    assert np.mean(square) == pytest.approx(result.floor**2, abs=3.5 * error)
    assert 0.01 < np.mean(spreads > result.floor_95) < 0.09
    assert result.spread > result.floor_95


def test_spread_by_hand():
    gates = np.vstack([np.full((30, 2), 0.5), np.tile([1.0, 0.0], (10, 1))])
    result = routing_entropy_by_subset(gates, np.repeat(["a", "b"], [30, 10]))
    assert result.entropy == pytest.approx(0.75 * np.log(2))
    assert result.spread == pytest.approx(np.sqrt(0.75 * 0.25) * np.log(2))
    assert result.floor == pytest.approx(np.sqrt(0.75 * 0.25 / 39) * np.log(2))


def test_two_subsets_mirror_each_other():
    table = routing_entropy_by_subset(routed(), SUBSETS == "hard").table
    assert table["difference"][0] == pytest.approx(-table["difference"][1])
    assert table["difference_low"][0] == pytest.approx(-table["difference_high"][1])


def test_one_subset_has_no_others():
    result = routing_entropy_by_subset(routed(), np.zeros(200))
    assert (result.spread, result.floor, result.floor_95) == pytest.approx((0, 0, 0))
    assert np.isnan(result.table["difference"]).all()
    assert np.isfinite(result.table["low"]).all()


def test_subset_of_one_row_has_a_mean_and_no_interval():
    result = routing_entropy_by_subset(routed(), np.arange(200) == 7)
    assert np.isfinite(result.table["entropy"]).all()
    assert np.isnan(result.table["low"]).tolist() == [False, True]
    assert np.isnan(result.table["difference_low"]).all()


def test_one_expert_cannot_mix():
    result = routing_entropy_by_subset(np.ones((10, 1)), np.arange(10) % 2)
    assert (result.entropy, result.spread, result.floor) == (0, 0, 0)
    assert np.isnan(result.table["normalized"]).all()


def test_order_of_rows_does_not_matter():
    gates, order = routed(), np.random.default_rng(0).permutation(200)
    one = routing_entropy_by_subset(gates, SUBSETS)
    two = routing_entropy_by_subset(gates[order], SUBSETS[order])
    for name in list(one.table)[1:]:
        np.testing.assert_allclose(one.table[name], two.table[name], rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"gates": [0.5, 0.5]}, "`gates` must have shape"),
        ({"gates": np.ones((0, 2))}, "`gates` must have shape"),
        ({"gates": [[0.5, 0.6]] * 2}, "`gates` must sum to one"),
        ({"subsets": ["a"]}, "`subsets` has 1 rows where 2"),
        ({"level": 0}, r"`level` must lie in \(0, 1\)"),
    ],
)
def test_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        routing_entropy_by_subset(**{"gates": [[0.5, 0.5]] * 2, "subsets": ["a", "b"]} | settings)


def test_text_and_frame():
    pytest.importorskip("pandas")
    result = routing_entropy_by_subset(routed(), SUBSETS)
    assert result.to_frame()["subset"].tolist() == ["easy", "hard", "odd"]
    assert f"mean {result.entropy:.4g} nats" in repr(result)
    assert f"by chance {result.floor:.3g}" in repr(result)
