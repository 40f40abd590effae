"""The routing-gap figure draws gaps at equal confidence, and chance stays in its bands."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom
from sklearn.linear_model import LogisticRegression

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics import matched_confidence_gaps
from sk_arcal.displays import RoutingGapDisplay
from sk_arcal.displays._gap_numbers import gap_numbers


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def simulate(seed=0, n_samples=2000, effect=0.0, correlation=0.0):
    """Events whose rate rises by `effect` from the lowest to the highest routing."""
    rng = np.random.default_rng(seed)
    u = rng.random(n_samples)
    confidence = 0.3 + 0.6 * rng.random(n_samples)
    event = rng.random(n_samples) < confidence + effect * (u - 0.5)
    return event, confidence, u + correlation * confidence


def draw(*data, **options):
    return RoutingGapDisplay.from_predictions(*data, **{"random_state": 0} | options)


# --- numbers -------------------------------------------------------------------------------------


def test_gaps_of_a_table_are_those_of_matched_gaps():
    gaps = matched_confidence_gaps(*simulate(effect=0.2), n_resamples=1, random_state=0)
    display = RoutingGapDisplay.from_matched_gaps(gaps)
    top_minus_bottom = display.numbers.gap[:, -1] - display.numbers.gap[:, 0]
    used = display.numbers.usable[:, 0]
    np.testing.assert_allclose(top_minus_bottom[used], gaps.table["gap"][::3][used])
    np.testing.assert_array_equal(display.numbers.count.ravel(), gaps.table["count"])


def test_gaps_of_a_bin_average_to_zero():
    numbers = draw(*simulate(effect=0.2)).numbers
    np.testing.assert_allclose((numbers.count * numbers.gap).sum(axis=1), 0, atol=1e-9)


def test_gap_of_a_stratum_is_the_mean_over_its_cells():
    display = draw(*simulate(effect=0.2))
    frame, strata = display.frame(), display.frame("strata").set_index("stratum")
    for name, cells in frame.groupby("stratum"):
        mean = np.average(cells["gap"], weights=cells["count"])
        assert strata.loc[name, "gap"] == pytest.approx(mean)


def test_planted_gap_is_found():
    strata = draw(*simulate(n_samples=40_000, effect=0.2)).frame("strata")
    np.testing.assert_allclose(strata["gap"], [-0.08, -0.04, 0, 0.04, 0.08], atol=0.015)


def test_planted_gap_is_found_in_a_feature_that_follows_the_confidence():
    event, confidence, feature = simulate(n_samples=40_000, effect=0.2, correlation=30.0)
    strata = draw(event, confidence, feature).frame("strata")
    np.testing.assert_allclose(strata["gap"], [-0.08, -0.04, 0, 0.04, 0.08], atol=0.02)


def test_feature_that_follows_the_confidence_shows_no_gap():
    event, confidence, feature = simulate(n_samples=40_000, correlation=5.0)
    strata = draw(event, confidence**2, feature).frame("strata")
    assert not strata["outside"].any()
    assert np.abs(strata["gap"]).max() < 0.015


@pytest.mark.parametrize("routing", ["number", "word"])
def test_bands_hold_all_strata_and_all_cells_of_a_null_feature(routing):
    inside, cells_inside = [], []
    for seed in range(150):
        event, confidence, feature = simulate(seed)
        if routing == "word":
            feature = np.array(["a", "b", "c"])[(3 * feature).astype(int)]
        numbers = gap_numbers(event.astype(float), confidence, feature)
        inside.append(not numbers.stratum_outside.any())
        cells_inside.append(not numbers.outside.any())
    slack = 3 * np.sqrt(0.95 * 0.05 / 150)
    assert np.mean(inside) == pytest.approx(0.95, abs=slack)
    assert np.mean(cells_inside) >= 0.95 - slack


def test_band_of_a_cell_is_hypergeometric():
    event, confidence = np.tile([0, 1, 1, 1], 100), np.full(400, 0.75)
    numbers = draw(event, confidence, np.repeat([0, 1], 200), value="accuracy").numbers
    low, high = hypergeom.interval(0.95**0.5, 400, 300, 200)
    np.testing.assert_allclose(numbers.band_low, (low - 0.5) / 200 - 0.75)
    np.testing.assert_allclose(numbers.band_high, (high + 0.5) / 200 - 0.75)


def test_certain_bins_are_not_framed():
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.uniform(0.4, 0.8, 1000), rng.uniform(0.95, 1, 1000)])
    event = np.where(confidence > 0.9, 1, rng.random(2000) < confidence)
    numbers = draw(event, confidence, rng.random(2000)).numbers
    assert not numbers.outside[numbers.confidence > 0.9].any()


def test_numbers_do_not_depend_on_an_increasing_map_of_the_feature():
    event, confidence, feature = simulate(effect=0.2)
    mapped = draw(event, confidence, np.exp(5 * feature)).frame()
    assert mapped.equals(draw(event, confidence, feature).frame())


# --- strata --------------------------------------------------------------------------------------


def test_words_and_few_numbers_are_strata_by_value():
    event, confidence, feature = simulate()
    words = np.where(feature > 0.3, "yes", "no")
    assert draw(event, confidence, words).numbers.strata == ("no", "yes")
    experts = (8 * feature).astype(int)
    display = draw(event, confidence, experts)
    assert display.numbers.strata == tuple(str(expert) for expert in range(8))
    np.testing.assert_array_equal(display.numbers.count.sum(axis=0), np.bincount(experts))


def test_rare_words_become_others():
    event, confidence, feature = simulate()
    words = np.array([f"w{k:02d}" for k in (30 * feature**2).astype(int)])
    numbers = draw(event, confidence, words).numbers
    assert len(numbers.strata) == 12
    assert numbers.strata[-1] == "others"
    kept = pd.Series(words).value_counts().nlargest(11)
    assert set(numbers.strata[:-1]) == set(kept.index)
    assert numbers.count[:, -1].sum() == len(words) - kept.sum()


def test_explicit_number_of_groups_ranks_few_values_too():
    event, confidence, feature = simulate()
    numbers = draw(event, confidence, (8 * feature).astype(int), n_groups=4).numbers
    assert numbers.strata == ("low", "2", "3", "high")
    assert np.ptp(numbers.count.sum(axis=0)) <= numbers.count.shape[0]


def test_cells_with_few_rows_are_hatched_and_left_out_of_the_profile():
    event, confidence, _ = simulate()
    words = np.where(np.arange(2000) < 1990, "common", "rare")
    numbers = draw(event, confidence, words, min_count=20).numbers
    assert not numbers.usable[:, 1].any()
    assert np.isnan(numbers.stratum_gap[1])
    display = draw(event, confidence, words, min_count=20, kind="map")
    hatched = [patch for patch in display.ax_.patches if patch.get_hatch()]
    assert len(hatched) == (~numbers.usable).sum()


# --- estimators and drawing ----------------------------------------------------------------------


def test_from_estimator_takes_column_name_position_or_values():
    event, confidence, feature = simulate(effect=0.2)
    X = pd.DataFrame({"confidence": confidence, "routing": feature})
    model = LogisticRegression().fit(X, event)
    by_hand = draw(event, model.predict_proba(X)[:, 1], feature).frame()
    for routing in ("routing", 1, feature):
        display = RoutingGapDisplay.from_estimator(model, X, event, routing, random_state=0)
        assert display.frame().equals(by_hand)


def test_from_estimator_finds_the_routing_column_of_a_calibrator():
    event, confidence, feature = simulate(effect=0.2)
    X = np.column_stack([confidence, feature])
    scaler = TemperatureScaler(confidence_columns=0).fit(X, event.astype(int))
    display = RoutingGapDisplay.from_estimator(scaler, X, event.astype(int), random_state=0)
    by_hand = draw(event, scaler.predict_proba(X)[:, 1], feature)
    assert display.frame().equals(by_hand.frame())


def test_from_estimator_asks_which_column_it_is():
    event, confidence, feature = simulate()
    X = np.column_stack([confidence, feature])
    model = LogisticRegression().fit(X, event)
    with pytest.raises(ValueError, match="exactly one routing column"):
        RoutingGapDisplay.from_estimator(model, X, event)
    with pytest.raises(ValueError, match="names the column 'depth'"):
        RoutingGapDisplay.from_estimator(model, X, event, "depth")


def test_profile_carries_the_gaps_of_the_strata():
    display = draw(*simulate(effect=0.2), kind="profile")
    points = display.ax_.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], 100 * display.numbers.stratum_gap)
    widths = [bar.get_width() for bar in display.ax_.patches]
    np.testing.assert_allclose(widths, 200 * display.numbers.stratum_band)


def test_map_writes_every_gap_in_points():
    display = draw(*simulate(effect=0.2), kind="map", n_bins=3, n_groups=3)
    written = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in display.ax_.texts]
    shown = np.round(100 * display.numbers.gap, 0).ravel()
    np.testing.assert_allclose([float(text) for text in written], shown)


def test_map_frames_the_cells_beyond_chance():
    display = draw(*simulate(n_samples=8000, effect=0.3), kind="map")
    bold = [text.get_fontweight() == "bold" for text in display.ax_.texts]
    np.testing.assert_array_equal(bold, display.numbers.outside.ravel())
    assert 0 < sum(bold) < len(bold)


def test_title_states_feature_and_verdict():
    display = draw(*simulate(), name="cost $ and $", verdict="no signal")
    display.figure_.draw_without_rendering()
    assert display.ax_[0].get_title(loc="left") == "cost $ and $: no signal"


def test_plot_uses_the_given_axes():
    figure, axes = plt.subplots(1, 2)
    display = draw(*simulate(), ax=axes)
    assert list(display.ax_) == list(axes)
    assert display.figure_ is figure
    single = display.plot(plt.figure().add_subplot(), kind="map")
    assert single is display


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "pie"}, ValueError, "`kind`"),
        ({"ax": "not axes", "kind": "both"}, ValueError, "must hold 2 axes"),
        ({"n_bins": 0}, ValueError, "`n_bins`"),
        ({"n_groups": 1}, ValueError, "`n_groups`"),
        ({"value": "gap"}, ValueError, "`value`"),
        ({"min_count": 10_000}, ValueError, "min_count"),
    ],
)
def test_wrong_options_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        draw(*simulate(), **options)


def test_words_cannot_be_ranked():
    event, confidence, feature = simulate()
    with pytest.raises(TypeError, match="`routing` must hold numbers"):
        draw(event, confidence, np.where(feature > 0.5, "a", "b"), n_groups=3)


def test_missing_values_are_refused():
    event, confidence, feature = simulate()
    feature[7] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        draw(event, confidence, feature)


def test_frame_knows_two_parts():
    display = draw(*simulate())
    assert len(display.frame()) == display.numbers.gap.size
    assert len(display.frame("strata")) == display.numbers.gap.shape[1]
    with pytest.raises(ValueError, match="`part`"):
        display.frame("bins")
