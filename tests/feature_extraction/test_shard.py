import os
import time
import zlib

import numpy as np
import pytest

from sk_arcal.feature_extraction._cache import _shard
from sk_arcal.feature_extraction._cache._shard import (
    DamagedShardError,
    open_shard,
    row_checksums,
    write_shard,
)
from tests.feature_extraction.cache_rows import keys_of, values_of

EVERY = np.arange(6)


@pytest.fixture
def written(tmp_path):
    """Six rows of five numbers, and the shard that holds them."""
    keys, values = keys_of(EVERY), values_of(EVERY)
    return keys, values, write_shard(tmp_path, keys, values)


# --- round trip ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 4), (7, 13)])
def test_rows_come_back_bit_by_bit(tmp_path, dtype, shape):
    rng = np.random.default_rng(0)
    # every pattern of bits, so NaN of all kinds, infinities and subnormal numbers too
    values = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)
    values = values[..., 0]
    keys = keys_of(range(shape[0]))
    write_shard(tmp_path, keys, values)
    (path,) = tmp_path.iterdir()
    shard, found = open_shard(path)
    got, intact = shard.read(np.arange(shape[0]))
    np.testing.assert_array_equal(found, keys)
    assert intact.all()
    assert got.dtype == values.dtype
    assert got.tobytes() == values.tobytes()


def test_what_writing_returns_is_what_opening_finds(written):
    keys, _, shard = written
    opened, found = open_shard(shard.path)
    np.testing.assert_array_equal(found, keys)
    np.testing.assert_array_equal(opened.checksums, shard.checksums)
    for name in ("path", "n_bytes", "offset", "shape", "dtype"):
        assert getattr(opened, name) == getattr(shard, name)
    assert shard.n_bytes == shard.path.stat().st_size


@pytest.mark.parametrize("rows", [[0], [5], [5, 0, 2], [1, 2, 3], [4, 4, 0, 1, 1], [3, 2, 1]])
def test_some_rows_in_any_order(written, rows):
    _, values, shard = written
    got, intact = shard.read(np.array(rows))
    np.testing.assert_array_equal(got, values[rows])
    assert intact.all()


def test_file_is_read_without_this_library(written):
    keys, values, shard = written
    with open(shard.path, "rb") as file:
        entries, stored = np.load(file), np.load(file)
    np.testing.assert_array_equal(entries["key"], keys)
    np.testing.assert_array_equal(stored, values)
    assert [zlib.crc32(row.tobytes()) for row in values] == entries["checksum"].tolist()


def test_checksum_of_no_rows():
    assert row_checksums(np.empty((0, 3), dtype=np.float32)).shape == (0,)


# --- a file appears when it is whole -------------------------------------------------------------


def test_nothing_is_visible_before_the_file_is_whole(tmp_path, monkeypatch):
    seen = []

    def replace(source, target):
        seen.extend(path.name for path in tmp_path.iterdir())
        assert open_shard(source)[0].shape == (6, 5)
        os.rename(source, target)

    monkeypatch.setattr(_shard.os, "replace", replace)
    shard = write_shard(tmp_path, keys_of(EVERY), values_of(EVERY))
    assert len(seen) == 1
    assert seen[0].endswith(".tmp")
    assert list(tmp_path.iterdir()) == [shard.path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(_shard.os, "replace", fail)
    with pytest.raises(error):
        write_shard(tmp_path, keys_of(EVERY), values_of(EVERY))
    assert list(tmp_path.iterdir()) == []


# --- damage --------------------------------------------------------------------------------------


def test_file_of_any_other_length_is_refused(written):
    content = written[2].path.read_bytes()
    for length in range(len(content)):
        written[2].path.write_bytes(content[:length])
        with pytest.raises(DamagedShardError):
            open_shard(written[2].path)
    for addition in (b"\0", content[-12:], content):
        written[2].path.write_bytes(content + addition)
        with pytest.raises(DamagedShardError):
            open_shard(written[2].path)


@pytest.mark.parametrize("bit", [0, 1, 7])
def test_flipped_bit_is_found_wherever_it_is(written, bit):
    keys, values, shard = written
    content = shard.path.read_bytes()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        shard.path.write_bytes(changed)
        try:
            opened, found = open_shard(shard.path)
        except DamagedShardError:
            refused += 1
            continue
        row = (place - shard.offset) // values[0].nbytes
        got, intact = opened.read(EVERY)
        np.testing.assert_array_equal(found, keys)
        np.testing.assert_array_equal(intact, row != EVERY)
        np.testing.assert_array_equal(got[intact], values[intact])
    # all but the values are needed to know what the values are
    assert refused == len(content) - values.nbytes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 11,
        b"\0" * 5000,
        b"\xff" * 5000,
        b"text " * 100,
        np.random.default_rng(0).bytes(5000),
    ],
    ids=["empty", "short", "zeros", "ones", "text", "noise"],
)
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "garbage.shard"
    path.write_bytes(content)
    with pytest.raises(DamagedShardError):
        open_shard(path)


def sealed(head, body):
    return head + body + _shard._TAIL.pack(len(head), zlib.crc32(head))


@pytest.mark.parametrize(
    ("entries", "values"),
    [
        (np.zeros(2, dtype=_shard._ENTRY), np.zeros((3, 2), dtype="<f4")),
        (np.zeros(2, dtype=_shard._ENTRY), np.zeros(2, dtype="<f4")),
        (np.zeros(2, dtype=_shard._ENTRY), np.zeros((2, 2), dtype="<i4")),
        (np.zeros(2, dtype=_shard._ENTRY), np.zeros((2, 2), dtype=">f4")),
        (np.zeros(2, dtype=_shard._ENTRY), np.zeros((2, 2), dtype="<f4", order="F")),
        (np.zeros(2, dtype="<f4"), np.zeros((2, 2), dtype="<f4")),
        (np.array([None, "x"]), np.zeros((2, 2), dtype="<f4")),
    ],
    ids=["rows", "shape", "integers", "big-endian", "Fortran", "entries", "objects"],
)
def test_sealed_file_of_another_kind_is_refused(tmp_path, entries, values):
    path = tmp_path / "other.shard"
    path.write_bytes(sealed(_shard._head(entries, values), values.tobytes()))
    with pytest.raises(DamagedShardError):
        open_shard(path)


def test_more_after_the_header_is_refused(written):
    _, values, shard = written
    head = shard.path.read_bytes()[: shard.offset]
    shard.path.write_bytes(sealed(head + b"\0" * 4, values.tobytes()))
    with pytest.raises(DamagedShardError):
        open_shard(shard.path)


def test_file_that_changes_size_after_opening_is_damaged(written):
    shard = written[2]
    with open(shard.path, "ab") as file:
        file.write(b"\0")
    with pytest.raises(DamagedShardError, match="bytes instead of"):
        shard.read(EVERY)


def test_file_that_goes_away_is_not_there(written):
    shard = written[2]
    shard.path.unlink()
    with pytest.raises(FileNotFoundError):
        shard.read(EVERY)
    with pytest.raises(FileNotFoundError):
        open_shard(shard.path)


# --- the clock of the last use -------------------------------------------------------------------


@pytest.mark.parametrize(("age", "noted"), [(3600, True), (70, True), (30, False)])
def test_reading_is_noted_once_a_minute(written, age, noted):
    shard = written[2]
    before = time.time() - age
    os.utime(shard.path, (before, before))
    shard.read(EVERY)
    after = shard.path.stat().st_mtime
    assert after == pytest.approx(time.time() if noted else before, abs=5)


def test_reading_goes_on_where_it_cannot_be_noted(written, monkeypatch):
    def refuse(*_):
        raise PermissionError

    os.utime(written[2].path, (0, 0))
    monkeypatch.setattr(_shard.os, "utime", refuse)
    assert written[2].read(EVERY)[1].all()
