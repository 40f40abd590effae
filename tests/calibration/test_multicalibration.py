"""MulticalibrationCalibrator: errors that cancel, calibrated models left alone, records, replay."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from sk_arcal import MulticalibrationCalibrator, TemperatureScaler
from sk_arcal.metrics import expected_calibration_error

N = 4000


def routed_events(n=N, shift=0.8, seed=0):
    """Log-odds that are off by +-`shift` in two halves of the first routing column; two columns."""
    rng = np.random.default_rng(seed)
    z, routing = rng.normal(0, 1.2, n), rng.random((n, 2))
    y = (rng.random(n) < expit(z + np.where(routing[:, 0] < 0.5, -shift, shift))).astype(int)
    return np.column_stack([z, routing]), y


def two_values(n=N, shift=0.8, seed=0):
    """The same with a routing column of the two values 0 and 1."""
    X, y = routed_events(n, shift, seed)
    X[:, 1] = X[:, 1] >= 0.5
    return X, y


def routed_classes(n=N, seed=0):
    """Four logits that are too sure where the routing is low and too unsure elsewhere."""
    rng = np.random.default_rng(seed)
    logits, routing = rng.normal(0, 1.5, (n, 4)), rng.integers(0, 2, n)
    truth = softmax(np.where(routing == 0, 0.4, 1.6)[:, None] * logits, axis=1)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=3)
    return np.column_stack([logits, routing]), y


def gaps(calibrator, X, y, group):
    """Event rate less mean prediction of the rows of each group."""
    residual = y - calibrator.predict_proba(X)[:, 1]
    return np.array([residual[group == name].mean() for name in np.unique(group)])


# --- what it repairs -----------------------------------------------------------------------------


def test_opposite_errors_that_cancel_are_repaired():
    X, y = two_values()
    held_X, held_y = two_values(20_000, seed=1)
    before = gaps(TemperatureScaler().fit(X, y), held_X, held_y, held_X[:, 1])
    np.testing.assert_allclose(before, [-0.15, 0.15], atol=0.03)
    assert abs(before.mean()) < 0.01
    calibrator = MulticalibrationCalibrator().fit(X, y)
    after = gaps(calibrator, held_X, held_y, held_X[:, 1])
    np.testing.assert_allclose(after, 0, atol=0.025)
    for value in (0, 1):
        rows = held_X[:, 1] == value
        probability = calibrator.predict_proba(held_X[rows])[:, 1]
        assert expected_calibration_error(held_y[rows], probability, n_bins=10) < 0.03


def test_whole_steps_without_shrinkage_meet_the_rates_of_both_groups():
    X, y = two_values()
    calibrator = MulticalibrationCalibrator(learning_rate=1.0, shrinkage=0.0, n_bins=1)
    calibrator.fit(X, y)
    np.testing.assert_allclose(gaps(calibrator, X, y, X[:, 1]), 0, atol=0.01)
    assert calibrator.worst_gap_[1] < 0.03 < 0.1 < calibrator.worst_gap_[0]


def test_three_configurations_behind_one_confidence_are_repaired(agreeing):
    X, y, weight = agreeing.rows(N)
    X = np.column_stack([np.tile(agreeing.aggregate, 2), X[:, 2]])
    columns = {"confidence_kind": "probability"}
    calibrator = MulticalibrationCalibrator(**columns).fit(X, y, sample_weight=weight)
    found = calibrator.predict_proba(X[:3])[:, 1]
    np.testing.assert_allclose(found, agreeing.rate, atol=0.01)
    temperature = TemperatureScaler(**columns).fit(X, y, sample_weight=weight)
    for share in ([0.1, 0.8, 0.1], [0.6, 0.1, 0.3]):
        plain = agreeing.error(temperature.predict_proba(X[:3])[:, 1], share)
        assert agreeing.error(found, share) < 0.15 * plain


def test_interactions_see_what_single_columns_do_not():
    rng = np.random.default_rng(3)
    routing = rng.integers(0, 2, (N, 2))
    z = rng.normal(0, 1, N)
    y = (rng.random(N) < expit(z + np.where(routing[:, 0] == routing[:, 1], 1.0, -1.0))).astype(int)
    X = np.column_stack([z, routing])
    pair = 2 * routing[:, 0] + routing[:, 1]
    alone = MulticalibrationCalibrator().fit(X, y)
    crossed = MulticalibrationCalibrator(interactions=True).fit(X, y)
    assert np.abs(gaps(alone, X, y, pair)).min() > 0.12
    assert np.abs(gaps(crossed, X, y, pair)).max() < 0.03
    assert len(crossed.groups_) == len(alone.groups_) + 4


def test_an_error_at_one_level_of_the_confidence_is_repaired_there():
    rng = np.random.default_rng(4)
    z, routing = rng.normal(0, 1.5, 3 * N), rng.integers(0, 2, 3 * N)
    wrong = (z > 1) & (routing == 1)
    y = (rng.random(3 * N) < expit(z - np.where(wrong, 1.2, 0))).astype(int)
    X = np.column_stack([z, routing])
    calibrator = MulticalibrationCalibrator().fit(X, y)
    plain = TemperatureScaler().fit(X, y)
    for area in (wrong, (z > 1) & (routing == 0)):
        before, after = (
            abs((y - model.predict_proba(X)[:, 1])[area].mean()) for model in (plain, calibrator)
        )
        assert after < before / 2


# --- what it leaves alone ------------------------------------------------------------------------


def test_a_calibrated_model_gets_the_temperature_alone():
    X, y = routed_events(shift=0.0, seed=1)
    calibrator = MulticalibrationCalibrator().fit(X, y)
    expected = TemperatureScaler().fit(X, y)
    assert calibrator.n_rounds_ == 0
    assert calibrator.temperature_ == expected.temperature_
    np.testing.assert_array_equal(calibrator.predict_proba(X), expected.predict_proba(X))
    assert all(len(column) == 0 for column in calibrator.patches_.values())
    assert calibrator.worst_gap_[0] == calibrator.worst_gap_[1]


def test_patches_of_calibrated_models_are_rare():
    fits = [
        MulticalibrationCalibrator(max_iter=30).fit(*routed_events(500, shift=0.0, seed=seed))
        for seed in range(16)
    ]
    assert np.count_nonzero([fit.n_rounds_ for fit in fits]) <= 3


def test_standard_errors_guard_the_temperature():
    X, y = routed_events()
    guarded = MulticalibrationCalibrator(n_standard_errors=1e6).fit(X, y)
    assert guarded.n_rounds_ == 0
    assert MulticalibrationCalibrator().fit(X, y).n_rounds_ > 0


def test_many_columns_have_to_gain_more():
    X, y = two_values(600, shift=0.35)
    noise = np.random.default_rng(0).random((600, 30))
    few = MulticalibrationCalibrator(n_standard_errors=1.2).fit(X[:, :2], y)
    many = MulticalibrationCalibrator(n_standard_errors=1.2).fit(np.column_stack([X, noise]), y)
    assert few.n_rounds_ > 0
    assert many.n_rounds_ == 0


def test_separated_rows_are_left_alone():
    z = np.r_[-np.arange(1.0, 51), np.arange(1.0, 51)]
    X = np.column_stack([z, np.arange(100) % 2])
    with pytest.warns(UserWarning, match="separates right from wrong perfectly"):
        calibrator = MulticalibrationCalibrator(n_standard_errors=0.0).fit(X, z > 0)
    assert calibrator.n_rounds_ == 0
    assert np.isnan(calibrator.cv_losses_).all()


# --- the classical form --------------------------------------------------------------------------


def test_without_routing_it_is_a_temperature_and_patches_of_bins():
    rng = np.random.default_rng(5)
    p = rng.random(N)
    y = (rng.random(N) < p**2).astype(int)
    X = p[:, None]
    calibrator = MulticalibrationCalibrator(n_bins=10).fit(X, y)
    assert calibrator.groups_ == ("all rows",)
    assert set(calibrator.patches_["group"]) == {"all rows"}
    found = calibrator.predict_proba(X)[:, 1]
    shift = np.log(found / (1 - found)) - np.log(p / (1 - p)) / calibrator.temperature_
    # A step function of the confidence.
    assert len(np.unique(shift.round(9))) <= 100
    assert np.abs(found - p**2).mean() < 0.25 * np.abs(p - p**2).mean()


def test_one_bin_and_no_shrinkage_without_routing_ends_at_the_event_rate():
    rng = np.random.default_rng(6)
    z = rng.normal(0, 1, N)
    X, y = z[:, None], (rng.random(N) < expit(z + 1)).astype(int)
    calibrator = MulticalibrationCalibrator(n_bins=1, shrinkage=0.0).fit(X, y)
    assert abs(calibrator.predict_proba(X)[:, 1].mean() - y.mean()) < 0.003
    shift = calibrator.decision_function(X) - z / calibrator.temperature_
    np.testing.assert_allclose(shift, calibrator.patches_["shift"].sum(), rtol=1e-9)


# --- weights, order, replay ----------------------------------------------------------------------


@pytest.mark.parametrize("data", [routed_events, routed_classes])
def test_weight_is_repetition(data):
    X, y = data(500)
    weight = np.random.default_rng(7).integers(0, 4, 500)
    options = {"n_standard_errors": 0.0, "max_iter": 30}
    one = MulticalibrationCalibrator(**options).fit(X, y, sample_weight=weight)
    two = MulticalibrationCalibrator(**options).fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert one.n_rounds_ == two.n_rounds_ > 0
    np.testing.assert_array_equal(one.patches_["group"], two.patches_["group"])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(one.cv_losses_, two.cv_losses_, rtol=1e-9)


@pytest.mark.parametrize("data", [routed_events, routed_classes])
def test_the_order_of_rows_does_not_matter(data):
    X, y = data(800)
    order = np.random.default_rng(8).permutation(800)
    one, two = (
        MulticalibrationCalibrator(n_standard_errors=0.0, max_iter=30).fit(X[rows], y[rows])
        for rows in (np.arange(800), order)
    )
    assert one.n_rounds_ > 0
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-9)


def test_replay_on_single_rows_equals_the_rows_of_fit():
    X, y = routed_events(500)
    calibrator = MulticalibrationCalibrator(n_standard_errors=0.0).fit(X, y)
    assert calibrator.n_rounds_ > 3
    one_by_one = np.concatenate([calibrator.decision_function(row[None]) for row in X])
    np.testing.assert_array_equal(one_by_one, calibrator.decision_function(X))
    # What was fitted is what is predicted: in sample, the worst gap has shrunk.
    assert calibrator.worst_gap_[1] < 0.5 * calibrator.worst_gap_[0]


@pytest.mark.parametrize("flip", [False, True])
def test_the_record_says_what_was_done(flip):
    X, y = two_values(2000)
    if flip:
        # The rarer outcome is the event, too.
        X[:, 0], y = X[:, 0] - 1, y * (np.random.default_rng(0).random(2000) < 0.5)
    calibrator = MulticalibrationCalibrator(routing_columns=[1], n_standard_errors=0.0).fit(X, y)
    record = calibrator.patches_
    assert calibrator.n_rounds_ == len(record["group"]) > 0
    members = {"all rows": X[:, 1] >= 0, "x1 < 0.5": X[:, 1] < 0.5, "0.5 <= x1": X[:, 1] > 0.5}
    assert set(calibrator.groups_) == set(members)
    log_odds = X[:, 0] / calibrator.temperature_
    for group, low, high, shift, gap, weight in zip(*record.values(), strict=True):
        p = expit(log_odds)
        inside = members[group] & (p >= low) & (p < high)
        assert inside.sum() == weight
        assert (y - p)[inside].mean() == pytest.approx(gap)
        assert np.sign(shift) == np.sign(gap)
        log_odds = log_odds + shift * inside
    np.testing.assert_allclose(calibrator.decision_function(X), log_odds, rtol=1e-9)


def test_groups_carry_the_names_of_the_columns():
    pd = pytest.importorskip("pandas")
    X, y = two_values(1000)
    frame = pd.DataFrame(X, columns=["logit__1", "routing__gate", "routing__depth"])
    calibrator = MulticalibrationCalibrator().fit(frame, y)
    assert {"routing__gate < 0.5", "0.5 <= routing__gate"} <= set(calibrator.groups_)
    assert len(pd.DataFrame(calibrator.patches_)) == calibrator.n_rounds_ > 0


def test_losses_of_the_cross_validation_are_kept():
    X, y = routed_events()
    calibrator = MulticalibrationCalibrator(max_iter=40).fit(X, y)
    assert calibrator.cv_losses_.shape == (41,)
    losses = calibrator.cv_losses_
    assert losses[calibrator.n_rounds_] - losses.min() <= 1e-4 * (losses[0] - losses.min())
    assert losses[calibrator.n_rounds_] < losses[0]


# --- more than two classes -----------------------------------------------------------------------


def test_the_lift_keeps_the_ranking_and_meets_the_top_probability():
    X, y = routed_classes()
    calibrator = MulticalibrationCalibrator().fit(X, y)
    assert calibrator.n_rounds_ > 0
    held_X, held_y = routed_classes(20_000, seed=1)
    probability = calibrator.predict_proba(held_X)
    np.testing.assert_array_equal(
        probability.argsort(axis=1, kind="stable"), held_X[:, :4].argsort(axis=1, kind="stable")
    )
    plain = TemperatureScaler().fit(X, y).predict_proba(held_X)
    right = probability.argmax(axis=1) == held_y
    for value in (0, 1):
        rows = held_X[:, 4] == value
        before = abs((right - plain.max(axis=1))[rows].mean())
        assert before > 0.05
        assert abs((right - probability.max(axis=1))[rows].mean()) < before / 3


def test_other_lifts_agree_on_the_top_class():
    X, y = routed_classes()
    found = {
        lift: MulticalibrationCalibrator(lift=lift).fit(X, y).predict_proba(X)
        for lift in ("temperature", "proportional", "uniform")
    }
    top = X[:, :4].argmax(axis=1)
    rows = found["temperature"].max(axis=1) > 0.3
    for probability in found.values():
        np.testing.assert_allclose(
            probability[rows, top[rows]], found["temperature"].max(axis=1)[rows], rtol=1e-6
        )
    assert not np.allclose(found["temperature"], found["proportional"], atol=1e-3)


def test_rows_in_no_patched_cell_keep_the_temperature_whatever_the_lift():
    X, y = routed_classes()
    options = {"max_iter": 1, "n_standard_errors": 0.0, "lift": "uniform"}
    calibrator = MulticalibrationCalibrator(**options).fit(X, y)
    plain = TemperatureScaler().fit(X, y)
    same = (calibrator.predict_proba(X) == plain.predict_proba(X)).all(axis=1)
    assert calibrator.n_rounds_ == 1
    assert np.count_nonzero(~same) == calibrator.patches_["weight"][0] < N


def test_clipped_rows_are_counted():
    rng = np.random.default_rng(9)
    logits, routing = rng.normal(0, 1, (N, 3)), rng.integers(0, 2, N)
    y = logits.argmax(axis=1)
    # With the routing at 1 the top class is never right.
    y = np.where((routing == 1) | (rng.random(N) < 0.2), (y + 1) % 3, y)
    calibrator = MulticalibrationCalibrator().fit(np.column_stack([logits, routing]), y)
    top = calibrator.predict_proba(np.column_stack([logits, routing])).max(axis=1)
    assert calibrator.n_clipped_ == np.count_nonzero(top < 1 / 3 + 1e-5) > 0


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_groups": 1}, ValueError, "`n_groups` must be at least 2"),
        ({"n_bins": 0}, ValueError, "`n_bins` must be at least 1"),
        ({"n_bins": 2.5}, TypeError, "`n_bins`"),
        ({"n_folds": 1}, ValueError, "`n_folds` must be at least 2"),
        ({"max_iter": 0}, ValueError, "`max_iter` must be at least 1"),
        ({"learning_rate": 0}, ValueError, r"`learning_rate` is a share of the way, in \(0, 1\]"),
        ({"learning_rate": 1.5}, ValueError, "`learning_rate`"),
        ({"shrinkage": -1}, ValueError, "`shrinkage`"),
        ({"n_standard_errors": -1}, ValueError, "`n_standard_errors`"),
        ({"interactions": "all"}, TypeError, "`interactions` must be True or False; got 'all'"),
        ({"lift": "up"}, ValueError, "`lift`"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MulticalibrationCalibrator(**options).fit(*routed_events(50))
