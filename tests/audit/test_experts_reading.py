"""Columns of experts and gates: what is read, what is left alone, what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax, softmax

from sk_arcal.audit import PredictionTable, read_predictions
from sk_arcal.audit._reading._experts import confidence_of

CLASSES = ["ant", "bee", "cow"]


@pytest.fixture
def mixture():
    """Log-probabilities (40, 2, 3), gates and labels."""
    rng = np.random.default_rng(0)
    logs = log_softmax(rng.normal(size=(40, 2, 3)), axis=2)
    return logs, rng.dirichlet([1, 1], size=40), rng.integers(0, 3, 40)


def frame_of(logs, gates, labels, classes=CLASSES, order=(0, 1, 2)):
    columns = {"label": np.array(classes)[labels]}
    for m in range(logs.shape[1]):
        columns |= {f"expert__{m}__{classes[k]}": logs[:, m, k] for k in order}
    return pd.DataFrame(columns | {f"gate__{m}": gate for m, gate in enumerate(gates.T)})


def mixed(logs, gates):
    return (gates[:, :, None] * np.exp(logs)).sum(axis=1)


def test_the_mixture_is_the_confidence_where_the_file_has_none(mixture):
    logs, gates, labels = mixture
    table = PredictionTable.from_frame(frame_of(*mixture), experts=True)
    proba = mixed(logs, gates)
    np.testing.assert_allclose(table.confidence, proba.max(axis=1), rtol=1e-10)
    np.testing.assert_array_equal(table.event, proba.argmax(axis=1) == labels)
    np.testing.assert_allclose(table.experts, logs)
    np.testing.assert_allclose(table.gates, gates)
    assert table.expert_names == ("0", "1")
    assert "n_experts=2" in repr(table)


def test_describe_says_what_was_read_of_the_experts(mixture):
    text = PredictionTable.from_frame(frame_of(*mixture), experts=True).describe()
    assert "experts     2, logits of 3 classes each: `expert__0__ant` to `expert__1__cow`" in text
    assert "gates       `gate__0` to `gate__1`" in text
    assert "of the 3 classes by the mixture of the experts" in text
    assert "not used" not in text


def test_probabilities_and_router_logits_are_recognised(mixture):
    logs, gates, labels = mixture
    odd = np.random.default_rng(1).normal(size=gates.shape)
    table = PredictionTable.from_frame(frame_of(np.exp(logs), odd, labels), experts=True)
    np.testing.assert_allclose(table.experts, logs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(table.gates, softmax(odd, axis=1))
    assert "softmax of `gate__0`" in table.mapping["gates"]


def test_experts_come_in_the_order_of_the_class_scores(mixture):
    logs, gates, _ = mixture
    frame = frame_of(*mixture, order=(2, 0, 1))
    scores = np.log(mixed(logs, gates))
    for k, name in enumerate(CLASSES):
        frame[f"logit__{name}"] = scores[:, k]
    table = PredictionTable.from_frame(frame, experts=True)
    assert table.classes == tuple(CLASSES)
    np.testing.assert_allclose(table.experts, logs)
    assert "`logit__ant`" in table.mapping["confidence"]
    assert table.notes == ()


def test_own_class_scores_are_the_confidence_and_a_difference_is_told(mixture):
    frame = frame_of(*mixture)
    own = np.random.default_rng(2).normal(size=(40, 3))
    for k, name in enumerate(CLASSES):
        frame[f"logit__{name}"] = own[:, k]
    table = PredictionTable.from_frame(frame, experts=True)
    np.testing.assert_allclose(table.confidence, softmax(own, axis=1).max(axis=1))
    assert any("differs from the mixture of the experts by up to" in note for note in table.notes)


def test_hard_routing_is_recognised(mixture):
    logs, gates, labels = mixture
    chosen = logs[np.arange(40), gates.argmax(axis=1)]
    table = PredictionTable.from_arrays(labels, logits=chosen, experts=logs, gates=gates)
    assert any("hard routing" in note for note in table.notes)


@pytest.mark.parametrize(
    ("confidence", "whose"),
    [([0.45, 0.5], "mixture"), ([0.8, 0.5], "top expert"), ([0.9, 0.5], "other")],
)
def test_whose_confidence_it_is(confidence, whose):
    own = np.array([[0.8, 0.1], [0.5, 0.5]])
    gates = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert confidence_of(np.array(confidence), own, gates) == whose


def test_one_column_an_expert_is_the_score_of_the_event():
    odds = np.array([[3.0, 0.5], [-1.0, 0.2], [0.0, 2.0]])
    gates = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    table = PredictionTable.from_arrays([1, 0, 1], experts=odds, gates=gates)
    np.testing.assert_allclose(table.confidence, (gates * expit(odds)).sum(axis=1))
    np.testing.assert_allclose(np.exp(table.experts[:, :, 1]), expit(odds))
    assert table.logits is None


def test_equal_mixtures_are_equal_to_the_last_digit():
    gates = np.array([[0.2, 0.8], [0.5, 0.5], [0.8, 0.2], [1 / 3, 2 / 3]])
    table = PredictionTable.from_arrays([1, 0, 1, 1], experts=np.full((4, 2), 0.8), gates=gates)
    assert len(np.unique(table.confidence)) == 1


def test_without_labels_experts_speak_about_the_predicted_class(mixture):
    logs, gates, _ = mixture
    frame = frame_of(*mixture).drop(columns="label").assign(correct=1)
    frame.loc[0, "correct"] = 0
    table = PredictionTable.from_frame(frame, experts=True)
    top = mixed(logs, gates).argmax(axis=1)
    expected = np.exp(logs)[np.arange(40), :, top]
    np.testing.assert_allclose(np.exp(table.experts[:, :, 1]), expected)


@pytest.mark.parametrize("options", [{}, {"routing": "*"}, {"routing": ["l*"]}])
def test_parts_are_left_alone_unless_asked_for(mixture, options):
    logs, gates, _ = mixture
    frame = frame_of(*mixture).assign(load=np.arange(40.0))
    for k, name in enumerate(CLASSES):
        frame[f"logit__{name}"] = np.log(mixed(logs, gates))[:, k]
    table = PredictionTable.from_frame(frame, **options)
    assert table.experts is None
    assert not any("gate" in name or "expert" in name for name in table.routing)
    assert table.logits.shape == (40, 3)
    assert any("`--experts`" in note for note in table.notes)
    assert "`gate__0`" in table.mapping["not used"]


def test_gates_can_be_named_as_features_without_the_audit_of_experts(mixture):
    frame = frame_of(*mixture).drop(columns="label").assign(correct=1, confidence=0.5)
    assert list(PredictionTable.from_frame(frame, routing="gate__*").routing) == [
        "gate__0",
        "gate__1",
    ]
    with pytest.raises(ValueError, match="already has another role"):
        PredictionTable.from_frame(frame, routing="gate__0", experts=True)


def test_a_glob_of_the_confidence_takes_no_expert(mixture):
    logs, gates, _ = mixture
    frame = frame_of(*mixture)
    for k, name in enumerate(CLASSES):
        frame[f"logit__{name}"] = np.log(mixed(logs, gates))[:, k]
    table = PredictionTable.from_frame(frame, confidence=["*__ant", "*__bee", "*__cow"])
    assert table.classes == tuple(CLASSES)


def test_parts_in_a_joined_file_are_no_features(mixture, tmp_path):
    frame = frame_of(*mixture).assign(doc_id=np.arange(40), load=np.arange(40.0))
    frame[["doc_id", "load", "gate__0", "gate__1"]].to_csv(tmp_path / "more.csv", index=False)
    own = frame[["doc_id"]].assign(correct=1, confidence=0.5)
    own.to_csv(tmp_path / "own.csv", index=False)
    table = read_predictions(tmp_path / "own.csv", join=tmp_path / "more.csv")
    assert list(table.routing) == ["load"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".npz"])
def test_every_format_gives_the_same_experts(mixture, tmp_path, suffix):
    logs, gates, _ = mixture
    path = tmp_path / f"mixture{suffix}"
    frame = frame_of(*mixture)
    if suffix == ".npz":
        np.savez(path, y=frame["label"].to_numpy(str), experts=logs, gates=gates, classes=CLASSES)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    table = read_predictions(path, experts=True)
    np.testing.assert_allclose(table.experts, logs, atol=1e-12)
    np.testing.assert_allclose(table.gates, gates, atol=1e-12)
    assert table.classes == tuple(CLASSES)


@pytest.mark.parametrize("event", [True, False])
def test_the_frame_of_a_table_gives_the_table_back(mixture, event):
    logs, gates, labels = mixture
    experts = expit(logs[:, :, 0]) if event else logs
    table = PredictionTable.from_arrays(
        labels > 0 if event else labels, experts=experts, gates=gates
    )
    again = PredictionTable.from_frame(table.to_frame(), experts=True)
    np.testing.assert_allclose(again.experts, table.experts, atol=1e-12)
    np.testing.assert_allclose(again.confidence, table.confidence)


def test_split_rows_take_their_experts_along(mixture):
    logs, gates, labels = mixture
    split = np.arange(40) % 3
    table = PredictionTable.from_arrays(labels, experts=logs, gates=gates, split=split)
    np.testing.assert_allclose(table.experts, logs[split < 2])
    assert table.n_samples == len(table.gates) == (split < 2).sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["gate__0", "gate__1"]), r"needs columns `gate__<m>`"),
        (lambda f: f[["label", "gate__0", "gate__1"]], r"needs columns `expert__<m>__<class>`"),
        (lambda f: f.drop(columns="gate__1"), r"need the gates"),
        (lambda f: f.drop(columns="expert__1__cow"), r"every expert needs all classes"),
        (lambda f: f.assign(gate__1=np.nan), r"`gate__1` holds NaN in row 0"),
        (lambda f: f.assign(expert__0__ant="x"), r"`expert__0__ant` holds 'x' in row 0"),
        (
            lambda f: f.drop(columns=[n for n in f if "__1" in n]),
            r"One expert is no mixture",
        ),
        (
            lambda f: f.assign(**{n: 0.7 for n in f if n.startswith("expert")}),
            r"sum to 2\.1 in row 0",
        ),
        (
            lambda f: f.assign(logit__ant=1.0, logit__bee=0.0, logit__cow=0.0, logit__dog=0.0),
            r"must be about the same classes",
        ),
    ],
)
def test_unusable_experts_are_refused(mixture, change, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_frame(change(frame_of(*mixture)), experts=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"experts": np.ones((3, 2, 2, 2)), "gates": np.ones((3, 2))}, "`experts` must have shape"),
        ({"experts": np.ones((3, 2)), "gates": np.ones(3)}, "`gates` must have shape"),
        ({"experts": np.ones((3, 2))}, "needs columns `gate__<m>`"),
        ({"gates": np.ones((3, 2)) / 2}, "needs columns `expert__<m>"),
        (
            {"experts": np.ones((3, 2, 3)), "gates": np.ones((3, 2)), "classes": ["a", "b"]},
            "`experts` has 3 classes where `classes` names 2",
        ),
    ],
)
def test_unusable_arrays_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays([0, 1, 1], **arrays)
