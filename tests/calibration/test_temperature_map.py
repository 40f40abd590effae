"""theta to losses: definition, gradient, ridge."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad
from scipy.special import log_softmax

from sk_arcal.calibration._adversary._adversarial_fit import OuterProblem
from sk_arcal.calibration._adversary._adversaries import ADVERSARIES, Adversary
from sk_arcal.calibration._adversary._cell_adversary import RowAdversary
from sk_arcal.calibration._adversary._rank_basis import RankBasis
from sk_arcal.calibration._adversary._temperature_map import TemperatureMap
from sk_arcal.calibration._mixture._mixture import Mixture


def make_map(n_experts=1, n_classes=3, n_columns=2, n=40, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (n, n_experts, n_classes))
    mixture = Mixture(scores, np.log(rng.dirichlet(np.ones(n_experts), n)))
    routing = rng.random((n, n_columns))
    basis = RankBasis(3).fit(routing, np.ones(n))
    found = TemperatureMap(mixture, basis.design(routing), basis.sizes, 0.8)
    theta = found.neutral * rng.uniform(0.5, 1.5, len(found.neutral))
    return found, theta, rng.integers(0, n_classes, n).astype(float), rng


kinds = pytest.mark.parametrize(("n_experts", "n_classes"), [(1, 2), (1, 4), (3, 2), (3, 4)])


def test_neutral_is_the_plain_temperature():
    found, _, codes, _ = make_map()
    log_p = log_softmax(0.8 * found.mixture.scores[:, 0], axis=1)
    expected = -log_p[np.arange(40), codes.astype(int)]
    np.testing.assert_allclose(found.losses(found.neutral, codes).losses, expected, rtol=1e-12)


def test_neutral_with_experts_is_the_plain_temperature_of_their_mixture():
    found, _, codes, _ = make_map(n_experts=3)
    aggregate = found.mixture.log_probabilities(np.ones(3))
    expected = -log_softmax(0.8 * aggregate, axis=1)[np.arange(40), codes.astype(int)]
    np.testing.assert_allclose(found.losses(found.neutral, codes).losses, expected, rtol=1e-12)


@kinds
def test_gradient_is_the_derivative(n_experts, n_classes):
    found, theta, codes, rng = make_map(n_experts, n_classes)
    slope = rng.normal(size=40)
    gradient = found.losses(theta, codes).gradient(slope)
    expected = approx_fprime(theta, lambda t: slope @ found.losses(t, codes).losses, 1e-7)
    np.testing.assert_allclose(gradient, expected, atol=5e-5)


@kinds
@pytest.mark.parametrize("name", [name for name in ADVERSARIES if name != "cvar"])
def test_gradient_of_the_worst_case_is_its_derivative(name, n_experts, n_classes):
    found, theta, codes, rng = make_map(n_experts, n_classes)
    adversary = RowAdversary(Adversary(name, eta=1.5, radius=0.3), rng.random(40))
    problem = OuterProblem(found, codes, adversary, 0.1)
    error = check_grad(
        lambda t: problem.value_and_gradient(t)[0],
        lambda t: problem.value_and_gradient(t)[1],
        theta,
    )
    assert error < 1e-5


@pytest.mark.parametrize("name", ["tilted", "cvar", "chi2", "kl", "none"])
def test_worst_case_is_convex_without_experts(name):
    found, _, codes, rng = make_map(n_classes=4)
    adversary = RowAdversary(Adversary(name, radius=0.5, alpha=0.3), np.ones(40))
    problem = OuterProblem(found, codes, adversary, 0.0)
    for _ in range(50):
        one, two = rng.uniform(0.02, 3, (2, len(found.neutral)))
        ends = [problem.value_and_gradient(t)[0] for t in (one, two)]
        middle = problem.value_and_gradient((one + two) / 2)[0]
        assert middle <= np.mean(ends) + 1e-12


def test_ridge_is_zero_at_the_plain_temperature_and_positive_elsewhere():
    for n_experts in (1, 3):
        found, theta, _, _ = make_map(n_experts)
        assert np.linalg.eigvalsh(found.ridge).min() > 0
        change = theta - found.neutral
        assert change @ found.ridge @ change > 0


def test_ridge_hardly_minds_how_columns_share_the_level():
    found, _, _, _ = make_map()
    change = np.r_[np.full(3, 0.2), np.full(3, -0.2)]
    assert change @ found.ridge @ change < 1e-4
    np.testing.assert_allclose(found.design @ (found.neutral + change), 1, rtol=1e-12)
