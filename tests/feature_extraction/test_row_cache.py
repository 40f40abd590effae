import errno
import json
import os
import pickle
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sk_arcal.feature_extraction._cache import RowCache, _row_table
from sk_arcal.feature_extraction._warning import ExtractionWarning
from tests.feature_extraction.cache_rows import finish, keys_of, shard_files, start, values_of

SETTINGS = {"backbone": "0e57", "outputs": ["logits"], "option_ids": (3, 5), "dtype": None}


@pytest.fixture
def cache(tmp_path):
    return RowCache(tmp_path / "cache")


@pytest.fixture
def table(cache):
    return cache.namespace(SETTINGS)


def fill(table, *batches):
    for batch in batches:
        table.write(keys_of(batch), values_of(batch))


def present(table, numbers):
    """Which rows a table has; those it has are exact, those it lacks are NaN."""
    values, found = table.read(keys_of(numbers))
    numbers = np.asarray(numbers)
    if found.any():
        np.testing.assert_array_equal(values[found], values_of(numbers[found]))
        assert np.isnan(values[~found]).all()
    return numbers[found].tolist()


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


# --- rows ----------------------------------------------------------------------------------------


def test_rows_are_found_by_the_same_and_by_a_later_table(cache, table):
    fill(table, range(4), range(4, 10))
    for reader in (table, cache.namespace(SETTINGS)):
        assert present(reader, [9, 3, 77, 0, 3]) == [9, 3, 0, 3]
        assert reader.n_rows == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_values_are_the_same_bit_by_bit(cache, table, dtype):
    values = np.array([[0.1, -0.0, np.nan], [np.inf, 1e-40, 3.0]], dtype=dtype)
    table.write(keys_of([0, 1]), values)
    got, found = cache.namespace(SETTINGS).read(keys_of([0, 1]))
    assert found.all()
    assert got.dtype == values.dtype.newbyteorder("<")
    assert got.tobytes() == values.astype(got.dtype).tobytes()


def test_values_in_any_order_of_memory(table):
    values = np.asfortranarray(values_of(range(6)))
    table.write(keys_of(range(6))[::-1], values[::-1])
    assert present(table, range(6)) == list(range(6))


def test_table_without_rows_has_none(table):
    values, found = table.read(keys_of([1, 2]))
    assert values.shape == (2, 0)
    assert not found.any()
    assert table.read(keys_of([]))[0].shape == (0, 0)


def test_nothing_is_written_before_the_first_row(cache, table):
    table.read(keys_of([1]))
    table.write(keys_of([]), values_of([]))
    table.compact()
    assert table.layout is None
    assert (cache.size(), cache.evict(0), cache.clear()) == (0, 0, 0)
    assert not cache.folder.exists()


def test_rows_of_other_processes_are_noticed(cache, table):
    other = cache.namespace(SETTINGS)
    fill(table, [1])
    assert present(other, [1, 2]) == [1]
    fill(table, [2])
    assert other.n_rows == 1
    other.refresh()
    assert other.n_rows == 2
    assert present(other, [1, 2]) == [1, 2]


def test_row_written_twice_is_one_row(cache, table):
    other = cache.namespace(SETTINGS)
    fill(table, [1, 2])
    fill(other, [2, 3])
    assert present(table, [1, 2, 3]) == [1, 2, 3]
    shard_files(table)[0].unlink()
    assert 2 in present(table, [1, 2, 3])


def test_threads_share_a_table(table):
    def work(first):
        for number in range(first, first + 10):
            fill(table, [number])
            assert present(table, [number]) == [number]
        table.compact()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(0, 80, 10)))
    assert present(table, range(80)) == list(range(80))


@pytest.mark.parametrize(
    ("keys", "values", "error", "message"),
    [
        (keys_of([1]), values_of([1, 2]), ValueError, "`values` has 2 rows where 1 were"),
        (keys_of([1])[0], values_of([1]), ValueError, r"\(n_rows, 16\); got \(16,\)"),
        (keys_of([1])[:, :8], values_of([1]), ValueError, r"\(n_rows, 16\); got \(1, 8\)"),
        (keys_of([1]).astype(int), values_of([1]), TypeError, "array of uint8.*got int64"),
        (["a"], values_of([1]), TypeError, "array of uint8.*got list"),
        (keys_of([1]), values_of([1])[0], ValueError, r"at least one column; got \(5,\)"),
        (keys_of([1]), np.empty((1, 0)), ValueError, r"at least one column; got \(1, 0\)"),
        (keys_of([1]), np.zeros((1, 2), int), TypeError, "float32 or float64; got int64"),
        (keys_of([1]), np.zeros((1, 2), np.float16), TypeError, "float32 or float64; got float16"),
        (keys_of([1]), [[1.0]], TypeError, "float32 or float64; got list"),
    ],
)
def test_what_is_no_row_is_refused(table, keys, values, error, message):
    with pytest.raises(error, match=message):
        table.write(keys, values)


@pytest.mark.parametrize("values", [np.zeros((1, 4), np.float32), np.zeros((1, 5))])
def test_rows_of_another_form_are_refused(cache, table, values):
    fill(table, [1])
    for writer in (table, cache.namespace(SETTINGS)):
        with pytest.raises(ValueError, match=r"have 5 float32 values. The settings"):
            writer.write(keys_of([2]), values)
    assert len(shard_files(table)) == 1


def test_rows_of_two_forms_that_came_together_are_refused(cache, table, tmp_path):
    fill(table, [1])
    other = RowCache(tmp_path / "other").namespace(SETTINGS)
    other.write(keys_of([2]), np.zeros((1, 2)))
    shard_files(other)[0].rename(table.folder / shard_files(other)[0].name)
    with pytest.raises(ValueError, match=r"rows of . float.. values, but those known of"):
        cache.namespace(SETTINGS).read(keys_of([1]))


# --- namespaces ----------------------------------------------------------------------------------


def test_settings_lie_beside_the_rows_in_clear_text(table):
    fill(table, [1])
    stored = json.loads((table.folder / "settings.json").read_text())
    assert stored == {"format": 1, "settings": {**SETTINGS, "option_ids": [3, 5]}}


def test_order_of_the_settings_does_not_matter(cache, table):
    fill(table, [1])
    again = dict(reversed(SETTINGS.items())) | {"option_ids": [3, 5]}
    assert present(cache.namespace(again), [1]) == [1]


@pytest.mark.parametrize(
    "change",
    [{"backbone": "0e58"}, {"dtype": False}, {"dtype": 0}, {"dtype": 0.0}, {"dtype": ""}, {"x": 1}],
    ids=str,
)
def test_every_setting_matters(cache, table, change):
    fill(table, [1])
    assert present(cache.namespace(SETTINGS | change), [1]) == []


def test_name_of_a_namespace_is_the_stored_one(table):
    # Computed on 2026-11-22; if it changes, users lose what they have. Then raise the format.
    name = "ae9128859d172e358d90732b86c1ecf9"
    assert table.folder.name == name


def test_name_of_a_namespace_is_the_same_in_another_process(table, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "54321")
    code = (
        "import json\nprint(RowCache(sys.argv[1]).namespace(json.loads(sys.argv[2])).folder.name)"
    )
    assert finish(start(code, "x", json.dumps(SETTINGS))).strip() == table.folder.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "settings": {}}', "does not hold the settings"),
        ("[]", "does not hold the settings"),
        ('{"format"', "is no JSON"),
        ("", "is no JSON"),
    ],
)
def test_folder_with_other_settings_is_refused(cache, table, text, message):
    fill(table, [1])
    (table.folder / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*delete"):
        cache.namespace(SETTINGS)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ([("a", 1)], TypeError, "`settings` must be a mapping; got list"),
        ({"a": {1, 2}}, TypeError, "`settings` must be plain data.*set is not JSON"),
        ({"a": np.float32(1)}, TypeError, "plain data.*float32 is not JSON"),
        ({"a": [{1: 2}]}, TypeError, "plain data.*the key 1 is no text"),
        ({"a": float("nan")}, ValueError, "plain data.*Out of range"),
    ],
)
def test_settings_that_json_cannot_hold_are_refused(cache, settings, error, message):
    with pytest.raises(error, match=message):
        cache.namespace(settings)


# --- layout --------------------------------------------------------------------------------------


def test_first_layout_is_kept_and_others_are_refused(cache, table):
    late = cache.namespace(SETTINGS)
    assert late.layout is None
    table.layout = {"names": ("a", "b"), "n": 2}
    stored = {"names": ["a", "b"], "n": 2}
    table.layout = stored
    assert table.layout == late.layout == cache.namespace(SETTINGS).layout == stored
    for writer in (table, late, cache.namespace(SETTINGS)):
        with pytest.raises(ValueError, match=r"have the layout .*'n': 2.* given is .*'n': 3"):
            writer.layout = {"names": ["a", "b"], "n": 3}
    assert late.layout == stored


def test_layout_cannot_be_changed_from_outside(table):
    table.layout = {"names": ["a"]}
    table.layout["names"].append("b")
    assert table.layout == {"names": ["a"]}


def test_layout_that_json_cannot_hold_is_refused(table):
    with pytest.raises(TypeError, match="`layout` must be plain data"):
        table.layout = {"names": np.array(["a"])}


def test_one_of_many_layouts_wins(cache):
    tables = [cache.namespace(SETTINGS) for _ in range(8)]

    def propose(number):
        try:
            tables[number].layout = {"number": number}
        except ValueError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(propose, range(8)) if n is not None]
    assert len(winners) == 1
    assert [t.layout for t in tables] == [{"number": winners[0]}] * 8
    assert not list(tables[0].folder.glob("*.tmp"))


def test_layout_on_a_disk_without_hard_links(cache, table, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    table.layout = {"n": 1}
    with pytest.raises(ValueError, match="have the layout"):
        cache.namespace(SETTINGS).layout = {"n": 2}
    assert {path.name for path in table.folder.iterdir()} == {"settings.json", "layout.json"}


def test_layout_that_comes_while_another_is_written_wins(cache, table, monkeypatch):
    fill(table, [1])
    other = cache.namespace(SETTINGS)
    fsync = os.fsync

    def other_is_faster(file):
        monkeypatch.undo()
        fsync(file)
        other.layout = {"n": 2}

    monkeypatch.setattr(os, "fsync", other_is_faster)
    with pytest.raises(ValueError, match=r"have the layout \{'n': 2\}"):
        table.layout = {"n": 1}
    assert table.layout == other.layout == {"n": 2}


# --- compaction ----------------------------------------------------------------------------------


def test_own_shards_become_one(cache, table):
    other = cache.namespace(SETTINGS)
    fill(other, [100], [101])
    fill(table, *([number] for number in range(20)))
    theirs = set(shard_files(other)) - set(table._own)
    table.compact()
    assert len(shard_files(table)) == 3
    assert theirs < set(shard_files(table))
    for reader in (table, other, cache.namespace(SETTINGS)):
        assert present(reader, range(103)) == [*range(20), 100, 101]
    table.compact()
    fill(table, [20])
    table.compact()
    assert len(shard_files(table)) == 3
    assert present(table, range(103)) == [*range(21), 100, 101]


def test_reader_finds_all_rows_while_their_shards_are_merged(cache, table, monkeypatch):
    fill(table, [1, 2], [3, 4], [5, 6])
    reader = cache.namespace(SETTINGS)
    reader.refresh()
    listing = reader._shards._listing
    # between its look at the folder and its look at the files
    merge = iter([table.compact, lambda: None, lambda: None])

    def listing_then_merge():
        names = listing()
        next(merge)()
        return names

    monkeypatch.setattr(reader._shards, "_listing", listing_then_merge)
    assert present(reader, range(1, 7)) == list(range(1, 7))


def test_rows_are_there_twice_where_a_merge_was_cut_short(cache, table, monkeypatch):
    fill(table, [1, 2], [3])

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        table.compact()
    monkeypatch.undo()
    assert len(shard_files(table)) == 3
    assert present(cache.namespace(SETTINGS), [1, 2, 3, 4]) == [1, 2, 3]


def test_merged_shards_are_not_too_large(cache, table, monkeypatch):
    monkeypatch.setattr(_row_table, "_MERGED_BYTES", 3000)
    fill(table, *([number] for number in range(40)), range(100, 140))
    table.compact()
    sizes = [path.stat().st_size for path in shard_files(table)]
    assert 3 < len(sizes) < 12
    assert max(sizes) < 3000
    assert present(cache.namespace(SETTINGS), range(40)) == list(range(40))
    assert present(table, range(100, 140)) == list(range(100, 140))


def test_large_shard_is_not_copied_again(table, monkeypatch):
    monkeypatch.setattr(_row_table, "_MERGED_BYTES", 4000)
    fill(table, range(30), [30], [31])
    (large,) = (path for path in shard_files(table) if path.stat().st_size > 1000)
    table.compact()
    assert large in shard_files(table)
    assert len(shard_files(table)) == 2
    assert present(table, range(40)) == list(range(32))


def test_shards_that_vanished_are_not_merged(cache, table):
    fill(table, [1], [2], [3])
    next(iter(table._own)).unlink()
    table.compact()
    assert len(shard_files(table)) == 1
    assert present(table, [1, 2, 3]) == [2, 3]
    cache.clear()
    fill(table, [4])
    table.compact()
    assert present(table, [1, 2, 3, 4]) == [4]


def test_merge_without_room_is_left_for_later(table, monkeypatch):
    fill(table, [1], [2])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_row_table, "write_shard", full)
    with pytest.warns(ExtractionWarning, match="could not be merged: .*No space.*are intact"):
        table.compact()
    assert present(table, [1, 2]) == [1, 2]
    monkeypatch.undo()
    table.compact()
    assert len(shard_files(table)) == 1


# --- size ----------------------------------------------------------------------------------------


def test_size_is_that_of_the_files(cache, table):
    fill(table, range(10), [10])
    fill(cache.namespace({}), [1])
    assert cache.size() == sum(path.stat().st_size for path in cache.folder.rglob("*.shard"))


def test_least_recently_used_shards_of_all_namespaces_go_first(cache):
    tables = [cache.namespace({"n": n}) for n in range(2)]
    for number in range(6):
        fill(tables[number % 2], [number])
    files = [next(iter(list(tables[n % 2]._own)[n // 2 : n // 2 + 1])) for n in range(6)]
    one = files[0].stat().st_size
    for number, path in enumerate(files):
        age(path, 1000 - 100 * number)
    assert present(tables[0], [0]) == [0]
    freed = cache.evict(3 * one + 10)
    assert freed == 3 * one
    assert cache.size() == 3 * one
    # 0 is the oldest, but was read since
    assert present(tables[0], range(6)) == [0, 4]
    assert present(tables[1], range(6)) == [5]
    assert cache.evict(3 * one) == 0
    assert cache.evict(0) == 3 * one
    assert present(tables[1], range(6)) == []


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_bound_is_a_number_of_bytes(cache, value, error):
    with pytest.raises(error, match="`max_bytes` must be"):
        cache.evict(value)
    with pytest.raises(error, match="`max_bytes` must be"):
        RowCache(max_bytes=value)


def test_writing_keeps_to_the_bound(cache):
    bounded = RowCache(cache.folder, max_bytes=20_000)
    table = bounded.namespace(SETTINGS)
    fill(cache.namespace({"an older": "namespace"}), range(50))
    age(next(cache.folder.rglob("*.shard")), 500)
    for number in range(0, 800, 8):
        fill(table, range(number, number + 8))
        assert bounded.size() <= 20_000
        # written less than a second ago, so the newest are those with the highest numbers
        assert present(table, range(number, number + 8)) == list(range(number, number + 8))
    assert present(cache.namespace({"an older": "namespace"}), range(50)) == []
    # what fits is kept but for the room made at once
    assert bounded.size() > 20_000 * (1 - 1 / 16) - 1500


def test_merged_shards_are_small_beside_the_bound(cache):
    # One shard with all rows would be evicted as a whole by the next write.
    table = RowCache(cache.folder, max_bytes=32_000).namespace(SETTINGS)
    fill(table, *([number] for number in range(60)))
    table.compact()
    assert 5 < len(shard_files(table)) < 30
    assert max(path.stat().st_size for path in shard_files(table)) <= 2000
    assert present(table, range(60)) == list(range(60))
    fill(table, *(range(number, number + 20) for number in range(100, 1000, 20)))
    assert 20_000 < cache.size() <= 32_000


def test_shard_just_written_stays_although_others_claim_to_be_newer(cache):
    # The clocks of two machines differ.
    fill(cache.namespace({}), *([number] for number in range(10)))
    for path in cache.folder.rglob("*.shard"):
        age(path, -3600)
    table = RowCache(cache.folder, max_bytes=2000).namespace(SETTINGS)
    fill(table, [1])
    assert present(table, [1]) == [1]
    assert cache.size() <= 2000


def test_shard_that_exceeds_the_bound_alone_goes_too(cache):
    table = RowCache(cache.folder, max_bytes=1500).namespace(SETTINGS)
    fill(table, range(5))
    assert present(table, range(5)) == list(range(5))
    fill(table, range(5, 500))
    assert cache.size() == 0
    fill(table, range(5))
    assert present(table, range(5)) == list(range(5))


def test_what_may_not_be_removed_stays(cache, table, monkeypatch):
    fill(table, [1])

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(os, "unlink", refuse)
    assert cache.evict(0) == 0
    assert present(table, [1]) == [1]


@pytest.mark.parametrize("remove", [lambda cache: cache.evict(10**9), RowCache.clear])
def test_leftovers_of_killed_processes_go_after_an_hour(cache, table, remove):
    fill(table, [1])
    old, young = table.folder / "old.tmp", table.folder / "young.tmp"
    trash = table.folder.parent / "0123.trash"
    trash.mkdir()
    for path in (old, young, trash / "x.shard"):
        path.write_bytes(b"half")
    age(old, 3700)
    age(young, 3500)
    remove(cache)
    assert not old.exists()
    assert not trash.exists()
    if table.folder.exists():
        assert young.exists()
        assert present(table, [1]) == [1]


def test_clearing_removes_all_and_only_what_is_ours(cache, table):
    other = cache.namespace({})
    table.layout = {"n": 1}
    fill(table, [1])
    fill(other, [1])
    foreign = [
        cache.folder / "weights" / "a.shard",
        cache.folder / "rows" / "mine" / "a.shard",
        cache.folder / "rows" / "notes.txt",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    size = cache.size()
    assert size > 0
    assert cache.clear() == size
    assert cache.size() == 0
    assert sorted(p for p in cache.folder.rglob("*") if p.is_file()) == sorted(foreign)


def test_table_goes_on_after_the_cache_was_cleared(cache, table):
    table.layout = {"n": 1}
    fill(table, [1])
    cache.clear()
    assert present(table, [1]) == []
    fill(table, [2])
    late = cache.namespace(SETTINGS)
    assert present(late, [1, 2]) == [2]
    assert late.layout == {"n": 1}


@pytest.mark.parametrize("moment", ["fsync", "link", "replace"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_first_write_survives_that_the_cache_is_cleared(cache, table, monkeypatch, moment, after):
    # while the settings are written, when they get their name, when the rows get theirs
    original = getattr(os, moment)

    def cleared_meanwhile(*arguments):
        monkeypatch.undo()
        if after:
            original(*arguments)
        cache.clear()
        if not after:
            original(*arguments)

    monkeypatch.setattr(os, moment, cleared_meanwhile)
    fill(table, [1])
    # only where the rows were there already, they are gone
    gone = moment == "replace" and after
    assert present(cache.namespace(SETTINGS), [1, 2]) == ([] if gone else [1])
    fill(table, [2])
    assert (table.folder / "settings.json").exists()
    assert 2 in present(cache.namespace(SETTINGS), [1, 2])
    assert {path.name for path in cache.folder.iterdir()} == {"rows"}


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_layout_survives_that_the_cache_is_cleared(cache, table, monkeypatch, moment):
    fill(table, [1])
    original = getattr(os, moment)

    def clear_after(*arguments):
        monkeypatch.undo()
        original(*arguments)
        cache.clear()

    monkeypatch.setattr(os, moment, clear_after)
    table.layout = {"n": 1}
    assert cache.namespace(SETTINGS).layout == {"n": 1}


def test_values_of_another_width_are_welcome_once_all_are_gone(cache, table):
    fill(table, [1])
    cache.clear()
    table.refresh()
    table.write(keys_of([1]), np.ones((1, 2)))
    assert table.read(keys_of([1]))[0].tolist() == [[1, 1]]


# --- the folder ----------------------------------------------------------------------------------


def test_folder_that_is_given_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("SK_ARCAL_CACHE", str(tmp_path / "environment"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert RowCache(tmp_path / "given").folder == tmp_path / "given"
    assert RowCache(str(tmp_path / "given")).folder == tmp_path / "given"
    assert RowCache().folder == tmp_path / "environment"
    monkeypatch.setenv("SK_ARCAL_CACHE", "")
    assert RowCache().folder == tmp_path / "xdg" / "sk_arcal"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert RowCache().folder == Path.home() / ".cache" / "sk_arcal"


def test_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = RowCache("here")
    monkeypatch.chdir("/")
    assert cache.folder == tmp_path / "here"
    assert RowCache("~/x").folder == Path.home() / "x"


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_new_folders_are_for_their_owner_alone(cache, table):
    old = os.umask(0)
    try:
        fill(table, [1])
    finally:
        os.umask(old)
    for folder in (cache.folder, table.folder.parent, table.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("folder", [3, b"x", True])
def test_folder_that_is_no_path_is_refused(folder):
    with pytest.raises(TypeError, match="`folder` must be a path; got"):
        RowCache(folder)


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; a folder for the cache"):
        RowCache(tmp_path / "file")


def test_pickle_holds_the_folder_and_the_bound(cache):
    bounded = RowCache(cache.folder, max_bytes=10_000)
    table = bounded.namespace(SETTINGS)
    fill(table, range(50))
    text = pickle.dumps(bounded)
    assert len(text) < 300
    again = pickle.loads(text)
    assert repr(again) == repr(bounded) == f"RowCache({str(cache.folder)!r}, max_bytes=10000)"
    assert present(again.namespace(SETTINGS), range(50)) == list(range(50))
    fill(again.namespace(SETTINGS), *([number] for number in range(50, 200)))
    assert again.size() <= 10_000


def test_printed_form_says_where_and_how_many(cache, table):
    fill(table, range(3))
    assert repr(cache) == f"RowCache({str(cache.folder)!r})"
    assert repr(table) == f"RowTable({str(table.folder)!r}, n_rows=3)"
