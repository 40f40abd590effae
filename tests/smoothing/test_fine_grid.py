"""The two-level grid against the plain one."""

import numpy as np
import pytest

from sk_arcal._smoothing import FineGrid, Grid, GridAxis, KernelTable


@pytest.fixture
def many_rows(monkeypatch):
    monkeypatch.setattr("sk_arcal._smoothing._fine_grid._FEWEST_ROWS", {1: 0, 2: 0})


def rows_on(n_axes, n=15_000):
    rng = np.random.default_rng(0)
    axes = rng.beta(3, 1.5, size=(n, n_axes))
    return axes, (rng.random(n) < axes[:, 0]).astype(float)[:, None]


@pytest.mark.parametrize(("n_axes", "largest", "mean"), [(1, 5e-5, 2e-5), (2, 2e-3, 1.5e-4)])
def test_kernel_means_are_those_of_the_plain_grid(n_axes, largest, mean, monkeypatch):
    axes, values = rows_on(n_axes)
    bandwidth = np.array([0.05, 0.1])[:n_axes]
    plain = KernelTable.of(axes, bandwidth, values)
    sums, mass = plain.sums(axes)
    monkeypatch.setattr("sk_arcal._smoothing._fine_grid._FEWEST_ROWS", {1: 0, 2: 0})
    fine = KernelTable.of(axes, bandwidth, values)
    assert isinstance(fine.grid, FineGrid)
    found, found_mass = fine.sums(axes)
    error = np.abs(found[:, 0] / found_mass - sums[:, 0] / mass)[mass > 20]
    assert 0 < error.max() < largest
    assert error.mean() < mean


def test_few_rows_and_many_axes_stay_on_the_plain_grid():
    assert FineGrid.suits(20_000, 1)
    assert not FineGrid.suits(19_999, 1)
    assert not FineGrid.suits(200_000, 2)
    assert FineGrid.suits(500_000, 2)
    assert not FineGrid.suits(10**9, 3)


def test_no_row_is_lost_and_no_query_beyond_is_answered(many_rows):
    axes, values = rows_on(2)
    grid = FineGrid(Grid((GridAxis.covering(0, 1, 0.1), GridAxis.covering(0, 1, 0.03))))
    table = grid.spread(axes, values)
    assert table.sum() == pytest.approx(values.sum(), rel=1e-12)
    smooth = grid.smooth(table, np.array([0.4, 0.12]))
    beyond = np.array([[-3.0, 0.5], [0.5, 3.0], [np.nan, 0.5]])
    np.testing.assert_array_equal(grid.read(smooth, beyond), 0)
    assert grid.read(smooth, axes[:5]).min() > 0


def test_reading_is_linear_between_fine_nodes():
    grid = FineGrid(Grid((GridAxis(0.0, 1.0, 5), GridAxis(0.0, 1.0, 5))))
    x, y = np.meshgrid(np.arange(17) / 4, np.arange(17) / 4, indexing="ij")
    table = np.stack([2 + 3 * x + 5 * y, x * y])
    points = np.random.default_rng(1).uniform(0, 3.99, size=(50, 2))
    found = grid.read(table, points)
    np.testing.assert_allclose(found[:, 0], 2 + points @ [3, 5], rtol=1e-12)
    # Bilinear functions are reproduced, too.
    np.testing.assert_allclose(found[:, 1], points.prod(axis=1), rtol=1e-12)
