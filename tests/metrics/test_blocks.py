import numpy as np
import pytest

from sk_arcal.metrics._binning import bin_codes
from sk_arcal.metrics._blocks import BLOCK, bin_ruler, cell_ruler, event_blocks


def _neighbours(edges):
    """Edges and the three floats on either side, inside [0, 1]."""
    values, below, above = [edges], edges, edges
    for _ in range(3):
        below, above = np.nextafter(below, 0), np.nextafter(above, 1)
        values += [below, above]
    return np.unique(np.concatenate(values))


def _codes(ruler, values):
    return ruler.codes(values, ruler.scratch(len(values))).astype(int)


@pytest.mark.parametrize("n_bins", [*range(1, 41), 100, 512, 1000, 7680])
def test_codes_equal_a_search_on_all_edges_and_beside_them(n_bins):
    edges = np.linspace(0, 1, n_bins + 1)
    values = _neighbours(edges)
    np.testing.assert_array_equal(_codes(bin_ruler(n_bins), values), bin_codes(values, edges))


def test_codes_equal_a_search_between_the_edges(rng):
    values = np.concatenate([rng.random(5000), 1 - rng.random(500) ** 20, rng.random(500) ** 20])
    codes = _codes(bin_ruler(15), values)
    np.testing.assert_array_equal(codes, bin_codes(values, np.linspace(0, 1, 16)))


@pytest.mark.parametrize("n_cells", [60, 720, 7680])
def test_bins_of_every_divisor_are_unions_of_cells(n_cells):
    ruler = cell_ruler(n_cells)
    values = _neighbours(ruler.edges)
    codes = _codes(ruler, values)
    assert (np.sort(ruler.ids) == np.arange(ruler.size)).all()
    for n_bins in (n for n in range(1, n_cells + 1) if n_cells % n == 0):
        edges = np.linspace(0, 1, n_bins + 1)
        of_cell = np.empty(ruler.size, dtype=int)
        of_cell[ruler.ids] = bin_codes(ruler.edges[1:], edges)
        np.testing.assert_array_equal(of_cell[codes], bin_codes(values, edges))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32, np.float64])
def test_blocks_hold_the_rows_in_order(dtype, rng):
    n = 2 * BLOCK + 7
    y_true, y_prob = (rng.random(n) < 0.5).astype(dtype), rng.random(n).astype(np.float32)
    blocks = [
        (start, events.copy(), probability.copy())
        for start, events, probability, _ in event_blocks(y_true, y_prob[:, None])
    ]
    assert [start for start, *_ in blocks] == [0, BLOCK, 2 * BLOCK]
    np.testing.assert_array_equal(np.concatenate([block[1] for block in blocks]), y_true)
    np.testing.assert_array_equal(np.concatenate([block[2] for block in blocks]), y_prob)


def test_overshoot_by_rounding_is_cut_off():
    (block,) = event_blocks([0, 1, 1], [-1e-7, 1 + 1e-7, 0.5])
    np.testing.assert_array_equal(block.probability, [0, 1, 0.5])


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        (0, 0.5, "`y_true` must be 0 or 1.*row 20000 holds 0.5"),
        (0, np.nan, "`y_true` must be finite; row 20000"),
        (1, np.nan, "`y_prob` must be finite; row 20000"),
        (1, 1.01, r"`y_prob` must lie in \[0, 1\]; row 20000 holds 1.01"),
        (1, -0.01, r"`y_prob` must lie in \[0, 1\]; row 20000"),
        (2, -1.0, "must not be negative.*row 20000"),
        (2, np.inf, "`sample_weight` must be finite; row 20000"),
        (2, 1e308, "its sum overflows"),
    ],
)
def test_what_is_wrong_in_a_later_block_is_named_by_its_row(column, value, match):
    arrays = [np.ones(30_000), np.full(30_000, 0.5), np.ones(30_000)]
    arrays[column][20_000] = value
    with pytest.raises(ValueError, match=match):
        list(event_blocks(*arrays))


def test_weights_of_zero_everywhere_are_refused():
    with pytest.raises(ValueError, match="zero in every row"):
        list(event_blocks(np.ones(30_000), np.ones(30_000), np.zeros(30_000)))
