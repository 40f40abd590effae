"""Which class each confidence column stands for."""

import numpy as np
import pandas as pd
import pytest

from sk_arcal.calibration._classes import align_classes, read_classes, refuse_gaps

INTS = np.array([2, 0, 1, 2])
WORDS = np.array(["cow", "ant", "bee", "cow"])


def aligned(y, n_columns, *, classes=None, named=None):
    """Return codes, sorted classes, and the class of every column in order of the columns."""
    codes, sorted_classes, order = align_classes(y, read_classes(classes), named, n_columns)
    by_column = np.empty_like(sorted_classes)
    by_column[order] = sorted_classes
    return codes, sorted_classes.tolist(), by_column.tolist()


@pytest.mark.parametrize(
    "y", [INTS, WORDS, WORDS.astype(object), INTS.astype(float), INTS.astype(np.uint8)], ids=str
)
def test_as_many_labels_as_columns_are_taken_in_order(y):
    codes, sorted_classes, by_column = aligned(y, 3)
    np.testing.assert_array_equal(codes, [2, 0, 1, 2])
    assert sorted_classes == by_column == sorted(set(y.tolist()))


@pytest.mark.parametrize("dtype", [str, object])
def test_classes_may_come_in_any_order(dtype):
    classes = np.array(["dog", "cow", "ant", "bee"], dtype=dtype)
    codes, sorted_classes, by_column = aligned(WORDS, 4, classes=classes)
    np.testing.assert_array_equal(codes, [2, 0, 1, 2])
    assert sorted_classes == ["ant", "bee", "cow", "dog"]
    assert by_column == ["dog", "cow", "ant", "bee"]


def test_classes_come_before_names():
    assert aligned(INTS, 3, classes=[2, 1, 0], named=("0", "1", "2"))[2] == [2, 1, 0]


@pytest.mark.parametrize(
    ("y", "named", "by_column"),
    [
        (WORDS, ("bee", "ant", "dragonfly", "cow"), ["bee", "ant", "dragonfly", "cow"]),
        (WORDS.astype(object), ("bee", "ant", "cow", "dog"), ["bee", "ant", "cow", "dog"]),
        (INTS, ("3", "2", "0", "1"), [3, 2, 0, 1]),
        (INTS.astype(float), ("1", "0", "2", "3"), [1.0, 0.0, 2.0, 3.0]),
        (INTS < 2, ("True", "False"), [True, False]),
        (INTS < 9, ("True", "False"), [True, False]),
        (np.array([0.5, 1.5]), ("1.5", "0.5"), [1.5, 0.5]),
    ],
    ids=["words", "objects", "ints", "floats", "bools", "one-bool", "fractions"],
)
def test_names_are_read_as_labels(y, named, by_column):
    codes, sorted_classes, found = aligned(y, len(named), named=named)
    assert found == by_column
    np.testing.assert_array_equal(np.array(sorted_classes)[codes.astype(int)], y)


def test_integers_in_range_need_not_all_occur():
    codes, sorted_classes, _ = aligned(np.array([3, 1, 3]), 5)
    assert sorted_classes == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(codes, [3, 1, 3])


def test_a_single_column_is_the_score_of_the_second_label():
    assert aligned(np.array(["b", "a"]), 1)[2] == ["a", "b"]


def test_a_single_column_named_after_the_first_label_is_its_score():
    assert aligned(np.array(["b", "a"]), 1, named=("a",))[2] == ["b", "a"]


def test_a_single_column_with_a_free_name_is_the_score_of_the_second_label():
    assert aligned(np.array([0, 1]), 1, named=("correct",))[2] == [0, 1]


@pytest.mark.parametrize(
    ("y", "n_columns", "given", "message"),
    [
        (INTS, 1, {}, r"Only binary.*one confidence column.*multiclass: y holds 3 classes"),
        (INTS, 2, {}, r"Only binary.*two confidence columns.*multiclass"),
        (np.ones(3), 1, {}, r"only one class, \[1\.0\].*classes=\[no_event, event\]"),
        (WORDS, 5, {}, r"5 confidence columns but y holds 3.*Say which.*classes=\[\.\.\.\]"),
        (INTS + 3, 5, {}, r"5 confidence columns but y holds 3 classes, \[3, 4, 5\]"),
        (INTS - 1, 5, {}, r"5 confidence columns but y holds 3 classes, \[-1, 0, 1\]"),
        (INTS, 3, {"classes": [0, 1]}, r"must name 3 different classes.*got \[0, 1\]"),
        (INTS, 1, {"classes": [0, 1, 2]}, r"must name 2 different classes"),
        (INTS, 2, {"classes": [0, 1]}, r"Row 0 of y holds 2, which is none of.*\[0, 1\]"),
        (INTS, 2, {"classes": ["0", "1"]}, r"Row 0 of y holds 2, which is none of.*\['0', '1'\]"),
        (WORDS.astype(object), 2, {"classes": [0, 1]}, r"type object.*cannot be compared"),
        (WORDS, 3, {"named": ("ant", "bee", "dog")}, r"y holds \['cow'\], but.*named after"),
        (INTS, 4, {"named": ("0", "1", "2", "x")}, r"not all of the type of the labels \(int64\)"),
        (INTS.astype(np.int8), 4, {"named": ("0", "1", "2", "300")}, r"type of the labels \(int8"),
        (INTS < 9, 2, {"named": ("True", "no")}, r"type of the labels \(bool"),
    ],
)
def test_what_does_not_fit_is_said(y, n_columns, given, message):
    with pytest.raises(ValueError, match=message):
        aligned(y, n_columns, **given)


@pytest.mark.parametrize(
    "classes",
    [3, "ab", [], [0, 0], [[0, 1]], [[0], [1, 2]], {0: 1, 1: 2}, {0, 1}, [None, 1], pd.NA],
    ids=str,
)
def test_classes_have_to_be_a_list_of_different_labels(classes):
    with pytest.raises(ValueError, match="`classes` must"):
        read_classes(classes)


@pytest.mark.parametrize("labels", [[0, 2], [1, 2, 4], [0, 3, 4]])
def test_gaps_between_integers_are_refused_where_columns_would_do(labels):
    with pytest.raises(ValueError, match=rf"with gaps.*classes=range\({labels[-1] + 1}\)"):
        refuse_gaps(np.array(labels), 5)


@pytest.mark.parametrize(
    ("labels", "n_features"),
    [([0, 1, 2], 9), ([1, 2, 3], 9), ([0, 2], 2), ([-1, 1], 5), ([0.0, 2.0], 5), (["a", "c"], 5)],
)
def test_labels_that_can_only_mean_one_thing_pass(labels, n_features):
    refuse_gaps(np.array(labels), n_features)
