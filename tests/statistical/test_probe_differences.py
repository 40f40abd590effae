"""Coverage of the paired intervals of calibration errors, and what a gain that survives is worth.

Coverage: probes are fitted once on 1250 rows; the truth is their binned error against the known
probability on 30 000 further rows, of which each replicate draws 2500 and their outcomes anew.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics._bandwidth_sensitivity import bandwidth_sensitivity
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._probing._baselines import BASELINES
from sk_arcal.diagnostics._probing._probe_kernel import (
    feature_axis,
    feature_predictions,
    prepare_fold,
)
from sk_arcal.diagnostics._probing._scoring import Scorer
from sk_arcal.metrics import rank_groups

pytestmark = pytest.mark.slow

N_FITTED, N_POOL, N_DRAWN, N_REPLICATES = 1250, 30_000, 2500, 150
OTHERS = ("feature", "noise", *BASELINES)


@pytest.fixture(scope="module")
def pool():
    data = make_routing_data(
        N_FITTED + N_POOL, effect="step", strength=0.04, n_noise_features=1, random_state=1
    )
    fit, test = np.arange(N_FITTED), np.arange(N_FITTED, N_FITTED + N_POOL)
    y = data.y.astype(float)
    fold = prepare_fold(y, data.confidence, fit, test)
    probes = {"base": fold.base[test]}
    for name, column in zip(("feature", "noise"), data.routing.T, strict=True):
        values = read_routing(column, name, "auto", len(column))
        axis = feature_axis(values, column, data.confidence, np.random.default_rng(0))
        probes[name] = feature_predictions([fold], axis)[test]
    for name, baseline in BASELINES.items():
        probes[name] = baseline(y[fit], data.confidence[fit], data.confidence[test])
    return probes, data.probability[test], rank_groups(data.routing[test, 0], 3)


def true_errors(prediction, probability, strata):
    bins = np.minimum((15 * prediction).astype(int), 14)
    gaps = np.zeros((3, 15))
    np.add.at(gaps, (strata, bins), prediction - probability)
    sizes = np.bincount(strata)
    ece = np.abs(gaps.sum(axis=0)).sum() / sizes.sum()
    return {"ece": ece, "worst_ece": (np.abs(gaps).sum(axis=1) / sizes).max()}


@pytest.fixture(scope="module")
def coverage(pool):
    probes, probability, strata = pool
    truth = {name: true_errors(q, probability, strata) for name, q in probes.items()}
    rng = np.random.default_rng(0)
    covered = {}
    for _ in range(N_REPLICATES):
        rows = rng.choice(N_POOL, N_DRAWN, replace=False)
        event = (rng.random(N_DRAWN) < probability[rows]).astype(float)
        drawn = SimpleNamespace(event=event, cluster=np.arange(N_DRAWN), fold=rows % 2)
        scorer = Scorer(drawn, strata[rows], 200, rng)
        scored = {name: scorer.score(q[rows]) for name, q in probes.items()}
        for name in OTHERS:
            found = scorer.differences(scored[name], scored["base"])
            for error in ("ece", "worst_ece"):
                true = truth[name][error] - truth["base"][error]
                _, low, high = found[f"{error}_difference"]
                covered.setdefault((name, error), []).append(low <= true <= high)
    return {key: np.mean(values) for key, values in covered.items()}


@pytest.mark.parametrize("error", ["ece", "worst_ece"])
def test_interval_covers_between_any_two_probes(coverage, error):
    lowest = binom.ppf(0.001, N_REPLICATES, 0.95) / N_REPLICATES
    assert min(coverage[name, error] for name in OTHERS) >= lowest


def survives(effect, n_samples, seed):
    data = make_routing_data(n_samples, effect=effect, strength=0.04, random_state=seed)
    routing = data.routing[:, 0]
    table = bandwidth_sensitivity(
        data.y, data.confidence, routing, n_resamples=2, random_state=seed
    )
    return table.gain_survives


def test_no_gain_survives_by_chance_more_often_than_its_interval_allows():
    n_tests = 40
    passed = sum(survives("none", 2500, seed) for seed in range(n_tests))
    assert passed <= binom.ppf(0.999, n_tests, 0.025)


def test_gain_of_a_step_of_four_points_survives():
    passed = sum(survives("step", 10_000, seed) for seed in range(8))
    assert passed == 8
