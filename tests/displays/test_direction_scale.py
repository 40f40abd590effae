"""The figure of a direction shows its path, the scale chosen and the controls."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.calibration import CalibrationDirection, LinearReadout
from sk_arcal.displays._direction_scale import DirectionScaleDisplay

SCALE = np.array([-2.0, -1, 0, 1, 2])
PATH = {
    "scale": SCALE,
    "ece": 0.1 - 0.03 * SCALE,
    "maximum_error": 0.3 - 0.05 * SCALE,
    "log_loss": 1 - 0.1 * SCALE,
    "accuracy": np.full(5, 0.75),
}
RANDOM = {name: values[1:3] for name, values in PATH.items()}
TEMPERATURE = {"ece": 0.02, "accuracy": 0.75}


@pytest.fixture(scope="module")
def direction():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 6))
    readout = LinearReadout(4 * np.eye(3, 6), norm="rms")
    y = (readout.logits(hidden) / 2 + rng.gumbel(size=(200, 3))).argmax(axis=1)
    later = hidden + np.repeat([0, 1], 3)
    return CalibrationDirection(random_state=0).fit(hidden, y, readout=readout, reference=later)


def test_panels_carry_the_path():
    display = DirectionScaleDisplay(PATH, chosen=3, unit=2.0).plot(log_loss=True)
    for ax, name, scale in zip(
        display.ax_, ("ece", "maximum_error", "accuracy", "log_loss"), (100, 100, 100, 1),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), SCALE / 2)
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), scale * PATH[name])
        assert ax.collections[0].get_offsets().tolist() == [[0.5, scale * PATH[name][3]]]
        low, high = ax.get_ylim()
        assert low <= scale * PATH[name].min()
        assert high >= scale * PATH[name].max()


def test_controls_are_drawn_where_they_have_a_score():
    display = DirectionScaleDisplay(PATH, temperature=TEMPERATURE, random=RANDOM).plot()
    ece, maximum, accuracy = display.ax_
    assert ece.lines[1].get_ydata() == [2.0, 2.0]
    assert accuracy.lines[1].get_ydata() == [75.0, 75.0]
    # The path and the line at zero: no temperature.
    assert len(maximum.lines) == 2
    crosses = np.asarray(maximum.collections[0].get_offsets())
    np.testing.assert_allclose(crosses, np.c_[[-1, 0], 100 * RANDOM["maximum_error"]])
    words = [text.get_text() for text in ece.get_legend().get_texts()]
    assert words == ["along the direction", "temperature scaling", "random directions"]


def test_frame_holds_all_that_is_drawn():
    frame = DirectionScaleDisplay(PATH, chosen=4, temperature=TEMPERATURE, random=RANDOM).frame()
    assert frame["kind"].tolist() == ["path"] * 4 + ["chosen", "temperature"] + ["random"] * 2
    np.testing.assert_array_equal(frame["ece"][:5], PATH["ece"])
    assert frame.loc[5, "ece"] == 0.02
    assert np.isnan(frame.loc[5, "scale"])


def test_chosen_row_may_stand_in_the_path():
    mask = SCALE == 1
    assert DirectionScaleDisplay(PATH | {"chosen": mask}).chosen == 3
    assert DirectionScaleDisplay(PATH | {"chosen": np.int64(2)}).chosen == 2
    assert DirectionScaleDisplay(PATH).chosen is None


def test_fitted_direction_brings_everything(direction):
    controls = [direction.control("random", random_state=k) for k in range(2)]
    display = DirectionScaleDisplay.from_result(direction, random=controls)
    frame = display.frame()
    chosen = frame[frame["kind"] == "chosen"].iloc[0]
    assert chosen["scale"] == direction.scale_
    assert display.ax_[0].lines[0].get_xdata()[0] == direction.path_["scale"][0] / direction.unit_
    assert frame.loc[frame["kind"] == "random", "scale"].tolist() == [c.scale_ for c in controls]
    assert display.ax_[0].get_xlabel() == "Scale (median lengths of the states)"


def test_still_accuracy_does_not_fill_its_panel():
    display = DirectionScaleDisplay(PATH).plot()
    low, high = display.ax_[2].get_ylim()
    assert high - low >= 4
    assert low < 75 < high


def test_draws_on_the_axes_it_is_given(hard_name):
    _, axes = plt.subplots(1, 3)
    display = DirectionScaleDisplay(PATH).plot(axes, name="left out", legend=False)
    assert list(display.ax_) == list(axes)
    assert axes[0].get_legend() is None
    titled = DirectionScaleDisplay(PATH).plot(name=hard_name)
    titled.figure_.draw_without_rendering()
    assert titled.figure_.get_suptitle().startswith("_cost in $")


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"ece": [0.1]}, {}, ValueError, r"`path\['ece'\]` has 1 rows where 5"),
        ({"ece": ["a"] * 5}, {}, TypeError, "must hold numbers"),
        ({}, {"chosen": 5}, ValueError, "`chosen` must be the number of one of the 5 rows"),
        ({"chosen": SCALE > 0}, {}, ValueError, "`chosen` must be the number"),
        ({}, {"random": {"ece": [0.1]}}, ValueError, r"`random` lacks the columns \['scale'\]"),
    ],
)
def test_wrong_table_is_refused(change, options, error, message):
    with pytest.raises(error, match=message):
        DirectionScaleDisplay(PATH | change, **options)


def test_wrong_input_is_refused():
    missing = {name: PATH[name] for name in ("scale", "ece")}
    with pytest.raises(ValueError, match="`path` lacks the columns"):
        DirectionScaleDisplay(missing)
    with pytest.raises(TypeError, match="`direction` must be a CalibrationDirection"):
        DirectionScaleDisplay.from_result(PATH)
    with pytest.raises(ValueError, match="`ax` must hold 3 axes"):
        DirectionScaleDisplay(PATH).plot(plt.figure().add_subplot())


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named():
    with pytest.raises(ImportError, match=r"DirectionScaleDisplay.plot needs matplotlib"):
        DirectionScaleDisplay(PATH).plot()
