import numpy as np
import pytest

from sk_arcal.metrics._inputs import as_labels, class_inputs, encode_labels, event_inputs

Y_PROB = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]


def test_event_inputs_drop_rows_of_zero_weight():
    y_true, y_prob, weight = event_inputs([0, 1, 1], [0.1, 0.2, 0.3], [1, 0, 2])
    np.testing.assert_array_equal(y_true, [0, 1])
    np.testing.assert_array_equal(y_prob, [0.1, 0.3])
    np.testing.assert_array_equal(weight, [1, 2])


def test_event_inputs_check_rows_of_zero_weight_too():
    with pytest.raises(ValueError, match="`y_prob` must be finite"):
        event_inputs([0, 1], [0.1, np.nan], [1, 0])


def test_class_inputs_need_labels_when_a_class_is_missing():
    with pytest.raises(ValueError, match=r"Pass `labels`, the class of every column"):
        class_inputs(["ant", "bee"], Y_PROB, None, None)


def test_class_inputs_read_labels_in_the_order_of_the_columns():
    codes, _, _ = class_inputs(["ant", "bee"], Y_PROB, ["bee", "cat", "ant"], None)
    np.testing.assert_array_equal(codes, [2, 0])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b"], dtype=object),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
        np.array([["a"], ["b"]]),
        np.array([True, False]),
        np.array([1.0, 2.0], dtype=np.float32),
    ],
    ids=["object", "numpy-string", "column", "bool", "float32"],
)
def test_as_labels_accepts(labels):
    assert as_labels(labels, "y").shape == (2,)


@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_as_labels_accepts_series(module):
    library = pytest.importorskip(module)
    assert as_labels(library.Series(["a", "b"]), "y").tolist() == ["a", "b"]


def test_as_labels_accepts_pandas_categorical():
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(["b", "a"], dtype="category")
    assert as_labels(labels, "y").tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        (["a", None], TypeError, "missing labels are not allowed"),
        ([1.0, np.nan], ValueError, "`y` must be finite"),
        ([[0, 1], [1, 0]], ValueError, r"`y` must have shape \(n_samples,\)"),
        ([], ValueError, "`y` is empty"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), TypeError, "class labels"),
    ],
)
def test_as_labels_refuses(labels, error, match):
    with pytest.raises(error, match=match):
        as_labels(labels, "y")


def test_encode_labels_names_the_first_unknown_label():
    with pytest.raises(ValueError, match=r"`y` holds the label 'x' in row 1, which is not among"):
        encode_labels(np.array(["a", "x"]), np.array(["a", "b"]), "y")


def test_encode_labels_shortens_a_long_list_of_classes():
    with pytest.raises(ValueError, match=r"100 classes \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\]"):
        encode_labels(np.array([100]), np.arange(100), "y")


def test_encode_labels_inverts_any_order_of_classes():
    classes = np.array([7, 2, 5])
    np.testing.assert_array_equal(encode_labels(np.array([2, 5, 7, 2]), classes, "y"), [1, 2, 0, 1])


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int64])
def test_encode_labels_that_are_column_numbers(dtype):
    labels = np.array([2, 0, 1], dtype=dtype)
    codes = encode_labels(labels, np.arange(3), "y")
    assert codes.dtype == np.intp
    np.testing.assert_array_equal(codes, [2, 0, 1])


@pytest.mark.parametrize("shift", [0, 5, -1])
def test_classes_of_integer_labels_are_those_there(shift):
    y_true = np.arange(3).repeat(4) + shift
    codes, _, _ = class_inputs(y_true, np.full((12, 3), 1 / 3), None, None)
    np.testing.assert_array_equal(codes, np.arange(3).repeat(4))


def test_class_inputs_check_rows_of_zero_weight_too():
    with pytest.raises(ValueError, match=r"must sum to one; row 1 sums to 0\.3"):
        class_inputs([0, 1], [[0.7, 0.3], [0.1, 0.2]], [0, 1], [1, 0])


def test_labels_of_rows_of_zero_weight_are_no_classes():
    codes, _, _ = class_inputs([0, 7, 1], np.full((3, 2), 0.5), None, [1, 0, 2])
    np.testing.assert_array_equal(codes, [0, 1])


def test_negative_integer_labels_are_not_counted_from_the_end():
    with pytest.raises(ValueError, match="holds the label -1 in row 1"):
        encode_labels(np.array([0, -1]), np.arange(3), "y")
