"""Exact inner maximisers against convex solvers, and what a worst case has to obey."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import xlogy

from sk_arcal.calibration._adversary._adversaries import ADVERSARIES, Adversary

PROBLEMS = range(40)


def problem(seed):
    """Few losses, with ties in every third problem, and masses, equal in every fourth."""
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 12)
    losses, mass = rng.exponential(size=n), rng.random(n) + 0.05
    if seed % 3 == 0:
        losses = losses.round(1)
    if seed % 4 == 0:
        mass = np.ones(n)
    return losses, mass / mass.sum(), rng


def divergence(name, weights, mass):
    if name == "chi2":
        return mass @ (weights - 1) ** 2
    return mass @ xlogy(weights, weights)


def slope_of_divergence(name, weights, mass):
    if name == "chi2":
        return 2 * mass * (weights - 1)
    return mass * (np.log(np.maximum(weights, 1e-300)) + 1)


def solver_in_ball(name, losses, mass, radius, start):
    """Largest weighted loss in the ball that SLSQP finds."""
    found = minimize(
        lambda w: -(mass * w) @ losses,
        start,
        jac=lambda w: -mass * losses,
        bounds=[(0, None)] * len(mass),
        constraints=[
            {"type": "eq", "fun": lambda w: mass @ w - 1, "jac": lambda w: mass},
            {
                "type": "ineq",
                "fun": lambda w: radius - divergence(name, w, mass),
                "jac": lambda w: -slope_of_divergence(name, w, mass),
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    feasible = abs(mass @ found.x - 1) < 1e-10
    feasible &= divergence(name, found.x, mass) < radius + 1e-10
    return -found.fun if feasible else -np.inf


@pytest.mark.parametrize("seed", PROBLEMS)
def test_cvar_is_the_linear_programme(seed):
    losses, mass, rng = problem(seed)
    alpha = rng.uniform(0.05, 1)
    worst = Adversary("cvar", alpha=alpha).respond(losses, mass)
    best = linprog(-mass * losses, A_eq=mass[None], b_eq=[1], bounds=[(0, 1 / alpha)] * len(mass))
    np.testing.assert_allclose(worst.value, -best.fun, rtol=1e-12)
    assert worst.weights.max() <= 1 / alpha * (1 + 1e-12)


@pytest.mark.parametrize("seed", PROBLEMS)
@pytest.mark.parametrize("name", ["chi2", "kl"])
# The oracle's own: SLSQP of some versions of scipy leaves its bounds by a rounding and clips.
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
def test_ball_is_the_convex_programme(name, seed):
    losses, mass, rng = problem(seed)
    radius = rng.choice([0.05, 0.3, 1.0, 3.0])
    worst = Adversary(name, radius=radius).respond(losses, mass)
    starts = np.ones(len(mass)), (1 + worst.weights) / 2
    best = max(solver_in_ball(name, losses, mass, radius, start) for start in starts)
    np.testing.assert_allclose(worst.value, best, atol=1e-9)
    assert divergence(name, worst.weights, mass) <= radius + 1e-9


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("seed", PROBLEMS)
def test_weights_have_mean_one_and_are_not_negative(name, seed):
    losses, mass, _ = problem(seed)
    weights = Adversary(name, eta=3.0, alpha=0.3, radius=0.7).respond(losses, mass).weights
    np.testing.assert_allclose(mass @ weights, 1, rtol=1e-12)
    assert (weights >= 0).all()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["cvar", "chi2", "kl"])
def test_no_random_weights_of_the_class_are_worse(name, seed):
    losses, mass, rng = problem(seed)
    adversary = Adversary(name, alpha=0.4, radius=0.5)
    worst = adversary.respond(losses, mass)
    for _ in range(200):
        draw = rng.exponential(size=len(mass)) ** rng.uniform(0.2, 4)
        draw /= mass @ draw
        # Shrunk towards one until it lies in the class.
        for share in np.linspace(1, 0, 21):
            weights = 1 + share * (draw - 1)
            inside = weights.max() <= 1 / 0.4
            if name != "cvar":
                inside = divergence(name, weights, mass) <= 0.5
            if inside:
                break
        assert (mass * weights) @ losses <= worst.value + 1e-12


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("name", "parameter", "strengths"),
    [
        ("cvar", "alpha", [1.0, 0.7, 0.4, 0.1, 0.01]),
        ("chi2", "radius", [0.0, 1e-6, 0.1, 1.0, 10.0]),
        ("kl", "radius", [0.0, 1e-6, 0.1, 1.0, 10.0]),
        ("tilted", "eta", [0.0, 1e-3, 0.5, 2.0, 50.0]),
        ("softmax", "eta", [0.0, 1e-3, 0.5, 2.0, 50.0]),
    ],
)
def test_worst_case_grows_from_the_mean_towards_the_maximum(name, parameter, strengths, seed):
    losses, mass, _ = problem(seed)
    values = [Adversary(name, **{parameter: s}).respond(losses, mass).value for s in strengths]
    np.testing.assert_allclose(values[0], mass @ losses, rtol=1e-12)
    assert (np.diff(values) >= -1e-12).all()
    assert values[-1] <= losses.max() + 1e-12


@pytest.mark.parametrize("name", ["tilted", "softmax", "chi2", "kl", "none"])
@pytest.mark.parametrize("seed", [1, 2, 5, 7])
def test_slope_is_the_derivative_of_the_value(name, seed):
    losses, mass, _ = problem(seed)
    adversary = Adversary(name, eta=3.0, radius=0.3)
    slope = adversary.respond(losses, mass).slope
    for i, step in enumerate(1e-6 * np.eye(len(losses))):
        up, down = (adversary.respond(losses + s, mass).value for s in (step, -step))
        np.testing.assert_allclose(slope[i], (up - down) / 2e-6, atol=1e-7)


def test_published_softmax_is_differentiated_through_its_weights():
    losses, eta = np.array([0.1, 0.5, 2.0]), 2.0
    q = np.exp(eta * losses) / np.exp(eta * losses).sum()
    worst = Adversary("softmax", eta=eta).respond(losses, np.ones(3))
    np.testing.assert_allclose(worst.value, q @ losses, rtol=1e-12)
    np.testing.assert_allclose(worst.slope, q * (1 + eta * (losses - q @ losses)), rtol=1e-12)
    assert worst.slope[0] < 0


def test_tilt_bounds_every_law_by_its_divergence():
    losses, mass, rng = problem(1)
    value = Adversary("tilted", eta=2.0).respond(losses, mass).value
    for _ in range(200):
        weights = rng.exponential(size=len(mass))
        weights /= mass @ weights
        bound = value + divergence("kl", weights, mass) / 2.0
        assert (mass * weights) @ losses <= bound + 1e-12


@pytest.mark.parametrize("name", ADVERSARIES)
def test_equal_losses_leave_the_mean(name):
    worst = Adversary(name, alpha=0.3).respond(np.full(5, 0.7), np.arange(1.0, 6))
    np.testing.assert_allclose(worst.value, 0.7, rtol=1e-12)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_masses_are_repetitions(name):
    losses, _, rng = problem(2)
    mass = rng.integers(1, 4, len(losses))
    adversary = Adversary(name, alpha=0.35, radius=0.5)
    merged = adversary.respond(losses, mass.astype(float))
    repeated = adversary.respond(np.repeat(losses, mass), np.ones(mass.sum()))
    np.testing.assert_allclose(merged.value, repeated.value, rtol=1e-12)
    np.testing.assert_allclose(np.repeat(merged.weights, mass), repeated.weights, atol=1e-9)


@pytest.mark.parametrize("name", ["chi2", "kl"])
def test_a_large_ball_puts_everything_on_the_maximum(name):
    losses = np.array([0.0, 1.0, 1.0, 0.5])
    worst = Adversary(name, radius=100.0).respond(losses, np.ones(4))
    np.testing.assert_allclose(worst.weights, [0, 2, 2, 0])
