"""Patterns over the routing, and the regression their ranks rest on."""

import numpy as np
import pytest
from scipy.special import ndtri

from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._conditional._routing_patterns import (
    PlainOrBent,
    _rank_patterns,
    routing_patterns,
)

RANK = (np.arange(2000) + 0.5) / 2000


def test_patterns_of_single_values():
    u = np.array([-0.9, -0.5, 0.1, 0.85])
    found = _rank_patterns(u, u.copy())
    expected = [u, (3 * u**2 - 1) / 2, [-1, -1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-12)


def test_patterns_of_ties_are_averages_over_their_interval():
    low, high = np.array([-1.0, 0.7]), np.array([1.0, 0.9])
    points = low + (high - low) * (np.arange(20_000)[:, None] + 0.5) / 20_000
    expected = [_rank_patterns(*2 * [points[:, k]]).mean(axis=0) for k in range(2)]
    np.testing.assert_allclose(_rank_patterns(low, high), expected, atol=1e-4)


def test_plain_relation_is_fitted_with_two_numbers():
    values = 0.7 * ndtri(RANK) + np.random.default_rng(0).normal(size=2000)
    slope, level = np.polyfit(ndtri(RANK), values, 1)
    np.testing.assert_allclose(PlainOrBent(RANK).fit(values), level + slope * ndtri(RANK))


def test_bent_relation_is_fitted_by_splines():
    values = np.sin(6 * RANK) + np.random.default_rng(0).normal(size=2000)
    expected = ConfidenceSpline(RANK).fit(values)
    np.testing.assert_allclose(PlainOrBent(RANK).fit(values), expected)


def test_one_confidence_is_fitted_by_the_mean():
    values = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(PlainOrBent(np.full(50, 0.5)).fit(values), values.mean())


@pytest.mark.parametrize("names", [["a", "b", "c"], [1.0, 2.0, 7.0]])
def test_levels_are_indicators_and_rare_ones_have_none(names):
    level = np.r_[np.zeros(985, dtype=int), np.ones(1000, dtype=int), 2 * np.ones(15, dtype=int)]
    values = read_routing(np.array(names)[level], "routing", "auto", 2000)
    order = np.random.default_rng(0).permutation(2000)
    found = routing_patterns(values, order, RANK, np.random.default_rng(0))(slice(0, 2000))
    np.testing.assert_array_equal(found, level[order][:, None] == [0, 1])
