import pickle

import numpy as np
import pytest
from joblib import parallel_config

from sk_arcal.diagnostics import conditional_calibration_runs, conditional_calibration_tests
from sk_arcal.diagnostics._conditional._combination import cauchy_combination, partial_conjunction
from sk_arcal.diagnostics._conditional._runs_answer import pool_runs
from sk_arcal.diagnostics._conditional._runs_input import read_runs


def _runs(effects, n=1200, seed=0):
    """Overconfident runs that share items; routing moves P(event) by the effect of each run."""
    rng = np.random.default_rng(seed)
    shape = len(effects), n
    item = rng.normal(size=n)
    confidence = rng.uniform(0.5, 1, shape)
    routing = 0.7 * item + 0.7 * rng.normal(size=shape)
    third = np.sign(routing) * np.array(effects)[:, None]
    right = (rng.random(shape) < 0.9 * confidence - 0.02 + third) * 1.0
    return right, confidence, routing


def _found(*data, **options):
    options = {"random_state": 0, "n_resamples": 199, **options}
    return conditional_calibration_runs(*data, **options).results["routing_0"]


# --- truth ----------------------------------------------------------------------------------


def test_signal_in_every_run_exists_and_is_stable():
    found = _found(*_runs([0.09] * 5))
    assert found.exists == 1 / 200
    assert found.any_run <= 0.01
    assert found.stable <= 0.03
    assert found.sign_agreement == 1
    assert found.consistent
    assert not found.equivalent
    assert found.gap_interval[0] > 0


def test_signal_in_one_run_is_in_some_run_but_not_stable():
    data = _runs([0.14, 0, 0, 0, 0])
    found = _found(*data, n_resamples=999)
    assert found.any_run <= 0.01
    assert found.stable > 0.2
    assert found.run_pvalues["run_0"] == 1 / 1000
    assert _found(*data, min_runs=1).stable == pytest.approx(5 / 200)


def test_signals_of_opposite_sign_cancel_in_the_pool_alone():
    found = _found(*_runs([0.12, -0.12, 0.12, -0.12], n=2500))
    assert found.any_run <= 0.02
    assert found.stable <= 0.02
    assert abs(found.gap) < 0.05
    assert found.sign_agreement == 0.5
    assert not found.consistent
    assert abs(found.run_gaps["run_0"]) > 0.15


def test_no_signal_is_shown_to_be_small():
    found = _found(*_runs([0] * 5, n=3000))
    assert min(found.exists, found.any_run, found.stable) > 0.05
    assert found.equivalent
    assert _found(*_runs([0] * 5, n=3000), delta=0.002).equivalent is False


def test_pooled_pvalues_are_uniform_for_runs_alike():
    """Two runs with 90 % of their outcomes and all their routing in common, no signal."""
    pvalues = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        confidence, routing = rng.uniform(0.5, 1, 250), rng.normal(size=250)
        own = rng.random((2, 250)) < confidence
        y = np.where(rng.random((2, 250)) < 0.9, own[0], own)
        data = y, np.tile(confidence, (2, 1)), np.tile(routing, (2, 1))
        pvalues.append(_found(*data, n_resamples=49, random_state=seed).exists)
    pvalues = np.array(pvalues)
    assert abs(np.mean(pvalues <= 0.2) - 0.2) < 3 * np.sqrt(0.16 / 30)
    assert abs(np.mean(pvalues) - 0.51) < 3 / np.sqrt(12 * 30)


# --- what is combined -----------------------------------------------------------------------


def test_combinations_are_those_of_the_runs():
    data = _runs([0.03] * 4)
    runs = conditional_calibration_runs(*data, n_resamples=99, random_state=0)
    found = runs.results["routing_0"]
    pvalues = [tests.results["routing_0"].pvalue for tests in runs.runs.values()]
    assert list(found.run_pvalues.values()) == pvalues
    assert found.any_run == cauchy_combination(pvalues)
    assert found.stable == partial_conjunction(pvalues, 3)
    assert runs.min_runs == 3
    assert found.gap == pytest.approx(np.mean(list(found.run_gaps.values())))


def test_each_run_is_the_test_of_that_run():
    data = _runs([0.03] * 2)
    runs = conditional_calibration_runs(*data, n_resamples=99, random_state=0)
    stream = np.random.default_rng(0).spawn(3)[2]
    alone = conditional_calibration_tests(
        data[0][1], data[1][1], {"routing_0": data[2][1]}, n_resamples=99, random_state=stream
    )
    assert repr(runs.runs["run_1"].results) == repr(alone.results)
    found = runs.results["routing_0"]
    assert found.run_gaps["run_1"] == pytest.approx(alone.results["routing_0"].gap)
    interval = alone.results["routing_0"].gap_interval
    assert found.run_gap_intervals["run_1"] == pytest.approx(interval, rel=0.01)


def test_a_feature_is_read_alike_in_every_run():
    """Eight numbers in each run, sixteen in both: continuous, also in the test of one run."""
    y, confidence, _ = _runs([0, 0], n=400)
    numbers = np.arange(400) * 7 % 8 + np.array([[0], [8]])
    runs = conditional_calibration_runs(y, confidence, numbers, n_resamples=19, random_state=0)
    alone = conditional_calibration_tests(
        y[0], confidence[0], {"routing_0": numbers[0]}, n_resamples=19, random_state=0
    )
    assert "read as ordered numbers" in alone.results["routing_0"].notes[0]
    assert runs.runs["run_0"].results["routing_0"].notes == ()


def test_items_are_groups_in_every_part():
    data = [np.repeat(array, 2, axis=1) for array in _runs([0, 0], n=300)]
    items = np.repeat(np.arange(300), 2)
    runs = conditional_calibration_runs(*data, items=items, n_resamples=99, random_state=0)
    assert (runs.n_items, runs.n_groups) == (600, 300)
    assert runs.runs["run_0"].results["routing_0"].null == "sign-flip"
    alone = _found(*data)
    assert runs.results["routing_0"].gap_se == pytest.approx(np.sqrt(2) * alone.gap_se, rel=0.02)


def test_several_features_are_adjusted():
    y, confidence, routing = _runs([0.09] * 3)
    noise = np.random.default_rng(1).normal(size=routing.shape)
    cube = np.stack([noise, routing, -noise], axis=2)
    runs = conditional_calibration_runs(
        y, confidence, cube, feature_names=["a", "signal", "b"], n_resamples=199, random_state=0
    )
    a, signal, b = runs.results.values()
    for one in (a, signal, b):
        assert one.exists_adjusted >= one.exists
        assert one.any_run_adjusted >= one.any_run
        assert one.stable_adjusted >= one.stable
    assert signal.any_run_adjusted == pytest.approx(3 * signal.any_run)
    assert signal.stable_adjusted == pytest.approx(min(1, 3 * signal.stable))
    assert signal.exists_adjusted <= 0.03
    assert min(a.exists_adjusted, b.exists_adjusted) > 0.05


# --- hard inputs ----------------------------------------------------------------------------


def test_one_run_says_that_it_is_one():
    runs = conditional_calibration_runs(*_runs([0.09]), n_resamples=199, random_state=0)
    found = runs.results["routing_0"]
    assert found.any_run == pytest.approx(found.run_pvalues["run_0"])
    assert found.stable == found.run_pvalues["run_0"]
    assert found.exists <= 0.02
    assert (runs.min_runs, found.sign_agreement, found.consistent) == (1, 1, True)
    assert "One run only" in runs.notes[0]
    assert "One run only" in repr(runs)


def test_a_run_without_an_answer_is_left_out_and_named():
    y, confidence, routing = _runs([0.09] * 3)
    routing[1] = confidence[1] ** 2
    found = _found(y, confidence, routing, run_names=["a", "b", "c"])
    assert np.isnan(found.run_pvalues["b"])
    assert np.isnan(found.run_gaps["b"])
    assert found.notes[0].startswith("b is left out: The routing is a function of the confidence")
    assert found.exists <= 0.02
    assert found.gap == pytest.approx((found.run_gaps["a"] + found.run_gaps["c"]) / 2)
    of_both = [found.run_pvalues["a"], found.run_pvalues["c"]]
    assert found.any_run == pytest.approx(cauchy_combination(of_both))
    assert found.stable == pytest.approx(2 * max(of_both))
    assert _found(y, confidence, routing, min_runs=3).stable == 1


def test_a_feature_without_an_answer_in_any_run():
    y, confidence, routing = _runs([0.09] * 2)
    cube = np.stack([routing, np.ones_like(routing)], axis=2)
    runs = conditional_calibration_runs(y, confidence, cube, n_resamples=99, random_state=0)
    found = runs.results["routing_1"]
    assert not found.identifiable
    numbers = [found.exists, found.any_run, found.stable, found.gap, found.sign_agreement]
    adjusted = [found.exists_adjusted, found.any_run_adjusted, found.stable_adjusted]
    assert np.isnan(numbers + adjusted).all()
    assert found.notes == ("All runs: The routing has the same value in every row.",)
    assert "The routing has the same value" in repr(runs)
    alone = runs.results["routing_0"]
    assert alone.exists_adjusted == alone.exists
    assert alone.any_run_adjusted == alone.any_run


def test_saturated_confidence_in_one_run():
    y, confidence, routing = _runs([0.09] * 3)
    confidence[0] = np.where(confidence[0] > 0.7, 1.0, confidence[0])
    confidence[1] = np.round(confidence[1], 1)
    found = _found(y, confidence, routing)
    assert found.exists <= 0.01
    assert found.consistent


def test_named_experts_of_each_run_are_pooled_without_matching():
    """Another expert is bad in each run: found where names tell runs apart."""
    rng = np.random.default_rng(0)
    expert, confidence = rng.integers(0, 4, (4, 1500)), rng.uniform(0.5, 1, (4, 1500))
    bad = expert == np.arange(4)[:, None]
    y = rng.random((4, 1500)) < confidence - 0.12 * bad + 0.03
    own = [[f"run {s} expert {k}" for k in row] for s, row in enumerate(expert)]
    told_apart = _found(y, confidence, own)
    mixed = _found(y, confidence, expert.astype(str))
    assert told_apart.exists <= 0.01 < mixed.exists
    assert "name them by run" in mixed.notes[0]
    assert np.isfinite(list(told_apart.run_gaps.values())).sum() == 1


def test_few_errors_claim_no_equivalence():
    rng = np.random.default_rng(0)
    y = np.ones((2, 4000))
    y[0, :300:50] = 0
    y[1, ::8] = 0
    data = y, rng.uniform(0.9, 1, y.shape), rng.normal(size=y.shape)
    runs = conditional_calibration_runs(*data, n_resamples=49, random_state=0)
    assert not runs.results["routing_0"].equivalent
    assert runs.notes[0].startswith("run_0: 3994 events and 6 non-events")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"min_runs": 3}, ValueError, "`min_runs` must be at most the number of runs, 2; got 3"),
        ({"min_runs": 0}, ValueError, "`min_runs` must be at least 1"),
        ({"min_runs": 1.5}, TypeError, "`min_runs` must be an integer"),
        ({"alpha": 0.6}, ValueError, "`alpha` must lie in"),
        ({"delta": 0}, ValueError, "`delta` must lie in"),
        ({"n_resamples": 5}, ValueError, "`n_resamples` must be at least 19"),
    ],
)
def test_options_out_of_range(options, error, words):
    with pytest.raises(error, match=words):
        conditional_calibration_runs(*_runs([0, 0], n=100), **options)


# --- form -----------------------------------------------------------------------------------


def test_workers_change_nothing():
    y, confidence, routing = _runs([0.05, 0], n=300)
    cube = np.stack([routing, routing**2], axis=2)

    def run(n_jobs):
        return conditional_calibration_runs(
            y, confidence, cube, n_resamples=49, random_state=3, n_jobs=n_jobs
        )

    alone = run(1)
    with parallel_config(backend="threading"):
        several = run(4)
    assert alone.to_frame().equals(several.to_frame())
    assert repr(alone.runs) == repr(several.runs)


def test_what_goes_to_workers_can_be_pickled():
    y, confidence, routing = _runs([0.05, 0], n=300)
    runs = read_runs(
        y, confidence, routing, items=None, run_names=None, feature_names=None, routing_kind="auto"
    )
    again = pickle.loads(pickle.dumps(runs))
    found, expected = (
        pool_runs(given, 0.05, 19, np.random.default_rng(0), None) for given in (again, runs)
    )
    np.testing.assert_array_equal(found.answers[0].pvalues, expected.answers[0].pvalues)
    assert pickle.loads(pickle.dumps(found)).n_bins == expected.n_bins


def test_frame_has_a_row_per_feature_and_columns_per_run():
    y, confidence, routing = _runs([0.05, 0], n=300)
    runs = conditional_calibration_runs(
        y, confidence, np.stack([routing, routing**2], axis=2), n_resamples=19, random_state=0
    )
    frame = runs.to_frame()
    assert frame["feature"].tolist() == ["routing_0", "routing_1"]
    row, found = frame.loc[0], runs.results["routing_0"]
    assert row["exists"] == found.exists
    assert row["exists_scan"] == found.component_pvalues["scan"]
    assert row["pvalue[run_1]"] == found.run_pvalues["run_1"]
    assert row["gap[run_1]"] == found.run_gaps["run_1"]
    assert (row["gap_low[run_1]"], row["gap_high[run_1]"]) == found.run_gap_intervals["run_1"]
    assert (row["gap_interval_low"], row["gap_interval_high"]) == found.gap_interval


def test_tables_in_words():
    runs = conditional_calibration_runs(*_runs([0.09] * 3), n_resamples=99, random_state=0)
    first, head, line = repr(runs).splitlines()
    assert first == "ConditionalCalibrationRuns: 3 runs, 1200 items"
    assert head.split() == [
        "feature",
        "exists",
        "any",
        "run",
        "in",
        "2",
        "of",
        "3",
        "gap",
        "detectable",
        "signs",
    ]
    assert line.startswith("routing_0     0.01")
    assert line.endswith("100%, consistent")
    text = repr(runs.results["routing_0"])
    assert "exists          0.01  (adjusted 0.01)" in text
    assert "signs           100% as the mean gap, consistent" in text
