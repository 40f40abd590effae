"""Level, power and intervals of the conditional calibration test, by simulation.

`pytest -m slow tests/statistical`. Seeds are fixed, so a run repeats exactly. Limits are the
promised ones; where a promise is "5 %", the limit is the largest count that a test of exactly that
level passes with probability 99 % (`limit`).
"""

from functools import cache

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.stats import binom

from benchmarks.conditional_test_level_and_power import (
    REFERENCE_SHARE,
    collect,
    collect_families,
    collect_gaps,
    run_test,
    seeded,
)
from benchmarks.scenarios import ALTERNATIVES, NULLS
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._bound import (
    Directions,
    shape_free_bound,
    smooth_variance,
)
from sk_arcal.diagnostics._conditional._methods._by_name import METHODS
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import routing_feature
from sk_arcal.diagnostics._conditional._routing_input import read_routing

pytestmark = pytest.mark.slow

N_JOBS = 2
N_RESAMPLES = 499
REPLICATES = 400
# The 1 % level needs more of them, and is checked where ties, curvature or tails could hurt.
LONG = {"N1": 1500, "N5": 1500, "N8": 1500}


def limit(n_replicates, level=0.05):
    """Largest rejection rate that is not above `level` beyond chance (one-sided 1 %)."""
    return binom.ppf(0.99, n_replicates, level) / n_replicates


@cache
def under_null(name, n):
    replicates = LONG.get(name, REPLICATES) if n == 2500 else REPLICATES
    return collect(name, n, replicates, n_resamples=N_RESAMPLES, n_jobs=N_JOBS)


@cache
def with_effect(name):
    n = 5000 if name == "A7" else 2500
    return collect(
        name, n, REPLICATES, tests=["conditional", "oracle"], n_resamples=N_RESAMPLES, n_jobs=N_JOBS
    )


@cache
def with_gap(gap):
    return collect_gaps(gap, 2500, 2000, n_jobs=N_JOBS)


def rejection_rate(name, n, level=0.05, first=None):
    return (under_null(name, n)["conditional"][:first] <= level).mean()


def share_of_oracle(name):
    done = with_effect(name)
    return (done["conditional"] <= 0.05).mean() / (done["oracle"] <= 0.05).mean()


@pytest.mark.parametrize("n", [2500, 10_000])
@pytest.mark.parametrize("name", NULLS)
def test_level_is_kept_under_every_null(name, n):
    rate = rejection_rate(name, n, first=REPLICATES)
    assert rate <= limit(REPLICATES), f"{name} rejects {rate:.1%} of true nulls at n = {n}"


@pytest.mark.parametrize("n", [2500, 10_000])
def test_mean_level_over_the_nulls_is_five_percent(n):
    mean = np.mean([rejection_rate(name, n, first=REPLICATES) for name in NULLS])
    assert 0.04 <= mean <= 0.06


@pytest.mark.parametrize("name", LONG)
def test_one_percent_level_is_kept(name):
    assert 0.005 <= rejection_rate(name, 2500, level=0.01) <= 0.016


@pytest.mark.parametrize("name", LONG)
def test_five_percent_level_is_kept_in_long_runs(name):
    assert rejection_rate(name, 2500) <= limit(LONG[name])


def test_clusters_need_their_groups():
    done = collect(
        "N11", 2500, REPLICATES, tests=["ungrouped"], n_resamples=N_RESAMPLES, n_jobs=N_JOBS
    )
    assert (done["ungrouped"] <= 0.05).mean() > 0.09


@pytest.mark.parametrize("name", REFERENCE_SHARE)
def test_power_is_within_seven_points_of_the_reference(name):
    assert share_of_oracle(name) >= REFERENCE_SHARE[name] - 0.07


def test_mean_share_of_the_oracle_reaches_the_reference():
    # each share has a standard error of about 2.5 points, their mean one of 0.8
    assert np.mean([share_of_oracle(name) for name in REFERENCE_SHARE]) >= 0.62


@pytest.mark.parametrize("name", sorted(set(ALTERNATIVES) - set(REFERENCE_SHARE)))
def test_expert_effects_are_found_far_more_often_than_by_chance(name):
    assert (with_effect(name)["conditional"] <= 0.05).mean() >= 0.25


@pytest.mark.parametrize("name", ["N4", "A1", "A5", "A6"])
@pytest.mark.parametrize("change", ["rows", "confidence", "routing", "outcome"])
def test_pvalue_does_not_depend_on_the_coding(name, change):
    simulation = (NULLS | ALTERNATIVES)[name](1000, seeded(name, 1000, 0))
    y, confidence, routing = simulation.y, simulation.confidence, simulation.routing
    order = np.random.default_rng(0).permutation(1000)
    recoded = {
        "rows": (y[order], confidence[order], routing[order]),
        "confidence": (y, confidence**5, routing),
        "routing": (y, confidence, np.exp(routing / 4)),
        "outcome": (1 - y, confidence, routing),
    }[change]
    first = run_test(simulation, np.random.default_rng(1), 4999).pvalue
    other = type(simulation)(*recoded, eta=simulation.eta, g=simulation.g)
    second = run_test(other, np.random.default_rng(2), 4999).pvalue
    # both are shares of 4999 draws
    assert abs(first - second) <= 4 * np.sqrt(2 * max(first * (1 - first), 1e-3) / 4999)


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.06])
def test_gap_interval_covers_the_true_gap(gap):
    # 2000 replicates: standard error 0.5 points
    assert 0.935 <= with_gap(gap)["covered"].mean() <= 0.965


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.06])
def test_gap_estimate_is_unbiased_to_three_percent(gap):
    # rows are ranked by an estimate of their rank at equal confidence, which dilutes a gap a little
    estimate = with_gap(gap)["gap"]
    error = estimate.std() / np.sqrt(len(estimate))
    assert abs(estimate.mean() - gap) <= 0.03 * gap + 3 * error


def test_power_at_the_minimum_detectable_gap_is_as_predicted():
    detectable = with_gap(0.0)["detectable"].mean()
    done = with_gap(round(float(detectable), 3))
    assert done["predicted"].mean() == pytest.approx(0.80, abs=0.02)
    assert done["excludes_zero"].mean() == pytest.approx(done["predicted"].mean(), abs=0.04)


def test_equivalence_is_wrongly_claimed_in_at_most_five_percent_at_the_boundary():
    # the true gap is delta
    assert with_gap(0.05)["equivalent"].mean() <= limit(2000)


def test_equivalence_is_claimed_when_there_is_no_gap_and_enough_rows():
    done = collect_gaps(0.0, 10_000, 200, n_jobs=N_JOBS)
    assert done["equivalent"].mean() > 0.95


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.95])
def test_family_of_eight_null_features_keeps_its_level(correlation):
    done = collect_families(correlation, 2500, REPLICATES, n_resamples=N_RESAMPLES, n_jobs=N_JOBS)
    assert (done["adjusted"] <= 0.05).mean() <= limit(REPLICATES)
    if correlation == 0:
        assert (done["raw"] <= 0.05).mean() > 0.2  # eight chances: the adjustment has work to do


# --- other methods ---------------------------------------------------------------------------

METHOD_REPLICATES = 200
# Both regress on the whole range of confidence, and the likelihood ratio knows no groups.
KNOWN_TO_FAIL = {("weighted_gcm", "N12"), ("spline_lr", "N12"), ("spline_lr", "N11")}
# Its docstring says so: 9 to 10 % at 5 %.
A_LITTLE_LIBERAL = {("cells", "N11"), ("cells", "N12")}


@cache
def by_method(name):
    n = 5000 if name == "A7" else 2500
    return collect(
        name, n, METHOD_REPLICATES, tests=tuple(METHODS), n_resamples=N_RESAMPLES, n_jobs=N_JOBS
    )


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("method", METHODS)
def test_method_keeps_its_level_where_it_says_so(method, name):
    rate = (by_method(name)[method] <= 0.05).mean()
    if (method, name) in KNOWN_TO_FAIL:
        assert rate > limit(METHOD_REPLICATES), "it keeps the level after all: say so"
    else:
        level = 0.08 if (method, name) in A_LITTLE_LIBERAL else 0.05
        assert rate <= limit(METHOD_REPLICATES, level)


@pytest.mark.parametrize("name", ["A1", "A2", "A3"])
def test_betting_finds_half_of_what_the_sample_holds(name):
    # the price of looking at any time: 0.9 and more for a test of fixed size
    assert (by_method(name)["betting"] <= 0.05).mean() >= 0.4


# --- the bound for any shape -----------------------------------------------------------------


def bound_row(name, n, replicate):
    """Whether both bounds hold in one simulated data set."""
    rng = seeded(f"bound {name}", n, replicate)
    simulation = (NULLS | ALTERNATIVES)[name](n, rng)
    order_rng, tie_rng = rng.spawn(2)
    outcomes = BinnedOutcomes.from_rows(simulation.y, simulation.confidence, None, order_rng)
    spline = ConfidenceSpline(outcomes.rank)
    values = read_routing(simulation.routing, "routing", simulation.routing_kind, n)
    feature = routing_feature(values, outcomes.order, spline, tie_rng)
    bound = shape_free_bound(feature, outcomes, spline, 0.05)
    directions = Directions(feature, outcomes, smooth_variance(outcomes, spline))
    gram, squared = directions.grams()
    shift = directions.sums((simulation.eta - simulation.g)[outcomes.order])
    beta = np.linalg.pinv(gram, rcond=1e-9, hermitian=True) @ shift
    rms_gap = np.sqrt(beta @ squared @ beta / n)
    return shift @ beta <= bound.noncentrality_bound, rms_gap <= bound.rms_gap_bound


@pytest.mark.parametrize("n", [2500, 10_000])
@pytest.mark.parametrize("name", ["A1", "A2", "A3", "A5", "A6", "A9"])
def test_shape_free_bounds_cover(name, n):
    rows = Parallel(n_jobs=N_JOBS)(delayed(bound_row)(name, n, k) for k in range(1000))
    of_noncentrality, of_rms_gap = np.mean(rows, axis=0)
    # standard error of 1000 replicates at 95 %: 0.7 points
    assert of_noncentrality >= 0.934
    assert of_rms_gap >= 0.943
