import tracemalloc

import numpy as np
import pytest
from joblib import parallel_config
from scipy.special import expit, softmax
from scipy.stats import norm, spearmanr
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from sk_arcal.diagnostics import conditional_calibration_tests, worst_tertile_error
from sk_arcal.diagnostics._checkpoints import checkpoint_profile
from sk_arcal.diagnostics._temporal._ensemble import averaging_helps
from sk_arcal.metrics import (
    expected_calibration_error,
    noise_floor,
    top_label_calibration_error,
)

N_CHECKPOINTS, N_SAMPLES, N_CLASSES = 9, 1500, 4


def profile_of(*args, **options):
    return checkpoint_profile(*args, **{"n_resamples": 2, "random_state": 0, **options})


def training_run(scale=None, noise=1.0, n=N_SAMPLES, seed=0):
    """Return labels, and probabilities of checkpoints: noise around one truth, times a scale."""
    rng = np.random.default_rng(seed)
    scale = np.ones(N_CHECKPOINTS) if scale is None else np.asarray(scale)
    logits = 1.5 * rng.standard_normal((n, N_CLASSES))
    y = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    jitter = noise * rng.standard_normal((len(scale), n, N_CLASSES))
    return y, softmax(scale[:, None, None] * (logits + jitter), axis=2)


@pytest.fixture(scope="module")
def run():
    return training_run(np.linspace(0.5, 2, N_CHECKPOINTS))


@pytest.fixture(scope="module")
def profile(run):
    return profile_of(*run, last=3)


# --- definitions ---------------------------------------------------------------------------------


def test_curves_are_the_scores_of_every_checkpoint(run, profile):
    y, proba = run
    for k in range(N_CHECKPOINTS):
        expected = {
            "accuracy": accuracy_score(y, proba[k].argmax(axis=1)),
            "confidence": proba[k].max(axis=1).mean(),
            "ece": top_label_calibration_error(y, proba[k]),
            "log_loss": log_loss(y, proba[k]),
            "brier": brier_score_loss(y, proba[k], scale_by_half=False),
        }
        for name, value in expected.items():
            assert profile.curves[name][k] == pytest.approx(value, abs=1e-12), name
    assert "routing" not in profile.curves


def test_floor_is_that_of_a_calibrated_model_of_the_same_confidences(run):
    y, proba = run
    found = profile_of(y, proba, n_resamples=100).curves["ece_floor"]
    for k in (0, 8):
        floor = noise_floor(proba[k].max(axis=1), n_resamples=100, random_state=1)
        error = np.hypot(floor.std, floor.std) / 10
        assert found[k] == pytest.approx(floor.mean, abs=4 * error)


def test_features_follow_their_definitions_row_by_row(run, profile):
    _, proba = run
    for i in range(0, N_SAMPLES, 50):
        predictions = [int(proba[k, i].argmax()) for k in range(N_CHECKPOINTS)]
        final = predictions[-1]
        changes = sum(a != b for a, b in zip(predictions[1:], predictions[:-1], strict=True))
        expected = {
            "confidence_variance": np.var([proba[k, i, final] for k in range(N_CHECKPOINTS)]),
            "disagreement": np.mean([p != final for p in predictions]),
            "prediction_changes": changes,
        }
        for name, value in expected.items():
            assert profile.features[name][i] == pytest.approx(value, abs=1e-12), name


def test_event_and_confidence_are_those_of_the_last_checkpoint(run, profile):
    y, proba = run
    np.testing.assert_array_equal(profile.event, proba[-1].argmax(axis=1) == y)
    np.testing.assert_allclose(profile.confidence, proba[-1].max(axis=1))


def test_ensemble_is_the_mean_of_the_last_checkpoints_with_paired_intervals(run, profile):
    y, proba = run
    averaged, single = proba[-3:].mean(axis=0), proba[-1]
    ensemble = profile.ensemble
    assert ensemble.averaged["ece"] == pytest.approx(top_label_calibration_error(y, averaged))
    assert ensemble.single["ece"] == pytest.approx(profile.curves["ece"][-1])
    rows = np.arange(N_SAMPLES)
    losses = {
        "accuracy": [1.0 * (p.argmax(axis=1) == y) for p in (single, averaged)],
        "log_loss": [-np.log(p[rows, y]) for p in (single, averaged)],
        "brier": [((p - np.eye(N_CLASSES)[y]) ** 2).sum(axis=1) for p in (single, averaged)],
    }
    for name, (before, after) in losses.items():
        change = after - before
        expected = norm.interval(0.95, change.mean(), change.std(ddof=1) / np.sqrt(N_SAMPLES))
        assert ensemble.single[name] == pytest.approx(before.mean())
        assert ensemble.averaged[name] == pytest.approx(after.mean())
        assert ensemble.difference[name] == pytest.approx(change.mean(), abs=1e-12)
        assert ensemble.interval[name] == pytest.approx(expected, abs=1e-12)


def test_slope_and_rank_correlation_are_those_of_the_last_third(profile):
    late = profile.curves["ece"][-3:]
    assert profile.n_late == 3
    assert profile.ece_slope == pytest.approx(np.polyfit(range(3), late, 1)[0], abs=1e-12)
    expected = spearmanr(range(3), late).statistic
    assert profile.ece_rank_correlation == pytest.approx(expected)


@pytest.mark.parametrize(("n_checkpoints", "n_late"), [(2, 2), (4, 3), (9, 3), (10, 4)])
def test_last_third_holds_three_checkpoints_where_there_are_so_many(n_checkpoints, n_late):
    y, proba = training_run(np.ones(n_checkpoints), n=200)
    assert profile_of(y, proba, last=2).n_late == n_late


def test_intervals_of_calibration_errors_are_as_wide_as_the_bootstrap_says():
    y, proba = training_run(np.linspace(2.0, 2.6, 6))
    profile = profile_of(y, proba, last=2)
    rng, found = np.random.default_rng(0), []
    for _ in range(150):
        rows = rng.integers(N_SAMPLES, size=N_SAMPLES)
        late = [top_label_calibration_error(y[rows], p[rows]) for p in proba[-3:]]
        mean = top_label_calibration_error(y[rows], proba[-2:, rows].mean(axis=0))
        found.append((np.polyfit(range(3), late, 1)[0], mean - late[-1]))
    for interval, spread in zip(
        (profile.ece_slope_interval, profile.ensemble.interval["ece"]),
        np.std(found, axis=0),
        strict=True,
    ):
        assert np.diff(interval)[0] / (2 * 1.96) == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("staged", [False, True])
def test_routing_adds_the_worst_tertile_beside_its_null(run, staged):
    y, proba = run
    shape = (N_CHECKPOINTS, N_SAMPLES) if staged else N_SAMPLES
    routing = np.random.default_rng(1).normal(size=shape)
    curves = profile_of(y, proba, routing=routing, n_resamples=50).curves
    every = np.broadcast_to(routing, (N_CHECKPOINTS, N_SAMPLES))
    np.testing.assert_allclose(curves["routing"], every.mean(axis=1))
    for k in (0, 8):
        right, confidence = proba[k].argmax(axis=1) == y, proba[k].max(axis=1)
        expected = worst_tertile_error(right, confidence, every[k], n_resamples=200, random_state=3)
        assert curves["worst_tertile_ece"][k] == pytest.approx(expected.error)
        slack = 4 * expected.null_std * np.sqrt(1 / 50 + 1 / 200)
        assert curves["worst_tertile_null"][k] == pytest.approx(expected.null_mean, abs=slack)


# --- forms of the input --------------------------------------------------------------------------


def assert_same(first, second):
    for name, curve in first.curves.items():
        np.testing.assert_array_equal(curve, second.curves[name])
    for name, feature in first.features.items():
        np.testing.assert_array_equal(feature, second.features[name])
    assert first.ensemble.interval == second.ensemble.interval
    assert first.ece_slope_interval == second.ece_slope_interval


@pytest.mark.parametrize("form", [iter, list, lambda a: (frame for frame in a)])
def test_an_iterator_is_an_array(run, profile, form):
    y, proba = run
    assert_same(profile_of(y, form(proba), last=3), profile)


def test_an_iterator_is_not_held(run):
    def frames():
        rng = np.random.default_rng(0)
        for _ in range(40):
            yield softmax(rng.normal(size=(500, 100)), axis=1)

    tracemalloc.start()
    try:
        profile_of(np.arange(500) % 100, frames(), last=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15 * 500 * 100 * 8  # of forty frames


def test_results_do_not_depend_on_the_number_of_jobs(run, profile):
    with parallel_config(backend="threading"):
        assert_same(profile_of(*run, last=3, n_jobs=2), profile)


def test_labels_may_be_names_and_some_may_be_missing(run, profile):
    y, proba = run
    names = np.array(["ash", "elm", "fir", "oak"])
    assert_same(profile_of(names[y], proba, last=3), profile)
    few = y > 0
    some = profile_of(names[y][few], proba[:, few], labels=names, last=3)
    assert some.curves["accuracy"][0] == np.mean(proba[0][few].argmax(axis=1) == y[few])


def test_probabilities_of_one_event_are_scored_as_such():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=800)
    y = (rng.random(800) < expit(truth)).astype(int)
    event = expit(truth + rng.normal(size=(6, 800)))
    one = profile_of(y, event, last=2)
    two = profile_of(y, np.stack([1 - event, event], axis=2), last=2)
    for name in ("accuracy", "log_loss", "brier"):
        np.testing.assert_allclose(one.curves[name], two.curves[name])
    for name, feature in one.features.items():
        np.testing.assert_allclose(feature, two.features[name], atol=1e-15)
    np.testing.assert_array_equal(one.event, y)
    assert one.curves["ece"][2] == pytest.approx(expected_calibration_error(y, event[2]))
    assert one.curves["brier"][2] == pytest.approx(brier_score_loss(y, event[2]))
    np.testing.assert_allclose(one.features["confidence_variance"], event.var(axis=0))


def test_probability_of_zero_costs_what_scikit_learn_charges():
    y, proba = np.array([0, 1, 1]), np.array([[0.0, 1.0], [0.5, 0.5], [0.0, 1.0]])
    profile = profile_of(y, np.stack([proba, proba]), last=2)
    assert profile.curves["log_loss"][0] == pytest.approx(log_loss(y, proba))


# --- what is known of the answer -----------------------------------------------------------------


def test_a_constant_trajectory_has_no_variance_no_drift_and_no_gain(run):
    y, proba = run
    profile = profile_of(y, np.stack([proba[4]] * 8), last=4)
    for name, feature in profile.features.items():
        np.testing.assert_array_equal(feature, 0, err_msg=name)
    assert profile.ece_slope == pytest.approx(0, abs=1e-15)
    assert profile.ece_rank_correlation == 0
    assert not profile.ece_drifts_up
    for name, difference in profile.ensemble.difference.items():
        assert difference == pytest.approx(0, abs=1e-15), name
    assert not profile.ensemble_helps


def test_averaging_noise_around_one_truth_helps():
    y, proba = training_run(noise=1.5)
    profile = profile_of(y, proba)
    assert profile.ensemble_helps
    assert profile.ensemble.difference["accuracy"] > 0
    assert profile.ensemble.interval["log_loss"][1] < 0


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "ece", "expected"),
    [
        ((-0.01, 0.01), (-0.2, -0.1), (-0.02, -0.01), True),
        ((0.01, 0.02), (-0.2, -0.1), (-0.02, -0.01), True),
        ((-0.02, -0.01), (-0.2, -0.1), (-0.02, -0.01), False),
        ((-0.01, 0.01), (-0.2, 0.1), (-0.02, -0.01), False),
        ((-0.01, 0.01), (-0.2, -0.1), (-0.02, 0.01), False),
    ],
)
def test_averaging_helps_where_both_errors_fall_and_accuracy_does_not(
    accuracy, log_loss, ece, expected
):
    interval = {"accuracy": accuracy, "log_loss": log_loss, "brier": (0, 0), "ece": ece}
    assert averaging_helps(interval) is expected


def test_sharper_and_sharper_checkpoints_drift_upwards_and_flatter_ones_do_not():
    scale = np.concatenate([np.full(6, 1.0), np.linspace(1.5, 2.5, 6)])
    y, proba = training_run(scale, noise=0.5)
    rising = profile_of(y, proba)
    assert rising.ece_drifts_up
    assert rising.ece_rank_correlation > 0.7
    falling = profile_of(y, proba[::-1][:6])
    assert falling.ece_slope < 0
    assert not falling.ece_drifts_up


def test_without_a_drift_few_runs_show_one():
    found = [
        profile_of(*training_run(np.full(6, 1.5), n=400, seed=seed), last=2).ece_drifts_up
        for seed in range(60)
    ]
    assert np.sum(found) <= 6  # 2.5 % of 60 is 1.5


def test_a_drift_from_a_calibrated_start_is_understated():
    scale = np.linspace(1, 1.6, 3)

    def slope(n, seed):
        rng = np.random.default_rng(seed)
        y = rng.random(n) < 0.5
        score = np.where(y, 1, -1) + rng.standard_normal(n)  # P(y | score) = sigmoid(2 score)
        return profile_of(y, expit(2 * scale[:, None] * score), last=2).ece_slope

    truth = slope(100_000, 0)
    found = [slope(300, seed) for seed in range(1, 40)]
    assert 0 < np.mean(found) < truth - 3 * np.std(found) / np.sqrt(len(found))


def test_features_are_ready_for_the_tests():
    y, proba = training_run()
    profile = profile_of(y, proba)
    tests = conditional_calibration_tests(
        profile.event, profile.confidence, profile.features, n_resamples=99, random_state=0
    )
    assert list(tests.results) == ["confidence_variance", "disagreement", "prediction_changes"]
    # nine noisy looks at one truth: the last is less often right where the others disagree
    assert tests.results["disagreement"].gap < 0
    assert tests.pvalue_adjusted["disagreement"] <= 0.05


# --- tables, text, errors ------------------------------------------------------------------------


def test_frames_hold_a_row_per_checkpoint_and_per_score(run, profile):
    frame = profile.to_frame()
    assert list(frame) == ["accuracy", "confidence", "ece", "ece_floor", "log_loss", "brier"]
    np.testing.assert_array_equal(frame["ece"], profile.curves["ece"])
    scores = profile.ensemble.to_frame()
    assert list(scores.index) == ["accuracy", "log_loss", "brier", "ece"]
    assert scores.loc["ece", "averaged_floor"] == profile.ensemble.averaged_floor
    assert scores["averaged_floor"].isna().sum() == 3
    assert scores.loc["brier", "low"] == profile.ensemble.interval["brier"][0]


def test_text_is_a_short_table_with_both_signatures(run):
    profile = profile_of(run[0], np.concatenate([run[1]] * 4))
    text = repr(profile)
    assert text.startswith("CheckpointProfile: 36 checkpoints, 1500 rows")
    assert len(text.splitlines()) < 20
    for words in ("\n  35 ", "ECE over the last 12", "mean of the last 5", "floors", "Averaging:"):
        assert words in text


RIGHT = np.full((3, 4, 2), 0.5)
LABELS = [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("staged", "options", "message"),
    [
        (RIGHT, {}, "holds 3 checkpoints where `last`=5"),
        (RIGHT, {"last": 1}, "`last` must be at least 2"),
        (RIGHT, {"n_bins": 0}, "`n_bins` must be at least 1"),
        (RIGHT, {"n_resamples": 1}, "`n_resamples` must be at least 2"),
        ([], {"last": 2}, "holds 0 checkpoints"),
        ([RIGHT[0], RIGHT[1, :3]], {}, r"`staged_proba\[1\]` has 3 rows where 4"),
        ([RIGHT[0], np.full((4, 4), 0.25)], {}, r"`staged_proba\[1\]` has 4 classes where"),
        ([RIGHT[0], RIGHT[1] * np.nan], {}, r"`staged_proba\[1\]` must be finite"),
        ([RIGHT[0], RIGHT[1] + 0.1], {}, r"rows of `staged_proba\[1\]` must sum to one"),
        (RIGHT[:, :, 0] + 1, {}, r"`staged_proba\[0\]` must lie in \[0, 1\]"),
        (RIGHT[0], {}, r"`staged_proba\[0\]` has 2 rows where 4"),
        (RIGHT, {"last": 2, "routing": [1, 2]}, "`routing` has 2 rows where 4"),
        (RIGHT, {"last": 2, "routing": np.ones((4, 3))}, "`routing` must have shape"),
        (RIGHT, {"last": 2, "routing": np.ones((3, 4)) * np.nan}, r"`routing\[0\]` must be finite"),
    ],
)
def test_what_cannot_be_used_is_named(staged, options, message):
    with pytest.raises(ValueError, match=message):
        checkpoint_profile(LABELS, staged, **options)


@pytest.mark.parametrize("staged", [3, None, np.ones(4)])
def test_what_are_no_checkpoints_is_named(staged):
    with pytest.raises(TypeError, match="`staged_proba` must be an array of shape"):
        checkpoint_profile(LABELS, staged)
