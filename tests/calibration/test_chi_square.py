"""The cascade against sorting, which small problems are solved by and tested on."""

import numpy as np
import pytest

from sk_arcal.calibration._adversary._adversaries import Adversary
from sk_arcal.calibration._adversary._chi_square import (
    _FEWEST,
    _pass,
    find_threshold,
    sorted_weights,
)

N = 50_000
RADII = [1e-9, 1e-3, 0.3, 1.0, 8.0, 300.0]


def shape(name):
    rng = np.random.default_rng(0)
    return {
        "normal": lambda: np.abs(rng.normal(size=N)),
        "heavy": lambda: rng.pareto(2.5, N),
        "sorted": lambda: np.sort(rng.exponential(size=N)),
        "rounded": lambda: rng.exponential(size=N).round(1),
        "far": lambda: 1e4 + rng.random(N),
        "two clusters": lambda: np.where(rng.random(N) < 0.4, 5 + rng.random(N), rng.random(N)),
        "one large": lambda: np.r_[rng.random(N - 1), 1e3],
    }[name]()


def masses(kind):
    rng = np.random.default_rng(1)
    return {"equal": np.full(N, 1 / N), "repeated": rng.integers(1, 4, N), "any": rng.random(N)}[
        kind
    ]


@pytest.mark.parametrize("kind", ["equal", "repeated", "any"])
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize(
    "name", ["normal", "heavy", "sorted", "rounded", "far", "two clusters", "one large"]
)
def test_cascade_is_the_optimum_that_sorting_finds(name, radius, kind):
    losses, base = shape(name), masses(kind) / masses(kind).sum()
    expected = sorted_weights(losses, base, radius)
    worst = Adversary("chi2", radius=radius).respond(losses, base)
    tolerance = 1e-9 * losses.std()
    assert worst.value == pytest.approx(base @ (expected * losses), rel=0, abs=tolerance)
    np.testing.assert_allclose(base @ worst.weights, 1, rtol=1e-9)
    assert base @ (worst.weights - 1) ** 2 <= radius * (1 + 1e-7) + 1e-12
    np.testing.assert_allclose(worst.slope, base * worst.weights, rtol=1e-14)


@pytest.mark.parametrize("radius", [1e-3, 0.3, 1.0, 8.0])
@pytest.mark.parametrize("offset", [-0.4, -1e-3, 0.0, 1e-3, 0.4, 3.0])
def test_answer_does_not_depend_on_the_start(offset, radius):
    losses = shape("normal")
    ball = Adversary("chi2", radius=radius)
    cold = ball.respond(losses, None)
    warm = ball.respond(losses, None, cold.threshold + offset)
    assert warm.value == pytest.approx(cold.value, rel=1e-12)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-9)


@pytest.mark.parametrize("n", [_FEWEST, N])
def test_one_pass_over_all_losses_is_enough_after_the_samples(n, monkeypatch):
    passes = []
    target = "sk_arcal.calibration._adversary._chi_square._pass"
    monkeypatch.setattr(target, lambda x, *rest: passes.append(len(x)) or _pass(x, *rest))
    assert find_threshold(shape("normal")[:n], None, 1.0) is not None
    assert passes.count(n) == 1


def test_few_losses_are_left_to_sorting():
    assert find_threshold(shape("normal")[: _FEWEST - 1], None, 1.0) is None


@pytest.mark.parametrize("share", [0.3, 0.4999, 0.5, 0.5001, 0.9])
def test_mass_on_the_maximum_that_fills_the_ball_takes_everything(share):
    losses = (np.arange(N) < share * N).astype(float)
    worst = Adversary("chi2", radius=1.0).respond(losses, None)
    expected = sorted_weights(losses, np.full(N, 1 / N), 1.0)
    np.testing.assert_allclose(worst.weights, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("low", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("with_mass", [False, True])
def test_a_pass_sums_above_and_gathers_inside_the_window(low, with_mass):
    losses, mass = shape("normal"), masses("any") / masses("any").sum()
    own = mass if with_mass else np.full(N, 1 / N)
    head, inside, inside_mass = _pass(losses, mass if with_mass else None, low, low + 0.1)
    above, within = losses > low + 0.1, (losses > low) & (losses <= low + 0.1)
    excess = np.where(above, losses - low - 0.1, 0)
    np.testing.assert_allclose(head, [own @ above, own @ excess, own @ excess**2], rtol=1e-12)
    np.testing.assert_array_equal(inside, losses[within])
    np.testing.assert_allclose(inside_mass, own[within], rtol=1e-14)


@pytest.mark.parametrize("alpha", [1e-9, 0.05, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("name", ["normal", "rounded"])
def test_cvar_by_selection_is_cvar_by_sorting(name, alpha):
    losses = shape(name)
    selected = Adversary("cvar", alpha=alpha).respond(losses, None)
    # a mass that differs by a rounding is sorted
    almost = np.ones(N)
    almost[0] += 1e-15
    by_sorting = Adversary("cvar", alpha=alpha).respond(losses, almost)
    assert selected.value == pytest.approx(by_sorting.value, rel=1e-12)
    np.testing.assert_allclose(selected.weights, by_sorting.weights, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(selected.slope, selected.weights / N, rtol=1e-14)
