import numpy as np
import pytest

from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums, error_from_gaps


def _edges(values, n_bins, weight=None, strategy="quantile"):
    values = np.asarray(values, dtype=float)
    weight = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=float)
    return bin_edges(values, weight, n_bins=n_bins, strategy=strategy)


@pytest.mark.parametrize("n_bins", [1, 2, 14, 15, 100])
def test_uniform_makes_exactly_n_bins(n_bins):
    assert len(_edges([0.3, 0.6], n_bins, strategy="uniform")) == n_bins + 1


def test_exact_0_is_in_the_first_bin_and_exact_1_in_the_last():
    edges = _edges([0.5], 15, strategy="uniform")
    np.testing.assert_array_equal(bin_codes(np.array([0.0, 1.0]), edges), [0, 14])


def test_a_value_on_an_edge_belongs_to_the_bin_below():
    edges = _edges([0.5], 4, strategy="uniform")
    np.testing.assert_array_equal(bin_codes(np.array([0.25, 0.5, 0.75]), edges), [0, 1, 2])


def test_codes_follow_the_definition(rng):
    values = np.concatenate([rng.random(500), np.linspace(0, 1, 61)])
    edges = _edges(values, 15, strategy="uniform")
    for value, code in zip(values, bin_codes(values, edges), strict=True):
        assert edges[code] < value <= edges[code + 1] or (value == 0 and code == 0)


@pytest.mark.parametrize(("n", "n_bins"), [(10, 3), (15, 15), (400, 15), (7, 2)])
def test_quantile_bins_differ_by_at_most_one_row_without_ties(n, n_bins, rng):
    values = rng.permutation(n) / n
    counts = np.bincount(bin_codes(values, _edges(values, n_bins)))
    assert len(counts) == n_bins
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("n_bins", [2, 5, 15, 60])
def test_quantile_bins_under_ties_are_never_empty_nor_of_zero_width(n_bins, rng):
    values = np.round(rng.beta(5, 1, 500), 1)
    edges = _edges(values, n_bins)
    assert (np.diff(edges) > 0).all()
    counts = np.bincount(bin_codes(values, edges), minlength=len(edges) - 1)
    assert (counts > 0).all()
    assert len(counts) <= n_bins


@pytest.mark.parametrize("values", [[0.0] * 9 + [1.0], [0.0, 1.0] * 5])
def test_quantile_bins_with_atoms_at_the_ends_have_width(values):
    np.testing.assert_array_equal(_edges(values, 4), [0, 0.5, 1])


def test_rows_too_few_for_a_quantile_bin_merge_with_the_atom_above():
    np.testing.assert_array_equal(_edges([0.0] + [1.0] * 9, 4), [0, 1])


def test_constant_confidence_is_one_quantile_bin():
    np.testing.assert_array_equal(_edges([0.3] * 20, 15), [0, 1])


def test_fewer_rows_than_quantile_bins_give_a_bin_each():
    values = np.array([0.1, 0.5, 0.9])
    np.testing.assert_array_equal(bin_codes(values, _edges(values, 15)), [0, 1, 2])


def test_neighbouring_floats_fall_into_different_quantile_bins():
    values = np.array([0.3, np.nextafter(0.3, 1), np.nextafter(np.nextafter(0.3, 1), 1)])
    np.testing.assert_array_equal(bin_codes(values, _edges(values, 3)), [0, 1, 2])


def test_quantile_edges_with_weights_equal_those_of_repeated_rows(rng):
    values, weight = np.round(rng.random(100), 2), rng.integers(1, 5, 100)
    np.testing.assert_array_equal(_edges(values, 7, weight), _edges(np.repeat(values, weight), 7))


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1e-6, 1e6])
def test_quantile_edges_do_not_depend_on_the_scale_of_the_weights(scale, rng):
    values = rng.random(300)
    np.testing.assert_array_equal(_edges(values, 15, np.full(300, scale)), _edges(values, 15))


def test_bin_sums_keep_empty_bins():
    np.testing.assert_array_equal(bin_sums(np.array([2, 0, 2]), np.ones(3), 4), [1, 0, 2, 0])


def test_error_from_gaps_ignores_empty_bins():
    gap, mass = np.array([0.4, 0.0, -0.6]), np.array([1.0, 0.0, 3.0])
    assert error_from_gaps(gap, mass, "l1") == pytest.approx(1.0 / 4)
    assert error_from_gaps(gap, mass, "l2") == pytest.approx(np.sqrt((0.16 + 3 * 0.04) / 4))
