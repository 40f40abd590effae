import numpy as np
import pytest
from scipy.integrate import quad

from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import (
    RoutingFeature,
    level_columns,
    routing_feature,
    smallest_level,
)
from sk_arcal.diagnostics._conditional._routing_input import read_routing

N = 600
EVERYTHING = slice(0, N)
EMPTY = np.empty(0)


@pytest.fixture
def spline():
    return ConfidenceSpline((np.arange(N) + 0.5) / N)


def _feature(routing, spline, kind="auto"):
    values = read_routing(routing, "routing", kind, N)
    return routing_feature(values, np.arange(N), spline, np.random.default_rng(0))


def test_continuous_columns_are_trend_curvature_and_outer_deciles():
    u = np.array([-0.95, -0.8, 0.0, 0.5, 0.81])
    columns = RoutingFeature(u, u).columns(slice(0, 5))
    expected = np.column_stack([u, (3 * u**2 - 1) / 2, u < -0.8, u > 0.8])
    np.testing.assert_allclose(columns, expected)


@pytest.mark.parametrize("interval", [(-1, 1), (-0.9, -0.5), (0.2, 0.9), (-0.4, 0.35)])
def test_tied_rows_average_every_column_over_their_interval(interval):
    low, high = interval
    functions = [
        lambda u: u,
        lambda u: (3 * u**2 - 1) / 2,
        lambda u: u < -0.8,
        lambda u: u > 0.8,
    ]
    feature = RoutingFeature(np.array([low]), np.array([high]))
    found = feature.columns(slice(0, 1))[0]
    for value, function in zip(found, functions, strict=True):
        mean = quad(function, low, high, points=[-0.8, 0.8])[0] / (high - low)
        assert value == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("interval", [(-1, 1), (-0.9, -0.2), (0.2, 0.9), (-0.1, 0.1)])
def test_tertile_contrast_has_the_mean_and_variance_of_broken_ties(interval):
    low, high = interval
    feature = RoutingFeature(np.array([low]), np.array([high]))
    u = np.linspace(low, high, 200_001)
    code = np.sign(u) * (np.abs(u) > 1 / 3)
    mean, variance = feature.contrast(0, slice(0, 1))
    assert mean[0] == pytest.approx(code.mean(), abs=1e-4)
    assert variance[0] == pytest.approx(code.var(), abs=1e-4)
    mean, variance = feature.contrast(1, slice(0, 1))
    assert mean[0] == pytest.approx(np.abs(code).mean(), abs=1e-4)
    assert variance[0] == pytest.approx(np.abs(code).var(), abs=1e-4)


def test_twelve_numbers_give_a_trend_and_an_indicator_each(spline):
    routing = np.random.default_rng(0).integers(0, 12, N)
    feature = _feature(routing, spline)
    assert feature.is_ranked
    assert feature.part_names == tuple(f"routing {k}" for k in range(12))
    np.testing.assert_array_equal(
        feature.columns(EVERYTHING)[:, 1:], routing[:, None] == np.arange(12)
    )


def test_two_numbers_give_the_indicator_of_the_upper(spline):
    routing = np.random.default_rng(0).choice([3.0, 8.0], N)
    feature = _feature(routing, spline)
    assert not feature.is_ranked
    assert feature.part_names == ("routing 8",)
    np.testing.assert_array_equal(feature.columns(EVERYTHING)[:, 0], routing == 8)


def test_nominal_feature_has_indicators_alone(spline):
    routing = np.random.default_rng(0).choice(["x", "y", "z"], N)
    feature = _feature(routing, spline)
    assert feature.trend == feature.directions == feature.parts == slice(0, 3)
    np.testing.assert_array_equal(
        feature.columns(EVERYTHING), routing[:, None] == np.array(["x", "y", "z"])
    )


def test_levels_need_twenty_rows_and_as_many_without_them():
    level = np.repeat([0, 1, 2, 3], [19, 20, 41, 520])
    column, kept = level_columns(level, 4)
    assert kept.tolist() == [1, 2, 3]
    assert np.unique(column).tolist() == [-1, 0, 1, 2]
    assert level_columns(np.repeat([0, 1], [19, 581]), 2)[1].tolist() == []


def test_smallest_level_is_one_percent_of_many_rows():
    assert [smallest_level(n) for n in (100, 2000, 2001, 10_000)] == [20, 20, 21, 100]


def test_few_numbers_with_rare_levels_only_are_ranked_like_any(spline):
    """Forty values of fifteen rows each: too rare to stand alone, yet ordered."""
    feature = _feature(np.repeat(np.arange(40), 15)[::-1], spline, kind="discrete")
    assert feature.level is None
    assert feature.n_columns == 4


def test_scales_and_names_of_contrasts(spline):
    feature = _feature(np.random.default_rng(0).normal(size=N), spline)
    assert [feature.contrast_scale(k) for k in range(4)] == [2, 1, 1, 1]
    assert feature.contrast_name(0) == "trend of routing"
    assert feature.contrast_name(3) == "top decile of routing"
    nominal = RoutingFeature(EMPTY, EMPTY, np.zeros(3, dtype=int), ("a",))
    assert nominal.contrast_scale(0) == 1
    assert nominal.contrast_name(0) == "routing a"
