"""Cyclic shifts, events drawn directly and shuffles reject alike."""

import numpy as np
import pytest

from sk_arcal.diagnostics import _null_gaps
from sk_arcal.diagnostics._permutation_test import routing_permutation_test

pytestmark = pytest.mark.slow

N_SETS, N_ROWS = 400, 3600


def rejected(kind, effect, **options):
    """Share of data sets rejected at level 0.05; bins of 450 rows."""
    pvalues = []
    for seed in range(N_SETS):
        rng = np.random.default_rng([seed, effect > 0])
        confidence, routing = rng.uniform(0.5, 1, N_ROWS), rng.standard_normal(N_ROWS)
        y = rng.random(N_ROWS) < np.clip(confidence**1.5 + effect * np.sign(routing), 0, 1)
        result = routing_permutation_test(
            y, confidence, routing, value=kind, n_resamples=199, random_state=seed, **options
        )
        pvalues.append(result.pvalue)
    return np.mean(np.array(pvalues) <= 0.05)


@pytest.fixture(params=["weighted_gap", "max_gap"])
def statistic(request):
    return request.param


def test_level_and_power_of_shifts_are_those_of_shuffles(statistic, monkeypatch):
    level, power = (rejected("residual", e, statistic=statistic) for e in (0, 0.03))
    monkeypatch.setattr(_null_gaps, "_MOST_SHUFFLED", N_ROWS)
    full_level, full_power = (rejected("residual", e, statistic=statistic) for e in (0, 0.03))
    error = np.sqrt(0.05 * 0.95 / N_SETS)
    assert abs(level - 0.05) < 2 * error
    assert abs(full_level - 0.05) < 2 * error
    assert abs(power - full_power) <= 0.02 + 1e-12
    assert 0.1 < full_power < 0.9


def test_level_of_events_drawn_directly(statistic):
    level = rejected("accuracy", 0, statistic=statistic)
    assert abs(level - 0.05) < 2 * np.sqrt(0.05 * 0.95 / N_SETS)


def test_level_of_the_sequential_pvalue():
    level = rejected("residual", 0, max_exceedances=20)
    assert abs(level - 0.05) < 2 * np.sqrt(0.05 * 0.95 / N_SETS)
