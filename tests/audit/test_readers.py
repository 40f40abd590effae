"""Files of every format: read alike, refused with file, line and column, never unpickled."""

import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit import read_predictions

RECORDS = [
    {"y": "cat", "proba__cat": 0.7, "proba__dog": 0.3, "routing__load": 1.5, "routing__area": "u"},
    {"y": "dog", "proba__cat": 0.2, "proba__dog": 0.8, "routing__load": 2.5, "routing__area": "v"},
    {"y": "dog", "proba__cat": 0.6, "proba__dog": 0.4, "routing__load": 0.5, "routing__area": "u"},
]
FRAME = pd.DataFrame(RECORDS)


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def write_lines(folder, *records, name="table.jsonl"):
    return write(folder, "".join(json.dumps(record) + "\n" for record in records), name)


def write_npz(folder, **arrays):
    path = folder / "table.npz"
    np.savez(path, **arrays)
    return path


def refusal(path, **options):
    """The sentence with which a file is refused; it names the file."""
    with pytest.raises(ValueError, match=r".") as caught:
        read_predictions(path, **options)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


# --- formats -------------------------------------------------------------------------------------

WRITERS = {
    "csv": lambda path: FRAME.to_csv(path, index=False),
    "tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "parquet": FRAME.to_parquet,
    "feather": FRAME.to_feather,
    "jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "npz": lambda path: np.savez(path, **{name: list(FRAME[name]) for name in FRAME}),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_table(tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    WRITERS[suffix](path)
    table = read_predictions(path)
    np.testing.assert_array_equal(table.event, [1, 1, 0])
    np.testing.assert_allclose(table.confidence, [0.7, 0.8, 0.6])
    np.testing.assert_array_equal(table.routing["load"], [1.5, 2.5, 0.5])
    np.testing.assert_array_equal(table.routing["area"], ["u", "v", "u"])
    assert table.classes == ("cat", "dog")


def test_table_knows_its_file(tmp_path):
    path = write_lines(tmp_path, *RECORDS)
    table = read_predictions(str(path))
    assert table.source == "table.jsonl"
    assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_suffix_may_be_in_capitals(tmp_path):
    path = tmp_path / "TABLE.CSV"
    FRAME.to_csv(path, index=False)
    assert read_predictions(path).n_samples == 3


# --- paths ---------------------------------------------------------------------------------------


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv does not exist"):
        read_predictions(tmp_path / "nothing.csv")


def test_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_predictions(tmp_path)


def test_unknown_suffix_is_refused_and_the_known_ones_listed(tmp_path):
    assert ".csv, .tsv, .parquet, .feather, .jsonl, .npz" in refusal(write(tmp_path, "", "t.xls"))


class _Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("name", ["table.pkl", "table.joblib", "table.pt"])
def test_pickle_is_refused_by_its_suffix(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "mark")))
    assert "never read" in refusal(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["table.npz", "table.parquet"])
def test_pickle_under_another_suffix_is_not_loaded(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "mark")))
    refusal(path)
    assert not (tmp_path / "mark").exists()


def test_object_array_is_refused_unread(tmp_path):
    objects = np.array([_Bomb(tmp_path / "mark"), 1], dtype=object)
    path = write_npz(tmp_path, y=[1, 0], confidence=[0.5, 0.6], routing=objects)
    assert "`routing` holds Python objects" in refusal(path)
    assert not (tmp_path / "mark").exists()


# --- csv -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("correct,confidence\n", "a header line but no rows"),
        ("correct,confidence\n1,0.5\n", "a single row"),
        ("correct;confidence\n1;0.5\n", "separated by a semicolon; a comma is expected"),
        ("correct,confidence,correct\n1,0.5,1\n", "`correct` occurs twice"),
        ("correct,confidence\n1,0.5\n0\n", "line 3 has 1 cell where the header has 2"),
        ("correct,confidence\n1,0.5\n0,0.5,9\n", "line 3 has 3 cells where the header has 2"),
        ("correct,confidence\n1,0.5\n0,high\n", "`confidence` holds 'high' in line 3"),
        ("correct,confidence\n1,0.5\n0,\n", "`confidence` holds nothing in line 3"),
        ("correct,confidence\n1,0.5\n0,nan\n", "`confidence` holds 'nan' in line 3"),
        ("correct,confidence\n1,0.5\n0,inf\n", "`confidence` holds inf in line 3"),
        ("correct,confidence\n1,0.5\n0,1.5\n", "`confidence` holds 1.5 in line 3"),
        ("correct,confidence\n1,0.5\n2,0.5\n", "`correct` holds 2 in line 3; 0 or 1 was expected"),
        ("correct,confidence\n\n1,0.5\n\n0,x\n", "`confidence` holds 'x' in line 5"),
        ('correct,confidence,t\n1,0.5,"a\nb"\n0,x,c\n', "`confidence` holds 'x' in line 4"),
        ('correct,confidence\n1,0.5\n0,"0.6\n', "line 3 cannot be read"),
        ("y,proba__a,proba__b\na,0.5,0.5\nb,0.6,0.6\n", "in line 3 the 2 columns sum to 1.2"),
        ("y,proba__a,proba__b\na,0.5,0.5\nc,0.4,0.6\n", "`y` holds 'c' in line 3"),
        ("y,confidense\n1,0.5\n0,0.6\n", "Did you mean `confidense`?"),
    ],
)
def test_bad_csv_is_refused_with_its_line(tmp_path, text, message):
    assert message in refusal(write(tmp_path, text))


def test_bad_cell_among_numbers_is_no_category(tmp_path):
    rows = "".join(f"1,0.5,{number}\n" for number in range(5))
    path = write(tmp_path, "correct,confidence,routing__load\n" + rows + "0,0.5,n/a\n")
    assert "`routing__load` holds 'n/a' in line 7" in refusal(path)


def test_category_may_have_a_name_that_others_read_as_missing(tmp_path):
    path = write(tmp_path, "correct,confidence,area\n1,0.5,NA\n0,0.6,None\n1,0.7,null\n")
    table = read_predictions(path, routing="area")
    np.testing.assert_array_equal(table.routing["area"], ["NA", "None", "null"])


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_the_names(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbfcorrect,confidence\r\n1,0.5\r\n0,0.6\r\n")
    np.testing.assert_array_equal(read_predictions(path).event, [1, 0])


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"correct,confidence,name\n1,0.5,M\xfcller\n")
    assert "not UTF-8" in refusal(path)


def test_unnamed_index_column_is_left_aside(tmp_path):
    path = tmp_path / "table.csv"
    FRAME.to_csv(path)
    assert read_predictions(path).mapping["not used"] == "`Unnamed: 0`"


# --- JSON Lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ('{"y": 1}\n[1]\n', "line 2 must hold an object with named values; it holds a list"),
        ('{"y": 1}\n\n{"y" 0}\n', "line 3 is not JSON"),
        (
            '{"correct": 1, "confidence": 0.5}\n\n{"correct": 1}\n',
            "`confidence` holds nothing in line 3",
        ),
        (
            '{"correct": 1, "confidence": 0.5}\n{"correct": 1, "confidence": NaN}\n',
            "`confidence` holds NaN in line 2",
        ),
        (
            '{"label": 1, "probs": [0.5, 0.5]}\n{"label": 1, "probs": [1]}\n',
            "line 1 has shape (2,), line 2 has shape (1,)",
        ),
    ],
)
def test_bad_json_line_is_refused_with_its_number(tmp_path, text, message):
    assert message in refusal(write(tmp_path, text, "table.jsonl"))


def test_lists_of_scores_in_json_lines_are_class_scores(tmp_path):
    records = [{"label": 1, "logits": [0.0, 2.0, 1]}, {"label": 0, "logits": [0, 1, 0]}]
    table = read_predictions(write_lines(tmp_path, *records))
    np.testing.assert_array_equal(table.event, [1, 0])
    assert table.logits.shape == (2, 3)


def test_keys_may_come_in_any_order(tmp_path):
    path = write_lines(
        tmp_path, {"correct": True, "confidence": 1}, {"confidence": 0.5, "correct": False}
    )
    np.testing.assert_array_equal(read_predictions(path).confidence, [1, 0.5])


# --- npz -----------------------------------------------------------------------------------------

LOGITS = [[2.0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_npz_holds_routing_names_and_classes(tmp_path):
    path = write_npz(
        tmp_path,
        logits=LOGITS,
        y=["c", "b", "a"],
        classes=["c", "b", "a"],
        routing=np.arange(6).reshape(3, 2),
        routing_names=["load", "entropy"],
        split=[0, 1, 1],
    )
    table = read_predictions(path)
    np.testing.assert_array_equal(table.event, [1, 1, 1])
    np.testing.assert_array_equal(table.routing["entropy"], [1, 3, 5])
    np.testing.assert_array_equal(table.evaluate, [False, True, True])


def test_npz_arrays_can_be_selected_by_name(tmp_path):
    path = write_npz(tmp_path, z=[1, 0, 1], q=[0.5, 0.6, 0.7], r1=[1, 2, 3], other=[1, 2])
    table = read_predictions(path, target="z", confidence="q", routing="r*")
    assert list(table.routing) == ["r1"]
    assert "Arrays with other than 3 rows: `other` (2,)." in table.notes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds no arrays"),
        ({"logits": np.zeros((3, 5, 4))}, "The arrays are `logits` (3, 5, 4)."),
        ({"y": [0, 1, 2], "logits": np.zeros((2, 3, 3))}, "`logits` has shape (2, 3, 3)"),
        ({"y": [0, 1], "confidence": [0.5]}, "`confidence` has shape (1,) where 2 rows"),
        ({"y": [0, 1], "confidence": [0.5, 0.6], "split": [0]}, "`split` has shape (1,)"),
        ({"y": [0, 1], "confidence": [0.5, 0.6], "routing": [[1]]}, "`routing` has shape (1,)"),
        (
            {"y": [0, 1], "logits": np.eye(2), "routing": np.eye(2), "routing_names": ["a"]},
            "must hold 2 different names",
        ),
        ({"y": [0, 7], "logits": np.eye(2)}, "`y` holds 7 in row 1"),
        ({"y": [0, 1], "probz": [0.5, 0.6]}, "Did you mean `probz`?"),
    ],
    ids=str,
)
def test_bad_npz_is_refused_with_the_array(tmp_path, arrays, message):
    assert message in refusal(write_npz(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage"])
def test_damaged_npz_is_refused(tmp_path, content):
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    assert "not an npz archive" in refusal(path)


def test_single_array_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "a single array" in refusal(path)


# --- parquet -------------------------------------------------------------------------------------


def test_damaged_parquet_is_refused(tmp_path):
    refusal(write(tmp_path, "garbage", "table.parquet"))


def test_lists_of_scores_in_parquet_are_class_scores(tmp_path):
    path = tmp_path / "table.parquet"
    pd.DataFrame({"label": [2, 0], "logits": LOGITS[:2]}).to_parquet(path)
    np.testing.assert_array_equal(read_predictions(path).event, [0, 0])


# --- a second file -------------------------------------------------------------------------------


def first(folder, ids=(4, 5, 6)):
    records = [
        {"doc_id": key, "correct": key % 2, "confidence": 0.5 + key / 20, "source": "web"}
        for key in ids
    ]
    return write_lines(folder, *records, name="first.jsonl")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_second_file_brings_routing_by_key_in_any_order(tmp_path, suffix):
    second = pd.DataFrame({"doc_id": [6, 9, 4, 5], "load": [0.6, 0.9, 0.4, 0.5]})
    path = tmp_path / f"second.{suffix}"
    {
        "csv": lambda: second.to_csv(path, index=False),
        "parquet": lambda: second.to_parquet(path),
        "jsonl": lambda: second.to_json(path, orient="records", lines=True),
    }[suffix]()
    table = read_predictions(first(tmp_path), join=path)
    np.testing.assert_array_equal(table.routing["load"], [0.4, 0.5, 0.6])
    assert table.mapping["joined"] == f"second.{suffix} by `doc_id`"
    assert f"1 row of second.{suffix} without a partner." in table.notes


def test_keys_match_across_types(tmp_path):
    second = write_lines(
        tmp_path, *({"doc_id": str(k), "load": k} for k in (4, 5, 6)), name="s.jsonl"
    )
    table = read_predictions(first(tmp_path), join=second)
    np.testing.assert_array_equal(table.routing["load"], [4, 5, 6])


def test_second_file_may_bring_the_confidence_and_the_split(tmp_path):
    main = write_lines(
        tmp_path, *({"doc_id": k, "correct": k % 2} for k in (4, 5, 6)), name="main.jsonl"
    )
    second = write(
        tmp_path, "doc_id,confidence,split,load\n4,0.4,0,1\n5,0.5,1,2\n6,0.6,1,3\n", "second.csv"
    )
    table = read_predictions(main, join=second)
    np.testing.assert_array_equal(table.confidence, [0.4, 0.5, 0.6])
    assert list(table.routing) == ["load"]
    np.testing.assert_array_equal(table.evaluate, [False, True, True])


def test_selector_chooses_among_joined_columns(tmp_path):
    second = write(tmp_path, "doc_id,load,depth\n4,1,7\n5,2,8\n6,3,9\n", "second.csv")
    assert list(read_predictions(first(tmp_path), join=second, routing="d*h").routing) == ["depth"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,load\n4,1\n", "`join` needs a column doc_id"),
        ("doc_id,load\n4,1\n5,2\n", "second.csv has no row with `doc_id` '6' for line 3 (1 such"),
        ("doc_id,load\n4,1\n5,2\n5,3\n6,4\n", "unique in second.csv to join by it; line 3 and"),
        ("doc_id,source\n4,a\n5,b\n6,c\n", "repeats columns of the table: `source`"),
        ("doc_id,load\n4,1\n,2\n6,3\n", "`doc_id` holds nothing in line 3"),
    ],
)
def test_second_file_that_does_not_fit_is_refused(tmp_path, text, message):
    main = first(tmp_path)
    second = write(tmp_path, text, "second.csv")
    assert message in refusal(main, join=second)


def test_bad_cell_of_the_second_file_is_named_by_its_line_there(tmp_path):
    second = write(tmp_path, "doc_id,load\n9,0\n8,0\n6,1\n5,2\n4,x\n", "second.csv")
    assert "`load` holds 'x' in line 6 of second.csv" in refusal(first(tmp_path), join=second)


def test_rows_that_share_a_key_cannot_be_told_apart(tmp_path):
    second = write(tmp_path, "doc_id,load\n4,1\n5,2\n", "second.csv")
    message = refusal(first(tmp_path, ids=(4, 5, 4)), join=second)
    assert "unique in the table to join by it; line 1 and line 3 both hold '4'" in message


# --- real files ----------------------------------------------------------------------------------


def expected_calibration_error(event, confidence):
    """15 equal-width bins (low, high], by the definition."""
    bins = np.ceil(15 * confidence)
    return sum(
        (bins == b).mean() * abs(event[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    )


def published(shared_data, kind):
    manifest = json.loads((shared_data / "manifest.json").read_text())
    return {name: entry for name, entry in manifest.items() if name.startswith(kind)}


def test_real_logits_have_the_accuracy_and_calibration_error_of_their_source(shared_data):
    cells = {n: e for n, e in published(shared_data, "logits/").items() if "all" in e}
    assert len(cells) >= 10
    for name, entry in cells.items():
        table = read_predictions(shared_data / name)
        assert table.n_samples == entry["n"]
        assert table.digest == entry["sha256"]
        assert table.event.mean() == pytest.approx(entry["all"]["acc"], abs=1e-6)
        error = expected_calibration_error(table.event, table.confidence)
        assert error == pytest.approx(entry["all"]["ece15"], abs=2e-6)


def test_real_confidences_have_the_published_calibration_error(shared_data):
    cells = published(shared_data, "toplabel/")
    assert len(cells) >= 5
    for name, entry in cells.items():
        table = read_predictions(shared_data / name)
        error = expected_calibration_error(table.event, table.confidence)
        assert error == pytest.approx(entry["ece15"], abs=1e-6)
        assert table.event.mean() == pytest.approx(1 - entry["err"], abs=1e-6)


def test_real_copies_across_the_split_are_found(shared_data):
    table = read_predictions(shared_data / "llm" / "emotion_Qwen-7B.npz")
    assert "1220 evaluated rows equal to one that the calibrator is fitted on." in table.notes


def test_several_sets_of_logits_in_one_array_are_refused_with_the_shape(shared_data):
    path = shared_data / "llm" / "mmlu_chat_Yi-6B-Chat.npz"
    assert "`logits` (3, 10000, 6)" in refusal(path)
