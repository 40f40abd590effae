"""The checkpoint figure shows the curves of the profile and the mean of the last checkpoints."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.diagnostics._checkpoints import checkpoint_profile
from sk_arcal.displays._checkpoint import CheckpointDisplay


def profile_of(**options):
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=200)
    y_true = rng.random(200) < 1 / (1 + np.exp(-log_odds))
    noisy = log_odds + rng.normal(size=(6, 200))
    return checkpoint_profile(
        y_true, 1 / (1 + np.exp(-noisy)), last=3, n_resamples=2, random_state=0, **options
    )


@pytest.fixture(scope="module")
def profile():
    return profile_of()


@pytest.fixture(scope="module")
def routed():
    return profile_of(routing=np.random.default_rng(1).random(200))


def test_frame_holds_the_curves_and_the_mean_of_the_last(profile):
    frame = CheckpointDisplay.from_result(profile).frame()
    assert frame.columns.tolist() == ["accuracy", "confidence", "ece", "ece_floor", "log_loss"]
    for name in frame:
        np.testing.assert_array_equal(frame[name].iloc[:-1], profile.curves[name])
    mean = frame.loc["mean of the last 3"].dropna().to_dict()
    assert mean == {name: profile.ensemble.averaged[name] for name in mean}
    assert list(mean) == ["accuracy", "ece", "log_loss"]


def test_lines_carry_the_curves(routed):
    display = CheckpointDisplay.from_result(routed)
    drawn = [line.get_ydata() for ax in display.ax_ for line in ax.lines]
    scales = {"log_loss": 1}
    expected = [scales.get(name, 100) * routed.curves[name] for name in display.curves]
    np.testing.assert_array_equal(drawn, expected)
    assert list(display.curves)[-2:] == ["worst_tertile_ece", "worst_tertile_null"]


def test_bar_spans_the_checkpoints_it_averages(profile):
    display = CheckpointDisplay.from_result(profile)
    bars = [ax.collections[0].get_segments()[0] for ax in display.ax_]
    averaged = profile.ensemble.averaged
    levels = [100 * averaged["accuracy"], 100 * averaged["ece"], averaged["log_loss"]]
    np.testing.assert_allclose([bar[:, 1] for bar in bars], np.repeat(levels, 2).reshape(3, 2))
    for bar in bars:
        inside = (np.arange(6) >= bar[0, 0]) & (np.arange(6) <= bar[1, 0])
        assert inside.tolist() == [False] * 3 + [True] * 3


def test_curves_alone_can_be_drawn(profile):
    display = CheckpointDisplay({"ece": profile.curves["ece"]}).plot()
    assert len(display.ax_) == 1
    assert len(display.ax_[0].lines) == 1
    assert len(display.frame()) == 6


def test_draws_on_the_axes_it_is_given(routed):
    figure, axes = plt.subplots(2, 2)
    display = CheckpointDisplay.from_result(routed, ax=axes, name="left out", legend=False)
    assert list(display.ax_) == list(axes.ravel())
    assert display.figure_ is figure
    assert figure.get_suptitle() == ""
    assert axes[0, 0].get_legend() is None


def test_legend_stands_below_the_label_of_the_axis(profile):
    display = CheckpointDisplay.from_result(profile)
    for height in (3.1, 6):
        display.figure_.set_figheight(height)
        display.figure_.draw_without_rendering()
        for ax in display.ax_:
            label = ax.xaxis.label.get_window_extent()
            assert ax.get_legend().get_window_extent().y1 <= label.y0 + 2


def test_heading_may_hold_anything(profile, hard_name):
    display = CheckpointDisplay.from_result(profile, name=hard_name)
    display.figure_.draw_without_rendering()
    assert display.figure_.get_suptitle().startswith("_cost in $ and $ über")


def test_wrong_input_is_refused(profile):
    with pytest.raises(TypeError, match="`profile` must be a CheckpointProfile"):
        CheckpointDisplay.from_result(profile.curves)
    with pytest.raises(ValueError, match="`ax` must hold 3 axes"):
        CheckpointDisplay.from_result(profile, ax=plt.figure().add_subplot())


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(profile):
    with pytest.raises(ImportError, match="CheckpointDisplay needs matplotlib"):
        CheckpointDisplay.from_result(profile)
