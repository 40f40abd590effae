"""Leave-one-out sums on cells against those of the rows."""

import numpy as np
import pytest

from sk_arcal._smoothing import CellGrid, leave_one_out_sums


def rows_on(n_axes, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    axes = rng.beta(3, 1.5, size=(n, n_axes))
    return axes, rng.normal(size=n)


@pytest.mark.parametrize("n_axes", [1, 2])
def test_rows_lie_within_half_a_cell_of_their_centre(n_axes):
    axes, _ = rows_on(n_axes)
    grid = CellGrid.of(axes)
    away = np.abs(axes - grid.centres(grid.codes(axes)))
    assert (away <= grid.width * (0.5 + 1e-9)).all()
    assert (away.max(axis=0) > 0.45 * grid.width).all()


def test_the_largest_value_is_in_the_last_cell():
    axes = np.linspace(0, 1, 1001)[:, None]
    codes = CellGrid.of(axes).codes(axes)
    assert codes[0] == 0
    assert codes[-1] == CellGrid.of(axes).shape[0] - 1


@pytest.mark.parametrize(
    ("bandwidth", "largest", "mean"),
    [([0.02], 1e-3, 1e-4), ([0.2], 2e-5, 5e-6), ([0.05, 0.1], 5e-3, 5e-4)],
)
def test_means_without_the_row_are_near_those_of_the_rows(bandwidth, largest, mean):
    axes, noise = rows_on(len(bandwidth))
    events = (noise > 0) * 1.0
    grid, bandwidths = CellGrid.of(axes), np.array([bandwidth])
    columns = np.column_stack([events, np.ones(len(axes))])
    [(totals, own)] = grid.smoothed(bandwidths, grid.codes(axes), columns)
    found = (totals[:, 0] - own * events) / (totals[:, 1] - own)
    sums, mass = leave_one_out_sums(axes, bandwidths, events[:, None], algorithm="exact")
    error = np.abs(found - sums[0, :, 0] / mass[0])[mass[0] > 20]
    assert error.max() < largest
    assert error.mean() < mean


def test_an_axis_that_is_off_or_constant_drops_out():
    axes, values = rows_on(2)
    columns = np.column_stack([values, np.ones(len(values))])
    axes[:, 1] = 0.5
    constant = CellGrid.of(axes)
    assert constant.shape[1] == 1
    codes = constant.codes(axes)
    _, mass = leave_one_out_sums(
        axes, np.array([[0.1, np.inf]]), values[:, None], algorithm="exact"
    )
    for bandwidth in ([0.1, np.inf], [0.1, 0.3]):
        [(found, own)] = constant.smoothed(np.array([bandwidth]), codes, columns)
        np.testing.assert_allclose(found[:, 1] - own, mass[0], rtol=0.05)
        assert (found[:, 1] - own).mean() == pytest.approx(mass[0].mean(), rel=3e-4)
    [(everything, own)] = constant.smoothed(np.full((1, 2), np.inf), codes, columns)
    assert own == 1
    np.testing.assert_allclose(everything[:, 1], len(values))


def test_bandwidths_below_the_cells_are_not_resolved():
    axes, _ = rows_on(2)
    grid = CellGrid.of(axes)
    lines = np.array([1.3 * grid.width, 1.2 * grid.width, [np.inf, np.inf]])
    np.testing.assert_array_equal(grid.resolves(lines), [True, False, True])
