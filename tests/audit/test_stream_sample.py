"""The sample: its size, its uniformity, and what it depends on."""

import numpy as np
import pytest

from sk_arcal.audit._reading._rows import UnderstoodRows
from sk_arcal.audit._streaming._sample import RowSample


def rows_at(place):
    """Rows that know their place."""
    return UnderstoodRows(place * 1.0, np.full(len(place), 0.5), place)


def draw(n, size, *, chunk, seed=0, shard=0, left_out=()):
    """Return the places of the rows sampled from a shard read in chunks."""
    sample = fill(RowSample(size, seed, shard), n, chunk, left_out)
    return sample.rows().place


def fill(sample, n, chunk, left_out=()):
    for first in range(0, n, chunk):
        place = np.arange(first, min(first + chunk, n))
        sample.add(rows_at(place[~np.isin(place, left_out)]), len(place), first)
    return sample


@pytest.mark.parametrize("chunk", [1, 3, 10, 64, 1000])
def test_sample_does_not_depend_on_the_chunks(chunk):
    found = draw(700, 40, chunk=chunk)
    assert len(found) == 40
    assert found.tolist() == draw(700, 40, chunk=700).tolist()
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("chunk", [9, 100])
def test_sample_is_the_rows_with_the_smallest_keys(chunk):
    for seed in range(60):
        n = 101 + 3 * seed
        keys = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,))).random(n)
        expected = np.sort(np.argsort(keys)[:50])
        assert draw(n, 50, chunk=chunk, seed=seed, shard=3).tolist() == expected.tolist()


def test_all_rows_are_kept_where_there_is_room():
    assert draw(40, 40, chunk=7).tolist() == list(range(40))


def test_every_row_is_as_likely_as_any_other():
    hits = np.zeros(60)
    for seed in range(400):
        hits[draw(60, 15, chunk=11, seed=seed)] += 1
    # Of 400 draws 100 are expected in each; the squares have chi^2 with 59 degrees of freedom.
    score = ((hits - 100) ** 2 / 75).sum() * 59 / 60
    assert 30 < score < 98


def test_left_out_rows_take_no_room_and_change_no_other_key():
    left_out = np.arange(0, 700, 3)
    whole = draw(700, 300, chunk=50)
    part = draw(700, 300, chunk=50, left_out=left_out)
    assert len(part) == 300
    assert not np.isin(part, left_out).any()
    assert set(whole[~np.isin(whole, left_out)]) <= set(part)


def test_shards_merge_to_the_smallest_keys_of_their_union():
    first, second = (fill(RowSample(30, 5, shard), 200, 50) for shard in (0, 1))
    keys = [
        np.random.default_rng(np.random.SeedSequence(5, spawn_key=(k,))).random(200) for k in (0, 1)
    ]
    limit = np.sort(np.concatenate(keys))[29]
    expected = [np.flatnonzero(part <= limit).tolist() for part in keys]
    second.merge(first)
    found = second.rows()
    assert found.place.tolist() == expected[0] + expected[1]


def test_seeds_and_shards_draw_apart():
    found = {tuple(draw(500, 20, chunk=100, seed=s, shard=k)) for s in (0, 1) for k in (0, 1)}
    assert len(found) == 4
