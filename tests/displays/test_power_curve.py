"""The power curves pass through the gaps that they mark."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import norm

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test, conditional_calibration_tests
from sk_arcal.diagnostics._runs_test import conditional_calibration_runs
from sk_arcal.displays._power_curve import PowerCurveDisplay


@pytest.fixture(scope="module")
def tests():
    data = make_routing_data(400, effect="step", strength=0.1, random_state=0, n_noise_features=1)
    features = dict(zip(("_cost $", "übrig $"), data.routing.T, strict=True))
    features["confidence"] = data.confidence
    return conditional_calibration_tests(
        data.y, data.confidence, features, delta=0.04, n_resamples=99, random_state=0
    )


@pytest.fixture(scope="module")
def result(tests):
    return tests.results["_cost $"]


def test_curve_is_the_chance_that_the_interval_excludes_zero(result):
    frame = PowerCurveDisplay.from_result(result).frame()
    score = frame["gap"] / result.gap_se
    expected = norm.sf(1.959964 - score) + norm.cdf(-1.959964 - score)
    np.testing.assert_allclose(frame["power"], expected, atol=1e-6)


def test_curve_passes_through_the_detectable_gap(result):
    display = PowerCurveDisplay.from_result(result)
    line = display.ax_.lines[0]
    (mark,) = [line for line in display.ax_.lines if line.get_marker() == "o"]
    assert mark.get_xdata()[0] == 100 * result.min_detectable_gap
    reached = np.interp(mark.get_xdata()[0], line.get_xdata(), line.get_ydata())
    assert reached == pytest.approx(80, abs=0.1)


def test_marks_are_the_numbers_of_the_result(result):
    display = PowerCurveDisplay.from_result(result)
    (row,) = display.frame("marks").itertuples()
    assert (row.gap, row.delta) == (result.gap, 0.04)
    (triangle,) = [line for line in display.ax_.lines if line.get_marker() == "^"]
    assert triangle.get_xdata()[0] == 100 * abs(result.gap)
    assert 4 in {line.get_xdata()[0] for line in display.ax_.lines}
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == [
        "delta (4 points)",
        f"found with 80 % power ({100 * result.min_detectable_gap:.1f} points)",
        f"estimated gap ({100 * abs(result.gap):.1f} points)",
    ]


def test_four_times_the_rows_find_gaps_of_half_the_size(result):
    frame = PowerCurveDisplay.from_result(result, multiples=(1, 4)).frame()
    once, more = (part.reset_index() for _, part in frame.groupby("multiple"))
    np.testing.assert_allclose(more["power"][:101], once["power"][::2], atol=1e-12)


def test_features_without_an_answer_have_no_curve(tests):
    display = PowerCurveDisplay.from_result(tests)
    assert not tests.results["confidence"].identifiable
    assert display.frame("marks")["name"].tolist() == ["_cost $", "übrig $"]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[:2] == ["_cost $", "übrig $"]


def test_mapping_and_tests_draw_the_same(tests):
    assert (
        PowerCurveDisplay.from_result(tests.results)
        .frame()
        .equals(PowerCurveDisplay.from_result(tests).frame())
    )


def test_several_runs_have_the_curve_of_their_mean_gap():
    rng = np.random.default_rng(0)
    confidence, depth = rng.uniform(0.5, 1, (2, 2, 200))
    runs = conditional_calibration_runs(
        rng.random((2, 200)) < confidence, confidence, depth,
        feature_names=["depth"], delta=0.1, n_resamples=19, random_state=0,
    )  # fmt: skip
    display = PowerCurveDisplay.from_result(runs)
    (row,) = display.frame("marks").itertuples()
    found = runs.results["depth"]
    assert (row.gap, row.min_detectable_gap, row.delta) == (
        found.gap,
        found.min_detectable_gap,
        0.1,
    )
    curve = display.curves[0]
    reached = np.interp(found.min_detectable_gap, curve.sizes, curve.power[1.0])
    assert reached == pytest.approx(0.8, abs=2e-3)


def test_many_curves_can_be_told_apart(result):
    display = PowerCurveDisplay.from_result({str(k): result for k in range(15)})
    rows = [line for line in display.ax_.lines[:-2] if len(line.get_xdata()) > 2]
    looks = {(line.get_color(), str(line._dash_pattern)) for line in rows}
    assert len(rows) == len(looks) == 15


def test_axis_ends_where_it_is_asked_to(result):
    display = PowerCurveDisplay.from_result(result, max_gap=0.3)
    assert display.ax_.get_xlim() == (0, 30)
    assert display.frame()["gap"].max() == 0.3


def test_delta_is_always_on_the_axis(result):
    display = PowerCurveDisplay.from_result(replace(result, delta=0.5))
    assert display.ax_.get_xlim()[1] > 50


def test_draws_on_the_axes_it_is_given(result):
    ax = plt.figure().add_subplot()
    display = PowerCurveDisplay.from_result(result, ax=ax, legend=False, name="$ and $")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_legend() is None
    display.figure_.draw_without_rendering()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"multiples": ()}, ValueError, "`multiples` is empty"),
        ({"multiples": (1, 0)}, ValueError, "`multiples`"),
        ({"multiples": "twice"}, ValueError, "`multiples`"),
        ({"max_gap": 0}, ValueError, "`max_gap`"),
    ],
)
def test_wrong_options_are_refused(result, options, error, words):
    with pytest.raises(error, match=words):
        PowerCurveDisplay.from_result(result, **options)


def test_what_has_no_gap_is_refused(tests, result):
    with pytest.raises(TypeError, match="`result` must be a ConditionalCalibrationResult"):
        PowerCurveDisplay.from_result(result.gap)
    with pytest.raises(TypeError, match="got float"):
        PowerCurveDisplay.from_result({"a": result, "b": 0.1})
    with pytest.raises(ValueError, match="a test whose question has an answer"):
        PowerCurveDisplay.from_result(tests.results["confidence"])
    with pytest.raises(ValueError, match="a test whose question has an answer"):
        PowerCurveDisplay.from_result({})
    with pytest.raises(ValueError, match="`part`"):
        PowerCurveDisplay.from_result(result).frame("gaps")


def test_grouped_rows_have_the_curve_of_students_law():
    data = make_routing_data(240, random_state=0)
    result = conditional_calibration_test(
        data.y, data.confidence, data.routing[:, 0], groups=np.arange(240) // 40,
        n_resamples=19, random_state=0,
    )  # fmt: skip
    curve = PowerCurveDisplay.from_result(result, max_gap=0.999).curves[0]
    reached = np.interp(min(result.min_detectable_gap, 0.999), curve.sizes, curve.power[1.0])
    assert reached == pytest.approx(0.8, abs=5e-3)


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(result):
    with pytest.raises(ImportError, match="PowerCurveDisplay needs matplotlib"):
        PowerCurveDisplay.from_result(result)
