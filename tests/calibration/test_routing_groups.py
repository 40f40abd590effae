"""Groups of routing: what a rank and a value are, ties, names, and rows that `fit` has not seen."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_arcal.calibration._groups._routing_groups import RoutingGroups, equal_mass_edges


def fitted(routing, weight=None, n_groups=3, interactions=False):
    routing = np.asarray(routing, dtype=float)
    weight = np.ones(len(routing)) if weight is None else np.asarray(weight, dtype=float)
    columns = np.arange(routing.shape[1])
    return RoutingGroups.fit(routing, columns, weight, n_groups=n_groups, interactions=interactions)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 30])
def test_parts_without_ties_differ_by_one_row_at_most(n_parts):
    values = np.random.default_rng(0).permutation(100.0 + np.arange(30))
    edges = equal_mass_edges(values, np.ones(30), n_parts)
    sizes = np.bincount(np.searchsorted(edges, values, side="right"))
    assert len(sizes) == n_parts
    assert np.ptp(sizes) <= 1


def test_parts_have_equal_weight_not_equally_many_rows():
    edges = equal_mass_edges(np.arange(5.0), np.array([1.0, 1, 1, 1, 4]), 2)
    assert_array_equal(edges, [3.5])


def test_ties_stay_together():
    assert_array_equal(equal_mass_edges(np.r_[np.zeros(9), 1.0], np.ones(10), 3), [0.5])
    assert len(equal_mass_edges(np.zeros(9), np.ones(9), 3)) == 0


def test_neighbours_within_the_tolerance_stay_together():
    values = np.array([0.0, 1e-12, 2e-12, 1.0])
    assert_array_equal(equal_mass_edges(values, np.ones(4), 4, tie=1e-9), [0.5 + 1e-12])


def test_an_edge_tells_neighbouring_doubles_apart():
    values = np.array([1.0, np.nextafter(1.0, 2.0)])
    edges = equal_mass_edges(values, np.ones(2), 2)
    assert_array_equal(np.searchsorted(edges, values, side="right"), [0, 1])


def test_few_values_are_groups_of_their_own_and_a_new_one_goes_to_the_nearest():
    groups = fitted(np.arange(10.0).repeat([91, *[1] * 9])[:, None])
    assert len(groups.names(["expert"])) == 1 + 10
    assert_array_equal(groups.codes(np.array([[0.4], [0.6], [8.7], [50.0]]))[:, 1], [1, 2, 10, 10])


def test_a_new_value_on_an_edge_is_above_it_as_the_name_says():
    groups = fitted([[0.0], [1.0]])
    assert groups.names(["x"]) == ("all rows", "x < 0.5", "0.5 <= x")
    assert_array_equal(groups.codes(np.array([[0.5]])), [[0, 2]])


def test_eleven_values_are_cut_by_rank():
    groups = fitted(np.arange(11.0)[:, None])
    assert len(groups.names(["depth"])) == 1 + 3


def test_as_many_values_as_groups_are_wanted_are_values():
    values = np.arange(12.0).repeat([20, *[1] * 11])[:, None]
    assert len(fitted(values, n_groups=12).names(["depth"])) == 1 + 12


@pytest.mark.parametrize("interactions", [False, True])
def test_the_groups_of_a_family_share_out_all_rows(interactions):
    routing = np.random.default_rng(1).random((200, 3))
    groups = fitted(routing, interactions=interactions)
    codes, names = groups.codes(routing), groups.names(["a", "b", "c"])
    assert codes.shape == (200, 7 if interactions else 4)
    assert_array_equal(np.unique(codes), np.arange(len(names)))
    assert [len(np.unique(column)) for column in codes.T] == [1, 3, 3, 3, 9, 9, 9][: codes.shape[1]]


def test_names_say_who_is_in_a_group():
    routing = np.random.default_rng(2).random((300, 2))
    groups = fitted(routing, interactions=True)
    codes, names = groups.codes(routing), groups.names(["a", "b"])
    values = dict(zip("ab", routing.T, strict=True))
    assert names[0] == "all rows"
    for group, name in enumerate(names[1:], start=1):
        inside = np.ones(300, dtype=bool)
        for part in name.split(" and "):
            low, column, high = read_interval(part)
            inside &= (low <= values[column]) & (values[column] < high)
        # Names round the edges to four digits.
        assert np.count_nonzero(inside != (codes == group).any(axis=1)) <= 1


def read_interval(text):
    words = text.replace("<=", "<").split(" < ")
    low = float(words.pop(0)) if words[0] not in "ab" else -np.inf
    return low, words[0], float(words[1]) if len(words) > 1 else np.inf


def test_weight_is_repetition():
    rng = np.random.default_rng(3)
    routing, weight = rng.random((60, 1)), rng.integers(1, 5, 60)
    one, two = fitted(routing, weight), fitted(routing.repeat(weight, axis=0))
    assert_array_equal(one.codes(routing), two.codes(routing))


def test_without_columns_all_rows_are_one_group():
    groups = fitted(np.empty((4, 0)), interactions=True)
    assert groups.names([]) == ("all rows",)
    assert_array_equal(groups.codes(np.empty((2, 0))), [[0], [0]])
