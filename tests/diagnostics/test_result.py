import dataclasses

import numpy as np
import pytest

from sk_arcal.diagnostics import conditional_calibration_test, conditional_calibration_tests


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.5, 1, 800), rng.normal(size=800)
    return rng.random(800) < confidence - 0.1 * (routing > 1), confidence, routing


@pytest.fixture(scope="module")
def result(table):
    return conditional_calibration_test(*table, random_state=0)


def test_result_is_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.pvalue = 0.5


def test_repr_shows_what_a_reader_needs(result):
    text = repr(result)
    assert text.splitlines()[0] == "ConditionalCalibrationResult"
    for piece in (f"{result.pvalue:.3g}", result.leading, f"{result.gap:+.4f}", "800 rows"):
        assert piece in text
    assert f"{result.min_detectable_gap:.4f}" in text


def test_repr_of_an_unanswered_question_says_why(table):
    events, confidence, _ = table
    result = conditional_calibration_test(events, confidence, confidence)
    assert "no answer" in repr(result)
    assert result.notes[0] in repr(result)
    assert "nan" not in repr(result)


def test_frame_has_a_column_for_each_number(result):
    frame = result.to_frame()
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["pvalue"] == result.pvalue
    assert row["pvalue_scan"] == result.component_pvalues["scan"]
    assert (row["gap_interval_low"], row["gap_interval_high"]) == result.gap_interval
    assert row["equivalence_interval_high"] == result.equivalence_interval[1]
    assert frame.map(np.isscalar).drop(columns="n_groups").all(axis=None)


def test_frame_of_several_features_has_a_row_for_each(table):
    events, confidence, routing = table
    tests = conditional_calibration_tests(
        events, confidence, {"depth": routing, "same": confidence}, random_state=0
    )
    frame = tests.to_frame().set_index("feature")
    assert frame.loc["depth", "pvalue_adjusted"] == tests.pvalue_adjusted["depth"]
    assert not frame.loc["same", "identifiable"]
    lines = repr(tests).splitlines()
    assert lines[2].startswith("depth")
    assert tests.results["depth"].leading in lines[2]
    assert len(lines) == 4


def test_draws_are_kept_for_a_picture_and_out_of_the_way(result):
    assert set(result.component_statistics) == set(result.component_pvalues)
    for name, pvalue in result.component_pvalues.items():
        draws = result.null_statistics[name]
        assert draws.shape == (result.n_resamples,)
        at_least = 1 + np.sum(draws >= result.component_statistics[name] - 1e-9)
        assert pvalue == at_least / (1 + result.n_resamples)
    for text in (repr(result), " ".join(result.to_frame().columns)):
        assert "null_statistics" not in text
        assert "component_statistics" not in text


def test_results_are_equal_whatever_they_keep_for_a_picture(table, result):
    assert conditional_calibration_test(*table, random_state=0) == result


def test_bound_for_any_shape_is_said_in_one_line(result):
    line = next(line for line in repr(result).splitlines() if "any shape" in line)
    shown = "shown" if result.equivalent_any_shape else "not shown"
    assert line.split(maxsplit=2)[2].startswith(f"{shown} within 0.05")
    assert f"{result.rms_gap_bound:.4f}" in line
    assert result.to_frame().loc[0, "noncentrality_bound"] == result.noncentrality_bound


def test_unanswered_question_keeps_nothing(table):
    events, confidence, _ = table
    result = conditional_calibration_test(events, confidence, confidence)
    assert result.component_statistics == result.null_statistics == {}
    assert np.isnan([result.noncentrality_bound, result.rms_gap_bound]).all()
    assert not result.equivalent_any_shape


def test_cells_are_in_the_result_and_not_in_its_row(table):
    result = conditional_calibration_test(*table, method="cells", n_resamples=99, random_state=0)
    assert len(result.cells.to_frame()) == 3 * result.n_bins
    frame = result.to_frame()
    assert "cells" not in frame
    assert frame.loc[0, "pvalue_cells"] == result.pvalue
    assert frame.loc[0, "method"] == "cells"
