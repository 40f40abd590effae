"""The picture of a sweep shows the numbers of the sweep."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.diagnostics._shift_sweep import shift_sweep
from sk_arcal.diagnostics._shift_weights import tilt_weights
from sk_arcal.displays._shift_sweep import ShiftSweepDisplay

P = np.random.default_rng(0).uniform(size=300)
Y = np.random.default_rng(1).random(300) < P**2
QUICK = {"n_resamples": 5, "random_state": 0}


def shift(severity):
    return tilt_weights(P, severity)


@pytest.fixture(scope="module")
def sweep():
    return shift_sweep(Y, {"_first $": P, "second": np.sqrt(P)}, shift, [1, -1, 0], **QUICK)


def drawn(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 0]


def test_lines_are_error_and_floor_in_points(sweep):
    display = ShiftSweepDisplay.from_result(sweep)
    frame = display.frame().sort_values(["model", "severity"])
    for name, (floor, error) in zip(
        ("_first $", "second"), np.reshape(drawn(display.ax_), (2, 2)), strict=True
    ):
        rows = frame[frame["model"] == name]
        np.testing.assert_array_equal(error.get_xdata(), [-1, 0, 1])
        np.testing.assert_allclose(error.get_ydata(), 100 * rows["ece"])
        np.testing.assert_allclose(floor.get_ydata(), 100 * rows["floor"])
        assert floor.get_linestyle() == "--"
        assert floor.get_color() == error.get_color()


def test_bands_are_the_intervals(sweep):
    display = ShiftSweepDisplay.from_result(sweep)
    band = display.ax_.collections[0].get_paths()[0].vertices
    rows = display.frame().query("model == '_first $'")
    assert band[:, 1].min() == pytest.approx(100 * rows["low"].min())
    assert band[:, 1].max() == pytest.approx(100 * rows["high"].max())


def test_upper_axis_counts_the_effective_rows(sweep):
    display = ShiftSweepDisplay.from_result(sweep)
    display.figure_.canvas.draw()
    (upper,) = display.ax_.child_axes
    shown = {tick.get_position()[0]: tick.get_text() for tick in upper.get_xticklabels()}
    expected = {row.severity: f"{row.effective_rows:.0f}" for row in sweep.rows}
    assert shown == expected


def test_crowded_severities_leave_numbers_out():
    severities = np.linspace(0, 1, 30)
    display = ShiftSweepDisplay.from_predictions(Y, P, shift, severities, n_resamples=2)
    (upper,) = display.ax_.child_axes
    assert 3 <= len(upper.get_xticks()) <= 7


def test_legend_names_models_bands_and_floor(sweep):
    texts = [t.get_text() for t in ShiftSweepDisplay.from_result(sweep).ax_.get_legend().texts]
    assert texts == [
        "_first $", "second", "95 % interval of the error without its bias",
        "ECE of a calibrated model",
    ]  # fmt: skip
    assert ShiftSweepDisplay.from_result(sweep, legend=False).ax_.get_legend() is None


def test_predictions_give_what_the_sweep_gives(hard_name):
    display = ShiftSweepDisplay.from_predictions(
        Y, P, shift, [0, 1], name=hard_name, severity_name="tilt $", **QUICK
    )
    assert display.frame().equals(shift_sweep(Y, P, shift, [0, 1], **QUICK).to_frame())
    assert display.ax_.get_xlabel() == "tilt $"
    display.figure_.canvas.draw()


def test_single_severity_is_a_bar():
    _, ax = plt.subplots()
    display = ShiftSweepDisplay.from_predictions(Y, P, shift, [0], ax=ax, **QUICK)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    (bar,) = [c for c in ax.collections if type(c).__name__ == "LineCollection"]
    (row,) = display.sweep.rows
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], [100 * row.low, 100 * row.high])


def test_refuses_something_else():
    with pytest.raises(TypeError, match="`sweep` must be a ShiftSweep"):
        ShiftSweepDisplay.from_result([1])


def test_missing_matplotlib_is_named(no_matplotlib):
    with pytest.raises(ImportError, match="ShiftSweepDisplay needs matplotlib"):
        ShiftSweepDisplay.from_predictions(Y, P, shift, [0])
