import numpy as np
import pytest
from scipy.stats import ks_2samp

from sk_arcal.diagnostics._cells import make_cells
from sk_arcal.diagnostics._null_gaps import (
    BATCH,
    EventNull,
    ShiftNull,
    ShuffleNull,
    bin_nulls,
    draw_gaps,
)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    confidence = np.r_[rng.uniform(0, 0.5, 300), rng.uniform(0.5, 1, 6000)]
    cells = make_cells(
        confidence, rng.random(6300), n_bins=9, strategy="uniform", n_groups=3, rng=rng
    )
    return cells, rng.random(6300) - confidence, cells.usable(5)


def nulls(table, seed=0):
    return bin_nulls(*table, np.random.default_rng(seed))


def test_samplers_go_by_values_and_rows(table):
    cells, values, bins = table
    sizes = cells.counts.sum(axis=1)
    kinds = [type(null) for null in nulls(table)]
    assert kinds == [ShuffleNull if size <= 256 else ShiftNull for size in sizes]
    assert {ShuffleNull, ShiftNull} == set(kinds)
    events = nulls((cells, (values > 0).astype(float), bins))
    assert {type(null) for null in events} == {EventNull}


def test_few_bins_are_dealt_into_parts(table):
    cells, values, bins = table
    (alone,) = bin_nulls(cells, values, bins[-1:], np.random.default_rng(0))
    # more than 256 rows, but not in each of eight parts
    assert 256 < cells.counts[bins[-1]].sum() < 8 * 256
    assert len(np.unique(alone.draw(3000).round(12))) > 2990


@pytest.mark.parametrize("binary", [False, True])
def test_every_bin_has_the_null_of_plain_shuffles(table, binary):
    cells, values, bins = table
    values = (values > 0).astype(float) if binary else values
    drawn = draw_gaps(nulls((cells, values, bins)), 4000)[1]
    rng = np.random.default_rng(9)
    for column, b in enumerate(bins):
        inside, (bottom, _, top) = values[cells.bins == b], cells.counts[b]
        shuffled = rng.permuted(np.tile(inside, (2000, 1)), axis=1)
        gaps = shuffled[:, -top:].mean(axis=1) - shuffled[:, :bottom].mean(axis=1)
        # the shifts of one order are themselves a draw of some hundred gaps
        assert ks_2samp(drawn[:, column], gaps).statistic < 0.09
        assert drawn[:, column].std() == pytest.approx(gaps.std(), rel=0.12)


def test_gaps_do_not_depend_on_the_number_of_jobs(table):
    alone, shared = (draw_gaps(nulls(table), 50, n_jobs)[1] for n_jobs in (None, 2))
    np.testing.assert_array_equal(alone, shared)


def test_drawing_goes_on_where_it_stopped(table):
    whole = draw_gaps(nulls(table), 3000)[1]
    first, one = draw_gaps(nulls(table), BATCH)
    second = draw_gaps(first, 3000 - BATCH)[1]
    np.testing.assert_array_equal(np.concatenate([one, second]), whole)


def test_bins_draw_independently(table):
    drawn = draw_gaps(nulls(table), 4000)[1]
    correlation = np.corrcoef(drawn.T)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.08
