"""The kernel engine against its definition."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

from sk_arcal._smoothing import (
    axis_deviation,
    kernel_sums,
    leave_one_out_sums,
    scott_bandwidth,
)

BANDWIDTHS = np.array(
    [
        [0.8, 0.4, np.inf],
        [0.4, 0.4, 0.2],
        [0.2, np.inf, 0.2],
        [np.inf, np.inf, 0.1],
        [np.inf, np.inf, np.inf],
        [0.3, 0.7, 0.11],
    ]
)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), rng.normal(size=(60, 2)), rng.integers(1, 4, 60)


def by_definition(query, train, bandwidth, values, weight):
    """Two nested loops, as the formula reads."""
    sums, mass = np.zeros((len(query), values.shape[1])), np.zeros(len(query))
    for i, x in enumerate(query):
        for j, other in enumerate(train):
            kernel = weight[j] * np.exp(-0.5 * np.sum(((x - other) / bandwidth) ** 2))
            sums[i] += kernel * values[j]
            mass[i] += kernel
    return sums, mass


@pytest.mark.parametrize("bandwidth", BANDWIDTHS, ids=str)
def test_kernel_sums_follow_the_definition(rows, bandwidth):
    axes, values, weight = rows
    query = np.random.default_rng(1).normal(size=(7, 3))
    expected = by_definition(query, axes, bandwidth, values, weight)
    found = kernel_sums(query, axes, bandwidth, values, sample_weight=weight.astype(float))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


def test_mass_is_a_kernel_density(rows):
    axes, values, _ = rows
    _, mass = kernel_sums(axes, axes, np.full(3, 0.3), values)
    density = np.exp(KernelDensity(bandwidth=0.3).fit(axes).score_samples(axes))
    np.testing.assert_allclose(mass, density * len(axes) * (2 * np.pi * 0.3**2) ** 1.5, rtol=1e-9)


def test_leave_one_out_sums_are_the_sums_without_the_row(rows):
    axes, values, _ = rows
    sums, mass = leave_one_out_sums(axes, BANDWIDTHS, values)
    for candidate, bandwidth in enumerate(BANDWIDTHS):
        for i in range(0, len(axes), 7):
            others = np.arange(len(axes)) != i
            expected = kernel_sums(axes[[i]], axes[others], bandwidth, values[others])
            np.testing.assert_allclose(sums[candidate, i], expected[0][0], atol=1e-12)
            np.testing.assert_allclose(mass[candidate, i], expected[1][0], atol=1e-12)


def test_bandwidths_searched_together_equal_each_alone(rows):
    axes, values, _ = rows
    sums, mass = leave_one_out_sums(axes, BANDWIDTHS, values)
    for candidate, bandwidth in enumerate(BANDWIDTHS):
        alone = leave_one_out_sums(axes, bandwidth[None], values)
        np.testing.assert_allclose(sums[candidate], alone[0][0], atol=1e-11)
        np.testing.assert_allclose(mass[candidate], alone[1][0], atol=1e-11)


def test_order_of_candidates_is_the_order_of_the_answer(rows):
    axes, values, _ = rows
    sums, mass = leave_one_out_sums(axes, BANDWIDTHS, values)
    backwards = leave_one_out_sums(axes, BANDWIDTHS[::-1], values)
    np.testing.assert_allclose(backwards[0][::-1], sums, atol=1e-12)
    np.testing.assert_allclose(backwards[1][::-1], mass, atol=1e-12)


def test_repeated_halving_keeps_full_precision(rows):
    axes, values, _ = rows
    halves = 8.0 * 0.5 ** np.arange(7)[:, None]
    _, mass = leave_one_out_sums(axes[:, :1], halves, values)
    for h, found in zip(halves, mass, strict=True):
        _, expected = by_definition(axes[:, :1], axes[:, :1], h, values, np.ones(len(axes)))
        np.testing.assert_allclose(found + 1, expected, rtol=1e-12)


@pytest.mark.parametrize("block_bytes", [1, 5000, 1 << 30])
def test_block_size_does_not_matter(rows, block_bytes):
    axes, values, _ = rows
    for function, bandwidth in ((kernel_sums, BANDWIDTHS[1]), (leave_one_out_sums, BANDWIDTHS)):
        positions = (axes, axes) if function is kernel_sums else (axes,)
        expected = function(*positions, bandwidth, values)
        found = function(*positions, bandwidth, values, block_bytes=block_bytes)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-12)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_an_infinite_bandwidth_drops_the_axis(rows):
    axes, values, _ = rows
    dropped = kernel_sums(axes, axes, np.array([0.5, np.inf, 0.3]), values)
    without = kernel_sums(axes[:, [0, 2]], axes[:, [0, 2]], np.array([0.5, 0.3]), values)
    np.testing.assert_array_equal(dropped[0], without[0])
    np.testing.assert_array_equal(dropped[1], without[1])


def test_all_axes_off_sums_everything(rows):
    axes, values, _ = rows
    sums, mass = kernel_sums(axes[:4], axes, np.full(3, np.inf), values)
    np.testing.assert_allclose(sums, np.tile(values.sum(axis=0), (4, 1)), rtol=1e-12)
    np.testing.assert_array_equal(mass, 60)


def test_weights_are_repetitions(rows):
    axes, values, weight = rows
    query = axes[:9] + 0.1
    repeated, repeated_values = np.repeat(axes, weight, axis=0), np.repeat(values, weight, axis=0)
    found = kernel_sums(query, axes, BANDWIDTHS[1], values, sample_weight=weight.astype(float))
    expected = kernel_sums(query, repeated, BANDWIDTHS[1], repeated_values)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_leaving_out_takes_away_one_repetition(rows):
    axes, values, weight = rows
    repeated, repeated_values = np.repeat(axes, weight, axis=0), np.repeat(values, weight, axis=0)
    first = np.cumsum(weight) - weight
    sums, mass = leave_one_out_sums(axes, BANDWIDTHS, values, sample_weight=weight.astype(float))
    expected = leave_one_out_sums(repeated, BANDWIDTHS, repeated_values)
    np.testing.assert_allclose(sums, expected[0][:, first], atol=1e-11)
    np.testing.assert_allclose(mass, expected[1][:, first], atol=1e-11)


def test_leaving_out_a_row_of_small_weight_takes_all_of_it(rows):
    axes, values, _ = rows
    far = axes.copy()
    far[0] = 1e3
    weight = np.full(60, 0.25)
    sums, mass = leave_one_out_sums(far, BANDWIDTHS[[1]], values, sample_weight=weight)
    np.testing.assert_allclose(sums[0, 0], 0, atol=1e-15)
    assert mass[0, 0] == 0


def test_a_query_far_from_all_rows_has_no_mass(rows):
    axes, values, _ = rows
    sums, mass = kernel_sums(np.full((1, 3), 1e200), axes, np.full(3, 1e-3), values)
    assert mass[0] == 0
    assert (sums == 0).all()


def test_memory_is_bounded():
    rng = np.random.default_rng(0)
    axes, values = rng.random((3000, 2)), rng.random((3000, 1))
    # A full matrix would take 72 MB.
    tracemalloc.start()
    kernel_sums(axes, axes, np.array([0.1, 0.1]), values, block_bytes=1 << 20)
    leave_one_out_sums(axes, np.array([[0.1, 0.1], [0.2, 0.1]]), values, block_bytes=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * (1 << 20)


# --- bandwidth by rule --------------------------------------------------------------------------


def test_scott_bandwidth_is_that_of_scipy(rows):
    axes, _, _ = rows
    expected = gaussian_kde(axes.T).scotts_factor() * axes.std(axis=0)
    np.testing.assert_allclose(scott_bandwidth(axes), expected, rtol=1e-12)


def test_scott_bandwidth_ignores_an_axis_without_variation(rows):
    axes, _, _ = rows
    axes[:, 1] = 0.1
    found = scott_bandwidth(axes)
    assert found[1] == np.inf
    np.testing.assert_allclose(found[[0, 2]], scott_bandwidth(axes[:, [0, 2]]), rtol=1e-12)


def test_scott_bandwidth_takes_weights_as_repetitions(rows):
    axes, _, weight = rows
    found = scott_bandwidth(axes, weight.astype(float))
    np.testing.assert_allclose(found, scott_bandwidth(np.repeat(axes, weight, axis=0)), rtol=1e-12)


def test_deviation_of_equal_values_is_exactly_zero():
    # The mean of three times 0.1 is not 0.1 in floating point.
    assert axis_deviation(np.full((3, 1), 0.1))[0] == 0


def test_deviation_of_huge_positions():
    axes = np.random.default_rng(0).normal(size=(20, 1))
    np.testing.assert_allclose(axis_deviation(1e300 * axes), 1e300 * axes.std(), rtol=1e-12)


def test_single_precision_gives_the_same_means_to_six_digits(rows):
    axes, values, weight = rows
    double, mass = leave_one_out_sums(axes, BANDWIDTHS, values, sample_weight=weight * 1.0)
    single, single_mass = leave_one_out_sums(
        axes, BANDWIDTHS, values, sample_weight=weight * 1.0, dtype=np.float32
    )
    enough = mass > 1
    found = single[..., 0][enough] / single_mass[enough]
    expected = double[..., 0][enough] / mass[enough]
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert np.abs(found - expected).max() > 0
