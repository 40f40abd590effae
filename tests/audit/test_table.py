"""Tables from arrays and frames: what is read, what is refused, and what is remarked on."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit, softmax

from sk_arcal.audit import PredictionTable

N = 60


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def logits(rng):
    return rng.normal(scale=2.0, size=(N, 4))


@pytest.fixture
def labels(rng):
    # The first four rows hold every class.
    return np.concatenate([np.arange(4), rng.integers(0, 4, size=N - 4)])


@pytest.fixture
def frame(rng, logits, labels):
    names = np.array(["cat", "dog", "eel", "fox"])
    columns = {f"logit__{name}": logits[:, j] for j, name in enumerate(names)}
    columns |= {"y": names[labels], "routing__load": rng.normal(size=N)}
    return pd.DataFrame(columns | {"routing__domain": rng.choice(["law", "art"], size=N)})


def same(first, second):
    """Whether two tables hold the same numbers."""
    names = ("event", "confidence", "logits", "labels", "groups", "evaluate")
    pairs = [(getattr(first, name), getattr(second, name)) for name in names]
    pairs += [(first.routing[name], second.routing.get(name)) for name in first.routing]
    return first.classes == second.classes and all(
        (a is None and b is None) or np.array_equal(a, b) for a, b in pairs
    )


# --- class scores --------------------------------------------------------------------------------


def test_event_is_that_the_largest_score_names_the_true_class(logits, labels):
    table = PredictionTable.from_arrays(labels, logits=logits)
    np.testing.assert_array_equal(table.event, logits.argmax(axis=1) == labels)
    np.testing.assert_array_equal(table.labels, labels)
    assert table.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_confidence_is_the_largest_softmax_in_double_precision(logits, labels, dtype):
    rounded = (30 * logits).astype(dtype)
    table = PredictionTable.from_arrays(labels, logits=rounded)
    expected = softmax(rounded.astype(np.float64), axis=1).max(axis=1)
    np.testing.assert_allclose(table.confidence, expected, rtol=1e-14)
    assert table.confidence.dtype == np.float64


def test_large_float32_logits_are_not_doubled(logits, labels):
    table = PredictionTable.from_arrays(labels, logits=logits.astype(np.float32))
    assert table.logits.dtype == np.float32


def test_probabilities_become_logits_with_the_same_softmax(logits, labels):
    probability = softmax(logits, axis=1)
    table = PredictionTable.from_arrays(labels, proba=probability)
    np.testing.assert_allclose(softmax(table.logits, axis=1), probability, rtol=1e-12)
    np.testing.assert_allclose(table.confidence, probability.max(axis=1), rtol=1e-12)


def test_probabilities_of_half_precision_are_rescaled(logits, labels):
    half = softmax(logits, axis=1).astype(np.float16)
    table = PredictionTable.from_arrays(labels, proba=half)
    expected = half.max(axis=1) / half.astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(table.confidence, expected, rtol=1e-12)


def test_probability_of_zero_gets_half_the_smallest_positive_one():
    table = PredictionTable.from_arrays([0, 1], proba=[[1.0, 0.0, 0.0], [0.02, 0.9, 0.08]])
    np.testing.assert_allclose(np.exp(table.logits[0]), [1.0, 0.01, 0.01])
    assert any("exactly 0 (2)" in note for note in table.notes)


def test_ties_go_to_the_first_class():
    table = PredictionTable.from_arrays([0, 1], logits=[[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(table.event, [1, 0])


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y_true", "classes"),
    [
        (["dog", "cat"], ["cat", "dog"]),
        ([b"dog", b"cat"], ["cat", "dog"]),
        ([1, 0], ["cat", "dog"]),
        ([1.0, 0.0], ["cat", "dog"]),
        ([True, False], ["no", "yes"]),
        ([2, 1], [1, 2]),
        (["2", "1"], [1, 2]),
        (np.array([2, 1], dtype=object), ["1", "2"]),
        (["1", "0"], None),
    ],
    ids=str,
)
def test_labels_are_matched_by_name_or_else_by_position(y_true, classes):
    table = PredictionTable.from_arrays(y_true, logits=[[0, 1], [0, 1]], classes=classes)
    np.testing.assert_array_equal(table.labels, [1, 0])
    np.testing.assert_array_equal(table.event, [1, 0])


@pytest.mark.parametrize(
    ("y_true", "classes", "message"),
    [
        ([0, 1, 3], None, r"`y_true` holds 3 in row 2; .* integers from 0 to 2"),
        ([0, -1, 1], None, r"`y_true` holds -1 in row 1"),
        ([0, 0.5, 1], None, r"`y_true` holds 0.5 in row 1"),
        (["a", "b", "z"], list("abc"), r"`y_true` holds 'z' in row 2; .* classes a, b, c"),
        (["a", None, "b"], list("abc"), r"`y_true` holds nothing in row 1"),
        ([0, np.nan, 1], None, r"`y_true` holds NaN in row 1"),
        (["a", "b", "c"], None, r"`y_true` holds 'a' in row 0 \(3 such rows\)"),
        ([0, 1, 2], ["1", "2", "3"], r"`y_true` holds 0 in row 0"),
        ([0, 1, 2], ["a", "b"], r"name the 3 score columns; got 2"),
        ([0, 1, 2], ["a", "b", "a"], r"must not repeat"),
    ],
    ids=str,
)
def test_label_that_is_no_class_is_refused_with_its_row(y_true, classes, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays(y_true, logits=np.eye(3), classes=classes)


# --- one score -----------------------------------------------------------------------------------


def test_one_logit_speaks_about_the_second_class():
    table = PredictionTable.from_arrays([1, 0, 1], logits=[2.0, -1.0, 0.5])
    np.testing.assert_allclose(table.confidence, expit([2.0, -1.0, 0.5]))
    np.testing.assert_array_equal(table.event, [1, 0, 1])
    assert table.logits is None


@pytest.mark.parametrize("name", ["logits", "proba"])
def test_one_column_is_read_like_a_vector(name):
    values = np.array([0.2, 0.7])
    flat = PredictionTable.from_arrays([1, 0], **{name: values})
    assert same(flat, PredictionTable.from_arrays([1, 0], **{name: values[:, None]}))


def test_one_probability_speaks_about_the_second_of_two_named_classes():
    table = PredictionTable.from_arrays(["b", "a"], proba=[0.8, 0.3], classes=["a", "b"])
    np.testing.assert_array_equal(table.event, [1, 0])


def test_one_score_needs_two_class_names():
    with pytest.raises(ValueError, match="must name two classes for a single score; got 3"):
        PredictionTable.from_arrays([1, 0], proba=[0.8, 0.3], classes=["a", "b", "c"])


def test_confidence_speaks_about_the_prediction_being_right():
    table = PredictionTable.from_arrays(
        ["cat", "dog", "dog"], confidence=[0.8, 0.9, 0.6], y_pred=["cat", "cat", "dog"]
    )
    np.testing.assert_array_equal(table.event, [1, 0, 1])


@pytest.mark.parametrize(
    "y_true", [[True, False], [1, 0], [1.0, 0.0], ["True", "false"], ["1", "0"]], ids=str
)
def test_confidence_alone_takes_correctness(y_true):
    table = PredictionTable.from_arrays(y_true, confidence=[0.8, 0.9])
    np.testing.assert_array_equal(table.event, [1.0, 0.0])


def test_correctness_beside_predicted_names_is_told_from_labels_by_its_type():
    right = np.array([True, False])
    table = PredictionTable.from_arrays(right, confidence=[0.8, 0.9], y_pred=["cat", "dog"])
    np.testing.assert_array_equal(table.event, [1, 0])


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 1], [7, 3], "is it the true class or whether"),
        ([4, 5], ["cat", "dog"], "name classes in different ways"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays(y_true, confidence=[0.8, 0.9], y_pred=y_pred)


# --- split ---------------------------------------------------------------------------------------


def test_split_marks_the_rows_to_evaluate():
    table = PredictionTable.from_arrays([1, 0, 1], confidence=[0.5, 0.6, 0.7], split=[1, 0, 1])
    np.testing.assert_array_equal(table.evaluate, [True, False, True])


@pytest.mark.parametrize(
    "split",
    [["cal", "test"], ["VAL", "eval"], ["fit", "evaluate"], [False, True], [0.0, 1.0], ["0", "1"]],
    ids=str,
)
def test_split_understands_words_and_types(split):
    table = PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], split=split)
    np.testing.assert_array_equal(table.evaluate, [False, True])


def test_rows_with_another_split_are_dropped_unseen_and_counted():
    table = PredictionTable.from_arrays(
        [1, -1, 0, 2], logits=[[1, 2, 3], [np.nan] * 3, [3, 2, 1], [1, 1, 5]], split=[0, 2, 1, 1]
    )
    assert table.n_samples == 3
    assert "1 row left out, where `split` is 2." in table.notes


def test_errors_name_the_row_as_it_was_given_when_rows_are_dropped():
    with pytest.raises(ValueError, match=r"`confidence` holds 1.5 in row 3"):
        PredictionTable.from_arrays([1, 0, 1, 0], confidence=[0.5, 9, 0.6, 1.5], split=[0, 2, 1, 1])


@pytest.mark.parametrize("value", [0, 1])
def test_split_with_one_side_is_ignored_and_remarked_on(value):
    table = PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], split=[value, value])
    assert table.evaluate is None
    assert any("it is ignored" in note for note in table.notes)


def test_split_without_any_known_value_is_refused():
    with pytest.raises(ValueError, match=r"must hold 0 .* or 1 .* it holds 3, 4"):
        PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], split=[3, 4])


# --- routing and groups --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1.0, 2.0]),
        ([True, False], [1.0, 0.0]),
        (np.array([1, 2.5], dtype=object), [1.0, 2.5]),
        (np.array([1, 2], dtype=np.float16), [1.0, 2.0]),
    ],
)
def test_numbers_are_routing_features_in_double_precision(values, expected):
    table = PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], routing={"a": values})
    assert table.routing["a"].dtype == np.float64
    np.testing.assert_array_equal(table.routing["a"], expected)


@pytest.mark.parametrize("values", [["x", "y"], ["1", "2"], pd.Categorical(["x", "y"])])
def test_texts_are_categories(values):
    table = PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], routing={"a": values})
    np.testing.assert_array_equal(table.routing["a"], np.array(values, dtype=str))


def test_routing_array_frame_and_dict_agree(rng):
    matrix = rng.normal(size=(3, 2))
    y, confidence = [1, 0, 1], [0.5, 0.6, 0.7]
    forms = (
        {"routing": matrix, "routing_names": ["a", "b"]},
        {"routing": pd.DataFrame(matrix, columns=["a", "b"])},
        {"routing": pl.DataFrame(matrix, schema=["a", "b"])},
        {"routing": {"a": matrix[:, 0], "b": matrix[:, 1]}},
    )
    tables = [PredictionTable.from_arrays(y, confidence=confidence, **form) for form in forms]
    assert all(same(tables[0], other) for other in tables[1:])
    assert list(tables[0].routing) == ["a", "b"]


def test_routing_columns_without_names_are_numbered():
    table = PredictionTable.from_arrays([1, 0], confidence=[0.5, 0.6], routing=[[1, 2], [3, 4]])
    assert list(table.routing) == ["routing_0", "routing_1"]


@pytest.mark.parametrize("groups", [[3, 3, 1], ["u", "u", "v"]])
def test_groups_keep_their_names(groups):
    table = PredictionTable.from_arrays([1, 0, 1], confidence=[0.5, 0.6, 0.7], groups=groups)
    np.testing.assert_array_equal(table.groups, groups)


# --- refusals ------------------------------------------------------------------------------------

Y, C = [1, 0, 1], [0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "Exactly one of .* got none"),
        ({"confidence": C, "proba": C}, "Exactly one of .* got proba and confidence"),
        ({"confidence": C[:2]}, r"same number of rows; got `y_true` 3, `confidence` 2"),
        ({"confidence": 0.5}, "one value per row; got a single value"),
        ({"confidence": [0.5, np.nan, 0.7]}, r"`confidence` holds NaN in row 1"),
        ({"confidence": [0.5, 0.6, np.inf]}, r"`confidence` holds inf in row 2"),
        ({"confidence": [0.5, -0.1, 1.2]}, r"holds -0.1 in row 1 \(2 such rows\).*\[0, 1\]"),
        ({"confidence": [0.5, "x", 0.7]}, r"`confidence` holds 'x' in row 1.*numbers"),
        ({"logits": [[0, 1], [0, -np.inf], [1, 0]]}, r"`logits` holds -inf in row 1"),
        ({"logits": np.zeros((3, 2, 2))}, r"got shape \(3, 2, 2\)"),
        ({"proba": [[0.5, 0.5], [0.5, 0.4], [1, 0]]}, r"must sum to one; in row 1 .* sum to 0.9"),
        ({"proba": [[0.5, 0.5], [0.5, 0.5], [1.1, -0.1]]}, r"holds 1.1 in row 2.*\[0, 1\]"),
        ({"confidence": C, "routing": [1, np.nan, 2]}, r"`routing__routing_0` holds NaN in row 1"),
        ({"confidence": C, "routing": {"a": ["x", None, "y"]}}, r"`routing__a` holds nothing"),
        ({"confidence": C, "routing": np.zeros((3, 1, 1))}, r"shape \(n_samples, n_routing\)"),
        ({"confidence": C, "routing": np.zeros((3, 2)), "routing_names": ["a"]}, "2 different"),
        ({"confidence": C, "routing": np.zeros((3, 2)), "routing_names": ["a", "a"]}, "2 diff"),
        ({"confidence": C, "groups": [1, np.nan, 2]}, r"`groups` holds NaN in row 1"),
    ],
    ids=str,
)
def test_bad_array_is_refused_with_a_sentence(arrays, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays(Y, **arrays)


def test_scores_of_another_kind_are_a_type_error():
    with pytest.raises(TypeError, match=r"`logits` must hold numbers"):
        PredictionTable.from_arrays([1, 0], logits=[["a", "b"], ["c", "d"]])


@pytest.mark.parametrize(("n", "message"), [(0, "no rows"), (1, "a single row")])
def test_too_few_rows_are_refused(n, message):
    with pytest.raises(ValueError, match=message):
        PredictionTable.from_arrays(Y[:n], confidence=C[:n])


# --- remarks -------------------------------------------------------------------------------------


def notes(y_true=Y, **arrays):
    return " ".join(PredictionTable.from_arrays(y_true, **({"confidence": C} | arrays)).notes)


def test_unremarkable_table_has_no_notes(logits, labels):
    assert PredictionTable.from_arrays(labels, logits=logits).notes == ()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"y_true": [1, 1, 1]}, "in every row, so over-confidence"),
        ({"y_true": [0, 0, 0]}, "in no row, so under-confidence"),
        ({"confidence": [0.0, 0.5, 1.0]}, "2 confidences (66.7%) exactly 0 or 1"),
        ({"confidence": [0.7, 0.7, 0.7]}, "The confidence is 0.7 in every row"),
        ({"routing": {"a": [2, 2, 2]}}, "Constant routing features: a."),
        ({"routing": {"top_expert": [0, 3, 7]}}, "Read as ordered numbers: top_expert."),
        ({"groups": [1, 1, 2], "split": [0, 1, 1]}, "1 group with rows on both sides"),
    ],
    ids=str,
)
def test_peculiar_data_is_remarked_on(arrays, expected):
    assert expected in notes(**arrays)


def test_absent_classes_are_named():
    table = PredictionTable.from_arrays(["a", "c"], logits=np.eye(3)[:2], classes=list("abc"))
    assert "1 of the 3 classes never the true one: b." in table.notes


def test_repeated_rows_are_counted_also_across_the_split(rng, logits, labels):
    twice = np.concatenate([np.arange(N), [3, 5]])
    split = np.concatenate([np.zeros(N), [1, 1]])
    table = PredictionTable.from_arrays(labels[twice], logits=logits[twice], split=split)
    assert any(note.startswith("2 rows equal to an earlier row") for note in table.notes)
    assert "2 evaluated rows equal to one that the calibrator is fitted on." in table.notes


def test_equal_confidences_alone_are_no_repeated_rows():
    assert "equal to an earlier row" not in notes(confidence=[0.9, 0.9, 0.8], y_true=[1, 1, 0])


def test_prediction_that_is_not_the_largest_score_is_remarked_on():
    table = PredictionTable.from_arrays([0, 1], logits=[[2, 1], [0, 1]], y_pred=[1, 1])
    assert "`y_pred` is not the class with the largest score in 1 row" in " ".join(table.notes)
    np.testing.assert_array_equal(table.event, [1, 1])


# --- the record ----------------------------------------------------------------------------------


def test_row_order_does_not_matter(rng, logits, labels):
    order = rng.permutation(N)
    routing = rng.normal(size=N)
    table = PredictionTable.from_arrays(labels, logits=logits, routing={"a": routing})
    moved = PredictionTable.from_arrays(
        labels[order], logits=logits[order], routing={"a": routing[order]}
    )
    np.testing.assert_array_equal(moved.confidence, table.confidence[order])
    np.testing.assert_array_equal(moved.event, table.event[order])
    np.testing.assert_array_equal(moved.routing["a"], table.routing["a"][order])


def test_table_is_frozen():
    table = PredictionTable.from_arrays(Y, confidence=C)
    with pytest.raises(FrozenInstanceError):
        table.event = None


@pytest.mark.parametrize("kind", ["logits", "confidence"])
def test_frame_of_a_table_reads_back_as_the_same_table(rng, logits, labels, kind):
    scores = {"logits": logits} if kind == "logits" else {"confidence": rng.random(N)}
    y_true = labels if kind == "logits" else labels % 2
    table = PredictionTable.from_arrays(
        y_true,
        **scores,
        routing={"load": rng.normal(size=N), "domain": rng.choice(["u", "v"], size=N)},
        groups=np.arange(N) // 2,
        split=np.arange(N) % 2,
    )
    assert same(table, PredictionTable.from_frame(table.to_frame()))


def test_description_says_what_was_read_from_where(frame):
    text = PredictionTable.from_frame(frame).describe()
    assert text.splitlines() == [
        "table: 60 rows",
        "  outcome     `y` is the class with the largest score, out of 4",
        "  confidence  largest softmax of the 4 logits `logit__cat` to `logit__fox`",
        "  routing     load, domain (2 categories)",
    ]


def test_description_ends_with_the_remarks_unless_told_otherwise():
    table = PredictionTable.from_arrays([1, 1], confidence=[0.5, 0.6])
    assert table.describe().splitlines()[-1] == f"  note: {table.notes[-1]}"
    assert "note" not in table.describe(notes=False)


def test_repr_is_one_short_line(frame):
    text = repr(PredictionTable.from_frame(frame))
    assert text == "PredictionTable(n_samples=60, n_classes=4, routing=['load', 'domain'])"
