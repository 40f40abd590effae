"""Routing columns as numbers for a network."""

import numpy as np
import pandas as pd
import pytest

from sk_arcal.diagnostics._conditional._profile import MAX_LEVELS, read_profile

NUMBERS = np.array([0.5, 1.5, 2.5, -1.0])
NAMES = np.array(["b", "a", "c", "a"])


def test_numbers_stay_as_they_are():
    np.testing.assert_array_equal(read_profile(NUMBERS, 4), NUMBERS[:, None])
    table = np.column_stack([NUMBERS, NUMBERS**2])
    np.testing.assert_array_equal(read_profile(table, 4), table)


def test_names_become_indicators():
    found = read_profile(NAMES, 4)
    np.testing.assert_array_equal(found, [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("make", [dict, pd.DataFrame])
def test_columns_of_a_mapping_or_frame_stand_side_by_side(make):
    found = read_profile(make({"depth": NUMBERS, "expert": NAMES}), 4)
    np.testing.assert_array_equal(found[:, 0], NUMBERS)
    np.testing.assert_array_equal(found[:, 1:], read_profile(NAMES, 4))


def test_of_two_levels_one_indicator_is_kept_and_of_many_the_frequent_ones():
    assert read_profile(np.array(["x", "y", "x", "x"]), 4).shape == (4, 1)
    names = np.array([f"e{k:02}" for k in range(20) for _ in range(1 + k)])
    found = read_profile(names, len(names))
    assert found.shape == (len(names), MAX_LEVELS)
    np.testing.assert_array_equal(found.sum(axis=0), np.arange(9, 21))


@pytest.mark.parametrize(
    ("routing", "match"),
    [
        (np.ones(3), r"`routing\[:, 0\]` has 3 rows where 4"),
        ({"depth": [1, 2, np.nan, 4]}, r"`routing\['depth'\]` must be finite"),
        ({}, "`routing` has no columns"),
        (np.ones((4, 2, 2)), r"`routing` must have shape \(n_samples,\) or"),
    ],
)
def test_refuses(routing, match):
    with pytest.raises(ValueError, match=match):
        read_profile(routing, 4)
