"""Tables of a stream: figures of all rows, shards, and what they refuse."""

import pickle

import numpy as np
import pandas as pd
import pytest

from sk_arcal import TemperatureScaler
from sk_arcal.audit import PredictionTable, StreamedTables
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    smooth_calibration_error,
)

N = 3000
RESAMPLES = "sk_arcal.audit._streaming._table._RESAMPLES"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Noise floor and interval are drawn often here, and looked at once."""
    monkeypatch.setattr(RESAMPLES, 10)


def frame(n=N, seed=0, **more):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(3, 1, n)
    load = rng.normal(size=n)
    correct = rng.random(n) < np.clip(confidence**2 + 0.1 * np.sign(load), 0, 1)
    return pd.DataFrame(
        {
            "correct": correct.astype(np.int8),
            "confidence": confidence,
            "routing__load": load,
            "routing__kind": np.array(["a", "b", "c"])[rng.integers(3, size=n)],
            **more,
        }
    )


def collect(table, size=700, *, head=500, max_rows=400, **options):
    tables = StreamedTables(table[:head], max_rows=max_rows, random_state=0, **options)
    for first in range(0, len(table), size):
        tables.update(table[first : first + size])
    return tables


def numbers(stream):
    """All numbers of a record, flat."""
    fields = stream.to_dict()
    gaps = fields.pop("gaps")
    fields |= {(name, key): value for name, gap in gaps.items() for key, value in gap.items()}
    return {key: value for key, value in fields.items() if not isinstance(value, str)}


def same(one, other, tolerance=1e-12):
    one, other = numbers(one), numbers(other)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert other[key] == pytest.approx(value, abs=tolerance, nan_ok=True), key


def test_figures_are_those_of_all_rows(monkeypatch):
    monkeypatch.setattr(RESAMPLES, 200)
    table = frame()
    found = collect(table).table().stream
    whole = PredictionTable.from_frame(table)
    assert (found.n_rows, found.n_used, found.n_evaluated, found.n_sampled) == (N, N, N, 400)
    assert found.accuracy == pytest.approx(whole.event.mean(), abs=1e-12)
    assert found.mean_confidence == pytest.approx(whole.confidence.mean(), abs=1e-12)
    data = (whole.event, whole.confidence)
    assert found.ece == pytest.approx(expected_calibration_error(*data), abs=1e-12)
    assert found.smooth_ece == pytest.approx(smooth_calibration_error(*data), abs=1e-6)
    interval = calibration_error_interval(*data, random_state=1)
    assert found.ece_corrected == pytest.approx(interval.corrected, abs=2e-3)
    assert found.ece_low == pytest.approx(interval.low, abs=4e-3)
    assert found.ece_high == pytest.approx(interval.high, abs=4e-3)
    floor = noise_floor(whole.confidence, random_state=1)
    assert found.ece_floor == pytest.approx(floor.mean, abs=1e-3)
    assert found.ece_floor_95 == pytest.approx(floor.quantile_95, abs=2e-3)
    scaler = TemperatureScaler(confidence_kind="probability")
    scaler.fit(whole.confidence[:, None], whole.event)
    assert np.log(found.temperature) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)
    assert found.gaps["load"].gap_low > 0.1
    assert found.gaps["kind"].contrast.startswith("routing ")


@pytest.mark.parametrize("size", [37, 500, N])
def test_chunks_change_nothing(size):
    table = frame(routing__zone=np.arange(N) % 2, group=np.arange(N) // 3)
    one, other = collect(table, 700).table(), collect(table, size).table()
    same(one.stream, other.stream)
    assert one.to_frame().equals(other.to_frame())
    assert one.notes == other.notes


def test_sample_holds_rows_of_the_table_in_their_order():
    table = frame(group=np.arange(N))
    sample = collect(table).table()
    rows = sample.groups
    assert len(rows) == 400
    assert (np.diff(rows) > 0).all()
    assert sample.confidence.tolist() == table["confidence"][rows].tolist()
    assert sample.routing["kind"].tolist() == table["routing__kind"][rows].tolist()
    assert sample.event.tolist() == table["correct"][rows].tolist()


def test_shards_in_any_order_are_one_pass():
    table = frame()
    tables = StreamedTables(table[:500], max_rows=400, random_state=0)
    shards = [tables.new_shard(k).update(table[k * 1000 : k * 1000 + 1000]) for k in range(3)]
    back = [pickle.loads(pickle.dumps(shard)) for shard in shards]
    one, other = tables.new_shard(7), tables.new_shard(8)
    for shard in shards:
        one.merge(shard)
    for shard in reversed(back):
        other.merge(shard)
    same(one.table().stream, other.table().stream)
    assert one.table().to_frame().equals(other.table().to_frame())
    same(one.table().stream, collect(table).table().stream)
    assert other.n_rows == N


def test_class_that_the_first_rows_lack_is_known_by_its_column():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (900, 3))
    labels = (logits / 1.5 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    order = np.argsort(labels, kind="stable")
    logits, labels = logits[order], labels[order]
    table = pd.DataFrame(logits, columns=[f"logit__{name}" for name in ("cat", "dog", "owl")])
    table["y"] = np.array(["cat", "dog", "owl"])[labels]
    found = collect(table, 100, head=200, max_rows=900).table()
    whole = PredictionTable.from_frame(table)
    assert found.classes == ("cat", "dog", "owl")
    assert found.labels.tolist() == whole.labels.tolist()
    assert found.event.tolist() == whole.event.tolist()
    np.testing.assert_allclose(found.logits, whole.logits)
    scaler = TemperatureScaler(confidence_kind="logit").fit(logits, labels)
    assert np.log(found.stream.temperature) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)


def test_level_that_comes_later_is_counted():
    kinds = np.where(np.arange(N) < 2000, "a", np.where(np.arange(N) % 2, "b", "late"))
    table = frame(routing__stage=kinds)
    found = collect(table).table()
    assert set(found.routing["stage"]) == {"a", "b", "late"}
    first = collect(table, N, head=N).table().stream.gaps["stage"]
    assert found.stream.gaps["stage"].contrast == first.contrast


def test_split_parts_are_evaluated_and_fitted():
    rng = np.random.default_rng(1)
    split = np.array(["cal", "test", "train"])[np.sort(rng.integers(3, size=N))]
    table = frame(split=split)
    found = collect(table, head=1500, max_rows=600).table()
    whole = PredictionTable.from_frame(table)
    stream = found.stream
    assert stream.n_rows == N
    assert stream.n_used == len(whole.event) == (split != "train").sum()
    assert stream.n_evaluated == whole.evaluate.sum()
    assert stream.accuracy == pytest.approx(whole.event[whole.evaluate].mean(), abs=1e-12)
    scaler = TemperatureScaler(confidence_kind="probability")
    scaler.fit(whole.confidence[~whole.evaluate, None], whole.event[~whole.evaluate])
    assert np.log(stream.temperature) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)
    assert 0 < found.evaluate.sum() < 600
    assert f"{(split == 'train').sum()} rows left out by `split`." in found.notes
    assert "that the split leaves out" in stream.sentences()[0]


def test_split_that_only_looks_like_one_part_at_first_is_one():
    table = frame(split=np.arange(N) >= 2000)
    table["split"] = table["split"].astype(int)
    found = collect(table, head=500, max_rows=1000).table()
    assert found.stream.n_evaluated == 1000
    assert found.evaluate is not None


def test_split_of_one_part_is_none():
    found = collect(frame(split=np.ones(N, dtype=int))).table()
    assert found.evaluate is None
    assert found.stream.n_evaluated == N
    assert any("leaves one part without rows" in note for note in found.notes)


def test_weights_are_not_used_and_said_not_to_be():
    found = collect(frame(weight=np.arange(N) % 3)).table()
    assert "`weight` is not used: the audit counts every row once." in found.notes


def test_groups_take_the_intervals_away():
    found = collect(frame(group=np.arange(N) // 2)).table().stream
    assert found.has_groups
    assert np.isnan([found.ece_low, found.gaps["load"].gap_high]).all()
    assert found.sentences()[-1] == "Rows belong to groups, so no intervals are given here."


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("confidence", np.nan, r"`confidence` holds NaN in row 1503"),
        ("confidence", 1.5, r"`confidence` holds 1.5 in row 1503"),
        ("correct", 2, r"`correct` holds 2 in row 1503"),
        ("routing__load", np.inf, r"`routing__load` holds inf in row 1503"),
        ("routing__kind", None, r"`routing__kind` holds nothing in row 1503"),
    ],
)
def test_bad_value_is_named_by_its_row_and_nothing_is_added(column, value, message):
    table = frame()
    tables = StreamedTables(table[:500], max_rows=400, random_state=0)
    for first in (0, 700):
        tables.update(table[first : first + 700])
    before = tables.table()
    bad = table[1400:2100].astype({column: object if value is None else float})
    bad.loc[1503, column] = value
    with pytest.raises(ValueError, match=message):
        tables.update(bad)
    same(tables.table().stream, before.stream)
    tables.update(table[1400:2100]).update(table[2100:])
    same(tables.table().stream, collect(table).table().stream)


def test_texts_where_numbers_were_are_refused():
    table = frame()
    tables = StreamedTables(table[:500], random_state=0)
    later = table[500:600].assign(routing__load="many")
    with pytest.raises(ValueError, match=r"`routing__load` holds 'many' in row 0.*hold numbers"):
        tables.update(later)


def test_what_does_not_belong_together_does_not_merge():
    table = frame()
    tables = collect(table)
    shard = tables.new_shard(1).update(table[:10])
    with pytest.raises(TypeError, match="`other` must be a StreamedTables; got dict"):
        tables.merge({})
    with pytest.raises(ValueError, match="number 0"):
        tables.merge(tables.new_shard(0).update(table[:10]))
    with pytest.raises(ValueError, match="different first rows or seeds"):
        tables.merge(StreamedTables(table[:400], max_rows=400, random_state=0))
    with pytest.raises(ValueError, match="different first rows or seeds"):
        tables.merge(StreamedTables(table[:500], max_rows=400, random_state=1))
    tables.merge(shard)
    with pytest.raises(ValueError, match="number 1"):
        tables.merge(shard)
    with pytest.raises(ValueError, match="new_shard"):
        tables.update(table[:10])


def test_nothing_to_audit_is_said():
    tables = StreamedTables(frame(100), random_state=0)
    with pytest.raises(ValueError, match="Fewer than two rows"):
        tables.table()
    with pytest.raises(ValueError, match="max_rows"):
        StreamedTables(frame(100), max_rows=5)
