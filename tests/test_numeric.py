"""Stable logits, entropies, and the temperature of a single row."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import entropy

from sk_arcal._numeric import (
    clipped_logit,
    inverse_temperature_for_top,
    log_probabilities,
    predictive_entropy,
    row_blocks,
    top_probability,
    top_two_margin,
)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (100, 7))


@pytest.mark.parametrize(("n", "k"), [(0, 3), (1, 1), (1000, 7), (10, 1_000_000), (200_000, 1)])
def test_blocks_cover_every_row_once(n, k):
    blocks = row_blocks(n, k)
    rows = [row for block in blocks for row in range(n)[block]]
    assert rows == list(range(n))
    assert all((b.stop - b.start) * k <= max(k, 1 << 16) for b in blocks)


def test_clipped_logit_inverts_the_sigmoid():
    p = np.linspace(0.001, 0.999, 99)
    np.testing.assert_allclose(clipped_logit(p, 1e-9), logit(p), rtol=1e-12)


@pytest.mark.parametrize("margin", [1e-2, 1e-15])
def test_clipped_logit_stops_at_the_margin(margin):
    low, high = clipped_logit(np.array([0.0, 1.0]), margin)
    np.testing.assert_allclose(expit([low, -high]), margin, rtol=0.1)


def test_entropy_equals_scipy(logits):
    expected = entropy(softmax(logits, axis=1), axis=1)
    np.testing.assert_allclose(predictive_entropy(logits), expected, rtol=1e-12)


def test_entropy_of_a_sure_row_is_zero():
    assert predictive_entropy(np.array([[0.0, -1e5]])) == 0


def test_margin_is_between_the_two_largest(logits):
    ordered = np.sort(softmax(logits, axis=1), axis=1)
    np.testing.assert_allclose(top_two_margin(logits), ordered[:, -1] - ordered[:, -2])


def test_margin_of_a_tie_is_zero():
    assert top_two_margin(np.array([[2.0, 2.0, -1.0]])) == 0


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_top_probability_is_the_largest_of_softmax(logits, shift):
    expected = softmax(logits, axis=1).max(axis=1)
    np.testing.assert_allclose(top_probability(logits + shift), expected, rtol=1e-10)


def test_log_probabilities_survive_where_probabilities_underflow():
    np.testing.assert_allclose(log_probabilities(np.array([[0.0, -2000.0]])), [[0, -2000]])


@pytest.mark.parametrize("beta", [1e-4, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("n_classes", [2, 10, 1000])
def test_inverse_temperature_is_recovered(beta, n_classes):
    logits = np.random.default_rng(0).normal(size=(50, n_classes))
    scaled = beta * (logits - logits.max(axis=1, keepdims=True))
    top = 1 / np.exp(scaled).sum(axis=1)
    reachable = 1 - top > 1e-9
    found, clipped = inverse_temperature_for_top(logits[reachable], top[reachable])
    assert not clipped.any()
    np.testing.assert_allclose(found, beta, rtol=1e-5)


def test_inverse_temperature_does_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    logits, top = rng.normal(size=(200, 5)), rng.uniform(0.1, 1, 200)
    expected = inverse_temperature_for_top(logits, top)
    monkeypatch.setattr("sk_arcal._numeric._BLOCK_ELEMENTS", 12)
    found = inverse_temperature_for_top(logits, top)
    np.testing.assert_array_equal(found, expected)


def test_inverse_temperature_is_positive_where_the_order_would_be_lost():
    beta, clipped = inverse_temperature_for_top(np.array([[1.0, 0.0, -1.0]]), np.array([0.2]))
    assert clipped[0]
    assert 0 < beta[0] < 1e-5


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_newton_converges_where_logits_differ_by_orders_of_magnitude(spread):
    row = -np.geomspace(spread * 1e-5, spread * 1e5, 40)
    logits = np.concatenate([[0.0], row])[None]
    for top in (0.03, 0.3, 0.9, 1 - 1e-9):
        beta, _ = inverse_temperature_for_top(logits, np.array([top]))
        np.testing.assert_allclose(softmax(beta[0] * logits[0])[0], top, rtol=1e-9)
