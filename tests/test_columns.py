"""Roles of columns: selectors, names, defaults, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer

from sk_arcal import TemperatureScaler, columns
from sk_arcal._columns import resolve_columns

NAMES = ["depth", "score", "entropy", "route"]
FRAME = pd.DataFrame(np.zeros((2, 4)), columns=NAMES)


def roles(X=FRAME, *, confidence=None, routing=None, n_classes=2):
    names = list(X.columns) if hasattr(X, "columns") else None
    found = resolve_columns(
        X,
        X.shape[1],
        names,
        confidence_columns=confidence,
        routing_columns=routing,
        n_classes=n_classes,
    )
    return found.confidence.tolist(), found.routing.tolist()


SELECTORS = {
    "int": (1, [1]),
    "numpy-int": (np.int8(1), [1]),
    "negative": (-3, [1]),
    "name": ("score", [1]),
    "numpy-name": (np.str_("score"), [1]),
    "list": ([3, 1], [3, 1]),
    "tuple": ((1,), [1]),
    "range": (range(1, 3), [1, 2]),
    "names": (["route", "score"], [3, 1]),
    "mixed": (["route", 1], [3, 1]),
    "array": (np.array([1, -1]), [1, 3]),
    "names-array": (np.array(["score"]), [1]),
    "index": (pd.Index(["score", "route"]), [1, 3]),
    "slice": (slice(1, 3), [1, 2]),
    "open-slice": (slice(2, None), [2, 3]),
    "strided": (slice(None, None, 2), [0, 2]),
    "label-slice": (slice("score", "entropy"), [1, 2]),
    "half-open-label-slice": (slice("entropy", None), [2, 3]),
    "mask": ([False, True, False, True], [1, 3]),
    "numpy-mask": (np.array([False, True, False, False]), [1]),
    "pandas-mask": (pd.Series([False, True, False, False]), [1]),
    "polars-mask": (pl.Series([False, True, False, False]), [1]),
    "callable": (lambda X: [name for name in X.columns if name.endswith("e")], [1, 3]),
    "callable-int": (lambda X: X.shape[1] - 1, [3]),
    "columns": (columns(prefix="s"), [1]),
}


@pytest.mark.parametrize(("selector", "expected"), SELECTORS.values(), ids=SELECTORS)
def test_selectors(selector, expected):
    assert roles(confidence=selector) == (expected, sorted({0, 1, 2, 3} - set(expected)))
    other = min({0, 1, 2, 3} - set(expected))
    assert roles(confidence=other, routing=selector) == ([other], expected)


SELECTORS_OF_SCIKIT_LEARN = [
    "list",
    "names",
    "array",
    "names-array",
    "slice",
    "open-slice",
    "label-slice",
    "half-open-label-slice",
    "mask",
    "numpy-mask",
    "callable",
    "columns",
]


@pytest.mark.parametrize("selector", SELECTORS_OF_SCIKIT_LEARN)
def test_selectors_agree_with_column_transformer(selector):
    given, expected = SELECTORS[selector]
    numbered = pd.DataFrame([[0, 1, 2, 3]], columns=NAMES)
    chosen = ColumnTransformer([("chosen", "passthrough", given)]).fit_transform(numbered)
    np.testing.assert_array_equal(np.ravel(chosen), expected)


@pytest.mark.parametrize("empty", [[], slice(0, 0), np.zeros(4, dtype=bool), (), lambda X: []])
def test_no_routing(empty):
    assert roles(confidence="score", routing=empty) == ([1], [])


def kind_name(value):
    """Name of the type: the address in the repr of some objects differs between workers."""
    return type(value).__name__


WRONG_KINDS = [
    True,
    np.True_,
    1.0,
    np.nan,
    b"score",
    {1},
    {"score": 1},
    np.array(1),
    np.array([[1]]),
    np.array([[True, False, False, False]]),
    [1.0],
    [None],
    [True, 1],
    iter([1]),
    object(),
    lambda X: None,
    slice(0.5, 2),
    slice(0, 2, 0),
]


@pytest.mark.parametrize("selector", WRONG_KINDS, ids=kind_name)
@pytest.mark.parametrize("parameter", ["confidence", "routing"])
def test_selectors_of_the_wrong_kind_are_refused(parameter, selector):
    other = {"confidence": "score"} if parameter == "routing" else {}
    with pytest.raises(TypeError, match=f"`{parameter}_columns`"):
        roles(**{parameter: selector}, **other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"confidence": []}, "`confidence_columns` selects no column"),
        ({"confidence": slice(9, None)}, "`confidence_columns` selects no column"),
        ({"confidence": 4}, r"names position 4, but X has 4 feature\(s\)"),
        ({"confidence": -5}, "names position -5"),
        ({"confidence": "scor"}, r"names 'scor'; the columns are \['depth', 'score'"),
        ({"confidence": slice("score", "end")}, "names 'end'"),
        ({"confidence": [1, 1]}, "names a column twice"),
        ({"confidence": [1, "score"]}, "names a column twice"),
        ({"confidence": [1, -3]}, "names a column twice"),
        ({"confidence": [True, False]}, "mask in `confidence_columns` has 2 entries for 4"),
        ({"confidence": 1, "routing": [0, 1]}, r"Columns \['score'\] are named both"),
        ({"confidence": 1, "routing": [2, 2]}, "`routing_columns` names a column twice"),
        ({"n_classes": 5}, r"5 classes but only 4 column\(s\).*y=\(prediction == label\)"),
    ],
)
def test_selectors_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        roles(**given)


def test_names_need_a_table():
    with pytest.raises(ValueError, match="'score', but X has no column names; pass a DataFrame"):
        roles(np.zeros((2, 4)), confidence="score")


def test_overlap_without_names_is_told_by_position():
    with pytest.raises(ValueError, match=r"Columns \[0\] are named both"):
        roles(np.zeros((2, 4)), confidence=0, routing=[0, 1])


@pytest.mark.parametrize(("n_classes", "n_confidence"), [(1, 1), (2, 1), (3, 3), (4, 4)])
def test_without_names_the_first_columns_are_confidence(n_classes, n_confidence):
    expected = list(range(n_confidence)), list(range(n_confidence, 4))
    assert roles(np.zeros((2, 4)), n_classes=n_classes) == expected


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("prefix", ["logit__", "proba__"])
def test_named_columns_are_found_wherever_they_are(table, prefix):
    names = ["routing__depth", f"{prefix}b", "age", f"{prefix}a"]
    assert roles(table({name: [0.0] for name in names}), n_classes=2) == ([1, 3], [0, 2])


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [
        ("logit__a b", "logit", ("a b",)),
        ("proba__1", "probability", ("1",)),
        ("score", None, None),
    ],
)
def test_names_say_kind_and_class(name, kind, classes):
    frame = pd.DataFrame({"x": [0.0], name: [0.0]})
    options = {"routing_columns": None, "n_classes": 2}
    found = resolve_columns(frame, 2, list(frame), confidence_columns=name, **options)
    assert (found.named_kind, found.named_classes) == (kind, classes)


def test_a_routing_column_is_never_taken_for_confidence():
    frame = pd.DataFrame(np.zeros((1, 3)), columns=["routing__a", "score", "routing__b"])
    assert roles(frame) == ([1], [0, 2])


def test_a_table_of_routing_columns_has_no_confidence():
    frame = pd.DataFrame(np.zeros((1, 2)), columns=["routing__a", "routing__b"])
    with pytest.raises(ValueError, match=r"only 0 column\(s\) beside the routing columns"):
        roles(frame)


def test_two_kinds_of_named_columns_are_ambiguous():
    frame = pd.DataFrame(np.zeros((1, 2)), columns=["logit__a", "proba__a"])
    with pytest.raises(ValueError, match=r"confidence_columns=columns\(prefix='logit__'\)"):
        roles(frame)


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame(np.zeros((1, 3)), columns=["logit__a", "x", "x"])
    with pytest.raises(ValueError, match=r"several columns named \['x'\]"):
        roles(frame)


def test_numbers_are_positions_where_names_are_numbers():
    X = pd.DataFrame(np.array([[0.0, 1.0], [0.0, -1.0], [0.0, 2.0]]), columns=[7, 0])
    scaler = TemperatureScaler(confidence_columns=1, bounds=(0.5, 2))
    with pytest.warns(UserWarning, match="separates"):
        scaler.fit(X, [1, 0, 1])
    np.testing.assert_array_equal(scaler.column_roles_.confidence, [1])


# --- the selector by name ------------------------------------------------------------------------


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (columns(prefix="r"), ["route"]),
        (columns(regex="e$"), ["score", "route"]),
        (columns(regex="^[de]"), ["depth", "entropy"]),
        (columns(prefix="d", regex="h"), ["depth"]),
        (columns(prefix=""), NAMES),
    ],
    ids=kind_name,
)
def test_columns_selects_by_name(table, selector, expected):
    assert selector(table({name: [0.0] for name in NAMES})) == expected


def test_columns_passes_over_names_that_are_no_strings():
    assert columns(regex=".")(pd.DataFrame([[0, 0]], columns=["a", 1])) == ["a"]


def test_columns_prints_as_it_was_written():
    assert repr(columns(prefix="r", regex="x")) == "columns(prefix='r', regex='x')"


def test_columns_survives_pickle_and_clone():
    scaler = clone(TemperatureScaler(confidence_columns=columns(prefix="s")))
    assert pickle.loads(pickle.dumps(scaler)).confidence_columns(FRAME) == ["score"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (columns, ValueError, "a `prefix` or a `regex`"),
        (lambda: columns(regex="("), ValueError, "`regex` is no regular expression"),
        (lambda: columns(prefix=1), TypeError, "`prefix` must be a string; got 1"),
        (lambda: columns(prefix="r")(np.zeros((2, 2))), TypeError, "named columns; got ndarray"),
        (lambda: columns(prefix="z")(FRAME), ValueError, r"'z'\) matches none of the columns"),
    ],
)
def test_columns_says_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()
