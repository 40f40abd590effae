"""The matched suite: who is in it, what it shares, and what it must find."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics._matched_probes import matched_probes
from sk_arcal.diagnostics._probing._baselines import BASELINES
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    rank_groups,
    smooth_calibration_error,
    worst_group_calibration_error,
)

QUICK = {"baselines": False, "n_shuffles": 1, "n_resamples": 5, "random_state": 0}
ESTIMATORS = ("residual", "published")


def simulate(effect="none", strength=0.2, n=400, seed=0):
    return make_routing_data(
        n, effect=effect, strength=strength, n_noise_features=1, random_state=seed
    )


def suite(data, **settings):
    features = settings.pop("features", dict(zip(data.feature_names, data.routing.T, strict=True)))
    return matched_probes(data.y, data.confidence, features, **QUICK | settings)


def by_name(probes):
    return {score.name: score for score in probes.scores}


# --- the arms ------------------------------------------------------------------------------------


def test_every_arm_is_there_once_and_predicts_every_row():
    probes = suite(simulate(), baselines=True)
    roles = [(score.name, score.role) for score in probes.scores]
    assert roles == [
        *((name, "baseline") for name in BASELINES),
        ("confidence only", "confidence"),
        ("routing", "feature"),
        ("routing, shuffled", "shuffled"),
        ("noise_1", "feature"),
        ("noise_1, shuffled", "shuffled"),
        ("pure noise", "noise"),
    ]
    assert list(probes.predictions) == [name for name, _ in roles]
    for prediction in probes.predictions.values():
        assert prediction.shape == (400,)
        assert ((prediction >= 0) & (prediction <= 1)).all()
    assert "baseline" not in {score.role for score in suite(simulate(n=100)).scores}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_feature_and_its_twins_equal_the_confidence_only_probe(estimator):
    features = {"number": np.full(400, 0.3), "level": ["a"] * 400}
    probes = suite(simulate(), features=features, estimator=estimator)
    scores = by_name(probes)
    expected = vars(scores["confidence only"])
    for name in ("number", "number, shuffled", "level", "level, shuffled"):
        np.testing.assert_array_equal(
            probes.predictions[name], probes.predictions["confidence only"]
        )
        found = vars(scores[name])
        assert {**found, "name": "", "role": ""} == {**expected, "name": "", "role": ""}
    assert scores["number"].log_loss_difference == (0, 0, 0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_folds_do_not_depend_on_the_arms(estimator):
    data = simulate()
    both = suite(data, estimator=estimator, baselines=True)
    one = suite(data, estimator=estimator, features={"routing": data.routing[:, 0]})
    for name in ("confidence only", "routing"):
        np.testing.assert_array_equal(both.predictions[name], one.predictions[name])


# --- the scores ----------------------------------------------------------------------------------


def test_scores_are_the_public_metrics_of_the_predictions():
    data = simulate()
    probes = suite(data, strata="noise_1", n_resamples=60, baselines=True)
    strata = rank_groups(data.routing[:, 1], 3)
    assert probes.strata_name == "noise_1"
    for name in ("raw", "routing"):
        score, q = by_name(probes)[name], probes.predictions[name]
        np.testing.assert_allclose(score.ece, expected_calibration_error(data.y, q))
        np.testing.assert_allclose(score.smooth_ece, smooth_calibration_error(data.y, q))
        worst = worst_group_calibration_error(data.y, q, strata)
        np.testing.assert_allclose(score.worst_ece, worst)
        floor = noise_floor(q, n_resamples=200, random_state=1)
        assert abs(score.ece_floor - floor.mean) < 4 * floor.std / np.sqrt(60)
        floor = noise_floor(
            q, metric=worst_group_calibration_error, groups=strata, n_resamples=200, random_state=1
        )
        assert abs(score.worst_ece_floor - floor.mean) < 4 * floor.std / np.sqrt(60)
        interval = calibration_error_interval(data.y, q, n_resamples=60, random_state=1)
        np.testing.assert_allclose(
            [score.ece_low, score.ece_high], [interval.low, interval.high], atol=0.01
        )


def test_difference_in_log_loss_is_probe_minus_confidence_only():
    data = simulate("step")
    probes = suite(data)
    losses = [log_loss(data.y, probes.predictions[k]) for k in ("routing", "confidence only")]
    found = by_name(probes)["routing"].log_loss_difference
    np.testing.assert_allclose(found.estimate, losses[0] - losses[1])
    assert found.low < found.estimate < found.high


def test_twins_are_averaged():
    data, features = simulate("step", n=200), {"f": np.arange(200) % 7}
    result = suite(data, features=features, n_shuffles=3)
    one, three = (by_name(p)["f, shuffled"] for p in (suite(data, features=features), result))
    np.testing.assert_allclose(one.log_loss, log_loss(data.y, result.predictions["f, shuffled"]))
    assert three.log_loss != one.log_loss
    np.testing.assert_allclose(three.worst_ece_floor, one.worst_ece_floor)


def test_levels_are_the_strata_of_a_feature_without_order():
    data = simulate()
    names = np.array(["a", "b"])[(data.routing[:, 0] > 0.5).astype(int)]
    probes = suite(data, features={"level": names}, baselines=True)
    score = by_name(probes)["raw"]
    worst = worst_group_calibration_error(data.y, data.confidence, names)
    np.testing.assert_allclose(score.worst_ece, worst)


# --- the answer ----------------------------------------------------------------------------------


def test_planted_step_beats_the_confidence_and_shuffling_removes_it():
    scores = by_name(suite(simulate("step", n=1200), n_resamples=20))
    assert scores["routing"].log_loss_difference.high < 0
    assert scores["routing"].brier_difference.high < 0
    assert scores["routing"].worst_ece_difference.high < 0
    assert scores["routing, shuffled"].log_loss_difference.high > 0
    assert scores["noise_1"].log_loss_difference.high > 0
    assert scores["pure noise"].log_loss_difference.high > 0


@pytest.mark.parametrize("seed", range(2))
def test_nothing_beats_the_confidence_where_there_is_nothing(seed):
    scores = suite(simulate(n=600, seed=seed), random_state=seed).scores
    probes = [score for score in scores if score.role in {"feature", "shuffled", "noise"}]
    assert len(probes) == 5
    for score in probes:
        assert score.log_loss_difference.high >= 0
        assert score.brier_difference.high >= 0
        assert abs(score.log_loss_difference.estimate) < 0.02


def test_published_probe_pays_for_a_useless_axis():
    scores = suite(simulate(n=800), estimator="published").scores
    useless = [s for s in scores if s.role != "confidence"]
    assert min(score.log_loss_difference.estimate for score in useless) > 0
    assert np.mean([score.log_loss_difference.low > 0 for score in useless]) >= 0.6


# --- groups, size, jobs --------------------------------------------------------------------------


def test_groups_stay_in_one_fold():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 10)
    y = np.repeat(rng.random(40) < 0.5, 10).astype(int)
    features = {"group": np.array([f"g{g}" for g in group])}
    leaking = matched_probes(y, np.full(400, 0.5), features, **QUICK)
    honest = matched_probes(y, np.full(400, 0.5), features, groups=group, **QUICK)
    assert by_name(leaking)["group"].log_loss_difference.high < -0.2
    assert by_name(honest)["group"].log_loss_difference.estimate > -0.05


def test_rows_that_repeat_each_other_do_not_narrow_the_interval():
    data = simulate(n=200)
    widths = []
    for rows in (np.arange(200), np.repeat(np.arange(200), 4)):
        features = {"f": data.routing[rows, 0]}
        settings = QUICK | {"groups": rows, "baselines": True}
        probes = matched_probes(data.y[rows], data.confidence[rows], features, **settings)
        difference = by_name(probes)["raw"].log_loss_difference
        widths.append(difference.high - difference.low)
    assert widths[1] > 0.7 * widths[0]


def test_thinned_rows_are_named():
    data = simulate()
    probes = suite(data, max_samples=150, baselines=True)
    assert probes.n_samples == 150 == len(probes.rows)
    np.testing.assert_array_equal(probes.event, data.y[probes.rows])
    np.testing.assert_array_equal(probes.predictions["raw"], data.confidence[probes.rows])


def test_result_does_not_depend_on_the_number_of_jobs():
    data = simulate(n=200)
    alone, together = (suite(data, n_jobs=n_jobs, cv=3, baselines=True) for n_jobs in (1, 2))
    assert alone.scores == together.scores


def test_equal_seeds_give_equal_results_and_others_do_not():
    data = simulate(n=200)
    first, again, other = (suite(data, random_state=seed).scores for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("y", "confidence"),
    [
        (np.ones(100), np.linspace(0.1, 0.9, 100)),
        (np.arange(100) % 2, np.full(100, 0.7)),
        (np.arange(100) % 2, np.arange(100) // 2 % 2),
        (np.arange(100) >= 50, np.linspace(0, 1, 100)),
    ],
    ids=["all", "constant", "exactly-0-and-1", "separated"],
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_confidence_of_every_kind(y, confidence, estimator):
    features = {"f": np.random.default_rng(0).random(100)}
    settings = QUICK | {"estimator": estimator, "baselines": True}
    probes = matched_probes(y, confidence, features, **settings)
    table = probes.to_frame().drop(columns=["name", "role"])
    assert np.isfinite(table.to_numpy(dtype=float)).all()


# --- the table -----------------------------------------------------------------------------------


def test_frame_has_a_row_per_probe_and_a_column_per_number():
    probes = suite(simulate(n=150))
    frame = probes.to_frame()
    assert len(frame) == len(probes.scores)
    assert frame["log_loss_difference_low"].iloc[-1] == probes.scores[-1].log_loss_difference.low
    assert {"ece", "smooth_ece_floor", "worst_ece_difference_high"} <= set(frame.columns)


def test_frames_and_mappings_are_read_alike():
    data = simulate(n=150)
    frame = pd.DataFrame(data.routing, columns=data.feature_names)
    assert suite(data, features=frame).scores == suite(data).scores


def test_text_has_a_line_per_probe():
    probes = suite(simulate(n=150))
    lines = repr(probes).splitlines()
    assert lines[0] == "MatchedProbes: 150 rows, strata of routing; negative is better"
    assert [line.split("  ")[0] for line in lines[2:]] == [score.name for score in probes.scores]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"features": np.ones((150, 2))}, TypeError, "`features` must be a mapping"),
        ({"features": {}}, ValueError, "`features` has no columns"),
        ({"features": {"raw": np.ones(150)}, "baselines": True}, ValueError, "rename 'raw'"),
        ({"features": {"pure noise": np.ones(150)}}, ValueError, "rename 'pure noise'"),
        ({"features": {1: np.ones(150), "1": np.ones(150)}}, ValueError, "rename '1'"),
        ({"features": {"f": np.ones(149)}}, ValueError, r"`features\['f'\]` has 149 rows"),
        ({"features": {"f": [np.nan] * 150}}, ValueError, r"`features\['f'\]` must be finite"),
        ({"strata": "depth"}, ValueError, "`strata` must be one of 'routing', 'noise_1'"),
        ({"groups": np.zeros(150)}, ValueError, "at least two rows, or two groups"),
        ({"estimator": "mlp"}, ValueError, "`estimator` must be one of"),
        ({"n_shuffles": 0}, ValueError, "`n_shuffles` must be at least 1"),
        ({"cv": 1}, ValueError, "`cv` must be at least 2"),
        ({"n_resamples": 1}, ValueError, "`n_resamples` must be at least 2"),
        ({"max_samples": 2.5}, TypeError, "`max_samples` must be an integer"),
        ({"random_state": "seed"}, TypeError, "`random_state` must be"),
    ],
)
def test_bad_input_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        suite(simulate(n=150), **settings)
