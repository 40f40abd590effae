"""Files in chunks: the cells of the whole, names of rows, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit._reading._chunk_rules import ChunkRules
from sk_arcal.audit._reading._chunks import read_chunks, refuse_whole_files, size_in_memory
from sk_arcal.audit._reading._model_scores import read_scores
from sk_arcal.audit._reading._outcome import read_outcome
from sk_arcal.audit._reading._rows import coded_texts
from sk_arcal.audit._reading._source import source_from_frame

FRAME = pd.DataFrame(
    {
        "correct": [1, 0, 1, 1, 0, 1, 0],
        "confidence": [0.9, 0.5, 0.75, 0.6, 0.5, 0.9, 0.25],
        "kind": ["a", "b", "a", "7", "8", "b", "a"],
        "load": [1, 2, 3, 4, 5, 6, 7.5],
    }
)


@pytest.fixture(params=["parquet", "csv", "tsv", "jsonl"])
def path(request, tmp_path):
    """The same table in every format that is read in chunks."""
    path = tmp_path / f"table.{request.param}"
    if request.param == "parquet":
        FRAME.to_parquet(path, row_group_size=3)
    elif request.param == "jsonl":
        FRAME.to_json(path, orient="records", lines=True)
    else:
        FRAME.to_csv(path, index=False, sep="," if request.param == "csv" else "\t")
    return path


@pytest.mark.parametrize("n_rows", [1, 2, 3, 100])
def test_chunks_hold_the_cells_of_the_file(path, n_rows):
    chunks = [chunk.source for chunk in read_chunks(path, n_rows, texts=["kind"])]
    assert all(0 < source.n_rows <= n_rows for source in chunks)
    for name in FRAME:
        cells = np.concatenate([source[name] for source in chunks])
        assert cells.tolist() == FRAME[name].tolist()


def test_only_columns_asked_for_are_read(path):
    (chunk,) = read_chunks(path, 100, columns=["load", "correct"])
    assert set(chunk.source.columns) == {"load", "correct"}


def test_rows_are_named_as_they_are_numbered_in_the_file(path):
    *_, last = read_chunks(path, 2)
    name = last.source.locate(last.source.n_rows - 1)
    lines = {".parquet": "row 6", ".jsonl": "line 7"}
    assert name == lines.get(path.suffix, "line 8")


def test_share_of_the_file_rises_to_one(path):
    shares = [chunk.share for chunk in read_chunks(path, 2)]
    if path.suffix == ".jsonl":
        assert np.isnan(shares).all()
    else:
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_lines_are_counted_across_blank_ones_and_line_breaks_in_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('y,kind\n1,"two\nlines"\n\n0,b\n1,c\n')
    found = [chunk.source.locate(0) for chunk in read_chunks(path, 1)]
    assert found == ["line 3", "line 5", "line 6"]


def test_line_of_another_length_is_named_before_its_chunk_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y,load\n1,2\n0,3\n1\n")
    chunks = read_chunks(path, 2)
    next(chunks)
    with pytest.raises(ValueError, match="line 4 has 1 cell where the header has 2"):
        next(chunks)


def test_key_that_a_chunk_of_json_lacks_is_missing(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in [{"y": 1, "load": 2}, {"y": 0}]))
    *_, last = read_chunks(path, 1, columns=["y", "load"])
    assert last.source["load"].tolist() == [None]


@pytest.mark.parametrize("name", ["t.npz", "t.feather", "t.pkl"])
def test_files_that_are_read_whole_are_refused_with_the_way_out(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"write parquet, csv, tsv or jsonl.*--no-stream"):
        refuse_whole_files(path)


def test_sample_logs_are_refused(tmp_path):
    path = tmp_path / "samples.jsonl"
    record = {"doc_id": 0, "doc": {}, "target": "0", "arguments": [], "resps": [], "acc": 1.0}
    path.write_text(json.dumps(record | {"filtered_resps": [], "doc_hash": "x"}))
    with pytest.raises(ValueError, match="lm-evaluation-harness are not read in chunks"):
        refuse_whole_files(path)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        refuse_whole_files(tmp_path / "absent.csv")
    with pytest.raises(IsADirectoryError, match="is not a file"):
        refuse_whole_files(tmp_path)


def test_size_of_parquet_is_that_of_its_columns_once_unpacked(tmp_path):
    path = tmp_path / "zeros.parquet"
    pd.DataFrame({"x": np.arange(50_000.0)}).to_parquet(
        path, compression="gzip", use_dictionary=False
    )
    assert 400_000 <= size_in_memory(path) < 420_000
    assert path.stat().st_size < 300_000


# --- the rule of the first rows ------------------------------------------------------------------

RNG = np.random.default_rng(0)
N = 40
LABELS = np.array(["cat", "dog", "owl"])[np.arange(N) % 3]
PROBA = RNG.dirichlet([1, 1, 1], N)
SCORES = {f"proba__{name}": PROBA[:, k] for k, name in enumerate(["cat", "dog", "owl"])}
NUMBERED = {f"logit__{name}": PROBA[:, k] for k, name in enumerate("abc")}
FORMS = {
    "correctness": {"correct": np.arange(N) % 2, "confidence": PROBA[:, 0]},
    "truth of words": {"correct": ["true", "false"] * (N // 2), "confidence": PROBA[:, 0]},
    "label as outcome": {"y": np.arange(N) % 2, "confidence": PROBA[:, 0]},
    "named classes": {"y": LABELS, **SCORES},
    "numbered classes": {"y": np.arange(N) % 3, **NUMBERED},
    "predictions": {"y": LABELS, "pred": LABELS[::-1], "confidence": PROBA[:, 0]},
    "one class": {"y": LABELS[:N] == "cat", "proba": PROBA[:, 0]},
    "one named class": {
        "y": np.array(["cat", "dog"])[np.arange(N) % 2],
        "proba__cat": PROBA[:, 0],
    },
    "no labels": {"correct": np.arange(N) % 2, **SCORES},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 7, N])
def test_chunks_are_read_as_the_whole_table(form, size):
    source = source_from_frame(FORMS[form])
    rules = ChunkRules.of(source)
    model = read_scores(source, rules.roles.scores)
    whole = read_outcome(source, rules.roles, model)
    parts = [rules.read(source.take(np.arange(k, min(k + size, N))), k) for k in range(0, N, size)]
    assert np.concatenate([part.event for part in parts]).tolist() == whole.event.tolist()
    found = np.concatenate([part.confidence for part in parts])
    np.testing.assert_allclose(found, model.confidence, rtol=1e-15)
    if whole.labels is not None:
        assert np.concatenate([part.labels for part in parts]).tolist() == whole.labels.tolist()
        logits = np.concatenate([part.logits for part in parts])
        np.testing.assert_allclose(logits, model.logits, rtol=1e-15)


def test_label_that_the_first_rows_do_not_know_is_refused():
    rules = ChunkRules.of(source_from_frame(FORMS["named classes"]))
    later = source_from_frame({"y": ["cat", "elk"], **{n: v[:2] for n, v in SCORES.items()}})
    with pytest.raises(ValueError, match=r"`y` holds 'elk' in row 1.*the classes cat, dog, owl"):
        rules.read(later)


def test_numbers_are_no_names_only_because_a_chunk_holds_nothing_else():
    rules = ChunkRules.of(source_from_frame(FORMS["named classes"]))
    later = source_from_frame({"y": [0, 1], **{n: v[:2] for n, v in SCORES.items()}})
    with pytest.raises(ValueError, match="`y` holds 0 in row 0"):
        rules.read(later)


def test_zero_of_class_probabilities_is_read_as_in_the_first_rows():
    proba = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [0.04, 0.06, 0.9]])
    names = [f"proba__{k}" for k in range(3)]
    rules = ChunkRules.of(
        source_from_frame({"y": [0, 1, 2], **dict(zip(names, proba.T, strict=True))})
    )
    later = rules.read(
        source_from_frame(
            {"y": [0, 1], **dict(zip(names, np.array([[1.0, 0, 0], [0.5, 0.5, 0]]).T, strict=True))}
        )
    )
    np.testing.assert_allclose(np.exp(later.logits[:, 2]), 0.02)


def test_column_that_is_not_there_is_named():
    rules = ChunkRules.of(source_from_frame(FORMS["correctness"]))
    with pytest.raises(ValueError, match="`confidence` not among the columns of row 0"):
        rules.read(source_from_frame({"correct": [0, 1]}))


def test_split_words_are_read_chunk_by_chunk():
    frame = {
        "correct": np.arange(6) % 2,
        "confidence": np.linspace(0.1, 0.9, 6),
        "split": ["cal", "test", "train", "cal", "train", "test"],
    }
    rules = ChunkRules.of(source_from_frame(frame))
    source = source_from_frame(frame)
    parts = [rules.read(source.take(np.arange(k, k + 2)), k) for k in (0, 2, 4)]
    assert np.concatenate([part.place for part in parts]).tolist() == [0, 1, 3, 5]
    assert np.concatenate([part.evaluate for part in parts]).tolist() == [0, 1, 0, 1]
    nothing = rules.read(source.take(np.array([2, 4])), 6)
    assert len(nothing) == 0


def test_texts_are_coded_as_they_read():
    cells = np.array([" b", "a", b"b", 3.0, True, 1], dtype=object)
    coded = coded_texts(cells, "x", str)
    assert coded.names[coded.codes].tolist() == ["b", "a", "b", "3", "1", "1"]


def test_missing_text_is_refused_where_it_stands():
    with pytest.raises(ValueError, match="`x` holds nothing in row 2"):
        coded_texts(np.array(["a", "b", ""], dtype=object), "x", lambda row: f"row {row}")
