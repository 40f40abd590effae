"""The forest plot shows the gap of every run and of all."""

from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.diagnostics._runs_test import conditional_calibration_runs
from sk_arcal.displays._runs_gap import RunsGapDisplay


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, (3, 300))
    routing = rng.random((3, 300, 2))
    right = rng.random((3, 300)) < confidence - 0.1 + 0.4 * (routing[:, :, 0] - 0.5)
    routing[:, :, 1] = confidence
    return conditional_calibration_runs(
        right, confidence, np.dstack([routing, rng.random((3, 300))]),
        feature_names=["_cost $", "confidence", "übrig $"],
        run_names=["$a$", "_b", "c"], delta=0.03, n_resamples=19, random_state=0,
    )  # fmt: skip


def test_frame_holds_the_gaps_of_the_result(runs):
    frame = RunsGapDisplay.from_result(runs).frame()
    for name, result in runs.results.items():
        part = frame[frame["feature"] == name]
        of_runs = part[~part["pooled"]].set_index("run")
        pooled = part[part["pooled"]].iloc[0]
        np.testing.assert_array_equal(of_runs["gap"], list(result.run_gaps.values()))
        np.testing.assert_array_equal(
            of_runs[["low", "high"]], list(result.run_gap_intervals.values())
        )
        assert of_runs.index.tolist() == ["$a$", "_b", "c"]
        np.testing.assert_array_equal(
            [pooled["gap"], pooled["low"], pooled["high"]], [result.gap, *result.gap_interval]
        )


def test_points_and_intervals_carry_the_gaps(runs):
    display = RunsGapDisplay.from_result(runs)
    result = runs.results["_cost $"]
    of_runs, pooled = display.ax_.lines[1:3]
    np.testing.assert_allclose(of_runs.get_xdata(), 100 * np.array([*result.run_gaps.values()]))
    np.testing.assert_allclose(pooled.get_xdata(), 100 * result.gap)
    segments = [segment[:, 0] for c in display.ax_.collections[:2] for segment in c.get_segments()]
    expected = [*result.run_gap_intervals.values(), result.gap_interval]
    np.testing.assert_allclose(segments, 100 * np.array(expected))
    assert pooled.get_ydata()[0] > max(of_runs.get_ydata())
    assert display.ax_.yaxis_inverted()


def test_diamond_is_full_if_its_interval_excludes_zero(runs):
    display = RunsGapDisplay.from_result(runs)
    diamonds = [line for line in display.ax_.lines if line.get_marker() == "D"]
    fills = [line.get_fillstyle() == "full" for line in diamonds]
    known = display.frame().query("pooled").dropna()
    assert fills == ((known["low"] > 0) | (known["high"] < 0)).tolist() == [True, False]


def test_feature_without_an_answer_says_so(runs):
    assert not runs.results["confidence"].identifiable
    display = RunsGapDisplay.from_result(runs)
    assert [text.get_text() for text in display.ax_.texts] == ["no answer"]
    place = display.ax_.texts[0].get_position()[1]
    assert place == display.ax_.get_yticks()[1]


def test_band_shades_gaps_below_delta(runs):
    band = RunsGapDisplay.from_result(runs).ax_.patches[0]
    np.testing.assert_allclose([band.get_x(), band.get_width()], [-3, 6])
    assert not RunsGapDisplay(RunsGapDisplay.from_result(runs).gaps).plot().ax_.patches


def test_runs_are_named_where_there_is_room(runs):
    ax = RunsGapDisplay.from_result(runs).ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == list(runs.results)
    assert [label.get_text() for label in ax.get_yticklabels(minor=True)] == 3 * ["$a$", "_b", "c"]
    many = replace(runs, results={str(k): runs.results["_cost $"] for k in range(15)})
    display = RunsGapDisplay.from_result(many)
    assert not display.ax_.get_yticklabels(minor=True)
    assert display.plot(run_names=True).ax_.get_yticklabels(minor=True)
    display.figure_.draw_without_rendering()


def test_names_do_not_run_into_each_other(runs):
    display = RunsGapDisplay.from_result(runs)
    display.figure_.draw_without_rendering()
    labels = [*display.ax_.get_yticklabels(), *display.ax_.get_yticklabels(minor=True)]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 0.5 for low, high in pairwise(boxes))


@pytest.mark.parametrize("run_names", [True, False])
def test_every_run_lies_inside_the_axes(runs, run_names):
    ax = RunsGapDisplay.from_result(runs, run_names=run_names).ax_
    bottom, top = ax.get_ylim()
    places = np.concatenate([line.get_ydata() for line in ax.lines[1:]])
    assert top + 0.3 < places.min() < places.max() < bottom - 0.3


def test_draws_on_the_axes_it_is_given(runs):
    ax = plt.figure().add_subplot()
    display = RunsGapDisplay.from_result(runs, ax=ax, name="$ and $", run_names=False)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_title(loc="left") == "$ and $"


def test_wrong_input_is_refused(runs):
    with pytest.raises(TypeError, match="`runs` must be a ConditionalCalibrationRuns"):
        RunsGapDisplay.from_result(runs.results)
    with pytest.raises(ValueError, match="`run_names`"):
        RunsGapDisplay.from_result(runs, run_names="all")


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(runs):
    with pytest.raises(ImportError, match="RunsGapDisplay needs matplotlib"):
        RunsGapDisplay.from_result(runs)
