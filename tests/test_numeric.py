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
    take_columns,
    tempered_softmax,
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


# --- softmax in blocks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out_type", "error"), [(np.float32, 1e-6), (np.float64, 1e-14)], ids=["single", "double"]
)
@pytest.mark.parametrize("in_type", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.01, 1.0, 5.0, 30.0, 1e3])
def test_tempered_softmax_is_softmax(in_type, out_type, error, beta):
    logits = np.random.default_rng(0).normal(0, 3, (3000, 40)).astype(in_type)
    out = np.empty(logits.shape, out_type)
    assert tempered_softmax(logits, 1 / beta, out) is out
    expected = softmax(logits.astype(np.longdouble) / (1 / beta), axis=1)
    np.testing.assert_allclose(out, expected, rtol=0, atol=error)


@pytest.mark.parametrize("shift", [1e4, -1e4, 1e90])
def test_tempered_softmax_of_far_logits(shift):
    logits = np.array([[shift, 0.0, 0.0], [0.0, 1.0, 2.0], [-shift, shift, 0.0]])
    found = tempered_softmax(logits, 1.0, np.empty((3, 3)))
    np.testing.assert_allclose(found, softmax(logits, axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "shift", "error"), [(np.float32, 60.0, 1e-6), (np.float64, 500.0, 1e-14)]
)
def test_tempered_softmax_subtracts_where_exponents_would_cost_digits(dtype, shift, error):
    logits = np.random.default_rng(0).normal(0, 1, (500, 5)).astype(dtype) + dtype(shift)
    found = tempered_softmax(logits, 1.3, np.empty_like(logits))
    expected = softmax(logits.astype(np.longdouble) / 1.3, axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=error)


def test_tempered_softmax_of_one_row_is_that_of_many():
    logits = np.random.default_rng(0).normal(0, 5, (5000, 30))
    together = tempered_softmax(logits, 0.7, np.empty(logits.shape))
    alone = tempered_softmax(logits[4321:4322], 0.7, np.empty((1, 30)))
    np.testing.assert_allclose(alone[0], together[4321], rtol=1e-14)


def test_neighbouring_columns_are_a_view():
    X = np.arange(12.0).reshape(3, 4)
    assert np.shares_memory(take_columns(X, np.array([1, 2])), X)
    np.testing.assert_array_equal(take_columns(X, np.array([2, 1])), X[:, [2, 1]])
    np.testing.assert_array_equal(take_columns(X, np.array([0, 2])), X[:, [0, 2]])
    assert take_columns(X, np.array([], int)).shape == (3, 0)


# --- rows on their own ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [3, 31, 32, 300])
@pytest.mark.parametrize("scale", [1e-99, 1.0, 10.0, 1e99])
def test_lifted_rows_have_their_probability(n_classes, scale):
    rng = np.random.default_rng(0)
    logits = scale * rng.normal(size=(200, n_classes)) ** 3
    top = rng.uniform(1.1 / n_classes, 1, 200)
    beta, clipped = inverse_temperature_for_top(logits, top)
    assert not clipped.any()
    found = softmax(beta[:, None] * (logits - logits.max(axis=1, keepdims=True)), axis=1)
    np.testing.assert_allclose(found.max(axis=1), top, rtol=0, atol=1e-12)


def test_long_rows_with_ties_at_the_top():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 100))
    logits[:, 7] = logits[:, 3] = logits.max(axis=1)
    top = rng.uniform(0.02, 0.32, 50)
    beta, clipped = inverse_temperature_for_top(logits, top)
    assert not clipped.any()
    found = softmax(beta[:, None] * logits, axis=1)[:, 7]
    np.testing.assert_allclose(found, top, rtol=0, atol=1e-12)


def test_long_rows_whose_logits_differ_by_orders_of_magnitude():
    logits = -np.concatenate([[0.0], np.geomspace(1e-60, 1e60, 199)])[None]
    for top in (0.006, 0.03, 0.5, 1 - 1e-9):
        beta, clipped = inverse_temperature_for_top(logits, np.array([top]))
        assert not clipped[0]
        np.testing.assert_allclose(softmax(beta[0] * logits[0])[0], top, rtol=1e-9)
