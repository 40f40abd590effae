"""What a saved calibrator holds, what survives, and what is refused.

That every calibrator survives is in test_contract.py.
"""

import copy
import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context

from sk_arcal import columns
from sk_arcal.calibration import (
    NWConditionalCalibrator,
    TemperatureScaler,
    calibrator_from_dict,
)
from sk_arcal.calibration._saving._json_values import decode, encode
from sk_arcal.calibration._saving._plain_state import HELPER, from_plain, register_helper, to_plain

X = np.array([[-2.0, 0.1], [1.0, 0.4], [3.0, 0.2], [0.5, 0.9]])
Y = np.array(["no", "no", "yes", "yes"])


@pytest.fixture
def saved():
    return TemperatureScaler().fit(X, Y).to_dict()


def signed(saved):
    """Return an edited dictionary with the checksum that belongs to it, as its editor could."""
    content = {key: value for key, value in saved.items() if key != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return {**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        2**60,
        0.1 + 0.2,
        5e-324,
        -0.0,
        np.inf,
        "inf",
        "",
        ["a", [1, 2.0]],
        ("a", (1, None)),
        {},
        {"a": {"b": (1,)}},
        {"array": 1, "float": 2},
        slice(None, 3),
        slice("logit__a", "logit__c", 2),
        range(2, 9, 3),
    ],
    ids=repr,
)
def test_value_survives_json(value):
    restored = decode(json.loads(json.dumps(encode(value, "x"), allow_nan=False)))
    assert restored == value
    assert type(restored) is type(value)
    assert repr(restored) == repr(value)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, -0.0], [np.inf, -np.inf]]),
        np.array([1e-45, 0.1, 3e38], dtype=np.float32),
        np.array([0.1, np.nan], dtype=np.float16),
        np.array([2**63], dtype=np.uint64),
        np.array([-1, 1], dtype=np.int8),
        np.array([True, False]),
        np.array(["cat", "über"]),
        np.array(["a", 1, None, 2.5], dtype=object),
        np.zeros((0, 3)),
        np.zeros((3, 0), dtype=int),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24).reshape(2, 3, 4),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_array_survives_json(array):
    restored = decode(json.loads(json.dumps(encode(array, "x"), allow_nan=False)))
    assert_array_equal(restored, array, strict=True)
    assert restored.tobytes("A") == array.tobytes("A") or array.dtype == object
    assert restored.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("number", [np.float32(0.1), np.float64(np.inf), np.int64(3), np.str_("a")])
def test_number_of_numpy_stays_one(number):
    restored = decode(json.loads(json.dumps(encode(number, "x"))))
    assert restored == number
    assert type(restored) is type(number)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"array": [1, 2], "dtype": "int64", "shape": [3]}, r"not have the shape \[3\]"),
        ({"array": [[1], [1, 2]], "dtype": "int64", "shape": [2, 1]}, "not have the shape"),
        ({"array": [1], "dtype": "int64", "shape": [-1]}, "list of lengths"),
        ({"array": [1], "dtype": "int64", "shape": 1}, "list of lengths"),
        ({"array": [1], "dtype": "int64"}, "needs 'array', 'dtype' and 'shape'"),
        ({"array": ["1"], "dtype": "int64", "shape": [1]}, "array of another kind"),
        ({"array": [True], "dtype": "float64", "shape": [1]}, "array of another kind"),
        ({"array": [300], "dtype": "int8", "shape": [1]}, "dtype int8"),
        ({"array": [1], "dtype": "complex128", "shape": [1]}, "no dtype"),
        ({"array": [1], "dtype": "no such thing", "shape": [1]}, "no dtype"),
        ({"array": [1], "dtype": ["int64"], "shape": [1]}, "no dtype"),
        ({"float": 1}, "'inf', '-inf' or 'nan'"),
        ({"tuple": 1}, "must be a list"),
        ({"dict": 1}, "must be an object"),
        ({"slice": [1]}, "start, stop, step"),
        ({"range": [1, "a", 1]}, "no range"),
        ({"tuple": [], "more": 1}, "has other keys too"),
    ],
    ids=str,
)
def test_broken_value_is_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        decode(broken)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"routing_columns": lambda X: [1]}, "`routing_columns` is a function.*names or positions"),
        ({"random_state": np.random.RandomState(0)}, "`random_state` is a RandomState.*an integer"),
        ({"classes": {"no", "yes"}}, "`classes` is a set.*plain values"),
        ({"classes": np.array(["2026"], dtype="M8")}, "`classes` is an array of datetime64"),
        ({"classes": {1: "a"}}, "`classes` is a dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_parameter_without_json_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        NWConditionalCalibrator(**settings).to_dict()


def test_pandas_classes_are_saved_as_an_array():
    scaler = TemperatureScaler(classes=pd.Index([0, 1])).to_dict()
    assert_array_equal(TemperatureScaler.from_dict(scaler).classes, [0, 1])


# --- what a file holds ---------------------------------------------------------------------------


def test_dictionary_says_what_it_is(saved):
    assert list(saved) == [
        "format",
        "schema_version",
        "sk_arcal_version",
        "class",
        "parameters",
        "state",
        "sha256",
    ]
    assert (saved["format"], saved["class"]) == ("sk-arcal calibrator", "TemperatureScaler")
    assert json.loads(json.dumps(saved, allow_nan=False)) == saved


# Written by schema 1 in November 2026. If this fails, files of users no longer load: raise
# SCHEMA_VERSION and translate, do not edit the text.
SCHEMA_1 = """
{"format": "sk-arcal calibrator", "schema_version": 1, "sk_arcal_version": "0.1.0.dev0", "class":
"TemperatureScaler", "parameters": {"bounds": {"tuple": [0.001, 1000.0]}, "classes": null,
"confidence_columns": null, "confidence_kind": "auto", "max_iter": 100, "routing_columns": null},
"state": {"feature_names_in_": {"array": ["logit__yes", "routing__entropy"], "dtype": "object",
"shape": [2]}, "n_features_in_": 2, "column_roles_": {"sk-arcal helper": "ColumnRoles",
"confidence": {"array": [0], "dtype": "int64", "shape": [1]}, "routing": {"array": [1], "dtype":
"int64", "shape": [1]}, "named_kind": "logit", "named_classes": {"tuple": ["yes"]}}, "classes_":
{"array": ["no", "yes"], "dtype": "<U3", "shape": [2]}, "_order": {"array": [0, 1], "dtype":
"int64", "shape": [2]}, "_scale": {"sk-arcal helper": "ConfidenceScale", "kind": "logit",
"smallest": 0.0, "smallest_rest": 0.0, "role": "confidence"}, "confidence_kind_": "logit",
"temperature_": 1.153500648073681, "loss_": 0.48792386211634703, "n_iter_": 5}, "sha256":
"a7709f104173ffce016a1bab024fa3495542841fcae4ffd5ac32c0e490718568"}
"""


def test_file_of_schema_1_still_predicts_the_same():
    scaler = calibrator_from_dict(json.loads(SCHEMA_1))
    assert type(scaler) is TemperatureScaler
    frame = pd.DataFrame([[1.0, 0.5]], columns=["logit__yes", "routing__entropy"])
    # softmax of +-1/T, T as stored.
    expected = 1 / (1 + np.exp(-1 / 1.153500648073681))
    np.testing.assert_allclose(scaler.predict_proba(frame), [[1 - expected, expected]], rtol=1e-14)
    assert_array_equal(scaler.predict(frame), ["yes"])


def test_metadata_request_is_not_saved(saved):
    with config_context(enable_metadata_routing=True):
        asking = TemperatureScaler().set_fit_request(sample_weight=True).fit(X, Y)
    assert asking.to_dict() == saved


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True, None])
def test_schema_version_has_to_be_a_whole_number(saved, version):
    with pytest.raises(ValueError, match="'schema_version' must be a whole number"):
        TemperatureScaler.from_dict({**saved, "schema_version": version})


def test_newer_schema_is_refused_before_anything_else(saved):
    newer = {"format": saved["format"], "schema_version": 2, "sk_arcal_version": "9.9"}
    with pytest.raises(ValueError, match=r"schema 2 by sk-arcal 9\.9.*Upgrade sk-arcal"):
        calibrator_from_dict(newer)


@pytest.mark.parametrize("read", [TemperatureScaler.from_dict, calibrator_from_dict])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda saved: "text", TypeError, "json.loads returns; got str"),
        (lambda saved: {}, ValueError, "no saved calibrator: its 'format' is None"),
        (lambda saved: {**saved, "format": "x"}, ValueError, "'format' is 'x'"),
        (lambda saved: {**saved, "more": 1}, ValueError, r"\['more'\] too much"),
        (
            lambda saved: {key: saved[key] for key in saved if key != "state"},
            ValueError,
            r"lacks \['state'\]",
        ),
        (lambda saved: {**saved, "sha256": "0"}, ValueError, "checksum does not match"),
        (lambda saved: {**saved, "state": object()}, ValueError, "holds what JSON cannot"),
        (lambda saved: signed({**saved, "state": []}), ValueError, "must be dictionaries"),
    ],
    ids=["kind", "empty", "format", "extra", "missing", "checksum", "object", "list"],
)
def test_what_is_no_saved_calibrator_is_refused(saved, read, change, error, message):
    with pytest.raises(error, match=message):
        read(change(saved))


def test_every_edit_of_one_character_is_noticed(saved):
    text = json.dumps(saved["state"])
    for position in range(0, len(text), 7):
        edited = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
        try:
            state = json.loads(edited)
        except json.JSONDecodeError:
            continue
        with pytest.raises(ValueError, match="checksum"):
            TemperatureScaler.from_dict({**saved, "state": state})


def test_another_class_is_named(saved):
    with pytest.raises(ValueError, match="holds a TemperatureScaler, not a NWConditional"):
        NWConditionalCalibrator.from_dict(saved)


def test_unknown_class_is_named(saved):
    with pytest.raises(ValueError, match="'FutureScaler', a class that sk-arcal"):
        calibrator_from_dict(signed({**saved, "class": "FutureScaler"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["parameters"].update(new=1), r"no parameters \['new'\]"),
        (lambda saved: saved["state"].update(predict="me"), r"names \['predict'\]"),
        (lambda saved: saved["state"].update(__class__="me"), r"names \['__class__'\]"),
        (lambda saved: saved["state"].pop("classes_"), "`classes_` of type ndarray; got nothing"),
        (lambda saved: saved["state"].update(n_features_in_="2"), "of type int; got str"),
        (lambda saved: saved["state"].update(n_features_in_=1), "contradicts itself"),
        (lambda saved: saved["state"]["_order"].update(array=[0, 0]), "contradicts itself"),
        (lambda saved: saved["state"].pop("temperature_"), "does not predict"),
        (lambda saved: saved["state"].update(temperature_="hot"), "does not predict"),
        (lambda saved: saved["state"]["classes_"].update(shape=[3]), "not have the shape"),
        (lambda saved: saved["state"]["_scale"].update({HELPER: "Popen"}), "a part 'Popen'"),
        (lambda saved: saved["state"]["_scale"].pop("kind"), "'ConfidenceScale' needs the fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_consistent_edit_that_makes_no_calibrator_is_refused(saved, change, message):
    edited = copy.deepcopy(saved)
    change(edited)
    with pytest.raises(ValueError, match=message):
        calibrator_from_dict(signed(edited))


# --- plain state ---------------------------------------------------------------------------------


def kinds_in(value):
    """Types of everything inside containers."""
    if isinstance(value, list | tuple):
        return {type(value)}.union(*(kinds_in(entry) for entry in value))
    if isinstance(value, dict):
        return {dict}.union(*(kinds_in(entry) for entry in value.values()))
    return {type(value)}


@pytest.mark.parametrize("calibrator", [TemperatureScaler(), NWConditionalCalibrator()])
def test_state_is_plain(calibrator):
    allowed = {dict, list, tuple, str, int, float, bool, type(None), np.ndarray, np.float64}
    calibrator.set_params(routing_columns=columns(prefix="routing__"))
    frame = pd.DataFrame(X, columns=["logit__yes", "routing__entropy"])
    assert kinds_in(calibrator.fit(frame, Y).__getstate__()) <= allowed


def test_column_selector_survives_pickle_and_json():
    chosen = columns(prefix="routing__", regex="entropy$")
    scaler = TemperatureScaler(routing_columns=chosen)
    for restored in (
        pickle.loads(pickle.dumps(scaler)),
        TemperatureScaler.from_dict(scaler.to_dict()),
    ):
        assert repr(restored.routing_columns) == repr(chosen)


def test_plain_state_leaves_other_objects_alone():
    other = object()
    nested = {"a": [other, (other,)]}
    restored = from_plain(to_plain(nested))
    assert restored == nested
    assert restored["a"][0] is other


def test_two_helpers_of_one_name_are_refused():
    with pytest.raises(TypeError, match="already called ColumnRoles"):
        register_helper(type("ColumnRoles", (), {}))


def test_shallow_copy_predicts_the_same():
    scaler = TemperatureScaler().fit(X, Y)
    assert_array_equal(copy.copy(scaler).predict_proba(X), scaler.predict_proba(X))


def test_pickle_of_another_version_warns():
    scaler = TemperatureScaler().fit(X, Y)
    state = scaler.__getstate__()
    fresh = TemperatureScaler()
    with pytest.warns(UserWarning, match=r"saved by sk-arcal 0\.0\.1 and is loaded by"):
        fresh.__setstate__({**state, "_sk_arcal_version": "0.0.1"})
    assert_array_equal(fresh.predict_proba(X), scaler.predict_proba(X))
    assert vars(fresh).keys() == vars(scaler).keys()
