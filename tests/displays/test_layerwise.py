"""The figure over depth shows the table of the layers, their phases, and reliability by layer."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.diagnostics._calibration_phases import calibration_phases
from sk_arcal.diagnostics._layerwise import layerwise_calibration
from sk_arcal.displays._layerwise import LayerwiseCalibrationDisplay
from sk_arcal.metrics import expected_calibration_error

FACTORS = (0, 2, 4, 2, 1)


def draw(n_rows=400):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n_rows, 4))
    y_true = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return y_true, np.stack([factor * logits for factor in FACTORS], axis=1)


def measure(**options):
    return layerwise_calibration(*draw(), n_resamples=2, random_state=0, **options)


@pytest.fixture(scope="module")
def layers():
    return measure()


@pytest.fixture(scope="module")
def phases(layers):
    return calibration_phases(layers, n_resamples=20, random_state=0)


def test_lines_carry_the_table(layers):
    display = LayerwiseCalibrationDisplay.from_result(layers, log_loss=True)
    drawn = [[line.get_ydata() for line in ax.lines] for ax in display.ax_]
    table = layers.table
    expected = [
        [100 * table["accuracy"], 100 * table["confidence"]],
        [100 * table["ece"], 100 * table["ece_floor"]],
        [table["log_loss"]],
    ]
    for lines, columns in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(lines, columns)
    bands = [ax.collections[0].get_paths()[0].vertices[:, 1] for ax in display.ax_[:2]]
    for band, name in zip(bands, ("accuracy", "ece"), strict=True):
        ends = [100 * table[f"{name}_low"], 100 * table[f"{name}_high"]]
        assert (band.min(), band.max()) == pytest.approx((ends[0].min(), ends[1].max()))


def test_frame_is_the_table(layers):
    frame = LayerwiseCalibrationDisplay.from_result(layers).frame()
    for name in frame:
        np.testing.assert_array_equal(frame[name], layers.table[name])


def test_from_predictions_measures():
    display = LayerwiseCalibrationDisplay.from_predictions(
        *draw(), phases=True, n_bins=5, n_resamples=2, random_state=0
    )
    assert display.layerwise.n_bins == 5
    assert display.phases.present
    again = LayerwiseCalibrationDisplay.from_predictions(
        *draw(), n_bins=5, n_resamples=2, random_state=0
    )
    assert again.phases is None
    np.testing.assert_array_equal(again.frame()["ece_low"], display.frame()["ece_low"])


def spans(ax):
    return sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches)


def test_phases_are_shaded(layers, phases):
    display = LayerwiseCalibrationDisplay.from_result(layers, phases=phases)
    assert (phases.plateau_start, phases.peak) == (1, 2)
    for ax in display.ax_:
        assert spans(ax) == [(1, 2), (2, 4)]
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words[-2:] == ["plateau to peak", "correction"]


def test_no_correction_is_not_shaded():
    y_true, scores = draw()
    flat = layerwise_calibration(y_true, scores[:, [0, 4, 4]], n_resamples=2, random_state=0)
    none = calibration_phases(flat, n_resamples=20, random_state=0)
    display = LayerwiseCalibrationDisplay.from_result(flat, phases=none)
    assert spans(display.ax_[0]) == []
    words = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
    assert words[-1] == "start of the plateau; no correction shown"


def test_reliability_of_layers(layers, phases):
    display = LayerwiseCalibrationDisplay.from_result(layers, phases=phases)
    diagram = display.plot_reliability(n_resamples=2, random_state=0)
    assert [curve.name for curve in diagram.curves] == ["layer 1", "layer 2", "layer 4"]
    for curve, layer in zip(diagram.curves, (1, 2, 4), strict=True):
        event, trust = layers.event[:, layer], layers.confidence[:, layer]
        assert curve.error == pytest.approx(expected_calibration_error(event, trust))
    plain = LayerwiseCalibrationDisplay(layers).plot_reliability(n_resamples=0)
    assert [curve.name for curve in plain.curves] == ["layer 0", "layer 2", "layer 4"]


def test_layers_are_named_or_counted():
    named = LayerwiseCalibrationDisplay(measure(layers=list("abcde")))
    diagram = named.plot_reliability(layers=["b", -1, "e"], n_resamples=0)
    assert [curve.name for curve in diagram.curves] == ["layer b", "layer e"]
    with pytest.raises(ValueError, match="asks for 'z'"):
        named.plot_reliability(layers=["z"])
    with pytest.raises(ValueError, match="asks for 5"):
        named.plot_reliability(layers=[5])


def test_names_of_layers_have_room():
    y_true, scores = draw(60)
    deep = np.tile(scores, (1, 8, 1))
    names = [f"model.decoder.layers.{k}" for k in range(40)]
    layers = layerwise_calibration(y_true, deep, layers=names, n_resamples=2)
    display = LayerwiseCalibrationDisplay.from_result(layers)
    display.figure_.draw_without_rendering()
    for ax in display.ax_:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
        assert ax.get_xticklabels()[-1].get_text() == "39"
        assert ax.get_xlabel() == "Layer of model.decoder.layers"


def test_heading_and_names_may_hold_anything(hard_name):
    layers = measure(layers=[f"{hard_name} {k}" for k in range(5)])
    display = LayerwiseCalibrationDisplay.from_result(layers, name=hard_name)
    display.figure_.draw_without_rendering()
    assert display.figure_.get_suptitle().startswith("_cost in $ and $ über")


def test_draws_on_the_axes_it_is_given(layers):
    figure, axes = plt.subplots(1, 2)
    display = LayerwiseCalibrationDisplay.from_result(
        layers, ax=axes, name="left out", legend=False
    )
    assert list(display.ax_) == list(axes)
    assert display.figure_ is figure
    assert figure.get_suptitle() == ""
    assert axes[0].get_legend() is None


def test_wrong_input_is_refused(layers, phases):
    with pytest.raises(TypeError, match="`layerwise` must be a LayerwiseCalibration"):
        LayerwiseCalibrationDisplay.from_result(layers.table)
    with pytest.raises(TypeError, match="`phases` must be a CalibrationPhases"):
        LayerwiseCalibrationDisplay.from_result(layers, phases=True)
    with pytest.raises(ValueError, match="of other layers"):
        LayerwiseCalibrationDisplay.from_result(measure(layers=list("abcde")), phases=phases)
    with pytest.raises(ValueError, match="`ax` must hold 2 axes"):
        LayerwiseCalibrationDisplay.from_result(layers, ax=plt.figure().add_subplot())


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(layers):
    with pytest.raises(ImportError, match="LayerwiseCalibrationDisplay needs matplotlib"):
        LayerwiseCalibrationDisplay.from_result(layers)
