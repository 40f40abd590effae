import numpy as np
import pytest
from scipy.stats import rankdata

from sk_arcal.diagnostics._confidence_bins import confidence_bins, default_n_bins, tie_midranks


@pytest.fixture
def saturated():
    """Half-precision confidences, half of them exactly one."""
    draws = np.random.default_rng(0).beta(8, 1, 3000)
    return np.minimum(1.1 * draws, 1).astype(np.float16).astype(float)


@pytest.mark.parametrize(("n", "expected"), [(10, 5), (2500, 20), (10_000, 32), (10**6, 60)])
def test_default_number_of_bins_is_one_and_a_half_cube_roots(n, expected):
    assert default_n_bins(n) == expected


def test_bins_without_ties_are_quantiles():
    confidence = np.random.default_rng(0).random(2500)
    codes, n_bins = confidence_bins(confidence)
    assert n_bins == 20
    np.testing.assert_array_equal(np.bincount(codes), np.full(20, 125))
    np.testing.assert_array_equal(np.argsort(confidence), np.lexsort((confidence, codes)))


def test_equal_confidences_are_never_parted(saturated):
    codes, _ = confidence_bins(saturated)
    for value in np.unique(saturated):
        assert len(np.unique(codes[saturated == value])) == 1


def test_heavy_tie_has_a_bin_of_its_own_and_parts_its_neighbours():
    confidence = np.r_[np.linspace(0.1, 0.499, 100), np.full(60, 0.5), np.linspace(0.501, 1, 100)]
    codes, n_bins = confidence_bins(confidence, 5)
    own = codes[confidence == 0.5][0]
    assert set(confidence[codes == own]) == {0.5}
    assert codes[confidence < 0.5].max() < own < codes[confidence > 0.5].min()
    assert n_bins == codes.max() + 1


def test_no_bin_but_a_tie_has_fewer_than_thirty_rows(saturated):
    for confidence in (saturated, saturated[:217], np.round(saturated, 2)[:700]):
        codes, _ = confidence_bins(confidence)
        small = np.flatnonzero(np.bincount(codes) < 30)
        assert all(len(np.unique(confidence[codes == b])) == 1 for b in small)


def test_bins_are_read_the_same_from_either_end(saturated):
    codes, n_bins = confidence_bins(saturated)
    mirrored, _ = confidence_bins(1 - saturated)
    np.testing.assert_array_equal(mirrored, n_bins - 1 - codes)


def test_increasing_map_and_row_order_change_nothing(saturated):
    codes, _ = confidence_bins(saturated)
    np.testing.assert_array_equal(confidence_bins(saturated**3)[0], codes)
    rows = np.random.default_rng(1).permutation(len(saturated))
    np.testing.assert_array_equal(confidence_bins(saturated[rows])[0], codes[rows])


@pytest.mark.parametrize("confidence", [np.full(500, 0.7), np.linspace(0, 1, 20), [0.5]])
def test_one_bin_where_more_are_impossible(confidence):
    codes, n_bins = confidence_bins(confidence)
    assert n_bins == 1
    assert not codes.any()


@pytest.mark.parametrize(
    ("confidence", "n_bins", "error"),
    [([0.5, 1.2], None, ValueError), ([0.5, np.nan], None, ValueError), ([0.5], 0, ValueError),
     ([0.5], 2.5, TypeError)],
)  # fmt: skip
def test_bad_input_is_refused(confidence, n_bins, error):
    with pytest.raises(error, match=r"y_prob|n_bins"):
        confidence_bins(confidence, n_bins)


def test_midranks_agree_with_scipy(saturated):
    expected = (rankdata(saturated) - 0.5) / len(saturated)
    np.testing.assert_allclose(tie_midranks(saturated), expected)
