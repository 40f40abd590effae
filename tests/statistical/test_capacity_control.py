"""How often a network on the full profile survives its controls, with and without an effect."""

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.special import expit

from benchmarks.capacity_trap import draw
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import capacity_control

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

N_SAMPLES = 10_000


def planted(seed, effect, n_noise_features=0):
    data = make_routing_data(
        N_SAMPLES,
        effect=effect,
        strength=0.04,
        correlation=0.5,
        n_noise_features=n_noise_features,
        random_state=seed,
    )
    return data.y, data.confidence, data.routing


def trap(seed, effect):
    X, y = draw(effect, N_SAMPLES, np.random.default_rng(seed))
    return y, expit(X[:, 0]), X[:, 1:]


def survivals(make, n_runs, *settings):
    def one(seed):
        return capacity_control(*make(seed, *settings), random_state=seed).survives

    return sum(Parallel(n_jobs=2)(delayed(one)(seed) for seed in range(n_runs)))


@pytest.mark.parametrize("n_noise_features", [0, 5])
def test_nothing_survives_without_an_effect(n_noise_features):
    assert survivals(planted, 100, "none", n_noise_features) <= 1


def test_nothing_survives_in_the_capacity_trap():
    assert survivals(trap, 50, 0.0) == 0


def test_small_step_survives():
    assert survivals(planted, 100, "step") >= 97


def test_effect_survives_in_the_capacity_trap():
    assert survivals(trap, 20, 0.8) == 20
