"""A sweep is the metrics under weights, severity by severity."""

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.metrics import log_loss

from sk_arcal.diagnostics._shift_sweep import shift_sweep
from sk_arcal.diagnostics._shift_weights import share_weights, tilt_weights
from sk_arcal.metrics import calibration_error_interval, expected_calibration_error

QUICK = {"n_resamples": 8, "random_state": 0}


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    p, group = rng.uniform(0.2, 0.8, 500), np.arange(500) % 2
    return (rng.random(500) < p + 0.3 * group - 0.15).astype(int), p, group


def test_numbers_are_the_weighted_metrics(rows):
    y, p, _ = rows
    sweep = shift_sweep(y, p, lambda t: 7 * tilt_weights(p, t), [0.8], n_bins=12, **QUICK)
    (row,) = sweep.rows
    weight = tilt_weights(p, 0.8)
    assert row.ece == pytest.approx(
        expected_calibration_error(y, p, n_bins=12, sample_weight=weight)
    )
    assert row.effective_rows == pytest.approx(weight.sum() ** 2 / (weight @ weight))
    assert row.event_rate == pytest.approx(np.average(y, weights=weight))
    assert row.confidence == pytest.approx(np.average(p, weights=weight))
    assert row.log_loss == pytest.approx(log_loss(y, p, sample_weight=weight))
    assert row.low <= max(row.corrected, 0) <= row.high


def test_no_shift_is_the_plain_interval(rows):
    y, p, _ = rows
    (row,) = shift_sweep(y, p, lambda _: np.ones(500), [0], n_resamples=300, random_state=0).rows
    plain = calibration_error_interval(y, p, n_resamples=300, random_state=1)
    assert row.effective_rows == pytest.approx(500)
    assert row.corrected == pytest.approx(plain.corrected, abs=2e-3)
    assert (row.low, row.high) == pytest.approx((plain.low, plain.high), abs=4e-3)


def test_fewer_effective_rows_are_less_certain(rows):
    y, p, _ = rows
    noise = np.random.default_rng(1).normal(size=500)
    one, two = shift_sweep(
        y, p, lambda t: tilt_weights(noise, t), [0, 1.5], n_resamples=300, random_state=0
    ).rows
    repetitions = tilt_weights(noise, 1.5) * two.effective_rows / 500
    kish = calibration_error_interval(
        y, p, n_resamples=300, sample_weight=repetitions, random_state=1
    )
    assert (two.low, two.high) == pytest.approx((kish.low, kish.high), abs=6e-3)
    assert two.effective_rows < one.effective_rows / 3
    assert two.floor > 1.5 * one.floor
    assert two.high - two.low > 1.3 * (one.high - one.low)
    assert two.floor < two.floor_95


def test_models_share_the_shift_and_keep_their_names(rows):
    y, p, group = rows
    models = {"blind": p, "aware": p + 0.3 * group - 0.15}
    sweep = shift_sweep(y, models, lambda q: share_weights(group, [1 - q, q]), [0.5, 0.9], **QUICK)
    frame = sweep.to_frame()
    assert frame["model"].tolist() == ["blind", "blind", "aware", "aware"]
    assert frame["severity"].tolist() == [0.5, 0.9] * 2
    table = frame.set_index(["model", "severity"])
    assert table.loc[("blind", 0.9), "ece"] > table.loc[("aware", 0.9), "ece"] + 0.03
    assert (
        table.loc[("blind", 0.9), "effective_rows"] == table.loc[("aware", 0.9), "effective_rows"]
    )
    assert "blind" in repr(sweep)
    assert "floor" in repr(sweep)


def test_workers_change_nothing(rows):
    y, p, _ = rows
    args = (y, p, lambda t: tilt_weights(p, t), [0, 1])
    with parallel_config(backend="threading"):
        assert shift_sweep(*args, n_jobs=2, **QUICK).rows == shift_sweep(*args, **QUICK).rows


def test_certain_and_wrong_is_a_finite_loss():
    (row,) = shift_sweep([0, 1, 1], [1.0, 1.0, 1.0], lambda _: [1, 1, 1], [0], **QUICK).rows
    assert row.log_loss == pytest.approx(-np.log(1e-15) / 3)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"shift": 3}, TypeError, "`shift` must be callable"),
        ({"shift": lambda _: [1, 1]}, ValueError, r"`shift\(1\)` has 2 rows"),
        ({"shift": lambda _: [1, -1, 1]}, ValueError, "at severity 1 1 are negative"),
        ({"shift": lambda _: [0, 0, 1]}, ValueError, "positive on two rows"),
        ({"severities": []}, ValueError, "`severities` is empty"),
        ({"y_prob": {}}, ValueError, "holds no model"),
        ({"y_prob": {"m": [0.5]}}, ValueError, r"`y_prob\['m'\]` has 1 rows"),
    ],
)
def test_refuses(change, error, sentence):
    given = {
        "y_true": [0, 1, 1], "y_prob": [0.5, 0.6, 0.7], "shift": lambda _: [1, 1, 1],
        "severities": [1],
    }  # fmt: skip
    with pytest.raises(error, match=sentence):
        shift_sweep(**given | change, **QUICK)
