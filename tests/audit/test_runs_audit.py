"""Audits of several runs: what holds for all, what is refused, and what comes out."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit import PredictionTable, audit_runs

QUICK = {"n_resamples": 19, "n_shuffles": 2, "random_state": 0}


def table(drawn, *names):
    event, confidence, features = drawn
    routing = dict(zip(names, features.T, strict=True))
    return PredictionTable.from_arrays(event, confidence=confidence, routing=routing)


@pytest.fixture(scope="module")
def seen():
    """What the progress of `audit` was."""
    return []


@pytest.fixture(scope="module")
def audit(strong_effect, seen):
    """Three runs: "all" is planted in each, "one" in the first, "noise" in none."""
    first = table(strong_effect(300, 0, n_features=4, n_planted=2), "all", "one", "noise", "own")
    others = [table(strong_effect(300, k, n_features=3), "all", "one", "noise") for k in (1, 2)]
    return audit_runs(
        {"a": first, "b": others[0], "c": others[1]},
        n_resamples=199,
        n_shuffles=20,
        random_state=0,
        progress=lambda done, total, label: seen.append((done, total, label)),
    )


@pytest.fixture
def pair(strong_effect):
    """Two small tables of three classes on the same items."""
    _, _, features = strong_effect(60, 0)
    labels = np.arange(60) % 3
    rng = np.random.default_rng(0)
    return [
        PredictionTable.from_arrays(
            labels,
            logits=rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels],
            routing={"z": features[:, k]},
            groups=np.repeat(np.arange(30), 2),
            split=np.arange(60) // 30,
        )
        for k in range(2)
    ]


# --- verdicts ------------------------------------------------------------------------------------


def test_feature_planted_in_every_run_is_a_signal(audit):
    feature = audit.features["all"]
    assert feature.verdict == "signal"
    assert feature.run_verdicts == dict.fromkeys("abc", "signal")
    assert feature.controls["matched confidence"] == (3, 3)
    assert feature.result.gap > 0.2


def test_feature_planted_in_one_run_of_three_is_not_a_signal(audit):
    feature = audit.features["one"]
    assert feature.run_verdicts["a"] == "signal"
    assert feature.verdict == "cannot tell"
    assert feature.result.any_run_adjusted <= 0.05
    assert feature.result.stable_adjusted > 0.05


def test_noise_is_not_a_signal(audit):
    assert audit.features["noise"].verdict != "signal"
    assert audit.features["noise"].controls["matched confidence"] == (0, 3)


def test_controls_count_the_runs_in_which_they_were_run(audit):
    for name, feature in audit.features.items():
        for control, (survived, asked) in feature.controls.items():
            outcomes = [
                c.survived
                for run in audit.runs.values()
                for c in run.features[name].controls
                if c.name == control
            ]
            assert (survived, asked) == (outcomes.count(True), 3 - outcomes.count(None))


def test_feature_that_some_run_lacks_is_left_to_its_run_with_a_remark(audit):
    assert list(audit.features) == ["all", "one", "noise"]
    assert "own" in audit.runs["a"].features
    assert any(check.startswith("own is not in every run") for check in audit.checks)


def test_majority_makes_a_signal_stable_unless_told_otherwise(audit, pair):
    assert audit.min_runs == audit.settings["min_runs"] == 2
    assert audit_runs(pair, min_runs=1, **QUICK).min_runs == 1


def test_items_of_all_runs_are_those_evaluated(audit, pair):
    assert audit.n_items == 300
    found = audit_runs(pair, **QUICK)
    assert found.n_items == 30
    assert found.tests["routing"].n_groups == 15
    assert set(found.tests) == {"routing", "control"}
    assert [f.role for f in found.features.values()] == ["routing", "control", "control"]


def test_runs_of_a_sequence_and_of_frames_are_numbered(strong_effect):
    frames = []
    for seed in range(2):
        event, confidence, features = strong_effect(60, seed)
        frames.append(
            pd.DataFrame({"y": event, "confidence": confidence, "routing__z": features[:, 0]})
        )
    assert list(audit_runs(frames, **QUICK).runs) == ["run_0", "run_1"]


def test_same_seed_gives_the_same_audit_whatever_the_number_of_jobs(strong_effect):
    tables = [table(strong_effect(80, seed), "z", "w") for seed in range(2)]
    one, other = (audit_runs(tables, n_jobs=n_jobs, **QUICK) for n_jobs in (None, 2))
    assert one.to_dict() == other.to_dict()


# --- what comes out ------------------------------------------------------------------------------


def test_frame_has_one_row_a_feature(audit):
    frame = audit.to_frame().set_index("feature")
    assert list(frame.index) == list(audit.features)
    assert frame.loc["all", "verdict"] == "signal"
    assert frame.loc["one", "verdict[a]"] == "signal"
    for run, gap in audit.features["noise"].result.run_gaps.items():
        assert frame.loc["noise", f"gap[{run}]"] == gap


def test_json_reads_back_as_the_dict_without_nan(audit, tmp_path):
    audit.to_json(tmp_path / "runs.json")
    found = json.loads((tmp_path / "runs.json").read_text(), parse_constant=pytest.fail)
    assert found == audit.to_dict()
    assert set(found) == {"n_items", "min_runs", "features", "runs", "checks", "settings"}
    assert found["features"]["all"]["controls"]["matched confidence"] == {"survived": 3, "run": 3}
    assert found["runs"]["a"] == audit.runs["a"].to_dict()


def test_summary_states_every_verdict_and_fits_a_terminal(audit):
    text = audit.summary()
    assert str(audit) == text
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    assert flat.startswith("3 runs (a, b, c) on the same 300 items.")
    assert "all SIGNAL" in flat
    assert all(feature.reason in flat for feature in audit.features.values())


def test_summary_fits_a_terminal_with_long_names(audit):
    long = {f"run number {k} of a long series of experiments": audit.runs["a"] for k in range(3)}
    text = replace(audit, runs=long).summary()
    assert max(map(len, text.splitlines())) <= 100


def test_progress_reaches_its_total_and_never_goes_back(audit, seen):
    shares = [done / total for done, total, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [label.partition(":")[0] for _, _, label in seen] == sorted(
        label.partition(":")[0] for _, _, label in seen
    )


# --- what is refused -----------------------------------------------------------------------------


def test_one_table_is_refused(pair):
    with pytest.raises(TypeError, match="for one table, routing_audit"):
        audit_runs(pair[0])
    with pytest.raises(TypeError, match="one table for each run"):
        audit_runs(pd.DataFrame({"y": [0, 1]}))
    with pytest.raises(ValueError, match="`tables` holds 1 runs"):
        audit_runs(pair[:1])


def test_runs_of_different_length_are_refused(strong_effect):
    tables = [table(strong_effect(n, 0), "z", "w") for n in (60, 61)]
    with pytest.raises(ValueError, match="'run_0' has 60 rows and 'run_1' 61"):
        audit_runs(tables)


@pytest.mark.parametrize(
    ("field", "words"), [("labels", "true labels"), ("evaluate", "split"), ("groups", "groups")]
)
def test_runs_of_other_items_are_refused(pair, field, words):
    other = replace(pair[1], **{field: np.roll(getattr(pair[1], field), 1)})
    with pytest.raises(ValueError, match=f"'a' and 'b' differ in their {words}"):
        audit_runs({"a": pair[0], "b": other})
    with pytest.raises(ValueError, match=words):
        audit_runs({"a": pair[0], "b": replace(pair[1], **{field: None})})


def test_runs_without_a_shared_feature_are_refused(strong_effect):
    tables = [table(strong_effect(60, 0, n_features=1), name) for name in ("z", "w")]
    with pytest.raises(ValueError, match=r"share no feature.*\['z'\].*\['w'\]"):
        audit_runs(tables, **QUICK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"min_runs": 3}, "`min_runs` is 3, but there are 2 runs"),
        ({"min_runs": 0}, "`min_runs`"),
        ({"alpha": 2.0}, "`alpha`"),
        ({"controls": "none"}, "`controls`"),
    ],
)
def test_bad_settings_are_named(pair, arguments, words):
    with pytest.raises(ValueError, match=words):
        audit_runs(pair, **arguments)
