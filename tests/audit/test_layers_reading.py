"""Columns of layers: what is read, what is left alone, what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax, softmax

from sk_arcal.audit import PredictionTable, read_predictions

CLASSES = ["ant", "bee", "cow"]


@pytest.fixture
def deep():
    """Logits (40, 3 layers, 3 classes) and labels."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, size=(40, 3, 3)), rng.integers(0, 3, 40)


def frame_of(logits, labels, names=("0", "1", "2"), kind="logit"):
    columns = {"label": np.array(CLASSES)[labels]}
    for name, layer in zip(names, logits.swapaxes(0, 1), strict=True):
        columns |= {f"layer__{name}__{kind}__{CLASSES[k]}": layer[:, k] for k in range(3)}
    return pd.DataFrame(columns)


def test_the_last_layer_is_the_confidence_where_the_file_has_none(deep):
    logits, labels = deep
    table = PredictionTable.from_frame(frame_of(*deep), layers=True)
    proba = softmax(logits[:, 2], axis=1)
    np.testing.assert_allclose(table.confidence, proba.max(axis=1))
    np.testing.assert_array_equal(table.event, proba.argmax(axis=1) == labels)
    np.testing.assert_allclose(table.layer_scores, log_softmax(logits, axis=2))
    np.testing.assert_array_equal(table.layer_labels, labels)
    assert table.layer_names == ("0", "1", "2")
    assert table.layer_classes == tuple(CLASSES)
    assert "n_layers=3" in repr(table)


def test_describe_says_what_was_read_of_the_layers(deep):
    text = PredictionTable.from_frame(frame_of(*deep), layers=True).describe()
    assert "layers      3, logits of 3 classes each: `layer__0__logit__ant` to" in text
    assert "of the 3 classes by the last layer" in text
    assert "not used" not in text


def test_what_the_extractor_writes_for_two_classes_is_one_column_a_layer():
    rng = np.random.default_rng(1)
    odds, yes = rng.normal(size=(30, 2)), rng.random(30) < 0.5
    frame = pd.DataFrame(odds, columns=["layer__0__logit__yes", "layer__7__logit__yes"])
    table = PredictionTable.from_frame(frame.assign(label=np.where(yes, "yes", "no")), layers=True)
    np.testing.assert_array_equal(table.event, yes)
    np.testing.assert_array_equal(table.layer_labels, yes)
    np.testing.assert_allclose(table.confidence, expit(odds[:, 1]))
    np.testing.assert_allclose(np.exp(table.layer_scores[:, :, 1]), expit(odds))
    assert "log-odds of the event" in table.mapping["layers"]


def test_numbered_layers_come_by_number_and_others_as_they_stand(deep):
    logits, labels = deep
    frame = frame_of(logits[:, [2, 0, 1]], labels, ["10", "0", "9"])
    table = PredictionTable.from_frame(frame, layers=True)
    assert table.layer_names == ("0", "9", "10")
    np.testing.assert_allclose(table.layer_scores, log_softmax(logits, axis=2))
    frame = frame_of(logits, labels, ["stem", "block__1", "head"])
    assert PredictionTable.from_frame(frame, layers=True).layer_names == (
        *("stem", "block__1", "head"),
    )


def test_classes_in_another_order_are_told_by_their_names(deep):
    frame = frame_of(*deep)
    turned = [*frame.columns[:4], *frame.columns[6:3:-1], *frame.columns[7:]]
    assert turned[4:7] == [f"layer__1__logit__{name}" for name in CLASSES[::-1]]
    table = PredictionTable.from_frame(frame[turned], layers=True)
    np.testing.assert_allclose(table.layer_scores, log_softmax(deep[0], axis=2))


@pytest.mark.parametrize("options", [{}, {"routing": "*"}, {"routing": ["l*"]}])
def test_layers_are_left_alone_unless_asked_for(deep, options):
    logits, _ = deep
    frame = frame_of(*deep).assign(load=np.arange(40.0))
    for k, name in enumerate(CLASSES):
        frame[f"logit__{name}"] = logits[:, 2, k]
    table = PredictionTable.from_frame(frame, **options)
    assert table.layer_scores is None
    assert not any("layer" in name for name in table.routing)
    assert table.logits.shape == (40, 3)
    assert any("`--layers`" in note for note in table.notes)
    assert "`layer__0__logit__ant`" in table.mapping["not used"]


def test_layers_in_a_joined_file_are_no_features_and_can_be_audited(deep, tmp_path):
    frame = frame_of(*deep).assign(doc_id=np.arange(40), load=np.arange(40.0))
    frame.drop(columns="label").to_csv(tmp_path / "more.csv", index=False)
    frame[["doc_id", "label"]].assign(correct=1, confidence=0.5).to_csv(
        tmp_path / "own.csv", index=False
    )
    for layers in (False, True):
        table = read_predictions(tmp_path / "own.csv", join=tmp_path / "more.csv", layers=layers)
        assert list(table.routing) == ["load"]
        assert (table.layer_scores is not None) is layers


def test_layers_alone_are_no_class_scores(deep):
    with pytest.raises(ValueError, match="No scores were found"):
        PredictionTable.from_frame(frame_of(*deep))


def test_a_confidence_of_the_file_stays_and_a_difference_is_said(deep):
    frame = frame_of(*deep)
    same, other = frame.copy(), frame.copy()
    for k, name in enumerate(CLASSES):
        same[f"logit__{name}"] = deep[0][:, 2, k] + 1
        other[f"logit__{name}"] = deep[0][:, 1, k]
    notes = [PredictionTable.from_frame(f, layers=True).notes for f in (same, other)]
    assert not any("last layer" in note for note in notes[0])
    assert any("differs from that of the last layer" in note for note in notes[1])


def test_layers_are_judged_by_labels_even_beside_a_single_confidence(deep):
    logits, labels = deep
    top = np.array(CLASSES)[logits[:, 2].argmax(axis=1)]
    frame = frame_of(*deep).assign(pred=top, confidence=softmax(logits[:, 2], axis=1).max(axis=1))
    table = PredictionTable.from_frame(frame, layers=True)
    assert table.logits is None
    np.testing.assert_array_equal(table.layer_labels, labels)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".npz"])
def test_every_format_gives_the_same_layers(deep, tmp_path, suffix):
    logits, _ = deep
    path = tmp_path / f"deep{suffix}"
    frame = frame_of(*deep)
    if suffix == ".npz":
        y = frame["label"].to_numpy(str)
        np.savez(path, y=y, layer_scores=logits, layer_names=[0, 1, 2], classes=CLASSES)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    table = read_predictions(path, layers=True)
    np.testing.assert_allclose(table.layer_scores, log_softmax(logits, axis=2), atol=1e-12)
    assert (table.layer_names, table.classes) == (("0", "1", "2"), tuple(CLASSES))


@pytest.mark.parametrize("form", ["array", "list", "mapping", "probabilities"])
def test_arrays_come_in_every_form_of_layerwise_calibration(deep, form):
    logits, labels = deep
    forms = {
        "array": logits,
        "list": list(logits.swapaxes(0, 1)),
        "mapping": {i: logits[:, i] for i in range(3)},
        "probabilities": softmax(logits, axis=2),
    }
    table = PredictionTable.from_arrays(labels, layer_scores=forms[form])
    np.testing.assert_allclose(table.layer_scores, log_softmax(logits, axis=2))
    assert table.layer_names == ("0", "1", "2")


@pytest.mark.parametrize("event", [True, False])
def test_the_frame_of_a_table_gives_the_table_back(deep, event):
    logits, labels = deep
    scores = expit(logits[:, :, 0]) if event else logits
    table = PredictionTable.from_arrays(
        labels > 0 if event else labels, layer_scores=scores, layer_names=["a", "b", "c"]
    )
    again = PredictionTable.from_frame(table.to_frame(), layers=True)
    np.testing.assert_allclose(again.layer_scores, table.layer_scores, atol=1e-12)
    np.testing.assert_allclose(again.confidence, table.confidence)
    np.testing.assert_array_equal(again.layer_labels, table.layer_labels)
    assert again.layer_names == ("a", "b", "c")


def test_split_rows_take_their_layers_along(deep):
    logits, labels = deep
    split = np.arange(40) % 3
    table = PredictionTable.from_arrays(labels, layer_scores=logits, split=split)
    np.testing.assert_allclose(table.layer_scores, log_softmax(logits, axis=2)[split < 2])
    np.testing.assert_array_equal(table.layer_labels, labels[split < 2])


def hidden(frame):
    return frame.rename(columns=lambda name: name.replace("logit__", "hidden__"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[["label"]], r"needs columns `layer__<l>__logit__<class>`.*are `label`"),
        (hidden, r"hidden states need a read-out first"),
        (lambda f: f[["label", *[n for n in f if n.startswith("layer__0")]]], r"the only layer"),
        (lambda f: f.drop(columns="layer__1__logit__cow"), r"layers 0 and 1 have columns of diff"),
        (lambda f: f.rename(columns={"layer__1__logit__cow": "layer__1__proba__cow"}), r"one kind"),
        (lambda f: f.assign(layer__1__logit__bee=np.nan), r"`layer__1__logit__bee` holds NaN"),
        (lambda f: f.assign(label="dog"), r"dog"),
        (
            lambda f: f.drop(columns="label").assign(correct=1, confidence=0.5),
            r"the true class is needed",
        ),
    ],
)
def test_unusable_layers_are_refused(deep, change, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_frame(change(frame_of(*deep)), layers=True)


def test_probabilities_of_some_classes_are_refused(deep):
    frame = frame_of(softmax(deep[0], axis=2) / 2, deep[1], kind="proba")
    with pytest.raises(ValueError, match=r"sum to 0\.5 in row 0"):
        PredictionTable.from_frame(frame, layers=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"layer_scores": np.ones((3, 2, 2, 2))}, "`layer_scores` must have shape"),
        ({"layer_scores": np.ones((3, 2, 3)), "classes": ["a", "b"]}, "`classes` names 2"),
        ({"layer_scores": np.ones((3, 2)), "layer_names": ["a"]}, "must name every layer"),
        ({"layer_names": ["a"], "confidence": [0.5] * 3}, "there are no `layer_scores`"),
        ({"layer_scores": np.ones((4, 2))}, "the same number of rows"),
    ],
)
def test_unusable_arrays_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays([0, 1, 1], **arrays)
