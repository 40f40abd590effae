"""Kernel sums through a grid against the sums term by term."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from sk_arcal._smoothing import KernelTable, kernel_sums, leave_one_out_sums, takes_grid
from sk_arcal._smoothing._binned import STEPS_PER_BANDWIDTH, grid_for
from sk_arcal._smoothing._grid import Grid, GridAxis

# Largest and mean error of a kernel mean of 0/1 values, by the number of axes.
LARGEST = {1: 1e-5, 2: 5e-5, 3: 1e-4, 4: 1e-4}
MEAN = {1: 1e-6, 2: 5e-6, 3: 1e-5, 4: 1e-5}


def rows_on(n_axes, n=3000, seed=0):
    rng = np.random.default_rng(seed)
    axes = rng.beta(3, 1.5, size=(n, n_axes))
    return axes, (rng.random(n) < axes[:, 0]).astype(float)[:, None], rng.integers(1, 4, n) * 1.0


def test_weights_are_the_centred_cubic_b_spline():
    axis = GridAxis.covering(0.0, 1.0, 0.1)
    positions = np.linspace(0, 1, 57)
    first, weights = axis.locate(positions)
    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    for k in range(4):
        node = axis.low + axis.step * (first + k)
        expected = np.nan_to_num(spline((positions - node) / axis.step))
        np.testing.assert_allclose(weights[k], expected, atol=1e-13)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-14)


def test_rows_at_the_ends_are_inside_and_rows_beyond_weigh_nothing():
    for low, high, step in [(0.1, 0.7, 0.1), (-3.3, 9.21, 0.0337), (0.0, 0.0, 1.0)]:
        axis = GridAxis.covering(low, high, step)
        first, weights = axis.locate(np.array([low, high, low - 9 * step, high + 9 * step]))
        np.testing.assert_allclose(weights.sum(axis=0), [1, 1, 0, 0], atol=1e-14)
        assert first.min() >= 0
        assert first.max() + 3 < axis.n_nodes


def test_spreading_and_reading_are_transposes():
    rng = np.random.default_rng(1)
    grid = Grid((GridAxis.covering(0, 1, 0.1), GridAxis.covering(0, 1, 0.07)))
    positions, columns = rng.random((40, 2)), rng.normal(size=(40, 3))
    table = rng.normal(size=(3, *grid.shape))
    spread = grid.spread(positions, columns)
    read = grid.read(table, positions)
    np.testing.assert_allclose((spread * table).sum(), (columns * read).sum(), rtol=1e-12)
    np.testing.assert_allclose(spread.sum(axis=(1, 2)), columns.sum(axis=0), atol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch):
    axes, values, _ = rows_on(2, n=500)
    bandwidth = np.array([0.1, 0.2])
    table = KernelTable.of(axes, bandwidth, values)
    whole = table.sums(axes)
    monkeypatch.setattr("sk_arcal._smoothing._grid._BLOCK_ROWS", 7)
    monkeypatch.setattr("sk_arcal._smoothing._grid._NODES_TO_A_ROW", 10**9)
    parts = KernelTable.of(axes, bandwidth, values)
    np.testing.assert_allclose(parts.table, table.table, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts.sums(axes)[0], whole[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_axes", [1, 2, 3, 4])
def test_sums_at_queries_are_those_of_the_definition(n_axes):
    axes, values, weight = rows_on(n_axes)
    query = np.random.default_rng(5).beta(3, 1.5, size=(300, n_axes))
    bandwidth = np.array([0.08, 0.15, 0.3, 0.4])[:n_axes] * (1 + (n_axes > 2) + (n_axes > 3))
    # Queries lie among the rows, as they do on an axis of ranks; no margin is needed.
    query = np.clip(query, axes.min(axis=0), axes.max(axis=0))
    exact = kernel_sums(query, axes, bandwidth, values, sample_weight=weight, algorithm="exact")
    found = KernelTable.of(axes, bandwidth, values, weight, margin=0.0).sums(query)
    np.testing.assert_allclose(found[1], exact[1], rtol=2e-4, atol=1e-4)
    kernel_mean = np.abs(found[0] / found[1][:, None] - exact[0] / exact[1][:, None])
    assert 0 < kernel_mean[exact[1] > 5].max() < LARGEST[n_axes]
    assert kernel_mean[exact[1] > 5].mean() < MEAN[n_axes]


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_is_that_of_the_definition(n_axes, weighted):
    axes, values, weight = rows_on(n_axes, n=1500)
    # A weight of half a row is taken away whole.
    weight = np.where(np.arange(1500) % 3, weight, 0.5) if weighted else None
    bandwidths = np.array([[0.03, 0.2, 0.4], [0.1, np.inf, np.inf], [0.3, 0.3, 0.3]])[:, :n_axes]
    exact = leave_one_out_sums(axes, bandwidths, values, sample_weight=weight, algorithm="exact")
    found = leave_one_out_sums(axes, bandwidths, values, sample_weight=weight, algorithm="binned")
    for k in range(len(bandwidths)):
        enough = exact[1][k] > 5
        error = found[0][k, :, 0] / found[1][k] - exact[0][k, :, 0] / exact[1][k]
        assert np.abs(error[enough]).max() < LARGEST[n_axes]
        np.testing.assert_allclose(found[1][k], exact[1][k], rtol=2e-4, atol=1e-4)


def test_the_error_falls_with_the_fourth_power_of_the_step(monkeypatch):
    axes, values, _ = rows_on(1)
    bandwidth = np.array([0.05])
    exact = kernel_sums(axes, axes, bandwidth, values, algorithm="exact")
    errors = []
    for steps in (STEPS_PER_BANDWIDTH, 2 * STEPS_PER_BANDWIDTH):
        monkeypatch.setattr("sk_arcal._smoothing._binned.STEPS_PER_BANDWIDTH", steps)
        sums, mass = kernel_sums(axes, axes, bandwidth, values, algorithm="binned")
        errors.append(np.abs(sums[:, 0] / mass - exact[0][:, 0] / exact[1]).mean())
    assert 10 < errors[0] / errors[1] < 24


def test_queries_far_from_all_rows_have_no_mass():
    axes, values, _ = rows_on(1)
    sums, mass = KernelTable.of(axes, np.array([0.05]), values).sums(np.array([[9.0], [-9.0]]))
    np.testing.assert_array_equal(mass, 0)
    np.testing.assert_array_equal(sums, 0)


def test_a_wide_axis_is_convolved_tap_by_tap_with_the_same_result(monkeypatch):
    axes, values, _ = rows_on(2)
    bandwidth = np.array([0.05, 0.1])
    dense = KernelTable.of(axes, bandwidth, values).table
    monkeypatch.setattr("sk_arcal._smoothing._grid._LARGEST_DENSE", 3)
    by_taps = KernelTable.of(axes, bandwidth, values).table
    np.testing.assert_allclose(by_taps, dense, rtol=1e-9, atol=1e-12)


def test_the_grid_depends_on_the_fitted_rows_alone():
    axes, _, _ = rows_on(2)
    bandwidth = np.array([0.05, 0.1])
    grid = grid_for(axes, bandwidth)
    for axis, column, h in zip(grid.axes, axes.T, bandwidth, strict=True):
        assert axis.step == h / STEPS_PER_BANDWIDTH
        assert axis.low < column.min() - 8 * h
        assert axis.low + axis.step * (axis.n_nodes - 3) > column.max() + 8 * h


def test_auto_is_exact_for_few_rows_many_axes_and_tiny_bandwidths():
    axes, _, _ = rows_on(4, n=5000)
    wide, tiny = np.full(4, 0.5), np.full(4, 1e-9)
    assert takes_grid("auto", axes[:, :2], wide[:2])
    assert not takes_grid("auto", axes[:900, :2], wide[:2])
    assert not takes_grid("auto", axes[:, :2], tiny[:2])
    assert not takes_grid("binned", axes[:, :2], tiny[:2])
    assert not takes_grid("auto", np.hstack([axes, axes]), np.full(8, 0.5))
    assert not takes_grid("exact", axes[:, :2], wide[:2])
    assert not takes_grid("auto", axes[:, :2], np.full(2, np.inf))
