from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import chisquare

from sk_arcal.diagnostics._conditional import _null
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._null import (
    WeightedColumns,
    group_contributions,
    normal_signed_sums,
    normal_sums,
    shuffled_sums,
    signed_sums,
)
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

EVENTS = np.array([0, 1, 1, 0, 1.0, 0, 1, 1, 1])
GROUPS = np.array([0, 1, 0, 2, 1, 3, 2, 3, 0])


@pytest.fixture
def columns():
    """Two bins of five and four rows, and two routing features."""
    outcomes = BinnedOutcomes(
        order=np.arange(9),
        confidence=np.linspace(0.5, 0.9, 9),
        events=EVENTS,
        rank=(np.arange(9) + 0.5) / 9,
        edges=np.array([0, 5, 9]),
        groups=GROUPS,
    )
    u = np.random.default_rng(0).uniform(-1, 1, 9)
    level = np.array([0, 1, -1, 0, 1, 1, 0, -1, 0])
    features = [
        RoutingFeature(u, u),
        RoutingFeature(np.empty(0), np.empty(0), level, ("a", "b")),
    ]
    return WeightedColumns(outcomes, features)


@pytest.fixture
def every_shuffle(columns):
    """Sums of all permutations of outcomes inside bins, (5! 4!, 2, 6)."""
    first = [np.array(p) @ columns.block(0) for p in permutations(EVENTS[:5])]
    second = [np.array(p) @ columns.block(1) for p in permutations(EVENTS[5:])]
    return np.array([[a, b] for a, b in product(first, second)])


@pytest.fixture
def every_sign(columns):
    """Sums of all sixteen sign patterns of the four groups."""
    outcomes = columns.outcomes
    residual = [outcomes.detrended(EVENTS[outcomes.rows(b), None], b)[:, 0] for b in range(2)]
    sums = []
    for signs in product([-1, 1], repeat=4):
        sign = np.array(signs)[GROUPS]
        sums.append([(sign[outcomes.rows(b)] * residual[b]) @ columns.block(b) for b in range(2)])
    return np.array(sums)


def _covariance(draws):
    """Second moments about zero, (k, k)."""
    flat = draws.reshape(len(draws), -1)
    return flat.T @ flat / len(flat)


def _distinct(sums):
    return np.unique(np.round(sums.reshape(len(sums), -1), 9), axis=0, return_counts=True)


def test_columns_of_all_features_stand_side_by_side(columns):
    assert columns.n_columns == 6
    assert columns.slices == [slice(0, 4), slice(4, 6)]
    outcomes = columns.outcomes
    for b in range(2):
        second = columns.features[1].columns(outcomes.rows(b))
        expected = outcomes.weights[b] * outcomes.detrended(second, b)
        np.testing.assert_allclose(columns.block(b)[:, 4:], expected)


def test_observed_sums_and_grams_by_loops(columns):
    sums, grams = columns.sums_and_grams()
    for b in range(2):
        block, events = columns.block(b), EVENTS[columns.outcomes.rows(b)]
        for k in range(6):
            assert sums[b, k] == pytest.approx(
                sum(block[i, k] * events[i] for i in range(len(events)))
            )
            for j in range(6):
                assert grams[b, k, j] == pytest.approx(sum(row[k] * row[j] for row in block))


def test_shuffles_reach_every_arrangement_equally_often(columns, every_shuffle):
    drawn = np.concatenate(list(shuffled_sums(columns, 20_000, np.random.default_rng(0))))
    expected, share = _distinct(every_shuffle)
    found, counts = _distinct(drawn)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert chisquare(counts, share / share.sum() * len(drawn)).pvalue > 1e-3


def test_normal_law_has_the_covariance_of_all_shuffles(columns, every_shuffle):
    _, grams = columns.sums_and_grams()
    root = _roots_of(normal_sums(grams, columns.outcomes, 40_000, np.random.default_rng(0)))
    expected = _covariance(every_shuffle)
    assert np.abs(every_shuffle.mean(axis=0)).max() < 1e-12
    tolerance = 5 * np.sqrt(np.outer(np.diag(expected), np.diag(expected)) * 2 / 40_000)
    assert (np.abs(root - expected) <= tolerance + 1e-12).all()


def _roots_of(blocks):
    return _covariance(np.concatenate(list(blocks)))


def test_sign_flips_reach_every_pattern_equally_often(columns, every_sign):
    contributions = group_contributions(columns, GROUPS)
    drawn = np.concatenate(list(signed_sums(contributions, 2, 8000, np.random.default_rng(0))))
    expected, _ = _distinct(every_sign)
    found, counts = _distinct(drawn)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert chisquare(counts).pvalue > 1e-3


def test_contributions_of_groups_have_the_covariance_of_all_sign_flips(columns, every_sign):
    contributions = group_contributions(columns, GROUPS)
    found = (contributions.T @ contributions).toarray()
    np.testing.assert_allclose(found, _covariance(every_sign), atol=1e-12)


def test_contributions_add_up_to_the_observed_sums(columns):
    observed, _ = columns.sums_and_grams()
    total = group_contributions(columns, GROUPS).toarray().sum(axis=0)
    np.testing.assert_allclose(total.reshape(2, 6), observed, atol=1e-12)


def test_normal_law_of_groups_has_the_covariance_of_sign_flips(columns, every_sign):
    contributions = group_contributions(columns, GROUPS)
    draws = normal_signed_sums(contributions, 2, 40_000, np.random.default_rng(0))
    expected = _covariance(every_sign)
    tolerance = 5 * np.sqrt(np.outer(np.diag(expected), np.diag(expected)) * 2 / 40_000)
    assert (np.abs(_roots_of(draws) - expected) <= tolerance + 1e-12).all()


def test_draws_do_not_depend_on_the_size_of_blocks(columns, monkeypatch):
    whole = np.concatenate(list(shuffled_sums(columns, 50, np.random.default_rng(3))))
    monkeypatch.setattr(_null, "_BLOCK", 500)
    blocks = list(shuffled_sums(columns, 50, np.random.default_rng(3)))
    assert len(blocks) > 1
    np.testing.assert_allclose(np.concatenate(blocks), whole)


def test_singular_covariance_has_a_thin_root():
    """Indicators of levels that fill a bin are collinear once detrended."""
    root = _null._root(np.array([[2.0, -2.0], [-2.0, 2.0]]))
    np.testing.assert_allclose(root.T @ root, [[2, -2], [-2, 2]], atol=1e-12)
    assert len(root) == 1
