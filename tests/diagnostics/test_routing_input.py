import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_arcal.diagnostics._conditional._routing_input import read_routing


@pytest.mark.parametrize(
    ("routing", "kind"),
    [
        (np.linspace(0, 1, 13), "continuous"),
        (np.arange(24) % 12, "discrete"),
        (np.arange(24) % 2 == 0, "discrete"),
        (np.resize(["expert a", "expert b"], 24), "nominal"),
        (pd.Series(np.resize(["a", "b", "c"], 24), dtype="category"), "nominal"),
        (pl.Series(["a", "b"] * 12), "nominal"),
        (pd.Series(np.arange(24) % 3, dtype="Int64"), "discrete"),
        (np.array([1, 2.5, True, 4] * 6, dtype=object), "discrete"),
    ],
)
def test_auto_reads_what_the_values_are(routing, kind):
    assert read_routing(routing, "routing", "auto", len(routing)).kind == kind


def test_levels_are_numbered_in_increasing_order():
    values = read_routing([2.5, -1, 7, 2.5], "routing", "auto", 4)
    assert values.levels == ("-1", "2.5", "7")
    assert values.codes.tolist() == [1, 0, 2, 1]
    assert values.numbers.tolist() == [2.5, -1, 7, 2.5]


def test_numbers_can_be_read_as_names():
    values = read_routing(np.arange(30) % 15, "routing", "nominal", 30)
    assert values.kind == "nominal"
    assert values.levels[:3] == ("0", "1", "2")


def test_few_numbers_can_be_read_as_continuous():
    values = read_routing(np.arange(30) % 2, "routing", "continuous", 30)
    assert values.kind == "continuous"
    assert values.levels == ()


@pytest.mark.parametrize(
    ("routing", "row"),
    [
        ([0.1, np.nan, 0.3], 1),
        ([0.1, 0.2, np.inf], 2),
        ([0.1, None, 0.3], 1),
        (["a", "b", None], 2),
        (pd.Series(["a", np.nan, "b"]), 1),
        (pd.Series([1, 2, pd.NA], dtype="Int64"), 2),
        (pd.Series(["a", pd.NA, "b"], dtype="string"), 1),
    ],
)
def test_missing_value_is_refused_with_its_row(routing, row):
    with pytest.raises(ValueError, match=f"`routing`.*row {row}.*[Dd]rop"):
        read_routing(routing, "routing", "auto", 3)


def test_matrix_is_refused_with_the_function_for_it():
    with pytest.raises(ValueError, match="conditional_calibration_tests"):
        read_routing(np.ones((3, 2)), "routing", "auto", 3)


def test_column_of_a_matrix_passes():
    assert read_routing([[1], [2], [2]], "routing", "auto", 3).codes.tolist() == [0, 1, 1]


def test_names_have_no_order():
    with pytest.raises(TypeError, match="no order"):
        read_routing(["a", "b"], "routing", "continuous", 2)


def test_unknown_kind_and_wrong_length_are_refused():
    with pytest.raises(ValueError, match="routing_kind"):
        read_routing([1, 2], "routing", "ordinal", 2)
    with pytest.raises(ValueError, match=r"`routing` has 2 rows where 3"):
        read_routing([1, 2], "routing", "auto", 3)
