"""Hats on ranks."""

import numpy as np
import pytest
from scipy.stats import rankdata

from sk_arcal.calibration._adversary._rank_basis import RankBasis


@pytest.fixture
def routing():
    return np.random.default_rng(0).lognormal(size=(200, 3))


def test_hats_of_a_column_sum_to_one_and_are_not_negative(routing):
    design = RankBasis(5).fit(routing, np.ones(200)).design(routing * 1.3).toarray()
    assert design.shape == (200, 15)
    assert (design >= 0).all()
    np.testing.assert_allclose(design.reshape(200, 3, 5).sum(axis=2), 1, rtol=1e-12)


def test_linear_coefficients_give_back_the_rank(routing):
    basis = RankBasis(5).fit(routing[:, :1], np.ones(200))
    rank = (rankdata(routing[:, 0]) - 1) / 199
    np.testing.assert_allclose(basis.design(routing[:, :1]) @ np.linspace(0, 1, 5), rank, atol=1e-9)


def test_weight_is_repetition(routing):
    weight = np.random.default_rng(1).integers(1, 4, 200)
    weighted = RankBasis(4).fit(routing, weight.astype(float))
    repeated = RankBasis(4).fit(routing.repeat(weight, axis=0), np.ones(weight.sum()))
    np.testing.assert_allclose(weighted.ranks(routing), repeated.ranks(routing), atol=1e-12)


def test_few_values_get_one_knot_each():
    values = np.array([[0.2], [0.5], [0.5], [0.8]])
    design = RankBasis(5).fit(values, np.ones(4)).design(np.array([[0.2], [0.5], [0.8]]))
    np.testing.assert_allclose(design.toarray(), np.eye(3), atol=1e-12)


def test_values_beyond_those_of_fit_count_as_the_outermost(routing):
    basis = RankBasis(5).fit(routing, np.ones(200))
    np.testing.assert_array_equal(
        basis.ranks([[-1e9] * 3, [1e9] * 3] @ np.eye(3)), [[0] * 3, [1] * 3]
    )


def test_constant_columns_have_no_hats(routing):
    routing[:, 1] = 7.0
    assert RankBasis(5).fit(routing, np.ones(200)).sizes == [5, 5]


def test_without_columns_there_is_one_constant():
    basis = RankBasis(5).fit(np.empty((3, 0)), np.ones(3))
    np.testing.assert_array_equal(basis.design(np.empty((2, 0))).toarray(), [[1], [1]])


def test_many_values_are_thinned_without_loss_of_precision():
    values = np.random.default_rng(0).normal(size=(20_000, 1))
    basis = RankBasis(5).fit(values, np.ones(20_000))
    assert len(basis.tables[0][1]) == 512
    exact = (rankdata(values[:, 0]) - 1) / 19_999
    np.testing.assert_allclose(basis.ranks(values)[:, 0], exact, atol=2e-3)
