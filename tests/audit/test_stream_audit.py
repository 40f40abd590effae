"""One call on files and frames: what it rests on, what it shows, and what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit import audit_runs, read_predictions, routing_audit, stream_audit
from sk_arcal.audit._streaming._reading import read_stream

FAST = {"n_resamples": 19, "n_shuffles": 1, "cv": 2, "random_state": 0}
N = 1200


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    confidence, load = rng.beta(3, 1, N), rng.normal(size=N)
    right = rng.random(N) < np.clip(confidence + 0.15 * np.sign(load), 0, 1)
    return pd.DataFrame(
        {"correct": right.astype(int), "confidence": confidence, "routing__load": load}
    )


@pytest.fixture(params=["parquet", "csv"])
def path(request, table, tmp_path):
    path = tmp_path / f"table.{request.param}"
    if request.param == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, row_group_size=100)
    return path


def read(source, **options):
    settings = {"chunk_rows": 130, "max_rows": 300, "random_state": 0}
    return read_stream(source, **(settings | options))


def test_few_rows_give_the_audit_of_the_table(table, tmp_path):
    path = tmp_path / "few.csv"
    table[:150].to_csv(path, index=False)
    streamed = stream_audit(path, chunk_rows=40, max_rows=150, **FAST)
    whole = routing_audit(read_predictions(path), **FAST)
    assert json.dumps(streamed.to_dict()) == json.dumps(whole.to_dict())
    assert streamed.stream is None
    assert streamed.summary() == whole.summary()


def test_many_rows_give_verdicts_of_a_sample_and_figures_of_all(path, table, parse_page, tmp_path):
    seen = []
    audit = stream_audit(
        path, chunk_rows=250, max_rows=200, progress=lambda *step: seen.append(step), **FAST
    )
    stream = audit.stream
    assert (audit.n, stream.n_rows, stream.n_sampled) == (200, N, 200)
    assert stream.accuracy == pytest.approx(table["correct"].mean(), abs=1e-12)
    basis = "uniform sample of 200 of 1,200 rows; figures in this block are of all rows."
    words = " ".join(audit.summary().split())
    assert f"All rows - Verdicts rest on a {basis}" in words
    assert "load: gap +" in words
    numbers = json.loads(json.dumps(audit.to_dict()))["stream"]
    assert numbers["gaps"]["load"]["gap"] == stream.gaps["load"].gap
    assert numbers["n_rows"] == N
    audit.to_html(tmp_path / "report.html")
    page = parse_page((tmp_path / "report.html").read_text())
    assert basis in page.words
    assert f"Temperature {stream.temperature:.4f}." in page.words
    assert "1,200 rows read" in [label for _, _, label in seen]
    assert seen[0][1] == 1000
    assert stream.to_frame()["name"].tolist() == ["load"]
    assert str(stream.n_sampled) in repr(stream)


def test_chunk_rows_and_format_change_nothing(table, tmp_path):
    csv, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    table.to_csv(csv, index=False)
    table.to_parquet(parquet)
    found = [read(csv), read(csv, chunk_rows=1000), read(parquet, chunk_rows=77)]
    assert found[1].to_frame().equals(found[0].to_frame())
    # Some versions of pandas read the last digit of a text otherwise than it was written.
    pd.testing.assert_frame_equal(found[2].to_frame(), found[0].to_frame(), rtol=1e-14)
    for other in found[1:]:
        assert other.stream.ece == pytest.approx(found[0].stream.ece, abs=1e-12)
        assert other.stream.gaps["load"].gap == pytest.approx(
            found[0].stream.gaps["load"].gap, abs=1e-12
        )
    assert found[0].source == "t.csv"
    assert found[0].digest == read_predictions(csv).digest


def test_shards_are_one_stream(table, tmp_path):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    table[:500].to_parquet(paths[0])
    table[500:].to_parquet(paths[1])
    whole, frames = read(paths), read([table[:700], table[700:]])
    assert whole.stream.n_rows == N
    assert whole.source == "a.parquet, b.parquet"
    assert whole.stream.accuracy == pytest.approx(table["correct"].mean(), abs=1e-12)
    assert whole.stream.temperature == pytest.approx(frames.stream.temperature, rel=1e-9)
    assert whole.stream.gaps["load"].gap == pytest.approx(frames.stream.gaps["load"].gap, abs=1e-12)


def test_first_rows_may_span_shards_and_frames(table, tmp_path):
    paths = [tmp_path / f"{k}.csv" for k in range(3)]
    for k, path in enumerate(paths):
        table[k * 100 : k * 100 + 100].to_csv(path, index=False)
    found = read(paths, max_rows=250)
    assert (found.stream.n_rows, len(found.event)) == (300, 250)
    whole = read(paths, max_rows=300)
    assert whole.stream is None
    assert whole.event.tolist() == table["correct"][:300].tolist()
    assert whole.source == "0.csv, 1.csv, 2.csv"
    pieces = read((table[k : k + 100] for k in range(0, 300, 100)), max_rows=250)
    assert pieces.stream.n_rows == 300
    assert read(table[:300], max_rows=300).event.tolist() == whole.event.tolist()


def test_bad_cell_is_named_by_file_and_place(table, tmp_path):
    bad = table.copy()
    bad.loc[777, "confidence"] = np.nan
    bad.to_parquet(tmp_path / "bad.parquet")
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(ValueError, match=r"bad.parquet: `confidence` holds NaN in row 777;"):
        read(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=r"bad.csv: `confidence` holds nothing in line 779;"):
        read(tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="`confidence` holds NaN in row 777;"):
        read(bad[k : k + 100] for k in range(0, N, 100))


def test_shard_without_a_column_is_named(table, tmp_path):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    table[:500].to_parquet(paths[0])
    table[500:].drop(columns="routing__load").to_parquet(paths[1])
    with pytest.raises(ValueError, match=r"b.parquet: `routing__load` not among the columns"):
        read(paths)


def test_digits_among_texts_stay_texts(table, tmp_path):
    path = tmp_path / "t.csv"
    kinds = np.where(np.arange(N) < 600, np.where(np.arange(N) % 2, "a", "b"), "07")
    table.assign(routing__kind=kinds).to_csv(path, index=False)
    found = read(path, chunk_rows=100)
    assert set(found.routing["kind"]) == {"a", "b", "07"}
    assert "kind (3 categories)" in found.describe()
    assert f"300 rows, a uniform sample of {N}" in found.describe()


def test_runs_are_sampled_at_the_same_rows(table, tmp_path):
    tables = []
    for k, shift in enumerate((0.0, 0.01)):
        path = tmp_path / f"run_{k}.parquet"
        run = table.assign(confidence=table["confidence"] * (1 - shift))
        run.assign(group=np.arange(N)).to_parquet(path)
        tables.append(read(path, max_rows=200, chunk_rows=100 + k))
    assert tables[0].groups.tolist() == tables[1].groups.tolist()
    audit = audit_runs(tables, n_resamples=19, n_shuffles=1, cv=2, random_state=0)
    assert audit.runs["run_1"].stream.n_rows == N
    assert "sample of 200 of 1,200 rows" in " ".join(audit.summary().split())


def test_sources_of_another_kind_are_refused(tmp_path):
    with pytest.raises(TypeError, match="`source` must be a path"):
        read(7)
    with pytest.raises(ValueError, match="no rows"):
        read([])
    with pytest.raises(ValueError, match="chunk_rows"):
        read("x.csv", chunk_rows=0)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.csv")


def test_chunks_of_many_columns_have_fewer_rows(table, tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    monkeypatch.setattr("sk_arcal.audit._streaming._reading._MOST_CELLS", 300)
    seen = []
    read(path, chunk_rows=1000, progress=lambda *step: seen.append(step[2]))
    assert seen[:2] == ["100 rows read", "200 rows read"]
