"""Checks on arrays and options: what passes, what is refused, and in which words."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from sk_arcal._validation import (
    as_generator,
    check_events,
    check_groups,
    check_integer,
    check_number,
    check_option,
    check_probabilities,
    check_probability_matrix,
    check_vector,
    check_weights,
    import_optional,
    usable_device,
    value_range,
)

# --- vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1.0],
        (0, 1),
        range(2),
        np.array([[0], [1]]),
        np.array([False, True]),
        np.array([0, 1], dtype=object),
        np.array([0, 1], dtype=np.float16),
        np.array([0, 1], dtype=np.uint8),
        [Fraction(0), Decimal(1)],
        pd.Series([0, 1], dtype="Int64", index=[7, 3]),
        pd.DataFrame({"a": [0, 1]}),
        pl.Series([0, 1]),
        np.ma.masked_array([0, 1], mask=False),
    ],
    ids=lambda values: type(values).__name__,
)
def test_numbers_of_every_kind_become_a_float_vector(values):
    vector = check_vector(values, "values")
    assert vector.dtype == np.float64
    np.testing.assert_array_equal(vector, [0, 1])


@pytest.mark.parametrize(
    "values",
    [
        None,
        1.0,
        "abc",
        {1, 2},
        {1: 2},
        iter([1]),
        np.ones((1, 2)),
        np.ones((2, 2)),
        np.ones((1, 1, 1)),
        scipy.sparse.csr_array(np.ones((2, 1))),
    ],
    ids=lambda values: type(values).__name__,
)
def test_shapes_that_are_no_vector_are_refused(values):
    with pytest.raises(ValueError, match=r"`name` must have shape \(n_samples,\); got shape"):
        check_vector(values, "name")


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b"],
        ["1", "0"],
        [b"1"],
        np.array(["1", 0], dtype=object),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([1], dtype="m8[s]"),
        [1j],
        [10**400],
        pd.Categorical(["a", "b"]),
        np.zeros(2, dtype=[("a", float)]),
        [object()],
    ],
    ids=lambda values: type(values).__name__,
)
def test_what_holds_no_numbers_is_refused(values):
    with pytest.raises(TypeError, match=r"`name` must hold (real )?numbers; got"):
        check_vector(values, "name")


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, np.nan],
        [0, 1, -np.inf],
        [0, 1, None],
        pd.Series([0, 1, pd.NA], dtype="Int64"),
        pl.Series([0, 1, None]),
    ],
    ids=["nan", "inf", "none", "pandas", "polars"],
)
def test_the_first_row_without_a_number_is_named(values):
    with pytest.raises(ValueError, match=r"`name` must be finite; row 2 holds .*\(1 such values\)"):
        check_vector(values, "name")


def test_missing_numbers_pass_where_they_may():
    np.testing.assert_array_equal(check_vector([0, np.nan], "name", finite=False), [0, np.nan])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "`name` is empty; at least one row"),
        (np.ones((0, 1)), "`name` is empty"),
        ([[1], [1, 2]], "`name` is no array: its rows differ in length"),
        (np.ma.masked_array([1, 2], mask=[True, False]), "`name` has masked entries"),
        ([1, 2, 3], "`name` has 3 rows where 2 were expected"),
    ],
    ids=["empty", "empty-column", "ragged", "masked", "length"],
)
def test_vectors_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check_vector(values, "name", n_samples=2)


# --- events and probabilities --------------------------------------------------------------------


@pytest.mark.parametrize("events", [[0, 1], [False, True], [0.0, 1.0], pd.Series([0, 1])])
def test_events_pass(events):
    np.testing.assert_array_equal(check_events(events), [0, 1])


@pytest.mark.parametrize("events", [[0, 2], [0, -1], [1, 0.5]])
def test_other_events_are_refused_with_a_way_out(events):
    with pytest.raises(ValueError, match=rf"row 1 holds {events[1]:g}.*`y_true == event`"):
        check_events(events)


def test_probabilities_may_be_exactly_0_and_1():
    np.testing.assert_array_equal(check_probabilities([0, 1, -0.0]), [0, 1, 0])


def test_overshoot_by_rounding_is_cut_off():
    probability = check_probabilities([1 + 1e-7, -1e-7, 0.5])
    np.testing.assert_array_equal(probability, [1, 0, 0.5])


@pytest.mark.parametrize(("value", "shown"), [(1.5, "1.5"), (-2.0, "-2.0"), (1.00001, "1.00001")])
def test_what_is_no_probability_is_refused_and_shown(value, shown):
    with pytest.raises(ValueError, match=rf"\[0, 1\]; row 1 holds {shown}\. If these are logits"):
        check_probabilities([0.5, value])


def test_rows_of_a_matrix_are_rescaled_to_one():
    given = np.array([[0.3, 0.7], [0.5, 0.502]], dtype=np.float32)
    matrix = check_probability_matrix(given)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(matrix, given / given.sum(axis=1, keepdims=True), rtol=1e-6)


def test_rounding_below_0_and_above_1_is_cut_off_in_a_matrix():
    given = [[1 + 5e-7, -5e-7, 0.0], [0.25, 0.25, 0.5]]
    np.testing.assert_array_equal(check_probability_matrix(given), [[1, 0, 0], [0.25, 0.25, 0.5]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_every_row_of_a_long_matrix_is_rescaled_and_looked_at(order):
    given = np.asarray(np.random.default_rng(0).dirichlet(np.ones(3), 70_000), order=order) * 1.001
    matrix = check_probability_matrix(given)
    np.testing.assert_array_equal(matrix, given / given.sum(axis=1, keepdims=True))
    for value, message in [(np.nan, "be finite"), (-np.inf, "be finite"), (2.0, "lie in")]:
        wrong = given.copy()
        wrong[60_000, 1] = value
        with pytest.raises(ValueError, match=f"{message}.*; row 60000 holds {value}"):
            check_probability_matrix(wrong)


@pytest.mark.parametrize("row", [0, 16_383, 16_384, 39_999])
def test_every_row_of_a_long_vector_is_looked_at(row):
    values = np.full(40_000, 0.5)
    for wrong, message in [(np.nan, "be finite"), (np.inf, "be finite"), (-0.5, "lie in")]:
        values[row] = wrong
        with pytest.raises(ValueError, match=f"{message}.*; row {row} holds {wrong}"):
            check_probabilities(values)
    events = np.ones(40_000)
    events[row] = 0.5
    with pytest.raises(ValueError, match=rf"be 0 or 1 .*row {row} holds 0\.5"):
        check_events(events)
    with pytest.raises(ValueError, match=f"negative .*row {row} holds -1"):
        check_weights(np.where(events == 0.5, -1, 1), 40_000)
    # Not one piece of memory.
    assert value_range(np.repeat(events, 3)[::3]) == (0.5, 1.0)


def test_least_and_largest_of_nothing_are_zero():
    assert value_range(np.empty((0, 3))) == (0, 0)


def test_softmax_in_half_precision_passes():
    logits = np.random.default_rng(0).normal(size=(100, 50)).astype(np.float16)
    exponentials = np.exp(logits)
    check_probability_matrix(exponentials / exponentials.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 0.5], r"at least two classes; got shape \(2,\)"),
        ([[1.0]], r"at least two classes; got shape \(1, 1\)"),
        (np.ones((0, 3)), "is empty"),
        ([[0.5, 0.5], [1.0]], "its rows differ in length"),
        ([[0.5, 0.5], [0.3, 0.3]], r"must sum to one; row 1 sums to 0\.6"),
        ([[0.5, 0.5], [-1, 2]], r"lie in \[0, 1\]; row 1 holds -1\.0\. If these are logits"),
        ([[0.5, 0.5], [np.nan, 1]], "must be finite; row 1 holds nan"),
    ],
)
def test_what_is_no_matrix_of_probabilities_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check_probability_matrix(values)


def test_length_of_a_matrix_is_checked():
    with pytest.raises(ValueError, match="has 1 rows where 2 were expected"):
        check_probability_matrix([[0.5, 0.5]], n_samples=2)


# --- weights and groups --------------------------------------------------------------------------


def test_no_weights_mean_one_each():
    np.testing.assert_array_equal(check_weights(None, 3), [1, 1, 1])


def test_weights_may_be_zero():
    np.testing.assert_array_equal(check_weights([0, 2], 2), [0, 2])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -1], r"must not be negative \(a weight is a number of repetitions\); row 1 holds -1"),
        ([0, 0], "zero in every row"),
        ([1, np.nan], "must be finite; row 1 holds nan"),
        ([1, 1, 1], "3 rows where 2 were expected"),
        ([1e308, 1e308], "its sum overflows; rescale"),
        (2.0, r"got shape \(\)"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 2)


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([2, 1, 2], [1, 2]),
        ([2.5, 1.0, 2.5], [1.0, 2.5]),
        ([True, False, True], [False, True]),
        (pd.Categorical(["b", "a", "b"]), ["a", "b"]),
        (np.array(["nan", "a", "nan"], dtype=object), ["a", "nan"]),
    ],
)
def test_groups_are_named_and_coded(groups, names):
    found, codes = check_groups(groups, 3)
    assert found.tolist() == names
    np.testing.assert_array_equal(codes, [1, 0, 1])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1.0, np.nan], "must be finite; row 1 holds nan"),
        (["a", None], "`groups` is missing in row 1"),
        (np.array(["a", np.nan], dtype=object), "`groups` is missing in row 1"),
        (pd.Series(["a", pd.NA], dtype="string"), "`groups` is missing in row 1"),
        (pd.Categorical(["b", None]), "`groups` is missing in row 1"),
        ([[1], [2]], r"got shape \(2, 1\)"),
        ([1], "1 rows where 2 were expected"),
    ],
    ids=["nan", "none", "object-nan", "NA", "categorical", "2d", "length"],
)
def test_bad_groups_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        check_groups(groups, 2)


# --- options and numbers -------------------------------------------------------------------------


def test_option_passes():
    assert check_option("norm", "l1", ["l1", "l2"]) == "l1"


@pytest.mark.parametrize("value", ["L1", None, 1, ["l1"], np.array(["l1"])], ids=repr)
def test_other_options_are_refused_with_those_there_are(value):
    with pytest.raises(ValueError, match=r"`norm` must be one of 'l1', 'l2'; got"):
        check_option("norm", value, (word for word in ["l1", "l2"]))


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_integers_pass(value):
    assert check_integer("n", value, low=3) == 3


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (2, ValueError, "at least 3; got 2"),
        (3.0, TypeError, "must be an integer; got 3.0"),
        (True, TypeError, "must be an integer; got True"),
        ("3", TypeError, "must be an integer; got '3'"),
        (None, TypeError, "must be an integer; got None"),
    ],
)
def test_other_integers_are_refused(value, error, message):
    with pytest.raises(error, match=message):
        check_integer("n", value, low=3)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), Fraction(1, 2)])
def test_numbers_in_the_closed_interval_pass(value):
    assert check_number("delta", value, low=0, high=1) == float(value)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, r"must lie in \(0, 1\); got 0"),
        (np.nan, ValueError, "got nan"),
        (np.inf, ValueError, "got inf"),
        (True, TypeError, "must be a number; got True"),
        ("0.5", TypeError, "must be a number; got '0.5'"),
        (1j, TypeError, "must be a number"),
        (np.array(0.5), TypeError, "must be a number"),
    ],
)
def test_other_numbers_are_refused(value, error, message):
    with pytest.raises(error, match=message):
        check_number("delta", value, low=0, high=1, strict=True)


# --- random numbers and extras -------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: 7, lambda: np.int64(7), lambda: np.random.RandomState(7)])
def test_equal_seeds_give_equal_streams(make):
    first, second = as_generator(make()).random(3), as_generator(make()).random(3)
    np.testing.assert_array_equal(first, second)


def test_a_generator_is_used_as_it_is():
    generator = np.random.default_rng(0)
    assert as_generator(generator) is generator


def test_a_legacy_state_moves_on():
    state = np.random.RandomState(0)
    assert as_generator(state).random() != as_generator(state).random()


def test_no_seed_gives_a_fresh_stream():
    assert as_generator(None).random() != as_generator(None).random()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "`random_state` must be at least 0; got -1"),
        (True, TypeError, "`random_state` must be an integer; got True"),
        (1.5, TypeError, "a numpy RandomState or a numpy Generator; got float"),
        (np.random, TypeError, "got module"),
    ],
)
def test_other_seeds_are_refused(value, error, message):
    with pytest.raises(error, match=message):
        as_generator(value)


def test_an_optional_module_is_imported():
    assert import_optional("pandas", extra="report", caller="me") is pd


def test_a_missing_module_is_one_sentence_with_the_install_line():
    with pytest.raises(ImportError, match=r'^me needs no_such.*install "sk-arcal\[report\]"$'):
        import_optional("no_such.module", extra="report", caller="me")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "meta:x"])
def test_device_that_is_not_there_is_named(name):
    torch = pytest.importorskip("torch")
    with pytest.raises(
        ValueError, match=f"`device` is '{name}'.*in float64 here. Use device='cpu'"
    ):
        usable_device(torch, name, torch.float64)
    assert usable_device(torch, "cpu", torch.float64) == torch.device("cpu")
