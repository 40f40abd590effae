import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kstest

from sk_arcal.diagnostics._conditional._residual_rank import (
    ConfidenceSpline,
    residual_rank,
    share_left_open,
    share_of_levels_left_open,
)
from sk_arcal.diagnostics._confidence_bins import tie_midranks


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def score(rng):
    """Sorted scores; any increasing map of them is a confidence."""
    return np.sort(rng.normal(size=2000))


def _rank(values, score, seed=1):
    spline = ConfidenceSpline(tie_midranks(score))
    return residual_rank(values, spline, np.random.default_rng(seed))


def test_spline_reproduces_cubics_and_projects(score, rng):
    rank = tie_midranks(score)
    spline = ConfidenceSpline(rank)
    cubic = 1 - 2 * rank + 3 * rank**3
    np.testing.assert_allclose(spline.fit(cubic), cubic, atol=1e-9)
    noise = rng.normal(size=len(rank))
    fitted = spline.fit(noise)
    np.testing.assert_allclose(spline.fit(fitted), fitted, atol=1e-9)
    assert abs(fitted @ (noise - fitted)) < 1e-6


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_spline_on_few_confidences_never_mixes_them_wrongly(n_values, rng):
    rank = tie_midranks(np.sort(rng.integers(0, n_values, 600)).astype(float))
    means = {value: index for index, value in enumerate(np.unique(rank))}
    values = np.array([means[r] for r in rank], dtype=float)
    np.testing.assert_allclose(ConfidenceSpline(rank).fit(values), values, atol=1e-8)


def test_rank_is_uniform_at_every_confidence_though_place_and_spread_move(score, rng):
    routing = np.sin(score) + np.exp(0.7 * score) * rng.normal(size=len(score))
    u, _ = _rank(routing, score)
    for fifth in np.split(u, 5):
        assert kstest(fifth, "uniform", args=(-1, 2)).statistic < 0.08


def test_untied_rows_get_the_grid_of_ranks(score, rng):
    low, high = _rank(rng.normal(size=2000), score)
    np.testing.assert_array_equal(low, high)
    np.testing.assert_allclose(np.sort(low), 2 * np.arange(1, 2001) / 2001 - 1)


def test_increasing_map_of_routing_changes_nothing(score, rng):
    routing = 0.5 * score + rng.normal(size=2000)
    np.testing.assert_array_equal(_rank(routing, score), _rank(np.exp(3 * routing), score))


def test_tied_rows_average_over_all_ways_to_break_the_tie(score, rng):
    routing = np.round(2 * (score + rng.normal(size=2000)))
    low, high = _rank(routing, score)
    broken = [_rank(routing + rng.uniform(0, 1e-6, 2000), score)[0] for _ in range(200)]
    difference = (low + high) / 2 - np.mean(broken, axis=0)
    assert np.abs(difference).max() < 0.1
    assert np.abs(difference).mean() < 0.02
    assert abs(np.mean((low**2 + low * high + high**2) / 3) - np.mean(np.square(broken))) < 0.01


def test_intervals_of_tied_values_meet(score):
    """Binary routing independent of confidence: [-1, a] and [a, 1] at every confidence."""
    routing = np.resize([0.0, 1.0, 1.0], 2000)
    low, high = _rank(routing, score)
    assert low[routing == 0].max() == -1
    assert high[routing == 1].min() == 1
    assert np.abs(high[routing == 0] + 1 / 3).max() < 0.15


def test_share_left_open_is_the_mean_squared_second_difference(rng):
    routing = rng.normal(size=50)
    rank = tie_midranks(routing)
    bends = [(rank[i - 1] - 2 * rank[i] + rank[i + 1]) ** 2 for i in range(1, 49)]
    expected = min(np.mean(bends) / 6 / np.var(rank), 1)
    assert share_left_open(routing) == pytest.approx(expected)


def test_share_left_open_is_one_for_independent_routing(rng):
    assert share_left_open(rng.normal(size=20_000)) > 0.95


@pytest.mark.parametrize("n", [300, 2500])
def test_share_left_open_sees_smooth_functions(n, rng):
    confidence = expit(2 + 1.5 * np.sort(rng.normal(size=n)))
    entropy = -confidence * np.log(confidence) - (1 - confidence) * np.log1p(-confidence)
    assert share_left_open(confidence) < 1e-4
    assert share_left_open(np.sort(entropy)) < 1e-4
    assert share_left_open(entropy + 0.02 * rng.normal(size=n)) > 1e-3


def test_share_left_open_is_the_noise_share_of_the_ranks(score, rng):
    """Corr r of normal variables: 1 - (noise share) = squared rank correlation."""
    routing = 0.8 * score + 0.6 * rng.normal(size=2000)
    explained = (6 / np.pi * np.arcsin(0.8 / 2)) ** 2
    assert share_left_open(routing) == pytest.approx(1 - explained, abs=0.05)


def test_constant_routing_leaves_nothing_open():
    assert share_left_open(np.ones(100)) == 0
    assert share_of_levels_left_open(np.zeros(100, dtype=int), 1) == 0


def test_levels_as_steps_of_the_confidence_leave_nothing_open():
    steps = np.repeat([2, 0, 1, 0, 3], 100)
    assert share_of_levels_left_open(steps, 4) == 0


def test_levels_drawn_independently_leave_everything_open(rng):
    assert share_of_levels_left_open(rng.integers(0, 8, 20_000), 8) > 0.97
