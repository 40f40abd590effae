"""What the cache does when things go wrong: damage, a full disk, processes that are killed."""

import errno
import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from sk_arcal.feature_extraction import _documents
from sk_arcal.feature_extraction._cache import RowCache, _shard, _shard_set
from sk_arcal.feature_extraction._cache._shard import open_shard
from sk_arcal.feature_extraction._warning import ExtractionWarning
from tests.feature_extraction.cache_rows import finish, keys_of, shard_files, start, values_of

posix = pytest.mark.skipif(os.name != "posix", reason="needs the signals and limits of POSIX")


@pytest.fixture
def table(tmp_path):
    """Thirty rows in three shards."""
    table = RowCache(tmp_path).namespace({})
    for first in (0, 10, 20):
        table.write(keys_of(range(first, first + 10)), values_of(range(first, first + 10)))
    return table


def fresh(table):
    return RowCache(table.folder.parents[1]).namespace({})


def present(table, numbers=range(30)):
    """Which rows a table has; it fails if one of them is not exact."""
    values, found = table.read(keys_of(numbers))
    numbers = np.asarray(numbers)
    if found.any():
        np.testing.assert_array_equal(values[found], values_of(numbers[found]))
    return numbers[found].tolist()


def second_shard(table):
    """The file with the rows 10 to 19."""
    return list(table._own)[1]


OTHERS = [*range(10), *range(20, 30)]

# --- damage --------------------------------------------------------------------------------------


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def flip_key(path):
    flip(path, path.read_bytes().index(bytes(keys_of([14])[0])) + 5)


def flip_value(path):
    flip(path, path.read_bytes().index(values_of([14])[0].tobytes()) + 5)


def make_garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(3000))


DAMAGE = [
    (truncate, "its end is missing|bytes instead of|checksum", []),
    (flip_key, "keys do not have the checksum", []),
    (flip_value, "1 of 10 rows do not have the checksum", [n for n in range(10, 20) if n != 14]),
    (make_garbage, "no end of a shard|checksum", []),
]


@pytest.mark.parametrize(("damage", "reason", "saved"), DAMAGE)
@pytest.mark.parametrize("known", [True, False], ids=["known before", "new reader"])
def test_damaged_rows_are_absent_and_the_others_are_read(table, damage, reason, saved, known):
    reader = table if known else fresh(table)
    path = second_shard(table)
    damage(path)
    if known and damage is flip_key:
        # what is in memory is right, and so is what it says of the values
        assert present(table) == list(range(30))
        return
    expected = sorted([*OTHERS, *saved])
    with pytest.warns(ExtractionWarning, match="will be computed again") as caught:
        assert present(reader) == expected
    assert len(caught) == 1
    if not known:
        assert caught[0].message.args[0].startswith(f"The shard {path} is damaged: ")
        assert any(word in caught[0].message.args[0] for word in reason.split("|"))
    assert not path.exists()
    # no second warning, here or elsewhere
    for again in (reader, fresh(table)):
        assert present(again) == expected


@pytest.mark.parametrize("damage", [row[0] for row in DAMAGE])
def test_damaged_rows_can_be_written_again(table, damage):
    damage(second_shard(table))
    reader = fresh(table)
    with pytest.warns(ExtractionWarning):
        missing = sorted({*range(30)} - {*present(reader)})
    reader.write(keys_of(missing), values_of(missing))
    assert present(reader) == present(fresh(table)) == list(range(30))


@pytest.mark.parametrize("damage", [flip_value, make_garbage])
def test_damaged_shard_that_cannot_be_replaced_is_warned_of_once(table, damage, monkeypatch):
    damage(second_shard(table))
    reader = fresh(table)

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_shard_set, "write_shard", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.warns(ExtractionWarning) as caught:
        assert present(reader) == OTHERS
    assert len(caught) == 1
    assert present(reader) == OTHERS
    assert second_shard(table).exists()


def test_unreadable_shard_is_left_where_it_is(table, monkeypatch):
    path = second_shard(table)
    original = open_shard

    def refuse(asked):
        if asked == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(asked)

    monkeypatch.setattr(_shard_set, "open_shard", refuse)
    reader = fresh(table)
    with pytest.warns(ExtractionWarning, match="cannot be read.*Permission denied") as caught:
        assert present(reader) == OTHERS
    assert len(caught) == 1
    assert present(reader) == OTHERS
    monkeypatch.undo()
    assert present(fresh(table)) == list(range(30))


def test_shard_vanishes_between_the_look_and_the_reading(table, monkeypatch):
    reader = fresh(table)
    reader.refresh()
    names = reader._shards._listing()
    monkeypatch.setattr(reader._shards, "_listing", lambda: names)
    shard_files(table)[1].unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(present(reader)) == 20


def test_damaged_row_does_not_survive_a_merge(table):
    flip_value(second_shard(table))
    with pytest.warns(ExtractionWarning, match="1 of 10 rows"):
        table.compact()
    assert present(fresh(table)) == [n for n in range(30) if n != 14]


# --- a full disk, and one that cannot be written -------------------------------------------------


def refused_write(table, error=OSError):
    """Try to write and return the sentence; what was there is still there, and nothing more."""
    before = sorted(table.folder.parents[1].rglob("*"))
    with pytest.raises(error) as caught:
        table.write(keys_of(range(30, 60)), values_of(range(30, 60)))
    assert sorted(table.folder.parents[1].rglob("*")) == before
    assert present(table, range(60)) == present(fresh(table), range(60)) == list(range(30))
    return caught.value


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk always full")
def test_full_disk_of_the_kernel(table, monkeypatch):
    # The error is the kernel's own: what is written goes to a device without room.
    def open_on_a_full_disk(path):
        path.touch()
        return open("/dev/full", "wb")

    monkeypatch.setattr(_shard, "open_new", open_on_a_full_disk)
    error = refused_write(table)
    assert error.errno == errno.ENOSPC
    message = str(error)
    assert f"Rows could not be saved in {table.folder}: No space left on device." in message
    assert "What was saved before is intact. 1.08 kB are needed, " in message
    assert "B are free on that disk. Free some space, by `RowCache.evict` or `sk-arcal" in message
    assert "cache --evict-to SIZE`" in message
    assert "SK_ARCAL_CACHE" in message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_that_a_test_pretends(table, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_shard, "open_new", full)
    error = refused_write(table)
    assert error.errno == number
    assert f"{os.strerror(number)}. What was saved before is intact. 1.08 kB are needed" in str(
        error
    )


@posix
def test_file_that_grows_over_the_limit_of_the_process(table):
    # A real limit of the system (RLIMIT_FSIZE): the write fails in the middle of the file.
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
table = RowCache(sys.argv[1]).namespace({})
try:
    table.write(keys_of(range(30, 130)), values_of(range(30, 130)))
except OSError as error:
    print(error)
table.write(keys_of([30]), values_of([30]))
print(table.read(keys_of(range(31)))[1].sum())
"""
    message, n_found = finish(start(code, table.folder.parents[1])).splitlines()
    assert f"Rows could not be saved in {table.folder}: File too large." in message
    assert n_found == "31"
    assert present(fresh(table), range(60)) == list(range(31))
    assert not list(table.folder.glob("*.tmp"))


@posix
def test_folder_that_may_not_be_written(table):
    table.folder.chmod(0o500)
    try:
        if os.access(table.folder, os.W_OK):
            pytest.skip("the superuser may write everywhere")
        error = refused_write(table, PermissionError)
    finally:
        table.folder.chmod(0o700)
    assert "Make the folder writable, or choose another `folder` or set SK_ARCAL_CACHE" in str(
        error
    )


def test_folder_that_a_test_pretends_to_be_read_only(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    table = RowCache(tmp_path / "cache").namespace({})
    with pytest.raises(OSError, match=r"Read-only file system. What was.*Make the folder writable"):
        table.write(keys_of([1]), values_of([1]))
    with pytest.raises(OSError, match=r"Read-only file system. What was"):
        table.layout = {"n": 1}


def test_first_write_on_a_full_disk_can_be_tried_again(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    table = RowCache(tmp_path).namespace({})
    monkeypatch.setattr(_documents.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        table.write(keys_of([1]), values_of([1]))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.undo()
    table.write(keys_of([1]), values_of([1]))
    assert present(table, [0, 1]) == [1]


# --- several processes ---------------------------------------------------------------------------

EXTRACT = """
order = np.random.default_rng(int(sys.argv[2])).permutation(640)
table = RowCache(sys.argv[1]).namespace({})
computed = 0
table.layout = {"n": 5}
for batch in np.split(order, 40):
    keys = keys_of(batch)
    values, found = table.read(keys)
    computed += np.count_nonzero(~found)
    if not found.all():
        table.write(keys[~found], values_of(batch[~found]))
    values, found = table.read(keys)
    assert found.all() and (values == values_of(batch)).all()
table.compact()
values, found = table.read(keys_of(order))
assert found.all() and (values == values_of(order)).all()
print(computed)
"""


def test_two_processes_fill_a_cold_cache_at_once(tmp_path):
    processes = [start(EXTRACT, tmp_path, seed) for seed in (1, 2)]
    computed = [int(finish(process)) for process in processes]
    # the worst they can do is the same work
    assert 640 <= sum(computed) <= 1280
    table = RowCache(tmp_path).namespace({})
    assert present(table, range(700)) == list(range(640))
    assert table.layout == {"n": 5}
    assert not list(tmp_path.rglob("*.tmp"))
    assert int(finish(start(EXTRACT, tmp_path, 3))) == 0


READ_FOR_A_WHILE = """
import time
table = RowCache(sys.argv[1]).namespace({})
n_found, n_passes, end = 0, 0, time.monotonic() + 1.5
print("reading", flush=True)
while time.monotonic() < end:
    numbers = np.random.default_rng(n_passes).permutation(300)
    values, found = table.read(keys_of(numbers))
    if found.any():
        assert (values[found] == values_of(numbers[found])).all()
    n_found += found.sum()
    n_passes += 1
print(n_passes, n_found)
"""


def test_reading_goes_on_while_others_evict_merge_and_clear(tmp_path):
    reader = start(READ_FOR_A_WHILE, tmp_path)
    assert reader.stdout.readline() == "reading\n"
    cache = RowCache(tmp_path)
    rounds = 0
    while reader.poll() is None or rounds < 3:
        table = cache.namespace({})
        for first in range(0, 300, 10):
            table.write(keys_of(range(first, first + 10)), values_of(range(first, first + 10)))
            if first % 50 == 0:
                cache.evict(cache.size() * 2 // 3)
        table.compact()
        if rounds % 3 == 2:
            cache.clear()
        rounds += 1
    passes, found = map(int, finish(reader).split())
    assert passes >= 3
    assert found > 0


WRITE_WITHOUT_END = """
table = RowCache(sys.argv[1]).namespace({})
for batch in range(int(sys.argv[2]), 10**6):
    numbers = range(20 * batch, 20 * batch + 20)
    table.write(keys_of(numbers), values_of(numbers))
    print(batch, flush=True)
    if batch % 8 == 7:
        table.compact()
"""


@posix
@pytest.mark.parametrize("seed", range(4))
def test_killed_writer_loses_at_most_the_batch_in_flight(tmp_path, seed):
    rng = np.random.default_rng(seed)
    done = 0
    for _ in range(2):
        writer = start(WRITE_WITHOUT_END, tmp_path, done)
        assert writer.stdout.readline() == f"{done}\n"
        time.sleep(rng.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        out, err = writer.communicate()
        assert (writer.returncode, err) == (-signal.SIGKILL, "")
        # the last line may be cut
        done = int(out.split("\n")[-2]) + 1 if out.count("\n") else done + 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = present(RowCache(tmp_path).namespace({}), range(20 * done + 40))
        assert found[: 20 * done] == list(range(20 * done))
        # the next batch is there as a whole or not at all
        assert len(found) in {20 * done, 20 * done + 20}
    leftovers = list(tmp_path.rglob("*.tmp"))
    assert len(leftovers) <= 2
    for path in leftovers:
        os.utime(path, (0, 0))
    RowCache(tmp_path).evict(10**9)
    assert not list(tmp_path.rglob("*.tmp"))


@posix
def test_process_killed_in_the_middle_of_a_file(tmp_path):
    # Not left to chance: it kills itself where half of the file is written, and where it is
    # written but has no name yet.
    code = """
import os, signal
from sk_arcal.feature_extraction._cache import _shard
table = RowCache(sys.argv[1]).namespace({})
table.write(keys_of(range(10)), values_of(range(10)))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "half":
    class Tail:
        size, pack = _shard._TAIL.size, die
    _shard._TAIL = Tail
else:
    _shard.os.replace = die
table.write(keys_of(range(10, 20)), values_of(range(10, 20)))
"""
    for moment in ("half", "unnamed"):
        writer = start(code, tmp_path, moment)
        writer.communicate(timeout=60)
        assert writer.returncode == -signal.SIGKILL
        assert present(RowCache(tmp_path).namespace({}), range(20)) == list(range(10))
    assert len(list(tmp_path.rglob("*.tmp"))) == 2


def test_cache_needs_numpy_alone(tmp_path):
    code = """
RowCache(sys.argv[1]).namespace({})
print([name for name in ("torch", "sklearn", "scipy", "pandas") if name in sys.modules])
"""
    assert finish(start(code, tmp_path)) == "[]\n"


def test_old_file_of_a_killed_process_is_not_read(table):
    keys, values = keys_of([99]), values_of([99])
    shard = _shard.write_shard(table.folder, keys, values)
    shard.path.rename(shard.path.with_suffix(".tmp"))
    assert present(fresh(table), [99]) == []
