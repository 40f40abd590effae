import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._components import COMPONENTS, Components
from sk_arcal.diagnostics._conditional._contrast_covariance import ContrastCovariance
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

N_BINS, N_DRAWS = 9, 7
U = np.linspace(-0.9, 0.9, 50)
EMPTY = np.empty(0)
CONTINUOUS = RoutingFeature(U, U)
NOMINAL = RoutingFeature(EMPTY, EMPTY, np.arange(50) % 4, ("a", "b", "c", "d"))
DISCRETE = RoutingFeature(U, U, np.arange(50) % 3, ("a", "b", "c"))


def _covariance(n_columns, seed=0):
    """Covariance of each bin, with the columns correlated."""
    roots = np.random.default_rng(seed).normal(size=(N_BINS, 8, n_columns))
    return np.einsum("bki,bkj->bij", roots, roots)


def _sums(n_columns, seed=1):
    return np.random.default_rng(seed).normal(size=(N_DRAWS, N_BINS, n_columns))


def _statistics(feature, covariance, sums):
    known = ContrastCovariance.from_bins(covariance, feature.trend)
    components = Components(feature, known)
    squares = components.squares(sums)
    return components.statistics(sums, squares), squares


def _windows(n_bins):
    return [(i, i + n) for n in (1, 2, 4) for i in range(n_bins - n + 1)]


def test_statistics_of_a_continuous_feature_by_their_formulas():
    covariance, sums = _covariance(4), _sums(4)
    found, _ = _statistics(CONTINUOUS, covariance, sums)
    total_covariance, v = covariance.sum(axis=0), covariance[:, 0, 0]
    beta = total_covariance[0, 1] / total_covariance[0, 0]
    v_bend = total_covariance[1, 1] - beta * total_covariance[0, 1]
    a = np.arange(N_BINS) - np.arange(N_BINS) @ v / v.sum()
    for draw, one in enumerate(sums):
        total = one.sum(axis=0)
        linear = total[0] ** 2 / v.sum()
        bend = (total[1] - beta * total[0]) ** 2 / v_bend
        turn = (a @ one[:, 0]) ** 2 / (a**2 @ v)
        part = max(total[p] ** 2 / total_covariance[p, p] for p in (2, 3))
        scan = max(
            one[i:j, 0].sum() ** 2 / v[i:j].sum() - 2 * np.log(N_BINS / (j - i))
            for i, j in _windows(N_BINS)
        )
        expected = [linear, linear + bend + turn, part, scan]
        np.testing.assert_allclose(found[draw], expected, err_msg=str(COMPONENTS))


def test_nominal_statistics_are_quadratic_forms_over_levels():
    covariance, sums = _covariance(4), _sums(4)
    found, _ = _statistics(NOMINAL, covariance, sums)
    a = Components(NOMINAL, ContrastCovariance.from_bins(covariance, NOMINAL.trend))
    weights = a._covariance.turn_weights
    inverse = np.linalg.pinv(covariance.sum(axis=0))
    turn_inverse = np.linalg.pinv(np.tensordot(weights**2, covariance, axes=1))
    for draw, one in enumerate(sums):
        total, turned = one.sum(axis=0), weights @ one
        linear = total @ inverse @ total
        assert found[draw, 0] == pytest.approx(linear)
        assert found[draw, 1] == pytest.approx(linear + turned @ turn_inverse @ turned)
        scan = max(
            one[i:j, k].sum() ** 2 / covariance[i:j, k, k].sum() - 2 * np.log(N_BINS / (j - i))
            for i, j in _windows(N_BINS)
            for k in range(4)
        )
        assert found[draw, 3] == pytest.approx(scan)


def test_order_of_levels_does_not_matter():
    covariance, sums, order = _covariance(4), _sums(4), [2, 0, 3, 1]
    found, _ = _statistics(NOMINAL, covariance, sums)
    reordered, _ = _statistics(NOMINAL, covariance[:, order][:, :, order], sums[:, :, order])
    np.testing.assert_allclose(found, reordered)


def test_discrete_feature_has_one_trend_and_a_part_for_each_level():
    covariance, sums = _covariance(4), _sums(4)
    found, _ = _statistics(DISCRETE, covariance, sums)
    total, variance = sums.sum(axis=1), np.diag(covariance.sum(axis=0))
    np.testing.assert_allclose(found[:, 0], total[:, 0] ** 2 / variance[0])
    np.testing.assert_allclose(found[:, 2], (total[:, 1:] ** 2 / variance[1:]).max(axis=1))


def test_collinear_levels_count_once():
    """Two levels that fill every bin mirror each other: one degree of freedom, not two."""
    two = RoutingFeature(EMPTY, EMPTY, np.arange(50) % 2, ("a", "b"))
    mirror = np.array([[1.0, -1], [-1, 1]])
    sums = np.outer(np.arange(1.0, N_BINS + 1), [1, -1])[None]
    found, _ = _statistics(two, np.tile(mirror, (N_BINS, 1, 1)), sums)
    assert found[0, 0] == pytest.approx(sums[0, :, 0].sum() ** 2 / N_BINS)


def test_bins_without_variation_neither_count_nor_break():
    covariance, sums = _covariance(4), _sums(4)
    covariance[[2, 3]] = 0
    sums[:, [2, 3]] = 0
    found, squares = _statistics(CONTINUOUS, covariance, sums)
    assert np.isfinite(found).all()
    assert not squares.windows[0][:, [2, 3]].any()
    assert not squares.windows[1][:, 2].any()


def test_sign_of_the_outcomes_does_not_matter():
    covariance, sums = _covariance(4), _sums(4)
    np.testing.assert_allclose(
        _statistics(CONTINUOUS, covariance, sums)[0], _statistics(CONTINUOUS, covariance, -sums)[0]
    )


def test_largest_square_looks_at_every_contrast():
    _, squares = _statistics(CONTINUOUS, _covariance(4), _sums(4))
    for draw in range(N_DRAWS):
        everything = [squares.total[draw], squares.turn[draw], *(w[draw] for w in squares.windows)]
        assert squares.largest()[draw] == max(part.max() for part in everything)
