"""The null histograms show the draws and statistics of the test, and nothing else."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.displays._null_distribution import NullDistributionDisplay


@pytest.fixture(scope="module")
def result():
    data = make_routing_data(400, effect="step", strength=0.1, random_state=0)
    return conditional_calibration_test(
        data.y, data.confidence, data.routing[:, 0], n_resamples=99, random_state=0
    )


def test_frame_holds_the_statistics_and_p_values_of_the_result(result):
    frame = NullDistributionDisplay.from_result(result).frame().set_index("component")
    assert frame["statistic"].to_dict() == result.component_statistics
    assert frame["pvalue"].to_dict() == result.component_pvalues
    assert (frame["n_draws"] == 99).all()


def test_frame_holds_every_draw(result):
    draws = NullDistributionDisplay.from_result(result).frame("draws")
    for name, values in result.null_statistics.items():
        np.testing.assert_array_equal(draws.loc[draws["component"] == name, "draw"], values)


def test_p_value_is_the_share_of_draws_at_or_beyond_the_line(result):
    display = NullDistributionDisplay.from_result(result)
    draws = display.frame("draws")
    for ax, row in zip(display.ax_, display.frame().itertuples(), strict=True):
        line = ax.lines[0].get_xdata()[0]
        beyond = (draws.loc[draws["component"] == row.component, "draw"] >= line).sum()
        assert (1 + beyond) / 100 == pytest.approx(row.pvalue)
        assert ax.get_title(loc="left") == f"{row.component}: p = {row.pvalue:.3g}"


def test_histogram_counts_the_draws(result):
    display = NullDistributionDisplay.from_result(result, n_bins=7)
    for ax, draws in zip(display.ax_, result.null_statistics.values(), strict=True):
        bars = [bar.get_height() for bar in ax.patches]
        np.testing.assert_array_equal(bars, np.histogram(draws, 7)[0])


def test_draws_on_the_axes_it_is_given(result):
    figure, axes = plt.subplots(2, 2)
    display = NullDistributionDisplay.from_result(result, ax=axes, name="left out")
    assert list(display.ax_) == list(axes.ravel())
    assert display.figure_ is figure
    assert figure.get_suptitle() == ""


def test_other_methods_have_one_panel():
    data = make_routing_data(400, random_state=0)
    display = NullDistributionDisplay.from_result(
        conditional_calibration_test(
            data.y, data.confidence, data.routing[:, 0], method="weighted_gcm",
            n_resamples=99, random_state=0,
        )
    )  # fmt: skip
    assert display.frame()["component"].tolist() == ["weighted_gcm"]
    assert display.ax_.get_ylabel() == "Draws under the null"


def test_heading_may_hold_anything(result, hard_name):
    display = NullDistributionDisplay.from_result(result, name=hard_name)
    display.figure_.draw_without_rendering()
    assert display.figure_.get_suptitle().startswith("_cost in $ and $ über")


def test_results_without_draws_are_refused(result):
    with pytest.raises(TypeError, match="`result` must be a ConditionalCalibrationResult"):
        NullDistributionDisplay.from_result(result.null_statistics)
    empty = replace(result, null_statistics={}, method="spline_lr")
    with pytest.raises(ValueError, match="its method, 'spline_lr', makes none"):
        NullDistributionDisplay.from_result(empty)
    refused = replace(empty, identifiable=False, notes=("too few rows",))
    with pytest.raises(ValueError, match="no answer: too few rows"):
        NullDistributionDisplay.from_result(refused)


def test_wrong_options_are_refused(result):
    display = NullDistributionDisplay.from_result(result)
    with pytest.raises(ValueError, match="`ax` must hold 4 axes"):
        display.plot(plt.figure().add_subplot())
    with pytest.raises(ValueError, match="`n_bins`"):
        display.plot(n_bins=0)
    with pytest.raises(ValueError, match="`part`"):
        display.frame("bins")


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(result):
    with pytest.raises(ImportError, match="NullDistributionDisplay needs matplotlib"):
        NullDistributionDisplay.from_result(result)
