"""Controls of a calibration direction: the arms, their scores, and their standard errors."""

import numpy as np
import pytest
from joblib import parallel_config

from sk_arcal.calibration import CalibrationDirection, LinearReadout, TemperatureScaler
from sk_arcal.diagnostics import direction_controls
from sk_arcal.diagnostics._readout._arms import Arm, bootstrap_weights, paired_differences
from sk_arcal.metrics import (
    maximum_calibration_error,
    noise_floor,
    top_label_calibration_error,
)

WIDTH = 12


def _data(n_classes=3, n=3000, seed=0):
    """States whose own length says how sure one may be, along one axis nobody reads."""
    rng = np.random.default_rng(seed)
    readout = LinearReadout(3 * np.eye(n_classes, WIDTH), norm="rms")
    hidden = rng.normal(size=(n, WIDTH))
    logits = readout.logits(hidden) / 2
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return readout, hidden, y, hidden + np.linspace(0, 2, WIDTH)


def _fit(data, **parameters):
    readout, hidden, y, later = data
    direction = CalibrationDirection(**{"random_state": 0} | parameters)
    return direction.fit(hidden[:1500], y[:1500], readout=readout, reference=later[:1500])


@pytest.fixture(scope="module")
def compared():
    data = _data()
    direction = _fit(data)
    test = data[1][1500:], data[2][1500:]
    return direction, test, direction_controls(direction, *test, n_random=4, random_state=1)


def test_scores_are_those_of_the_metrics(compared):
    direction, (hidden, y), controls = compared
    proba = direction.predict_proba(hidden)
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    assert controls.ece[1] == pytest.approx(top_label_calibration_error(y, proba))
    assert controls.maximum_error[1] == pytest.approx(maximum_calibration_error(right, confidence))
    assert controls.log_loss[1] == pytest.approx(-np.log(proba[np.arange(len(y)), y]).mean())
    assert controls.accuracy[1] == right.mean()
    floor = noise_floor(confidence, random_state=3).mean
    assert controls.noise_floor[1] == pytest.approx(floor, rel=0.1)


def test_arms_are_what_they_say(compared):
    direction, (hidden, y), controls = compared
    assert controls.arms[:5] == ("as is", "direction", "temperature", "shuffled labels", "random 1")
    assert len(controls.arms) == len(controls.scale) == 8
    logits = direction.readout_.logits(direction.calibration_rows_["hidden"])
    scaler = TemperatureScaler(confidence_kind="logit").fit(
        logits, direction.calibration_rows_["codes"]
    )
    assert controls.temperature == pytest.approx(scaler.temperature_)
    proba = scaler.predict_proba(direction.readout_.logits(hidden))
    assert controls.ece[2] == pytest.approx(top_label_calibration_error(y, proba))
    assert controls.scale[1] == direction.scale_
    assert controls.scale[0] == 0
    # Shuffled labels know of no confidence, so the fit takes it all away.
    assert controls.log_loss[3] > controls.log_loss[1] + 0.05
    for name in ("ece", "log_loss", "accuracy", "maximum_error"):
        assert controls.differences[name][0] == controls.standard_errors[name][0] == 0


def test_over_confidence_falls_along_any_unseen_direction(compared):
    _, _, controls = compared
    better = controls.differences["log_loss"] / np.maximum(
        controls.standard_errors["log_loss"], 1e-9
    )
    assert (better[[1, 2, 4, 5, 6, 7]] < -4).all()
    assert (controls.accuracy == controls.accuracy[0]).all()


def test_standard_errors_are_those_of_repeated_samples():
    rng = np.random.default_rng(2)
    estimates, errors = [], []
    for _ in range(150):
        hidden = rng.normal(size=(400, 3))
        codes = (hidden + rng.gumbel(size=hidden.shape)).argmax(axis=1)
        arms = Arm.of(2.5 * hidden, codes), Arm.of(4 * hidden, codes)
        draws = bootstrap_weights(400, 60, rng)
        estimate, error = paired_differences(*arms, draws)
        estimates.append(estimate)
        errors.append(error)
    observed, stated = np.std(estimates, axis=0), np.mean(errors, axis=0)
    assert stated[2] == pytest.approx(observed[2], rel=0.15)
    # A resample has the noise of the rows and its own.
    assert 0.9 * observed[0] < stated[0] < 1.6 * observed[0]
    assert stated[3] == 0


def test_a_thin_bin_does_not_make_the_maximum_error():
    confidence = np.r_[np.full(20, 0.75), np.full(4, 0.95)]
    right = np.r_[np.tile([1.0, 0], 10), np.zeros(4)]
    arm = Arm(right, confidence, np.ones(24))
    np.testing.assert_allclose(arm.scores(np.ones((24, 1)))[:2, 0], [(20 * 0.25 + 3.8) / 24, 0.25])
    # A resample that holds the bin five times counts it.
    weights = np.r_[np.ones(20), np.full(4, 1.25)][:, None]
    assert arm.scores(weights)[1, 0] == pytest.approx(0.95)


def test_two_classes_and_named_labels():
    readout, hidden, y, later = _data(n_classes=2, n=2000)
    y = np.array(["no", "yes"])[y]
    direction = _fit((readout, hidden, y, later))
    controls = direction_controls(direction, hidden[1500:], y[1500:], n_random=1, random_state=0)
    proba = direction.predict_proba(hidden[1500:])
    assert controls.ece[1] == pytest.approx(top_label_calibration_error(y[1500:], proba))
    assert controls.temperature > 1.2


def test_results_do_not_depend_on_the_number_of_jobs(compared):
    direction, test, controls = compared
    with parallel_config("threading"):
        other = direction_controls(direction, *test, n_random=4, random_state=1, n_jobs=2)
    np.testing.assert_array_equal(other.ece, controls.ece)
    np.testing.assert_array_equal(other.noise_floor, controls.noise_floor)


def test_table_and_text(compared):
    controls = compared[2]
    frame = controls.to_frame()
    assert frame["arm"].tolist() == list(controls.arms)
    assert frame["ece_se"].tolist() == controls.standard_errors["ece"].tolist()
    text = repr(controls)
    assert "1500 rows" in text
    assert f"{controls.random_share:.0%} of 4 random directions no worse" in text
    assert "random, mean of 4" in text


def test_what_cannot_be_compared_is_said(compared):
    direction, (hidden, y), _ = compared
    with pytest.raises(TypeError, match="must be a CalibrationDirection"):
        direction_controls("direction", hidden, y)
    with pytest.raises(ValueError, match="none of the classes"):
        direction_controls(direction, hidden, y + 5)
    with pytest.raises(ValueError, match="`y` has 3 rows"):
        direction_controls(direction, hidden, y[:3])
    with pytest.raises(ValueError, match="keep_rows=True"):
        direction_controls(_fit(_data(), keep_rows=False), hidden, y)
    with pytest.raises(ValueError, match="`n_random` must be at least 1"):
        direction_controls(direction, hidden, y, n_random=0)
