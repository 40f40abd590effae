"""Level and power of the answers over several runs that share their items, by simulation.

`pytest -m slow tests/statistical`. Seeds are fixed, so a run repeats exactly. Limits are the
promised rates plus what chance adds with probability 1 %.
"""

from argparse import Namespace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.several_runs import SHARES, collect, correlation

pytestmark = pytest.mark.slow

REPLICATES = 400


@cache
def _collected(where, wanted):
    options = Namespace(n=2500, runs=5, n_resamples=499, n_jobs=2, replicates=REPLICATES)
    return collect(where, SHARES[wanted], options)


def _limit(level):
    return binom.ppf(0.99, REPLICATES, level) / REPLICATES


@pytest.mark.parametrize("wanted", SHARES)
def test_level_does_not_depend_on_what_runs_share(wanted):
    done = _collected("no run", wanted)
    assert abs(correlation(done) - wanted) < 0.12
    assert np.mean(done["exists"] <= 0.05) <= _limit(0.06)
    assert np.mean(done["any run"] <= 0.05) <= _limit(0.06)
    assert np.mean(done["stable"] <= 0.05) <= _limit(0.05)
    assert np.mean(done["covers 0"]) >= 1 - _limit(0.06)


def test_rules_for_independent_runs_are_no_tests_here():
    done = _collected("no run", 0.7)
    assert np.mean(done["Stouffer"] <= 0.05) > 2 * 0.05
    assert np.mean(done["any p <= alpha"] <= 0.05) > 2 * 0.05


def test_runs_together_find_more_than_one():
    done = _collected("every run", 0.2)
    assert np.mean(done["exists"] <= 0.05) > np.mean(done["any run"] <= 0.05)
    assert np.mean(done["any run"] <= 0.05) > np.mean(done["one run"] <= 0.05) + 0.1


def test_a_signal_in_one_run_is_not_called_stable():
    done = _collected("one run of all", 0.2)
    assert np.mean(done["stable"] <= 0.05) <= _limit(0.05)
