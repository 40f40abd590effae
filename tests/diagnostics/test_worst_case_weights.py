"""The worst weights of every ball against solvers that know nothing of the closed forms."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from scipy.special import xlogy

from sk_arcal.diagnostics._worst_case_weights import worst_case_weights

BALLS = ("kl", "chi2", "cvar", "box")
PROBLEMS = range(50)


def problem(seed):
    """Few losses of either sign; ties in every third problem, equal masses in every fourth."""
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 15)
    losses, mass = rng.normal(size=n), rng.random(n) + 0.05
    if seed % 3 == 0:
        losses = losses.round(1)
    if seed % 4 == 0:
        mass = np.ones(n)
    return losses, mass / mass.sum(), rng


def dual(ball, losses, mass, radius):
    """Value of the Lagrange dual in one and two unknowns, by search."""
    spread = np.ptp(losses) + 1e-12

    def kl(log_lam):
        lam = np.exp(log_lam)
        top = losses.max()
        tail = np.log(mass @ np.exp((losses - top) / lam))
        return lam * radius + top + lam * tail

    def chi2(tau):
        return tau + np.sqrt((1 + radius) * (mass @ np.maximum(losses - tau, 0) ** 2))

    if ball == "kl":
        low, high, function = np.log(spread) - 20, np.log(spread) + 12, kl
    else:
        low, high, function = losses.min() - 60 * spread, losses.max(), chi2
    grid = np.linspace(low, high, 200)
    best = grid[np.argmin([function(x) for x in grid])]
    step = grid[1] - grid[0]
    found = minimize_scalar(
        function, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-10}
    )
    return found.fun


@pytest.mark.parametrize("seed", PROBLEMS)
@pytest.mark.parametrize("ball", ["cvar", "box"])
def test_linear_balls_are_the_linear_programme(ball, seed):
    losses, mass, rng = problem(seed)
    alpha, low, high = rng.uniform(0.05, 1), rng.uniform(0, 1), rng.uniform(1, 4)
    weights = worst_case_weights(
        losses, ball=ball, alpha=alpha, bounds=(low, high), sample_weight=mass
    )
    limits = (0, 1 / alpha) if ball == "cvar" else (low, high)
    best = linprog(-mass * losses, A_eq=mass[None], b_eq=[1], bounds=[limits] * len(mass))
    np.testing.assert_allclose(mass * weights @ losses, -best.fun, atol=1e-9)
    np.testing.assert_allclose(mass @ weights, 1, atol=1e-12)
    assert limits[0] - 1e-12 <= weights.min() <= weights.max() <= limits[1] + 1e-12


def divergence(ball, weights, mass):
    return mass @ (xlogy(weights, weights) if ball == "kl" else (weights - 1) ** 2)


@pytest.mark.parametrize("seed", PROBLEMS)
@pytest.mark.parametrize("ball", ["kl", "chi2"])
def test_round_balls_reach_the_value_of_the_dual(ball, seed):
    losses, mass, rng = problem(seed)
    radius = rng.choice([0.01, 0.3, 1.0, 3.0])
    weights = worst_case_weights(losses, ball=ball, radius=radius, sample_weight=mass)
    np.testing.assert_allclose(mass @ weights, 1, atol=1e-12)
    assert divergence(ball, weights, mass) <= radius + 1e-9
    np.testing.assert_allclose(mass * weights @ losses, dual(ball, losses, mass, radius), atol=1e-6)


@pytest.mark.parametrize("ball", BALLS)
def test_no_random_weights_in_the_ball_beat_it(ball):
    losses, mass, rng = problem(1)
    weights = worst_case_weights(
        losses, ball=ball, radius=0.3, alpha=0.4, bounds=(0.5, 2), sample_weight=mass
    )
    best = mass * weights @ losses
    tried = np.exp(rng.normal(size=(20_000, len(mass))) * rng.exponential(0.5, (20_000, 1)))
    tried /= (tried @ mass)[:, None]
    inside = {
        "kl": xlogy(tried, tried) @ mass <= 0.3,
        "chi2": (tried - 1) ** 2 @ mass <= 0.3,
        "cvar": tried.max(axis=1) <= 2.5,
        "box": (tried.max(axis=1) <= 2) & (tried.min(axis=1) >= 0.5),
    }[ball]
    values = (tried[inside] * mass) @ losses
    assert len(values) > 100
    assert values.max() <= best + 1e-12


@pytest.mark.parametrize("ball", BALLS)
def test_value_grows_with_the_ball_from_the_mean(ball):
    losses, mass, _ = problem(2)
    sizes = [0, 0.01, 0.1, 0.5, 1, 3, 10]
    options = [
        {"radius": size, "alpha": 1 / (1 + size), "bounds": (1 / (1 + size), 1 + size)}
        for size in sizes
    ]
    values = [
        mass * worst_case_weights(losses, ball=ball, sample_weight=mass, **one) @ losses
        for one in options
    ]
    assert values[0] == pytest.approx(mass @ losses, abs=1e-14)
    assert (np.diff(values) >= -1e-13).all()
    assert values[-1] > values[0]


@pytest.mark.parametrize("ball", BALLS)
def test_weight_is_repetition_and_zero_is_absence(ball):
    losses = np.array([0.3, -0.2, 0.8, 0.1])
    repeated = worst_case_weights(np.repeat(losses, [1, 3, 2, 2]), ball=ball)
    weighted = worst_case_weights(np.append(losses, 5.0), ball=ball, sample_weight=[1, 3, 2, 2, 0])
    np.testing.assert_allclose(np.repeat(weighted[:4], [1, 3, 2, 2]), repeated, atol=1e-10)
    assert weighted[4] == 0


@pytest.mark.parametrize("ball", BALLS)
def test_equal_losses_share_equally(ball):
    np.testing.assert_allclose(worst_case_weights([2.0] * 5, ball=ball), 1)
    weights = worst_case_weights([0.0, 1.0, 1.0, 1.0], ball=ball, alpha=0.5)
    np.testing.assert_allclose(weights[1:], weights[1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ball": "tv"}, "`ball` must be one of"),
        ({"radius": -1}, "`radius` must lie in"),
        ({"alpha": 0}, "`alpha` must be positive"),
        ({"bounds": (1.2, 2)}, "0 <= low <= 1 <= high"),
        ({"bounds": (0.5, 0.9)}, "0 <= low <= 1 <= high"),
        ({"sample_weight": [1, -1]}, "must not be negative"),
    ],
)
def test_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        worst_case_weights([0.1, 0.2], **options)
