import numpy as np
import pytest

from sk_arcal.metrics import rank_groups


@pytest.mark.parametrize(("n_samples", "n_groups"), [(9, 3), (10, 3), (11, 4), (5, 5), (7, 1)])
def test_sizes_differ_by_at_most_one_even_when_all_values_are_equal(n_samples, n_groups):
    sizes = np.bincount(rank_groups(np.zeros(n_samples), n_groups))
    assert len(sizes) == n_groups
    assert sizes.max() - sizes.min() <= 1


def test_groups_follow_the_values(rng):
    values = rng.normal(size=100)
    codes = rank_groups(values)
    assert values[codes == 0].max() < values[codes == 1].min()
    assert values[codes == 1].max() < values[codes == 2].min()


def test_ties_are_cut_in_row_order():
    np.testing.assert_array_equal(rank_groups([1, 1, 1, 0, 1, 1]), [0, 1, 1, 0, 2, 2])


def test_many_ties_are_cut_in_row_order():
    np.testing.assert_array_equal(rank_groups(np.ones(999)), np.repeat([0, 1, 2], 333))


@pytest.mark.parametrize(
    ("values", "n_groups", "error", "match"),
    [
        ([1.0, 2.0], 3, ValueError, "cannot be cut from 2 rows"),
        ([], 3, ValueError, "`values` is empty"),
        ([1.0, np.nan, 2.0], 3, ValueError, "`values` must be finite"),
        (["a", "b", "c"], 3, TypeError, "`values` must hold numbers"),
        ([1.0, 2.0], 0, ValueError, "`n_groups` must be at least 1"),
        ([1.0, 2.0], 1.5, TypeError, "`n_groups` must be an integer"),
    ],
)
def test_refuses(values, n_groups, error, match):
    with pytest.raises(error, match=match):
        rank_groups(values, n_groups)
