import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.preprocessing import StandardScaler

from sk_arcal.calibration._network._mlp_network import (
    InputScale,
    Network,
    count_parameters,
    matched_width,
)


def ones(n):
    return np.ones(n)


@pytest.mark.parametrize("n_routing", [0, 1, 12])
@pytest.mark.parametrize("width", [1, 16])
def test_parameters_are_the_entries_of_the_network(n_routing, width):
    network = Network.at_identity(1 + n_routing, width, np.random.default_rng(0))
    sizes = [array.size for array in (*network.coefs, *network.intercepts)]
    assert count_parameters(n_routing, width) == sum(sizes)


@pytest.mark.parametrize("n_routing", [1, 6, 48])
def test_matched_width_comes_nearest_to_the_full_number_of_parameters(n_routing):
    full = count_parameters(n_routing, 16)
    for n_used in range(n_routing + 1):
        width = matched_width(16, n_routing, n_used)
        misses = [abs(count_parameters(n_used, w) - full) for w in (width - 1, width, width + 1)]
        assert misses[1] == min(misses)
        assert misses[1] <= (n_used + 3) / 2
    assert matched_width(16, n_routing, n_routing) == 16


def test_matched_width_is_at_least_one():
    assert matched_width(1, 0, 0) == 1


def test_new_network_corrects_nothing():
    rng = np.random.default_rng(0)
    network = Network.at_identity(3, 16, rng)
    np.testing.assert_array_equal(network(rng.normal(size=(20, 3))), 0)


def test_network_is_its_formula():
    rng = np.random.default_rng(0)
    W, v, b, a = rng.normal(size=(2, 3)), rng.normal(size=(3, 1)), rng.normal(size=3), np.ones(1)
    x = np.array([0.3, -1.2])
    expected = 1 + sum(v[h, 0] * np.tanh(b[h] + W[:, h] @ x) for h in range(3))
    np.testing.assert_allclose(Network((W, v), (b, a))(x[None]), [expected], rtol=1e-14)


def test_spread_network_ignores_the_inputs_it_lacked():
    rng = np.random.default_rng(0)
    network = Network((rng.normal(size=(2, 4)), rng.normal(size=(4, 1))), (np.ones(4), np.ones(1)))
    X = rng.normal(size=(10, 4))
    spread = network.spread(np.array([0, 2]), 4)
    np.testing.assert_allclose(spread(X), network(X[:, [0, 2]]), rtol=1e-13)


def test_log_odds_are_standardised():
    log_odds = np.random.default_rng(0).normal(2, 3, 50)
    scale = InputScale.fit(log_odds, np.empty((50, 0)), ones(50))
    expected = StandardScaler().fit_transform(log_odds[:, None])
    np.testing.assert_allclose(scale(log_odds, np.empty((50, 0))), expected, rtol=1e-12)


def test_routing_is_its_mid_rank_with_variance_one():
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 8, (200, 1)).astype(float)
    inputs = InputScale.fit(levels[:, 0], levels, ones(200))(levels[:, 0], levels)
    expected = (rankdata(levels[:, 0]) - 0.5) / 200 - 0.5
    np.testing.assert_allclose(inputs[:, 1], np.sqrt(12) * expected, atol=1e-12)
    column = rng.normal(size=(5000, 1))
    inputs = InputScale.fit(column[:, 0], column, ones(5000))(column[:, 0], column)
    assert inputs[:, 1].var() == pytest.approx(1, abs=1e-3)


def test_rank_at_few_points_is_near_the_rank_at_all():
    column = np.exp(3 * np.random.default_rng(0).normal(size=5000))
    scale = InputScale.fit(column, column[:, None], ones(5000))
    assert len(scale.ranks[0].values) <= 256
    inputs = scale(column, column[:, None])[:, 1]
    expected = np.sqrt(12) * ((rankdata(column) - 0.5) / 5000 - 0.5)
    np.testing.assert_allclose(inputs, expected, atol=np.sqrt(12) / 255)


def test_outliers_do_not_move_the_other_ranks():
    column = np.linspace(0, 1, 1000)
    wild = column.copy()
    wild[-1] = 1e300
    inputs = [
        InputScale.fit(column, x[:, None], ones(1000))(column, x[:, None]) for x in (column, wild)
    ]
    np.testing.assert_allclose(inputs[0][:-10], inputs[1][:-10], atol=1e-9)


def test_constant_columns_become_zero_whatever_comes_later():
    scale = InputScale.fit(np.full(9, 2.0), np.full((9, 1), 0.1), ones(9))
    inputs = scale(np.array([2.0, -50.0]), np.array([[0.1], [1e308]]))
    np.testing.assert_array_equal(inputs, 0)


def test_weight_is_repetition():
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 4, 400)
    z, r = rng.normal(size=400), rng.normal(size=(400, 2))
    weighted = InputScale.fit(z, r, weight.astype(float))
    repeated = InputScale.fit(
        np.repeat(z, weight), np.repeat(r, weight, axis=0), ones(weight.sum())
    )
    np.testing.assert_allclose(weighted(z, r), repeated(z, r), atol=1e-12)
