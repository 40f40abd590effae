"""The bandwidth figure shows every rule, and marks the one that leaks."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics._bandwidth_sensitivity import bandwidth_sensitivity
from sk_arcal.displays._bandwidth import BandwidthSensitivityDisplay


@pytest.fixture(scope="module")
def sensitivity():
    data = make_routing_data(200, effect="step", strength=0.2, random_state=0)
    return bandwidth_sensitivity(
        data.y, data.confidence, data.routing[:, 0],
        multiples=(2, 0.5, 1), n_resamples=2, random_state=0,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["log_loss", "ece", "worst_ece"])
def test_frame_holds_the_differences_of_every_rule(sensitivity, metric):
    frame = BandwidthSensitivityDisplay.from_result(sensitivity, metric=metric).frame()
    assert frame["rule"].tolist() == [rule.rule for rule in sensitivity.rules]
    expected = [getattr(rule, f"{metric}_difference") for rule in sensitivity.rules]
    np.testing.assert_array_equal(frame[["estimate", "low", "high"]], expected)
    assert (frame["metric"] == metric).all()


def test_line_runs_over_the_multiples_in_order(sensitivity):
    display = BandwidthSensitivityDisplay.from_result(sensitivity)
    (line,) = [line for line in display.ax_.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(line.get_xdata(), [-1, 0, 1])
    known = display.frame().dropna().sort_values("scott")
    np.testing.assert_array_equal(line.get_ydata(), known["estimate"])
    band = display.ax_.collections[0].get_paths()[0].vertices
    assert set(known["low"]) | set(known["high"]) == set(band[:, 1])


def test_picking_rules_stand_apart_and_the_leaking_one_says_so(sensitivity):
    display = BandwidthSensitivityDisplay.from_result(sensitivity, metric="ece")
    labels = display.ax_.get_xticklabels()
    words = [" ".join(label.get_text().split()) for label in labels]
    assert words[:3] == ["0.5", "1", "2"]
    assert words[-1] == "oracle: global ECE (leaks)"
    leaking = [label.get_color() for label in labels[-1:]]
    assert leaking[0] not in {label.get_color() for label in labels[:-1]}
    points = [line for line in display.ax_.lines if line.get_marker() in {"o", "X"}][1:]
    assert [point.get_marker() for point in points] == ["o", "o", "X"]
    picked = display.frame().loc[3:]
    np.testing.assert_allclose([point.get_ydata()[0] for point in points], 100 * picked["estimate"])


def test_one_multiple_has_an_interval(sensitivity):
    kept = tuple(rule for rule in sensitivity.rules if rule.scott == 1 or rule.leaks)
    display = BandwidthSensitivityDisplay.from_result(replace(sensitivity, rules=kept))
    segments = [s for c in display.ax_.collections[1:] for s in c.get_segments()]
    np.testing.assert_array_equal(
        [segment[:, 1] for segment in segments], display.frame()[["low", "high"]]
    )


def test_two_scores_have_two_panels(sensitivity):
    figure, axes = plt.subplots(1, 2)
    display = BandwidthSensitivityDisplay.from_result(
        sensitivity, metric=("log_loss", "worst_ece"), ax=axes
    )
    assert list(display.ax_) == list(axes)
    assert display.figure_ is figure
    assert "worst-stratum ECE (points)" in axes[1].get_ylabel()


def test_title_may_hold_anything(sensitivity, hard_name):
    display = BandwidthSensitivityDisplay.from_result(sensitivity, name=hard_name)
    display.figure_.draw_without_rendering()
    assert display.ax_.get_title(loc="left").startswith("_cost in $ and $ über")


def test_wrong_options_are_refused(sensitivity):
    draw = BandwidthSensitivityDisplay.from_result
    with pytest.raises(TypeError, match="`sensitivity` must be a BandwidthSensitivity"):
        draw(sensitivity.rules)
    for metric in ("brier", ["log_loss", "accuracy"], []):
        with pytest.raises(ValueError, match="`metric` must be one of"):
            draw(sensitivity, metric=metric)
    with pytest.raises(ValueError, match="`ax` must hold 2 axes"):
        draw(sensitivity, metric=["ece", "log_loss"], ax=plt.figure().add_subplot())


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(sensitivity):
    with pytest.raises(ImportError, match="BandwidthSensitivityDisplay needs matplotlib"):
        BandwidthSensitivityDisplay.from_result(sensitivity)
