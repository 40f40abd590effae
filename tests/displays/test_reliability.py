"""The reliability diagram draws the numbers it says it draws."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sk_arcal.displays import ReliabilityDisplay
from sk_arcal.displays._curves import FloorSettings, curves_of_models, curves_of_strata
from sk_arcal.metrics import (
    expected_calibration_error,
    noise_floor,
    rank_groups,
    reliability_table,
)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def overconfident():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 1, 1500)
    return rng.random(1500) < confidence**2, confidence


NO_FLOOR = FloorSettings(0, np.random.default_rng(0))


def calibrated(seed, n_samples=1000):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 2, n_samples)
    return rng.random(n_samples) < confidence, confidence


def draw(*data, **options):
    return ReliabilityDisplay.from_predictions(*data, n_resamples=0, **options)


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
def test_points_equal_the_reliability_table(overconfident, strategy):
    frame = draw(*overconfident, n_bins=7, strategy=strategy).frame()
    table = reliability_table(*overconfident, n_bins=7, strategy=strategy).to_frame()
    table = table[table["count"] > 0].reset_index(drop=True)
    for column in ("lower", "upper", "count", "mean_confidence", "event_rate"):
        np.testing.assert_allclose(frame[column], table[column])


def test_artists_carry_the_numbers_of_the_curve(overconfident):
    display = draw(*overconfident)
    (curve,) = display.curves
    points = np.column_stack([curve.mean_confidence, curve.event_rate])
    np.testing.assert_array_equal(display.points_[0].get_offsets(), points)
    line = np.column_stack([curve.isotonic_confidence, curve.isotonic_rate])
    np.testing.assert_array_equal(display.lines_[0].get_xydata(), line)
    corners = display.bands_[0].get_paths()[0].vertices
    assert {*curve.band_low, *curve.band_high} <= {*corners[:, 1]}
    np.testing.assert_array_equal(display.density_ax_.patches[0].get_data().values, curve.density)


def test_isotonic_line_is_that_of_scikit_learn(overconfident):
    event, confidence = overconfident
    (curve,) = draw(event, confidence).curves
    fitted = IsotonicRegression().fit(confidence, event)
    drawn = np.interp(confidence, curve.isotonic_confidence, curve.isotonic_rate)
    np.testing.assert_allclose(drawn, fitted.predict(confidence), atol=1e-12)


def test_isotonic_line_pools_tied_confidences():
    (curve,) = draw([1, 0, 1, 1], [0.5, 0.5, 0.5, 0.9]).curves
    np.testing.assert_allclose(curve.isotonic_rate, [2 / 3, 1])


def test_band_of_a_model_is_the_simultaneous_binomial_one():
    event, confidence = np.tile([0, 1], 100), np.repeat([0.25, 0.75], 100)
    (curve,) = draw(event, confidence, n_bins=2).curves
    low, high = binom.interval(0.95**0.5, 100, [0.25, 0.75])
    np.testing.assert_allclose([curve.band_low, curve.band_high], [low / 100, high / 100])


def test_band_holds_all_points_of_a_calibrated_model_in_95_of_100_data_sets():
    inside = []
    for seed in range(400):
        event, confidence = calibrated(seed)
        (curve,) = curves_of_models(event, {"m": confidence}, ("auto", "quantile"), NO_FLOOR)
        inside.append(curve.inside)
    # 3 standard errors on either side; whole counts make the band a little wide
    slack = 3 * np.sqrt(0.95 * 0.05 / 400)
    assert 0.95 - slack <= np.mean([points.all() for points in inside]) <= 0.99


def test_band_excludes_an_overconfident_model(overconfident):
    assert not draw(*overconfident, n_bins=5).curves[0].inside[:-1].any()


def test_error_and_floor_are_those_of_the_metrics(overconfident):
    event, confidence = overconfident
    display = ReliabilityDisplay.from_predictions(event, confidence, n_resamples=30, random_state=3)
    (curve,) = display.curves
    assert curve.error == expected_calibration_error(event, confidence)
    assert curve.error_floor == noise_floor(confidence, n_resamples=30, random_state=3).mean


def test_density_adds_up_to_one(overconfident):
    assert draw(*overconfident).curves[0].density.sum() == pytest.approx(1)


@pytest.mark.parametrize(("n_samples", "n_bins"), [(30, 4), (1000, 10), (50_000, 30)])
def test_automatic_number_of_bins_is_the_cube_root_within_limits(n_samples, n_bins):
    assert len(draw(*calibrated(0, n_samples)).frame()) == n_bins


def test_numbers_do_not_depend_on_the_order_of_rows(overconfident):
    event, confidence = overconfident
    order = np.random.default_rng(1).permutation(len(event))
    shuffled = draw(event[order], confidence[order]).frame()
    pd.testing.assert_frame_equal(shuffled, draw(event, confidence).frame())


# --- strata --------------------------------------------------------------------------------------


def test_strata_share_bins_and_cover_all_rows(overconfident):
    event, confidence = overconfident
    strata = rank_groups(np.random.default_rng(2).random(len(event)))
    display = draw(event, confidence, strata=strata)
    frame = display.frame()
    assert frame["count"].sum() == len(event)
    pooled = frame.groupby("lower")["count"].sum()
    np.testing.assert_array_equal(pooled, display.pooled.count)
    assert list(frame["curve"].unique()) == ["stratum 0", "stratum 1", "stratum 2"]


def test_matched_band_is_centred_on_the_pooled_curve(overconfident):
    event, confidence = overconfident
    strata = rank_groups(confidence + np.random.default_rng(2).normal(0, 0.2, len(event)))
    display = draw(event, confidence, strata=strata)
    frame = display.frame()
    expected = frame["band_center"] * frame["count"]
    by_bin = expected.groupby(frame["lower"]).sum() / frame.groupby("lower")["count"].sum()
    np.testing.assert_allclose(by_bin, display.pooled.event_rate)


def test_matched_band_holds_strata_that_differ_by_name_only():
    covered = []
    for seed in range(200):
        event, confidence = calibrated(seed, 1200)
        strata = np.random.default_rng(seed + 1000).integers(0, 3, 1200)
        curves, _ = curves_of_strata(
            event, {"m": confidence**2}, strata, None, ("auto", "quantile"), NO_FLOOR
        )
        covered.append(all(curve.inside.all() for curve in curves))
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)


def test_matched_band_excludes_strata_that_differ():
    rng = np.random.default_rng(0)
    confidence, upper = rng.uniform(0.4, 0.8, 3000), rng.integers(0, 2, 3000)
    event = rng.random(3000) < confidence + 0.15 * (2 * upper - 1)
    display = draw(event, confidence, strata=upper, n_bins=5)
    assert not np.concatenate([curve.inside for curve in display.curves]).any()


def test_strata_take_their_names_in_sorted_order(overconfident):
    event, confidence = overconfident
    strata = np.where(confidence > 0.7, 5, 2)
    display = draw(event, confidence, strata=strata, strata_names=["two", "five"])
    assert [curve.name for curve in display.curves] == ["two", "five"]
    assert display.curves[0].count.sum() == (strata == 2).sum()


# --- several models, estimators, drawing -------------------------------------------------------


def test_models_of_a_dict_are_drawn_as_they_are_alone(overconfident):
    event, confidence = overconfident
    both = draw(event, {"raw": confidence, "squared": confidence**2})
    assert [curve.name for curve in both.curves] == ["raw", "squared"]
    alone = draw(event, confidence**2, name="squared").frame()
    together = both.frame()
    together = together[together["curve"] == "squared"].reset_index(drop=True)
    assert together.equals(alone)


def test_from_estimator_equals_from_predictions_with_two_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = np.where(rng.random(400) < 1 / (1 + np.exp(-X[:, 0])), "yes", "no")
    model = LogisticRegression().fit(X, y)
    frame = ReliabilityDisplay.from_estimator(model, X, y, n_resamples=0, name="m").frame()
    by_hand = draw(y == "yes", model.predict_proba(X)[:, 1], name="m").frame()
    assert frame.equals(by_hand)


def test_from_estimator_takes_the_top_label_with_more_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X + rng.normal(size=X.shape)).argmax(axis=1)
    model = LogisticRegression().fit(X, y)
    frame = ReliabilityDisplay.from_estimator(model, X, y, n_resamples=0).frame()
    top = model.predict_proba(X).max(axis=1)
    by_hand = draw(model.predict(X) == y, top, name="LogisticRegression").frame()
    assert frame.equals(by_hand)


def test_plot_returns_itself_and_uses_the_given_axes(overconfident):
    figure, ax = plt.subplots(1, 2)
    display = draw(*overconfident, ax=ax[0])
    assert display.ax_ is ax[0]
    assert display.figure_ is figure
    assert display.plot(ax[1], density=False) is display
    assert display.density_ax_ is None


def test_axes_without_a_grid_get_their_histogram_too(overconfident):
    ax = plt.figure().add_axes([0.1, 0.1, 0.8, 0.8])
    display = draw(*overconfident, ax=ax)
    display.figure_.draw_without_rendering()
    assert display.density_ax_.get_position().y1 < ax.get_position().y0


def test_points_inside_the_band_are_hollow():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0, 1, 2000)
    rate = np.where(confidence > 0.5, confidence, confidence / 3)
    display = draw(rng.random(2000) < rate, confidence)
    filled = display.points_[0].get_facecolors()[:, 3] > 0
    np.testing.assert_array_equal(filled, ~display.curves[0].inside)
    assert 0 < filled.sum() < len(filled)


def test_legend_states_error_and_floor(overconfident):
    display = ReliabilityDisplay.from_predictions(
        *overconfident, n_resamples=20, random_state=0, name="net"
    )
    (curve,) = display.curves
    words = display.ax_.get_legend().get_texts()[0].get_text()
    assert words == (f"net: ECE {100 * curve.error:.1f} % (floor {100 * curve.error_floor:.1f} %)")


@pytest.mark.parametrize("name", ["_hidden", "cost in $ and $", "<b>", "x" * 200])
def test_any_name_can_be_drawn(overconfident, name):
    display = draw(*overconfident, name=name)
    display.figure_.draw_without_rendering()
    text = display.ax_.get_legend().get_texts()[0].get_text()
    assert text.startswith(name[:30])


@pytest.mark.parametrize(
    ("event", "confidence"),
    [
        ([1.0] * 50, np.linspace(0.5, 1, 50)),
        ([0.0] * 50, np.linspace(0, 0.5, 50)),
        (np.tile([0, 1], 25), np.ones(50)),
        (np.tile([0, 1], 25), np.tile([0.0, 1.0], 25)),
        ([1], [0.3]),
    ],
)
def test_extreme_predictions_are_drawn(event, confidence):
    display = draw(event, confidence)
    display.figure_.draw_without_rendering()
    assert np.isfinite(display.frame().select_dtypes("number")).all(axis=None)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_bins": "many"}, TypeError, "`n_bins`"),
        ({"n_bins": 0}, ValueError, "`n_bins`"),
        ({"strategy": "equal"}, ValueError, "`strategy`"),
        ({"strata": np.zeros(3)}, ValueError, "`strata` has 3 rows"),
        ({"strata": np.arange(1500)}, ValueError, "rank_groups"),
        ({"strata": np.arange(1500) % 2, "strata_names": ["one"]}, ValueError, "`strata_names`"),
    ],
)
def test_wrong_options_are_refused(overconfident, options, error, words):
    with pytest.raises(error, match=words):
        draw(*overconfident, **options)


def test_strata_of_several_models_are_refused(overconfident):
    event, confidence = overconfident
    with pytest.raises(ValueError, match="one model"):
        draw(event, {"a": confidence, "b": confidence}, strata=event)


def test_words_name_their_strata(overconfident):
    event, confidence = overconfident
    words = np.where(confidence > 0.7, "upper", "lower")
    assert [c.name for c in draw(event, confidence, strata=words).curves] == ["lower", "upper"]


def test_no_model_is_refused(overconfident):
    with pytest.raises(ValueError, match="at least one model"):
        draw(overconfident[0], {})


def test_lengths_that_differ_are_refused(overconfident):
    event, confidence = overconfident
    with pytest.raises(ValueError, match="rows"):
        draw(event[1:], confidence)


def test_estimator_without_probabilities_is_refused():
    with pytest.raises(TypeError, match="predict_proba"):
        ReliabilityDisplay.from_estimator(object(), [[1.0]], [1])


def test_labels_the_estimator_does_not_know_are_refused():
    model = LogisticRegression().fit([[0.0], [1.0], [2.0]], ["no", "yes", "yes"])
    with pytest.raises(ValueError, match="row 0 holds"):
        ReliabilityDisplay.from_estimator(model, [[0.0], [1.0]], [0, 1])
