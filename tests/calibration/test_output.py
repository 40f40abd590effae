"""Predictions into an array of the user."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from sk_arcal.calibration import NWConditionalCalibrator, StructuredScaler, TemperatureScaler

CALIBRATORS = [TemperatureScaler(), StructuredScaler(), NWConditionalCalibrator()]


def rows(n_classes, n=300):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1) if n_classes > 1 else None
    if y is None:
        y = (rng.random(n) < expit(logits[:, 0])).astype(int)
    return np.column_stack([2 * logits, rng.random(n)]), y


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("n_classes", [1, 4])
def test_out_holds_the_probabilities_and_is_returned(calibrator, n_classes):
    X, y = rows(n_classes)
    calibrator.fit(X, y)
    expected = calibrator.predict_proba(X)
    assert expected.dtype == np.float64
    for dtype, error in ((np.float64, 0), (np.float32, 1e-6)):
        out = np.full(expected.shape, np.nan, dtype)
        assert calibrator.predict_proba(X, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=0, atol=error)


def test_out_may_be_part_of_another_array():
    X, y = rows(4)
    calibrator = TemperatureScaler().fit(X, y)
    table = np.zeros((300, 9))
    calibrator.predict_proba(X, out=table[:, 2:6])
    np.testing.assert_array_equal(table[:, 2:6], calibrator.predict_proba(X))
    assert not table[:, :2].any()
    assert not table[:, 6:].any()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty((300, 3)), ValueError, r"`out` must have one row .* \(300, 4\); got shape .*3\)"),
        (np.empty((300, 4), np.float16), ValueError, "of float64 or float32; got float16"),
        (np.empty((300, 4), int), ValueError, "of float64 or float32; got int64"),
        (np.broadcast_to(0.0, (300, 4)), ValueError, "`out` is read-only"),
        ([[0.0] * 4] * 300, TypeError, "`out` must be a numpy array or None; got list"),
    ],
)
def test_out_that_cannot_take_them_is_refused(out, error, message):
    X, y = rows(4)
    with pytest.raises(error, match=message):
        TemperatureScaler().fit(X, y).predict_proba(X, out=out)


def test_out_must_not_overlap_the_rows():
    X, y = rows(4)
    calibrator = TemperatureScaler().fit(X, y)
    with pytest.raises(ValueError, match="overlaps X"):
        calibrator.predict_proba(X, out=X[:, :4])


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_decision_function_is_the_users_own(shift):
    X, y = rows(4)
    X = X[:, :4] + shift
    before = X.copy()
    calibrator = TemperatureScaler(confidence_kind="logit").fit(X, y)
    calibrator.decision_function(X)[:] = 0
    np.testing.assert_array_equal(X, before)
    expected = softmax(X / calibrator.temperature_, axis=1)
    np.testing.assert_allclose(calibrator.predict_proba(X), expected, rtol=1e-12)
