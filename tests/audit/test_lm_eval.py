"""Sample logs of lm-evaluation-harness.

The lines have the form in which version 0.4.12 writes them (checked against logs that it wrote):
every inner value of the responses is a text, the target is a text, metrics are top-level keys.
"""

import json

import numpy as np
import pytest
from scipy.special import softmax

from sk_arcal.audit import read_predictions

LETTERS = ["A", "B", "C", "D"]
SCORES = [[-1.5, -0.5, -3.0, -2.0], [-0.2, -4.0, -1.0, -2.5], [-2.0, -2.5, -0.1, -1.0]]
TRUTH = [1, 2, 2]
RIGHT = [1.0, 0.0, 1.0]


def sample(doc_id, scores, target, *, options=LETTERS, doc=None, prompts=None, **metrics):
    prompts = prompts or ["Question?"] * len(scores)
    texts = [[str(score), "False"] for score in scores]
    requests = zip(prompts, options, strict=True)
    return {
        "doc_id": doc_id,
        "doc": doc or {"question": f"question {doc_id}", "subject": "law"},
        "target": str(target),
        "arguments": {
            f"gen_args_{i}": {"arg_0": prompt, "arg_1": f" {option}"}
            for i, (prompt, option) in enumerate(requests)
        },
        "resps": [[text] for text in texts],
        "filtered_resps": texts,
        "filter": "none",
        "metrics": list(metrics),
        "doc_hash": f"hash{doc_id}",
        "prompt_hash": f"prompt{doc_id}",
        "target_hash": "t",
        **metrics,
    }


def generated(doc_id, filter_name="none", **metrics):
    return {
        "doc_id": doc_id,
        "doc": {"question": "2 + 2?"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": "2 + 2?", "arg_1": {"until": ["\n"]}}},
        "resps": [["four"]],
        "filtered_resps": ["4"],
        "filter": filter_name,
        "metrics": list(metrics),
        **metrics,
    }


def multiple_choice(targets=TRUTH, scores=SCORES, right=RIGHT, **options):
    rows = zip(scores, targets, right, strict=True)
    return [sample(i, row, target, acc=acc, **options) for i, (row, target, acc) in enumerate(rows)]


@pytest.fixture
def log(tmp_path):
    def write(records):
        path = tmp_path / "samples_task_2026-01-01.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


def refusal(path, **options):
    with pytest.raises(ValueError, match=r"samples_task_2026-01-01\.jsonl") as caught:
        read_predictions(path, **options)
    return str(caught.value)


# --- multiple choice -----------------------------------------------------------------------------


def test_log_likelihoods_written_as_texts_become_logits(log):
    table = read_predictions(log(multiple_choice()))
    np.testing.assert_array_equal(table.logits, SCORES)
    np.testing.assert_array_equal(table.labels, TRUTH)
    np.testing.assert_array_equal(table.event, RIGHT)
    np.testing.assert_allclose(table.confidence, softmax(SCORES, axis=1).max(axis=1))
    assert table.classes == tuple(LETTERS)


@pytest.mark.parametrize("key", ["filtered_resps", "resps"])
@pytest.mark.parametrize("form", ["numbers", "no flag"])
def test_older_forms_of_the_responses_are_read(log, key, form):
    records = multiple_choice()
    for record, scores in zip(records, SCORES, strict=True):
        del record["filtered_resps"], record["resps"]
        entries = [[score] if form == "no flag" else [score, False] for score in scores]
        record[key] = [[entry] for entry in entries] if key == "resps" else entries
    np.testing.assert_array_equal(read_predictions(log(records)).logits, SCORES)


def test_older_form_of_the_arguments_is_read(log):
    records = multiple_choice()
    for record in records:
        record["arguments"] = [["Question?", f" {letter}"] for letter in LETTERS]
    assert read_predictions(log(records)).classes == tuple(LETTERS)


WORDS = [["up", "down", "left", "right"]] * 3
NUMBERS = [["4", "3", "2", "1"]] * 3


@pytest.mark.parametrize(
    ("targets", "options", "doc"),
    [
        (["B", "C", "C"], LETTERS, None),
        (["B", "C", "C"], WORDS[0], None),
        (["down", "left", "left"], WORDS[0], None),
        (["down", "left", "left"], LETTERS, {"choices": WORDS[0]}),
        (["n2", "n3", "n3"], LETTERS, {"choices": {"label": ["n1", "n2", "n3", "n4"]}}),
        (["3", "2", "2"], NUMBERS[0], None),
        ([1, 2, 2], NUMBERS[0], None),
    ],
    ids=["option", "letter", "text", "text in document", "label in document", "number", "index"],
)
def test_right_option_is_found_in_every_notation(log, targets, options, doc):
    table = read_predictions(log(multiple_choice(targets, options=options, doc=doc)))
    np.testing.assert_array_equal(table.labels, TRUTH)
    np.testing.assert_array_equal(table.event, RIGHT)


def test_options_that_differ_in_number_leave_only_the_chosen_one(log):
    records = [
        sample(0, [-1.0, -2.0, -0.5], 2, options=["x", "y", "z"], acc=1.0),
        sample(1, [-1.0, -2.0], 1, options=["u", "v"], acc=0.0),
    ]
    table = read_predictions(log(records))
    expected = [softmax([-1.0, -2.0, -0.5]).max(), softmax([-1.0, -2.0]).max()]
    np.testing.assert_allclose(table.confidence, expected)
    np.testing.assert_array_equal(table.event, [1, 0])
    assert table.logits is None
    assert any("number of options varies" in note for note in table.notes)
    assert "2 to 3 options" in table.mapping["format"]


def test_option_that_cannot_be_generated_leaves_only_the_chosen_one(log):
    scores = [[-1.0, float("-inf")], [-0.5, -2.0]]
    records = multiple_choice([0, 1], scores, [1.0, 0.0], options=["yes", "no"])
    table = read_predictions(log(records))
    np.testing.assert_allclose(table.confidence, [1.0, softmax(scores[1]).max()])
    assert table.logits is None


def test_options_in_the_prompt_are_judged_by_the_logged_metric(log):
    # As in WinoGrande: the prompts differ, the continuation and with it the target do not.
    records = multiple_choice(["was big"] * 3, options=["was big"] * 4)
    table = read_predictions(log(records))
    np.testing.assert_array_equal(table.event, RIGHT)
    assert table.labels is None
    assert any("`acc` is the outcome" in note for note in table.notes)


def test_several_right_options_are_judged_by_the_logged_metric(log):
    np.testing.assert_array_equal(
        read_predictions(log(multiple_choice(["[1, 2]", "[2]", "[0, 2]"]))).event, RIGHT
    )


def test_target_that_contradicts_the_metric_is_not_believed(log):
    table = read_predictions(log(multiple_choice([0, 0, 0], right=[1.0, 0.0, 1.0])))
    np.testing.assert_array_equal(table.event, [1, 0, 1])
    assert table.labels is None


def test_target_is_enough_where_the_metric_was_not_logged(log):
    records = multiple_choice()
    for record in records:
        del record["acc"], record["metrics"]
    np.testing.assert_array_equal(read_predictions(log(records)).event, RIGHT)


# --- ways of scoring -----------------------------------------------------------------------------

LONG = ["a", "bb", "é€", "dddd"]


@pytest.mark.parametrize(
    ("metric", "lengths"), [("acc_norm", [1, 2, 2, 4]), ("acc_bytes", [1, 2, 5, 4])]
)
def test_scores_are_divided_by_the_length_of_the_option(log, metric, lengths):
    normed = np.array(SCORES) / lengths
    records = multiple_choice(options=LONG)
    for record, top, true in zip(records, normed.argmax(axis=1), TRUTH, strict=True):
        record[metric] = float(top == true)
        record["metrics"].append(metric)
    table = read_predictions(log(records), target=metric)
    np.testing.assert_allclose(table.logits, normed)
    np.testing.assert_array_equal(table.labels, TRUTH)


@pytest.mark.parametrize("metric", ["acc", "acc_mutual_info"])
def test_scores_without_the_prompt_are_recognised(log, metric):
    without = np.array([[-1.0, -0.2, -2.0, -1.0]] * 3)
    both = np.hstack([SCORES, without])
    records = multiple_choice(
        scores=both.tolist(), options=LETTERS * 2, prompts=["Question?"] * 4 + [""] * 4
    )
    expected = np.array(SCORES) - (without if metric == "acc_mutual_info" else 0)
    table = read_predictions(log(records), target=metric)
    np.testing.assert_allclose(table.logits, expected)
    assert table.classes == tuple(LETTERS)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("f1", "`target` must be one of 'acc', 'acc_norm'"),
        ("acc_mutual_info", "needs the options scored without the prompt"),
    ],
)
def test_scoring_that_the_log_does_not_allow_is_refused(log, metric, message):
    assert message in refusal(log(multiple_choice()), target=metric)


def test_length_of_unlogged_options_is_not_guessed(log):
    records = multiple_choice()
    del records[1]["arguments"]
    assert "line 2 does not log the texts" in refusal(log(records), target="acc_norm")


# --- refusals ------------------------------------------------------------------------------------


def test_metric_between_zero_and_one_is_refused(log):
    # As in TruthfulQA MC2: the metric is a share of probability, no single option is right.
    message = refusal(log(multiple_choice(right=[1.0, 0.4, 0.0])))
    assert "line 2: `acc` is 0.4, neither 0 nor 1" in message


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_impossible_log_likelihood_is_refused_with_its_line(log, bad):
    records = multiple_choice()
    records[2]["filtered_resps"][1][0] = bad
    assert "line 3 holds log-likelihoods" in refusal(log(records))


def test_unknown_target_without_a_metric_is_refused(log):
    records = multiple_choice(["north"] * 3)
    for record in records:
        del record["acc"], record["metrics"]
    assert "`target` 'north' does not name one of the options" in refusal(log(records))


def test_line_of_another_kind_is_refused_with_its_number(log):
    assert "line 3 lacks `target`" in refusal(log([*multiple_choice()[:2], {"doc_id": 3}]))
    records = [*multiple_choice()[:2], generated(3, acc=1.0)]
    assert "line 3 holds no log-likelihoods" in refusal(log(records))


# --- generated answers ---------------------------------------------------------------------------


def test_generated_answers_have_no_confidence_and_that_is_said(log):
    records = [generated(i, exact_match=float(i)) for i in (0, 1)]
    message = refusal(log(records))
    assert "No scores were found" in message
    assert "bring one with `join`" in message


@pytest.mark.parametrize(
    ("target", "expected"), [(None, [1, 0, 1]), ("exact_match", [1, 0, 1]), ("other", [0, 0, 1])]
)
def test_confidence_of_generated_answers_comes_from_a_second_file(log, tmp_path, target, expected):
    values = zip([0.7, 0.2, 0.1], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], strict=True)
    records = [generated(i, bleu=a, exact_match=b, other=c) for i, (a, b, c) in enumerate(values)]
    second = tmp_path / "confidence.csv"
    second.write_text("doc_id,confidence,load\n2,0.9,1\n1,0.8,2\n0,0.7,3\n")
    table = read_predictions(log(records), join=second, target=target)
    np.testing.assert_array_equal(table.event, expected)
    np.testing.assert_array_equal(table.confidence, [0.7, 0.8, 0.9])


@pytest.mark.parametrize(("target", "message"), [(None, "a metric 0 or 1"), ("bleu", "'bleu'")])
def test_generated_answers_need_a_metric_of_zero_and_one(log, target, message):
    records = [generated(i, bleu=0.3) for i in (0, 1)]
    assert message in refusal(log(records), target=target)


# --- the rest of a line --------------------------------------------------------------------------


def test_one_filter_is_read_and_the_others_counted_out(log, tmp_path):
    records = [
        generated(i, name, exact_match=value)
        for name, value in (("strict-match", 0.0), ("flexible-extract", 1.0))
        for i in (0, 1)
    ]
    second = tmp_path / "confidence.csv"
    second.write_text("doc_id,confidence\n0,0.9\n1,0.8\n")
    table = read_predictions(log(records), join=second)
    np.testing.assert_array_equal(table.event, [0, 0])
    assert any("'strict-match' is read; the lines of flexible-extract" in n for n in table.notes)


def test_fields_of_the_document_can_be_selected(log):
    records = multiple_choice()
    for record, subject in zip(records, ["law", "art", "law"], strict=True):
        record["doc"] = {"subject": subject, "year": 1990, "choices": LETTERS}
    table = read_predictions(log(records), routing="doc.subject", group="doc.year")
    np.testing.assert_array_equal(table.routing["doc.subject"], ["law", "art", "law"])
    np.testing.assert_array_equal(table.groups, [1990] * 3)


def test_features_are_joined_by_the_hash_where_numbers_repeat(log, tmp_path):
    # Two tasks in one file both count their documents from 0.
    records = multiple_choice()
    records[2]["doc_id"] = 0
    second = tmp_path / "features.csv"
    second.write_text("doc_id,doc_hash,load\n0,hash2,3\n0,hash0,1\n1,hash1,2\n")
    table = read_predictions(log(records), join=second)
    np.testing.assert_array_equal(table.routing["load"], [1, 2, 3])
    assert table.mapping["joined"] == "features.csv by `doc_hash`"
