"""Roles of the columns of a frame: the names understood, the selectors, and the refusals."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_arcal.audit import PredictionTable

P = [[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]]
TOP = [0.7, 0.8, 0.6, 0.9]
LABELS = ["cat", "dog", "dog", "cat"]
RIGHT = [1, 1, 0, 1]


def columns(prefix, names=("cat", "dog")):
    return {f"{prefix}{name}": [row[j] for row in P] for j, name in enumerate(names)}


def read(data, **selectors):
    return PredictionTable.from_frame(pd.DataFrame(data), **selectors)


def test_pandas_polars_and_dict_agree():
    data = {"y": LABELS, **columns("proba__"), "routing__load": [1, 2, 3, 4]}
    tables = [PredictionTable.from_frame(form(data)) for form in (pd.DataFrame, pl.DataFrame, dict)]
    for table in tables:
        np.testing.assert_array_equal(table.event, RIGHT)
        np.testing.assert_allclose(table.confidence, TOP)
        np.testing.assert_array_equal(table.routing["load"], [1, 2, 3, 4])


# --- names that are understood -------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["proba__", "proba_", "prob_", "prob__", "p_", "probability_", "prediction_proba_"]
)
def test_class_probabilities_are_recognised(prefix):
    table = read({"label": LABELS, **columns(prefix)})
    assert table.classes == ("cat", "dog")
    np.testing.assert_allclose(table.confidence, TOP)


@pytest.mark.parametrize("prefix", ["logit__", "logit_", "logits_"])
def test_class_logits_are_recognised(prefix):
    logits = {name: np.log(values) for name, values in columns(prefix).items()}
    np.testing.assert_allclose(read({"label": LABELS, **logits}).confidence, TOP)


@pytest.mark.parametrize(
    "name", ["y", "y_true", "Label", "TARGET", "labels", "ground_truth", "true"]
)
def test_true_labels_are_recognised(name):
    np.testing.assert_array_equal(read({name: LABELS, **columns("proba__")}).event, RIGHT)


def test_columns_named_as_the_classes_are_recognised():
    table = read({"target": LABELS, **columns("")})
    assert table.classes == ("cat", "dog")
    np.testing.assert_array_equal(table.event, RIGHT)


def test_numbered_columns_are_recognised_with_classes_that_never_occur():
    data = {"y": [0, 1, 1, 0], **columns("", names=("0", "1")), "2": [0.0] * 4}
    assert read(data).classes == ("0", "1", "2")


def test_columns_may_have_integers_as_names():
    frame = pd.DataFrame(P)
    assert PredictionTable.from_frame(frame.assign(y=[0, 1, 1, 0])).classes == ("0", "1")


@pytest.mark.parametrize("name", ["probs", "prediction_proba", "probabilities"])
def test_lists_of_probabilities_in_one_column_are_recognised(name):
    table = read({"y": [0, 1, 1, 0], name: P})
    np.testing.assert_allclose(table.confidence, TOP)


def test_lists_of_logits_in_one_column_are_recognised():
    table = PredictionTable.from_frame(pl.DataFrame({"y": [0, 1, 1, 0], "logits": np.log(P)}))
    np.testing.assert_allclose(table.confidence, TOP)


def test_mlflow_names_are_understood():
    data = {"target": [1, 0, 1, 1], "prediction": [1, 0, 0, 1], "prediction_proba": TOP}
    table = read(data)
    np.testing.assert_array_equal(table.event, [1, 0, 1, 1])
    assert table.mapping["not used"] == "`prediction`"


@pytest.mark.parametrize("name", ["confidence", "conf", "score", "max_prob"])
def test_confidence_of_the_prediction_is_recognised(name):
    table = read({"label": LABELS, "prediction": ["cat", "dog", "cat", "cat"], name: TOP})
    np.testing.assert_array_equal(table.event, RIGHT)
    np.testing.assert_array_equal(table.confidence, TOP)


def test_stated_correctness_counts_before_labels_beside_a_confidence():
    table = read({"label": LABELS, "correct": [0, 0, 0, 1], "confidence": TOP})
    np.testing.assert_array_equal(table.event, [0, 0, 0, 1])


def test_score_of_one_class_speaks_about_that_class():
    data = {"y": ["stay", "churn", "churn", "stay"], "proba_churn": TOP}
    np.testing.assert_array_equal(read(data).event, [0, 1, 1, 0])


def test_class_scores_count_before_a_confidence():
    table = read({"y": LABELS, **columns("prob_"), "confidence": [0.5] * 4})
    np.testing.assert_allclose(table.confidence, TOP)


def test_columns_that_merely_begin_like_a_probability_are_no_scores():
    data = {"y": [1, 0, 1, 1], "p_value": TOP, "p_adjusted": TOP, "confidence": [0.5] * 4}
    np.testing.assert_array_equal(read(data).confidence, [0.5] * 4)


@pytest.mark.parametrize("prefix", ["prob_", "logit_"])
def test_scores_of_two_models_are_not_taken_for_two_classes(prefix):
    data = {"y": [1, 0, 1, 1], f"{prefix}small": TOP, f"{prefix}large": TOP}
    with pytest.raises(ValueError, match=r"must sum to one|No scores were found"):
        read(data)


def test_probability_of_class_one_is_not_taken_for_confidence_in_the_prediction():
    data = {"y": [1, 0, 0, 1], "pred": [1, 0, 1, 0], "score": [0.8, 0.1, 0.6, 0.4]}
    with pytest.raises(ValueError, match="looks like the probability of class 1"):
        read(data)
    data["score"] = [0.8, 0.9, 0.6, 0.6]
    np.testing.assert_array_equal(read(data).event, [1, 1, 0, 0])


def test_class_scores_without_labels_give_their_confidence():
    table = read({"correct": RIGHT, **columns("proba__")})
    np.testing.assert_allclose(table.confidence, TOP)
    assert table.logits is None
    assert any("No true labels were found" in note for note in table.notes)


def test_group_and_split_are_recognised():
    data = {"correct": RIGHT, "confidence": TOP, "Group": [1, 1, 2, 2], "split": [0, 0, 1, 1]}
    table = read(data)
    np.testing.assert_array_equal(table.groups, [1, 1, 2, 2])
    np.testing.assert_array_equal(table.evaluate, [False, False, True, True])


def test_columns_without_a_role_are_listed():
    mapping = read({"correct": RIGHT, "confidence": TOP, "prompt": list("abcd")}).mapping
    assert mapping["not used"] == "`prompt`"


# --- selectors -----------------------------------------------------------------------------------

WIDE = {
    "outcome": LABELS,
    **columns("m1.score.", names=("cat", "dog")),
    "r1": [1, 2, 3, 4],
    "r2": [4, 3, 2, 1],
    "r[x]": [1, 1, 2, 2],
    "doc": [7, 7, 8, 8],
}


def test_selectors_find_what_names_do_not_tell():
    table = read(
        WIDE, target="outcome", confidence="m1.score.*", routing=["r2", "r[1]"], group="doc"
    )
    assert table.classes == ("cat", "dog")
    assert list(table.routing) == ["r1", "r2"]
    np.testing.assert_array_equal(table.groups, [7, 7, 8, 8])


def test_exact_name_is_never_read_as_a_glob():
    table = read(WIDE, target="outcome", confidence="m1.score.*", routing="r[x]")
    np.testing.assert_array_equal(table.routing["r[x]"], [1, 1, 2, 2])


def test_globs_for_routing_pass_over_columns_with_another_role():
    table = read(WIDE, target="outcome", confidence="m1.score.*", group="doc", routing="*")
    assert list(table.routing) == ["r1", "r2", "r[x]"]


def test_selected_target_that_is_called_correct_is_correctness():
    data = {"correct": RIGHT, "y": LABELS, "pred": LABELS, "confidence": TOP}
    np.testing.assert_array_equal(read(data, target="correct").event, RIGHT)
    np.testing.assert_array_equal(read(data, target="y").event, [1, 1, 1, 1])


def test_selected_target_with_correct_in_its_name_is_not_compared_with_predictions():
    data = {"answer_correct": RIGHT, "pred": [0, 0, 1, 1], "confidence": TOP}
    np.testing.assert_array_equal(read(data, target="answer_correct").event, RIGHT)


def test_split_column_may_be_a_routing_feature_when_selected():
    data = {"correct": RIGHT, "confidence": TOP, "split": [3, 4, 5, 6]}
    assert list(read(data, routing="split").routing) == ["split"]


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        ({"target": "outcom"}, r"`target`='outcom' matches no column.*Did you mean `outcome`"),
        ({"target": "*"}, r"must name one column"),
        ({"target": "outcome", "confidence": "score*"}, r"`confidence`='score\*' matches no"),
        ({"target": "outcome", "confidence": "r1", "routing": "z*"}, r"`routing`='z\*' matches"),
        ({"target": "outcome", "confidence": "outcome"}, r"`outcome` cannot be both"),
        ({"target": "outcome", "confidence": "r1", "routing": "r1"}, "already has another role"),
        ({"target": "outcome", "confidence": "r1", "group": "nope"}, r"`group`='nope'"),
        ({"target": "outcome", "confidence": "r1", "split": "nope"}, r"`split`='nope'"),
        ({}, "No outcome was found: .* columns are `outcome`, `m1.score.cat`"),
        ({"target": "outcome"}, "No scores were found: .* Select them with `confidence`"),
    ],
    ids=str,
)
def test_selector_without_a_column_is_refused_and_the_columns_listed(selectors, message):
    with pytest.raises(ValueError, match=message):
        read(WIDE, **selectors)


def test_logits_and_probabilities_cannot_be_selected_together():
    data = {"y": LABELS, "logit__cat": TOP, "proba__dog": TOP}
    with pytest.raises(ValueError, match="logits and probabilities together"):
        read(data, confidence="*__*")


def test_misspelt_name_is_suggested():
    with pytest.raises(ValueError, match=r"Did you mean `confidense`\?"):
        read({"correct": RIGHT, "confidense": TOP})


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": ["cat", "dog", None, "cat"]}, r"`y` holds (NaN|nothing) in row 2"),
        ({"proba__cat": [0.7, 0.2, np.nan, 0.9]}, r"`proba__cat` holds NaN in row 2"),
        ({"proba__cat": [0.7, 0.2, -0.6, 0.9]}, r"`proba__cat` holds -0.6 in row 2"),
        ({"proba__cat": [0.7, 0.3, 0.6, 0.9]}, r"`proba__cat` to `proba__dog` .* row 1"),
        ({"y": ["cat", "dog", "elk", "cat"]}, r"`y` holds 'elk' in row 2; .* cat, dog"),
        ({"routing__load": [1, None, 3, 4]}, r"`routing__load` holds NaN in row 1"),
        ({"sample_weight": [1, 1, -2, 1]}, r"`sample_weight` holds -2 in row 2; .* negative"),
        ({"sample_weight": [0, 0, 0, 0]}, r"`sample_weight` is zero in every row"),
    ],
    ids=str,
)
def test_bad_cell_is_refused_with_column_and_row(change, message):
    with pytest.raises(ValueError, match=message):
        read({"y": LABELS, **columns("proba__")} | change)


def test_pandas_missing_values_are_refused_like_nan():
    data = {"correct": RIGHT, "confidence": pd.array([0.5, None, 0.5, 0.5], dtype="Float64")}
    with pytest.raises(ValueError, match=r"`confidence` holds NaN in row 1"):
        read(data)


@pytest.mark.parametrize(
    ("weights", "remark"), [([1, 2, 1, 1], True), ([2, 2, 2, 2], False)], ids=["varying", "equal"]
)
def test_weights_are_not_used_and_that_is_said(weights, remark):
    table = read({"correct": RIGHT, "confidence": TOP, "weight": weights})
    assert any("`weight` is not used" in note for note in table.notes) is remark


def test_repeated_column_name_is_refused():
    frame = pd.DataFrame([[1, 0.5, 0.6]], columns=["y", "confidence", "confidence"])
    with pytest.raises(ValueError, match="`confidence` occurs twice"):
        PredictionTable.from_frame(frame)


def test_two_routing_columns_with_one_short_name_are_refused():
    data = {"correct": RIGHT, "confidence": TOP, "load": RIGHT, "routing__load": RIGHT}
    with pytest.raises(ValueError, match="both be called `load`"):
        read(data, routing="*load")


def test_score_of_a_class_that_no_row_holds_is_refused():
    with pytest.raises(ValueError, match=r"the class 'elk', which no row of `y` holds"):
        read({"y": LABELS, "proba__elk": TOP})


def test_lists_of_different_length_are_refused():
    frame = pd.DataFrame({"y": [0, 1], "probs": [[0.5, 0.5], [0.2, 0.3, 0.5]]})
    with pytest.raises(ValueError, match=r"row 0 has shape \(2,\), row 1 has shape \(3,\)"):
        PredictionTable.from_frame(frame)


@pytest.mark.parametrize("frame", [[1, 2], "a.csv", np.zeros((2, 2))], ids=["list", "str", "array"])
def test_something_else_than_a_table_is_a_type_error(frame):
    with pytest.raises(TypeError, match="`frame` must be a pandas or polars DataFrame"):
        PredictionTable.from_frame(frame)


def test_empty_frame_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        read({"correct": [], "confidence": []})
