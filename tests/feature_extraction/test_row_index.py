import numpy as np
import pytest

from sk_arcal.feature_extraction._cache._row_index import RowIndex
from tests.feature_extraction.cache_rows import keys_of


def as_dict(shards):
    """The same index as a dictionary: all places of every key."""
    places = {}
    for number, keys in shards:
        for row, key in enumerate(keys):
            places.setdefault(bytes(key), set()).add((number, row))
    return places


def agree(index, places, keys):
    shard, row = index.find(keys)
    for key, *place in zip(keys, shard, row, strict=True):
        assert tuple(place) in places.get(bytes(key), {(-1, -1)})


@pytest.mark.parametrize("one_by_one", [True, False])
def test_every_key_is_found_where_it_is(one_by_one):
    rng = np.random.default_rng(0)
    shards = [(number, keys_of(rng.integers(0, 500, rng.integers(1, 60)))) for number in range(30)]
    index = RowIndex()
    for some in [[shard] for shard in shards] if one_by_one else [shards]:
        index.add(some)
    assert len(index) == sum(len(keys) for _, keys in shards)
    agree(index, as_dict(shards), keys_of(range(-50, 600)))


def test_nothing_is_found_in_an_empty_index():
    index = RowIndex()
    index.add([])
    shard, row = index.find(keys_of([1, 2]))
    assert shard.tolist() == row.tolist() == [-1, -1]
    assert [len(part) for part in index.find(keys_of([]))] == [0, 0]


@pytest.mark.parametrize("word", ["first", "second"])
def test_keys_that_share_a_half_are_told_apart(word):
    # no two digests will ever do so
    keys = np.zeros((40, 16), dtype=np.uint8)
    keys[:, 8 if word == "first" else 0] = np.random.default_rng(0).permutation(40)
    index = RowIndex()
    index.add([(3, keys[:15]), (4, keys[15:30])])
    shard, row = index.find(keys)
    assert shard.tolist() == [3] * 15 + [4] * 15 + [-1] * 10
    assert row.tolist() == [*range(15), *range(15), *[-1] * 10]


def test_other_place_is_found_once_the_first_is_dropped():
    index = RowIndex()
    index.add([(0, keys_of([1, 2])), (1, keys_of([2, 3]))])
    index.drop([0])
    assert index.find(keys_of([1, 2, 3]))[0].tolist() == [-1, 1, 1]
    index.drop([1])
    assert len(index) == 0
    index.drop([])
    index.add([(2, keys_of([2]))])
    assert index.find(keys_of([2]))[0].tolist() == [2]


def test_many_small_shards_lie_in_few_runs():
    index = RowIndex()
    for number in range(1000):
        index.add([(number, keys_of([number]))])
    assert len(index._runs) <= 10
    assert (index.find(keys_of(range(1000)))[0] == np.arange(1000)).all()
