"""Mixtures in logarithms: definition, gates that are shut, and slopes."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from sk_arcal.calibration._mixture._mixture import Mixture, event_scores, from_scores


def mixture(n=7, n_experts=3, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (n, n_experts, n_classes))
    return Mixture(scores, np.log(rng.dirichlet(np.ones(n_experts), n)))


def test_aggregate_is_the_mean_of_probabilities():
    found, b, gamma = mixture(), np.array([0.5, 1.0, 2.0]), 1.7
    gates = softmax(gamma * found.log_gates, axis=1)
    p = softmax(found.scores * b[:, None], axis=2)
    expected = np.einsum("im,imk->ik", gates, p)
    np.testing.assert_allclose(np.exp(found.log_probabilities(b, gamma)), expected, rtol=1e-12)


def test_two_experts_of_an_event():
    z = np.array([[2.0, -1.0]])
    found = Mixture(np.stack([event_scores(z[:, m]) for m in (0, 1)], axis=1), np.log([[0.3, 0.7]]))
    p = 0.3 * expit(2.0) + 0.7 * expit(-1.0)
    log_odds = from_scores(found.log_probabilities(np.ones(2)))
    np.testing.assert_allclose(log_odds, np.log(p / (1 - p)), rtol=1e-12)


def test_log_odds_stay_exact_for_sure_experts():
    z = np.array([[500.0, 400.0]])
    found = Mixture(np.stack([event_scores(z[:, m]) for m in (0, 1)], axis=1), np.log([[0.5, 0.5]]))
    log_odds = from_scores(found.log_probabilities(np.ones(2)))
    # 1 - p = (e^-500 + e^-400) / 2
    np.testing.assert_allclose(log_odds, 400 + np.log(2), rtol=1e-12)


@pytest.mark.parametrize("shut", [False, True])
def test_slopes_are_derivatives(shut):
    found, rng = mixture(), np.random.default_rng(1)
    if shut:
        found.log_gates[:, 1] = -np.inf
    direction, theta = rng.normal(size=(7, 4)), np.array([0.5, 1.0, 2.0, 1.3])
    slopes = found.slopes(theta[:3], theta[3], direction)
    for j, step in enumerate(1e-6 * np.eye(4)):
        ends = [
            (direction * found.log_probabilities(t[:3], t[3])).sum(axis=1)
            for t in (theta + step, theta - step)
        ]
        np.testing.assert_allclose(slopes[:, j], (ends[0] - ends[1]) / 2e-6, atol=1e-8)


def test_a_shut_gate_hides_its_expert():
    found = mixture()
    found.log_gates[:, 0] = -np.inf
    other = Mixture(found.scores.copy(), found.log_gates)
    other.scores[:, 0] = 99.0
    b = np.ones(3)
    np.testing.assert_array_equal(found.log_probabilities(b), other.log_probabilities(b))


def test_hard_routing_opens_the_largest_gate():
    found = mixture()
    best = found.log_gates.argmax(axis=1)
    expected = softmax(found.scores[np.arange(7), best], axis=1)
    hard = np.exp(found.hard().log_probabilities(np.ones(3)))
    np.testing.assert_allclose(hard, expected, rtol=1e-12)
