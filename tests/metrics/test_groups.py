import numpy as np
import pytest

from sk_arcal.metrics import (
    expected_calibration_error,
    group_calibration_error,
    worst_group_calibration_error,
)


@pytest.fixture
def groups(rng):
    return np.array(["a", "b", "c"])[rng.choice(3, 400, p=[0.6, 0.3, 0.1])]


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_error_of_a_group_is_that_of_its_rows(strategy, norm, events, groups):
    y_true, y_prob = events
    result = group_calibration_error(y_true, y_prob, groups, strategy=strategy, norm=norm)
    expected = [
        expected_calibration_error(
            y_true[groups == g], y_prob[groups == g], strategy=strategy, norm=norm
        )
        for g in "abc"
    ]
    np.testing.assert_allclose(result.errors, expected)


def test_names_and_counts(events, groups):
    result = group_calibration_error(*events, groups)
    assert result.names.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(result.counts, [(groups == g).sum() for g in "abc"])


def test_worst_is_the_largest_error(events, groups):
    result = group_calibration_error(*events, groups)
    assert worst_group_calibration_error(*events, groups) == result.errors.max() == result.worst
    assert result.worst_group == result.names[result.errors.argmax()]


def test_one_group_is_the_error_of_all_rows(events):
    error = worst_group_calibration_error(*events, np.zeros(400, dtype=int))
    assert error == pytest.approx(expected_calibration_error(*events))


def test_group_with_one_outcome_only():
    result = group_calibration_error([1, 1, 0, 1], [0.9, 0.8, 0.4, 0.6], ["x", "x", "y", "y"])
    np.testing.assert_allclose(result.errors, [0.15, 0.4])


def test_group_of_a_single_member():
    result = group_calibration_error([1, 0, 1], [0.9, 0.2, 0.3], [7, 7, 9])
    np.testing.assert_allclose(result.errors, [0.15, 0.7])


def test_group_without_weight_is_absent():
    result = group_calibration_error(
        [1, 0, 1], [0.9, 0.2, 0.3], ["x", "y", "z"], sample_weight=[1, 0, 2]
    )
    assert result.names.tolist() == ["x", "z"]
    np.testing.assert_array_equal(result.counts, [1, 2])


def test_category_without_rows_is_absent():
    pandas = pytest.importorskip("pandas")
    groups = pandas.Series(["x", "y"], dtype=pandas.CategoricalDtype(["x", "y", "never"]))
    assert group_calibration_error([0, 1], [0.2, 0.9], groups).names.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ([0, 1], "`groups` has 2 rows where 3"),
        ([[0], [1], [1]], r"`groups` must have shape \(n_samples,\)"),
        ([0.0, np.nan, 1.0], "`groups` must be finite"),
    ],
)
def test_refuses_bad_groups(groups, match):
    with pytest.raises(ValueError, match=match):
        group_calibration_error([0, 1, 1], [0.2, 0.5, 0.7], groups)


def test_refuses_unknown_norm(events, groups):
    with pytest.raises(ValueError, match="`norm` must be one of"):
        worst_group_calibration_error(*events, groups, norm="max")


def test_frame_and_text_have_a_line_per_group(events, groups):
    pytest.importorskip("pandas")
    result = group_calibration_error(*events, groups)
    assert list(result.to_frame()) == ["names", "errors", "counts"]
    assert len(repr(result).splitlines()) == 4
