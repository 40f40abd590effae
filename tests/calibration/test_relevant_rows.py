"""The filtered objective: which rows are relevant, and its value and slope."""

import numpy as np
from scipy.optimize import approx_fprime

from sk_arcal.calibration._adversary._adversaries import Adversary
from sk_arcal.calibration._adversary._cell_adversary import RowAdversary
from sk_arcal.calibration._adversary._relevant_rows import (
    AnchoredAdversary,
    gate_disagreement,
    mixture_regret,
)
from sk_arcal.calibration._mixture._mixture import Mixture, event_scores


def events(probabilities, gates):
    z = np.log(probabilities) - np.log1p(-np.array(probabilities))
    scores = np.stack([event_scores(column) for column in z.T], axis=1)
    with np.errstate(divide="ignore"):
        return Mixture(scores, np.log(gates))


def test_disagreement_is_the_gated_spread_of_probabilities():
    mixture = events([[0.8, 0.2], [0.6, 0.6]], [[0.5, 0.5], [0.3, 0.7]])
    # Both classes count: twice .3 squared around the mixture of .5.
    np.testing.assert_allclose(gate_disagreement(mixture), [0.18, 0.0], atol=1e-12)


def test_regret_is_the_loss_beyond_the_best_open_expert():
    mixture = events([[0.8, 0.2], [0.6, 0.9]], [[0.5, 0.5], [1.0, 0.0]])
    losses = -np.log([0.5, 0.6])
    regret = mixture_regret(mixture, losses, np.ones(2))
    np.testing.assert_allclose(regret, [np.log(0.8 / 0.5), 0.0], atol=1e-12)


def anchored(rows, mass):
    inner = RowAdversary(Adversary("softmax", eta=2.0), mass[rows])
    return AnchoredAdversary(mass, rows, inner)


def test_value_is_the_mean_and_the_weighted_relevant_losses():
    losses, mass, rows = np.array([0.1, 0.7, 1.2, 0.4]), np.ones(4), np.array([1, 2])
    q = np.exp(2 * losses[rows]) / np.exp(2 * losses[rows]).sum()
    worst = anchored(rows, mass).respond(losses)
    np.testing.assert_allclose(worst.value, losses.mean() + q @ losses[rows], rtol=1e-12)


def test_slope_is_the_derivative_and_weights_have_mean_one():
    rng = np.random.default_rng(0)
    losses, mass, rows = rng.exponential(size=8), rng.random(8), np.array([0, 3, 4, 7])
    adversary = anchored(rows, mass)
    worst = adversary.respond(losses)
    expected = approx_fprime(losses, lambda x: adversary.respond(x).value, 1e-7)
    np.testing.assert_allclose(worst.slope, expected, atol=1e-6)
    np.testing.assert_allclose(np.average(worst.weights, weights=mass), 1, rtol=1e-12)


def test_without_relevant_rows_it_is_twice_the_mean():
    losses, mass = np.array([0.1, 0.7, 1.2]), np.array([1.0, 2.0, 1.0])
    worst = AnchoredAdversary(mass, np.empty(0, np.intp), None).respond(losses)
    np.testing.assert_allclose(worst.value, 2 * np.average(losses, weights=mass), rtol=1e-12)
    np.testing.assert_array_equal(worst.weights, 1)
