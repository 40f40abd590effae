"""The audit of the layers of a network: what it says of networks whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier

from sk_arcal import cli
from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.audit._layers_rows import LayerRows
from sk_arcal.audit._layers_summary import _shown, summarise_layers
from sk_arcal.diagnostics import layer_features
from sk_arcal.metrics import expected_calibration_error
from tests.audit.layer_fixtures import audit_with_layers, corrected, layers_of


def table_of(**options):
    y, layers = corrected(**options)
    return PredictionTable.from_arrays(y, layer_scores=layers)


def audit_text(layers):
    return " ".join(summarise_layers(layers).split())


@pytest.fixture(scope="module")
def planted():
    return audit_with_layers(*corrected())


def test_a_planted_correction_is_found_and_named(planted):
    phases = planted.layers.phases
    assert phases.present
    assert phases.layers[phases.plateau_start] == 2
    assert phases.layers[phases.peak] == 4
    text = " ".join(planted.summary().split())
    assert planted.layers.summary in text
    assert "calibration is worst at layer 4. The confidence is corrected after that" in text
    assert "plateau from here: layer 2" in text


def test_layers_without_correction_are_not_said_to_have_one():
    y, layers = corrected()
    found = layers_of(PredictionTable.from_arrays(y, layer_scores=layers[:, :5]))
    assert not found.phases.present
    assert "corrected after that" not in found.summary


def test_the_layers_agree_with_metrics_and_the_scorecard(planted):
    y, layers = corrected()
    table = planted.layers.layerwise.table
    right = layers.argmax(axis=2) == y[:, None]
    np.testing.assert_allclose(table["accuracy"], right.mean(axis=0))
    np.testing.assert_allclose(table["ece"][-1], planted.scorecard[0].ece, atol=1e-3)
    proba = np.exp(PredictionTable.from_arrays(y, layer_scores=layers).layer_scores[:, 2])
    error = expected_calibration_error(right[:, 2].astype(float), proba.max(axis=1))
    assert table["ece"][2] == pytest.approx(error, abs=1e-3)


def test_features_of_depth_join_the_routing_of_the_table():
    y, layers = corrected(200)
    table = PredictionTable.from_arrays(y, layer_scores=layers, routing={"load": np.arange(200)})
    joined = LayerRows.of(table).with_features(table).routing
    expected = layer_features(layers)
    assert list(joined) == ["load", *(f"depth: {name}" for name in expected)]
    for name, column in expected.items():
        np.testing.assert_allclose(joined[f"depth: {name}"], column, atol=1e-9)


def test_constant_features_are_left_out_and_said_so():
    y, layers = corrected(300, n_classes=3)
    alike = np.stack([0.9 * layers[:, -1], layers[:, -1]], axis=1)
    found = layers_of(PredictionTable.from_arrays(y, layer_scores=alike))
    assert {"depth: settling_depth", "depth: n_flips"} <= set(found.constant)
    assert not set(found.constant) & set(found.features)
    assert f"{len(found.constant)} are the same in all rows" in audit_text(found)


def test_constant_is_judged_on_the_rows_to_evaluate():
    y, layers = corrected(100, n_classes=3)
    layers = np.repeat(layers[:, -1:], 2, axis=1)
    layers[:50, 0] *= -1
    table = PredictionTable.from_arrays(y, layer_scores=layers, split=np.arange(100) // 50)
    assert "depth: n_flips" in LayerRows.of(table).constant


def test_a_feature_of_the_same_name_keeps_it():
    y, layers = corrected(60)
    table = PredictionTable.from_arrays(
        y, layer_scores=layers, routing={"depth: n_flips": np.arange(60)}
    )
    joined = LayerRows.of(table).with_features(table).routing
    np.testing.assert_array_equal(joined["depth: n_flips"], np.arange(60))
    assert "depth: n_flips (built in)" in joined


def test_one_event_is_judged_by_its_probability():
    y, layers = corrected(800, n_classes=2)
    odds = layers[:, :, 1] - layers[:, :, 0]
    one, two = (
        layers_of(PredictionTable.from_arrays(y, layer_scores=scores)) for scores in (odds, layers)
    )
    assert one.layerwise.one_event
    np.testing.assert_allclose(one.layerwise.table["ece"], two.layerwise.table["ece"], atol=1e-6)
    right = ((odds > 0) == (y == 1)[:, None]).mean(axis=0)
    np.testing.assert_allclose(one.layerwise.table["accuracy"], right)
    assert one.phases.present


def test_split_rows_alone_are_measured():
    y, layers = corrected(400)
    split = np.arange(400) % 2
    table = PredictionTable.from_arrays(y, layer_scores=layers, split=split)
    found = layers_of(table)
    assert len(found.layerwise.event) == 200
    right = (layers.argmax(axis=2) == y[:, None])[split == 1]
    np.testing.assert_allclose(found.layerwise.table["accuracy"], right.mean(axis=0))


def test_few_groups_give_a_table_and_no_phases():
    y, layers = corrected(200)
    table = PredictionTable.from_arrays(y, layer_scores=layers, groups=np.arange(200) % 5)
    found = layers_of(table)
    assert found.phases is None
    assert found.to_dict()["present"] is None
    assert "fewer than 20 groups" in audit_text(found)


def test_result_does_not_depend_on_the_number_of_jobs():
    with parallel_config(backend="threading"):
        one, two = (layers_of(table_of(n=300), n_jobs=jobs).to_dict() for jobs in (1, 2))
    np.testing.assert_equal(one, two)


def test_json_holds_the_layers(planted):
    found = json.loads(json.dumps(planted.to_dict()))["layers"]
    assert found["present"] is True
    assert [row["layer"] for row in found["layers"]] == list(range(6))
    assert found["phases"]["peak"] == 4
    assert found["summary"] == planted.layers.summary
    assert found["event"] == "the layer is right"


def test_summary_is_narrow_and_names_signals(planted):
    assert max(map(len, planted.summary().splitlines())) <= 100
    names = planted.layers.verdicts["signal"]
    text = " ".join(planted.summary().split())
    assert f"signal in {', '.join(n.removeprefix('depth: ') for n in names)}; no signal" in text


def test_many_layers_are_thinned_in_the_text_around_those_that_count():
    places = _shown(33, {11: "a", 20: "b"})
    assert {0, 11, 20, 32} <= set(places)
    assert len(places) <= 12
    assert _shown(12, {}) == list(range(12))


@pytest.mark.parametrize(
    "data", [[0, 1] * 20, pd.DataFrame({"correct": [0, 1] * 20, "confidence": 0.5})]
)
def test_a_table_without_layers_is_refused(data):
    options = {} if isinstance(data, pd.DataFrame) else {"confidence": [0.5] * 40}
    with pytest.raises(ValueError, match="`layer__<l>__logit__<class>`"):
        routing_audit(data, layers=True, **options)


def test_layers_is_a_switch():
    with pytest.raises(TypeError, match=r"Arrays of layers go to `PredictionTable\.from_arrays`"):
        routing_audit([0, 1], confidence=[0.5, 0.5], layers=np.ones((2, 2)))


# --- the shell -----------------------------------------------------------------------------------


def test_shell_audits_the_stages_of_boosting(tmp_path, capsys):
    X, y = make_classification(340, 6, n_informative=3, flip_y=0.2, random_state=0)
    model = GradientBoostingClassifier(n_estimators=12, random_state=0).fit(X[:200], y[:200])
    columns = {
        f"layer__{stage}__proba__1": proba[:, 1]
        for stage, proba in enumerate(model.staged_predict_proba(X[200:]))
        if stage in {3, 11}
    }
    path, numbers = tmp_path / "staged.csv", tmp_path / "staged.json"
    split = np.arange(140) % 2
    pd.DataFrame({"y": y[200:], "split": split, **columns}).to_csv(path, index=False)
    assert cli.main(["audit", str(path), "--layers", "--json", str(numbers)]) == 0
    out = capsys.readouterr().out
    assert "layers      2, probabilities of the event" in out
    assert "confidence  the last layer" in out
    assert "Every layer by its own prediction" in out
    found = json.loads(numbers.read_text())
    depth = [name for name in found["features"] if name.startswith("depth: ")]
    assert depth == [name for name in found["features"] if name not in found["layers"]["constant"]]
    verdicts = found["layers"]["features"]
    assert sorted(name for names in verdicts.values() for name in names) == sorted(depth)
    for verdict, names_of_it in verdicts.items():
        assert {found["features"][name]["verdict"] for name in names_of_it} == {verdict}
    assert "depth: mean_layer_confidence" in depth
    accuracy = (model.predict(X[200:]) == y[200:])[split == 1].mean()
    last = found["layers"]["layers"][-1]
    assert (last["layer"], last["accuracy"]) == (11, pytest.approx(accuracy))


@pytest.mark.parametrize("count", [1, 2])
def test_shell_refuses_what_it_cannot_audit(tmp_path, capsys, count):
    files = [tmp_path / f"{i}.csv" for i in range(count)]
    for file in files:
        file.write_text("correct,confidence\n1,0.9\n0,0.8\n")
    assert cli.main(["audit", *map(str, files), "--layers"]) == 2
    message = capsys.readouterr().err
    expected = "needs columns `layer__<l>" if count == 1 else "the network of one file"
    assert expected in message
    assert message.count("\n") == 1
