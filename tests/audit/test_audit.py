"""The audit as a whole: verdicts on known data, out-of-sample comparison, records."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import shuffle_within_bins

FAST = {"n_resamples": 199, "random_state": 0}


@pytest.fixture(scope="module")
def planted():
    """A step of the event rate in the first column; the second says nothing."""
    data = make_routing_data(1500, effect="step", n_noise_features=1, random_state=0)
    routing = {"planted": data.routing[:, 0], "noise": data.routing[:, 1]}
    return routing_audit(data.y, confidence=data.confidence, routing=routing, **FAST)


@pytest.fixture(scope="module")
def overconfident():
    """Ten classes, logits twice too large, a routing column that says nothing."""
    data = make_routing_data(1500, n_classes=10, random_state=1)
    split = np.arange(1500) % 2
    return routing_audit(
        data.labels,
        logits=2 * data.logits,
        routing={"noise": data.routing[:, 0]},
        split=split,
        **FAST,
    )


def test_planted_feature_is_a_signal_and_noise_is_not(planted):
    assert planted.features["planted"].verdict == "signal"
    assert planted.features["noise"].verdict != "signal"


def test_routing_kernel_is_recommended_where_routing_carries_a_signal(planted):
    assert planted.recommendation.calibrator == "routing kernel"
    losses = {row.name: row.log_loss for row in planted.scorecard}
    assert losses["routing kernel"] < losses["confidence kernel"]
    assert losses["routing kernel"] < losses["shuffled routing"]


def test_recommended_code_runs_and_gives_probabilities(planted):
    data = make_routing_data(600, effect="step", n_noise_features=1, random_state=2)
    X = np.column_stack([data.confidence, data.routing])
    namespace = {"X": X, "y": data.y, "X_new": X[:5]}
    exec(planted.recommendation.code, namespace)
    assert namespace["proba"].shape == (5, 2)


def test_temperature_repairs_overconfident_logits_out_of_sample(overconfident):
    raw, temperature = overconfident.scorecard[:2]
    assert (raw.name, temperature.name) == ("raw", "temperature")
    assert temperature.ece < raw.ece / 2
    assert temperature.class_log_loss < raw.class_log_loss
    assert overconfident.recommendation.calibrator != "raw"


def test_split_evaluates_the_second_part_only(overconfident):
    assert (overconfident.n, overconfident.n_evaluated) == (1500, 750)
    assert len(overconfident.event) == len(overconfident.calibrated["temperature"]) == 750


def test_controls_are_audited_when_class_scores_are_there(overconfident):
    roles = {name: feature.role for name, feature in overconfident.features.items()}
    assert roles == {
        "noise": "routing",
        "predictive entropy": "control",
        "margin": "control",
    }


def test_adjusted_p_is_never_below_the_single_p(planted):
    for feature in planted.features.values():
        assert feature.pvalue_adjusted >= feature.pvalue


def test_same_seed_gives_the_same_audit_whatever_the_number_of_jobs(planted):
    data = make_routing_data(1500, effect="step", n_noise_features=1, random_state=0)
    routing = {"planted": data.routing[:, 0], "noise": data.routing[:, 1]}
    again = routing_audit(data.y, confidence=data.confidence, routing=routing, n_jobs=2, **FAST)
    assert again.to_dict() == planted.to_dict()


def test_shuffling_the_planted_feature_destroys_the_signal(planted):
    data = make_routing_data(1500, effect="step", random_state=0)
    shuffled = shuffle_within_bins(data.routing[:, 0], data.confidence, random_state=5)
    audit = routing_audit(data.y, confidence=data.confidence, routing={"z": shuffled}, **FAST)
    assert audit.features["z"].verdict != "signal"
    assert abs(audit.features["z"].gap) < planted.features["planted"].gap / 3


def test_json_holds_the_promised_keys_and_no_nan(planted, tmp_path):
    planted.to_json(tmp_path / "audit.json")
    found = json.loads((tmp_path / "audit.json").read_text(), parse_constant=pytest.fail)
    assert {"n", "n_classes", "scorecard", "features", "recommendation"} <= set(found)
    for feature in found["features"].values():
        assert {
            "verdict",
            "pvalue",
            "pvalue_adjusted",
            "min_detectable_gap",
            "excess_gap",
        } <= set(feature)


def test_summary_states_every_verdict_and_fits_a_terminal(planted):
    text = planted.summary()
    assert "SIGNAL" in text
    assert "Use: routing kernel" in text
    assert max(map(len, text.splitlines())) <= 110


def test_frame_and_table_and_arrays_agree():
    data = make_routing_data(800, random_state=3)
    frame = pd.DataFrame(
        {"y": data.y, "confidence": data.confidence, "routing__depth": data.routing[:, 0]}
    )
    arrays = {"confidence": data.confidence, "routing": {"depth": data.routing[:, 0]}}
    one = routing_audit(frame, **FAST)
    two = routing_audit(data.y, **arrays, **FAST)
    three = routing_audit(PredictionTable.from_arrays(data.y, **arrays), **FAST)
    numbers = [audit.to_dict()["features"] for audit in (one, two, three)]
    assert numbers[0] == numbers[1] == numbers[2]


def test_text_feature_is_tested_by_level():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 1500)
    expert = rng.choice(["a", "b", "c", "d"], 1500)
    y = rng.random(1500) < np.clip(confidence - 0.2 * (expert == "c"), 0, 1)
    audit = routing_audit(y, confidence=confidence, routing={"expert": expert}, **FAST)
    assert audit.features["expert"].verdict == "signal"


def test_constant_feature_cannot_tell_and_says_why():
    data = make_routing_data(600, random_state=0)
    audit = routing_audit(
        data.y, confidence=data.confidence, routing={"flat": np.ones(600)}, **FAST
    )
    feature = audit.features["flat"]
    assert feature.verdict == "cannot tell"
    assert np.isnan(feature.pvalue)
    assert feature.reason == "The routing has the same value in every row."


def test_audit_without_routing_still_scores_the_calibrators():
    data = make_routing_data(600, random_state=0)
    audit = routing_audit(data.y, confidence=data.confidence, **FAST)
    assert audit.features == {}
    assert [row.name for row in audit.scorecard] == ["raw", "temperature", "confidence kernel"]


def test_groups_stay_on_one_side_of_every_fold():
    data = make_routing_data(900, random_state=0)
    groups = np.repeat(np.arange(300), 3)
    audit = routing_audit(
        data.y,
        confidence=data.confidence,
        routing={"z": data.routing[:, 0]},
        groups=groups,
        **FAST,
    )
    assert audit.features["z"].test.n_groups == 300


def test_progress_counts_up_to_the_announced_total():
    data = make_routing_data(400, random_state=0)
    seen = []
    routing_audit(
        data.y,
        confidence=data.confidence,
        routing={"z": data.routing[:, 0]},
        progress=lambda done, total, label: seen.append((done, total, label)),
        **FAST,
    )
    assert [done for done, _, _ in seen] == list(range(1, seen[0][1] + 1))
    assert all(label for _, _, label in seen)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"delta": 0.0}, ValueError, "`delta`"),
        ({"alpha": 1.5}, ValueError, "`alpha`"),
        ({"n_resamples": 3}, ValueError, "`n_resamples`"),
        ({"cv": 1}, ValueError, "`cv`"),
        ({"random_state": "seed"}, TypeError, "`random_state`"),
    ],
)
def test_bad_settings_are_named(arguments, error, words):
    data = make_routing_data(100, random_state=0)
    with pytest.raises(error, match=words):
        routing_audit(data.y, confidence=data.confidence, **arguments)


def test_arrays_beside_a_table_are_refused():
    data = make_routing_data(100, random_state=0)
    table = PredictionTable.from_arrays(data.y, confidence=data.confidence)
    with pytest.raises(TypeError, match="confidence"):
        routing_audit(table, confidence=data.confidence)


def test_split_without_a_part_to_fit_on_is_refused():
    data = make_routing_data(100, random_state=0)
    table = PredictionTable.from_arrays(data.y, confidence=data.confidence)
    with pytest.raises(ValueError, match="leaves 0 rows to fit"):
        routing_audit(replace(table, evaluate=np.ones(100, bool)))


def test_split_with_one_side_only_is_ignored_with_a_remark():
    data = make_routing_data(200, random_state=0)
    audit = routing_audit(data.y, confidence=data.confidence, split=np.ones(200, int), **FAST)
    assert audit.n_evaluated == 200
    assert any("split" in check for check in audit.checks)


def test_too_few_rows_are_refused_with_a_number():
    data = make_routing_data(20, random_state=0)
    with pytest.raises(ValueError, match="20 rows to evaluate are too few"):
        routing_audit(data.y, confidence=data.confidence)


def test_thirty_rows_are_audited_and_remarked_on():
    data = make_routing_data(40, random_state=0)
    audit = routing_audit(
        data.y, confidence=data.confidence, routing={"z": data.routing[:, 0]}, **FAST
    )
    assert audit.features["z"].verdict == "cannot tell"
    assert any("too few" in check for check in audit.checks)


def test_all_right_keeps_the_confidences_as_they_are():
    data = make_routing_data(200, random_state=0)
    audit = routing_audit(np.ones(200), confidence=data.confidence, **FAST)
    assert audit.recommendation.calibrator == "raw"


def test_feature_named_like_a_control_is_kept_beside_it():
    data = make_routing_data(300, n_classes=4, random_state=0)
    audit = routing_audit(
        data.labels, logits=data.logits, routing={"margin": data.routing[:, 0]}, **FAST
    )
    assert audit.features["margin"].role == "routing"
    assert audit.features["margin (built in)"].role == "control"


def test_columns_may_be_named_like_a_probe_or_like_the_twin_of_another():
    data = make_routing_data(300, n_noise_features=3, random_state=0)
    names = ("depth", "depth, shuffled", "raw", "pure noise")
    routing = dict(zip(names, data.routing.T, strict=True))
    audit = routing_audit(
        data.y,
        confidence=data.confidence,
        routing=routing,
        n_resamples=19,
        n_shuffles=1,
        random_state=0,
    )
    assert list(audit.features) == list(names)
    probes = [score.name for score in audit.probes.scores]
    assert {"depth", "depth, shuffled (feature)", "raw (feature)"} <= set(probes)
