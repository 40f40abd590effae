"""Each layer's numbers are those of the metrics on that layer, in whatever form layers come."""

import joblib
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from sk_arcal.diagnostics._depth._layer_error import correction_limits, layer_errors, wilson
from sk_arcal.diagnostics._layerwise import layerwise_calibration
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
)

N_ROWS, N_CLASSES = 300, 4


def draw(n_rows=N_ROWS, n_classes=N_CLASSES, seed=0):
    """Labels, and logits of three layers: nothing, exaggerated, true."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_rows, n_classes))
    y_true = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    nothing = 0.1 * rng.normal(size=logits.shape)
    return y_true, np.stack([nothing, 3 * logits, logits], axis=1)


Y, SCORES = draw()


def measure(y_true, layer_scores, **options):
    options = {"n_resamples": 4, "random_state": 0} | options
    return layerwise_calibration(y_true, layer_scores, **options)


@pytest.fixture(scope="module")
def result():
    return measure(Y, SCORES)


def assert_same(one, other, rtol=0.0):
    for name, column in one.table.items():
        if name != "layer":
            np.testing.assert_allclose(column, other.table[name], rtol=rtol, atol=rtol)


# --- definitions -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", range(3))
def test_numbers_are_those_of_the_metrics(result, layer):
    probability = softmax(SCORES[:, layer], axis=1)
    right = probability.argmax(axis=1) == Y
    top = probability.max(axis=1).astype(np.float32).astype(np.float64)
    table = {name: column[layer] for name, column in result.table.items()}
    floor_rng, sample_rng = np.random.default_rng(0).spawn(3)[layer].spawn(2)
    interval = calibration_error_interval(right, top, n_resamples=4, random_state=sample_rng)
    floor = noise_floor(top, n_resamples=4, random_state=floor_rng)
    exact = {
        "accuracy": accuracy_score(Y, probability.argmax(axis=1)),
        "ece": expected_calibration_error(right, top),
        "ece_floor": floor.mean,
        "ece_corrected": interval.corrected,
        "ece_low": interval.low,
        "ece_high": interval.high,
        "maximum_error": maximum_calibration_error(right, top),
    }
    assert {name: table[name] for name in exact} == exact
    np.testing.assert_allclose(table["confidence"], top.mean(), rtol=1e-7)
    np.testing.assert_allclose(table["log_loss"], log_loss(Y, probability), rtol=1e-6)
    np.testing.assert_allclose(table["brier"], brier_score_loss(Y, probability), rtol=1e-6)


def test_rows_are_kept(result):
    probability = softmax(SCORES, axis=2)
    np.testing.assert_array_equal(result.event, probability.argmax(axis=2) == Y[:, None])
    np.testing.assert_allclose(result.confidence, probability.max(axis=2), rtol=1e-6)
    loss = -log_softmax(SCORES, axis=2)[np.arange(N_ROWS), :, Y]
    np.testing.assert_allclose(result.row_log_loss, loss, rtol=1e-6)
    assert result.confidence.dtype == result.row_brier.dtype == np.float32
    assert result.right is result.event


def test_one_event_is_the_latter_of_two_classes():
    odds = SCORES[:, :, 0] - SCORES[:, :, 1]
    events = Y == 0
    result = measure(events.astype(int), odds)
    for layer in range(3):
        p = expit(odds[:, layer]).astype(np.float32).astype(np.float64)
        assert result.table["ece"][layer] == expected_calibration_error(events, p)
        assert result.table["accuracy"][layer] == accuracy_score(events, p > 0.5)
        np.testing.assert_allclose(result.table["log_loss"][layer], log_loss(events, p), rtol=1e-5)
        np.testing.assert_allclose(
            result.table["brier"][layer], brier_score_loss(events, p), rtol=1e-5
        )
    assert result.one_event
    np.testing.assert_array_equal(result.event, np.repeat(events[:, None], 3, axis=1))
    # Named classes, and both columns given, say the same.
    names = np.where(events, "yes", "no")
    assert_same(result, measure(names, np.stack([0 * odds, odds], axis=2)), rtol=1e-6)


def test_wilson_interval_solves_its_equation():
    low, high = wilson(np.array([0.0, 13.0, 40.0]), 40, 0.95)
    for share, ends in zip((0, 13 / 40, 1), zip(low, high, strict=True), strict=True):
        for end in ends:
            at_bound = end in (0, 1) and end == share
            z = 0 if at_bound else abs(share - end) / np.sqrt(end * (1 - end) / 40)
            assert at_bound or z == pytest.approx(1.959964, abs=1e-5)


def test_limits_are_those_of_simulation():
    rng = np.random.default_rng(0)
    gap, noise = np.array([0.0, 0.4, -2.0, 5.0, 0.3]), np.array([1.0, 1.0, 1.0, 2.0, 0.0])
    deviation = np.abs(noise * rng.standard_normal((400_000, 5)))
    signed = noise * rng.standard_normal((400_000, 5))
    above, below = correction_limits(gap, noise)
    simulated = 2 * np.abs(gap) - np.abs(gap + signed).mean(axis=0)
    np.testing.assert_allclose(above, simulated, atol=0.02)
    kept = np.where(deviation < np.abs(gap), np.abs(gap), -deviation)
    np.testing.assert_allclose(below, kept.mean(axis=0), atol=0.02)


def test_many_rows_take_the_limit_of_the_same_numbers(monkeypatch):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 4000)
    event = (rng.random(4000) < confidence - 0.03).astype(float)
    options = {"n_bins": 15, "level": 0.9, "n_resamples": 300}
    simulated = layer_errors(event, confidence, np.random.default_rng(0), **options)
    monkeypatch.setattr("sk_arcal.diagnostics._depth._layer_error.SIMULATED_ROWS", 10)
    limits = layer_errors(event, confidence, np.random.default_rng(0), **options)
    assert limits.keys() == simulated.keys()
    for name, number in limits.items():
        assert number == pytest.approx(simulated[name], abs=1e-3)


# --- forms of the input ----------------------------------------------------------------------


def test_forms_of_the_same_layers_agree(result):
    layers = [SCORES[:, layer] for layer in range(3)]
    assert_same(result, measure(Y, layers))
    assert_same(result, measure(Y, iter(layers)))
    named = measure(Y, dict(zip(["in", "mid", "out"], layers, strict=True)))
    assert_same(result, named)
    assert named.layers == ("in", "mid", "out")
    assert named.table["layer"].tolist() == ["in", "mid", "out"]
    assert measure(Y, SCORES, layers=list("abc")).layers == ("a", "b", "c")
    assert_same(result, measure(Y, softmax(SCORES, axis=2)), rtol=1e-5)
    words = np.array(["d", "c", "b", "a"])
    assert_same(result, measure(words[Y], SCORES, labels=words))


def test_reading_brings_its_names(result):
    class Reading:
        scores, layers = SCORES, ("x", "y", "z")

    read = measure(Y, Reading())
    assert read.layers == ("x", "y", "z")
    assert_same(result, read)


@pytest.mark.parametrize("size", [7, 100, N_ROWS])
def test_chunks_equal_the_array(result, size):
    chunks = ((Y[k : k + size], SCORES[k : k + size]) for k in range(0, N_ROWS, size))
    streamed = measure(None, chunks, labels=range(N_CLASSES))
    assert_same(result, streamed)
    np.testing.assert_array_equal(streamed.confidence, result.confidence)


def test_chunks_keep_the_scale_of_the_first():
    probability = softmax(SCORES, axis=2)
    chunks = [(Y[:150], probability[:150]), (Y[150:], SCORES[150:])]
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        measure(None, iter(chunks))


def test_stages_of_boosting_are_layers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 3))
    y = np.array(["p", "q", "r"])[(X + 0.5 * rng.normal(size=X.shape)).argmax(axis=1)]
    model = GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0).fit(X, y)
    result = measure(y, list(model.staged_predict_proba(X)), labels=model.classes_)
    stages = [accuracy_score(y, stage) for stage in model.staged_predict(X)]
    np.testing.assert_allclose(result.table["accuracy"], stages)
    last = log_loss(y, model.predict_proba(X), labels=model.classes_)
    assert result.table["log_loss"][-1] == pytest.approx(last, rel=1e-6)


def test_result_does_not_depend_on_jobs(result):
    with joblib.parallel_config("threading"):
        assert_same(result, measure(Y, SCORES, n_jobs=2))


def test_float32_and_masked_logits():
    masked = SCORES.astype(np.float32)
    masked[:, :, 3] = np.where(Y[:, None] == 3, masked[:, :, 3], -1e4)
    assert np.isfinite(measure(Y, masked).table["log_loss"]).all()
    masked[0, 0, 3] = -np.inf
    with pytest.raises(ValueError, match=r"`layer_scores\[0\]` must be finite"):
        measure(Y, masked)


def test_layer_without_confidence_in_anything():
    result = measure(Y, np.zeros((N_ROWS, 2, N_CLASSES)))
    np.testing.assert_allclose(result.table["confidence"], 0.25)
    np.testing.assert_allclose(result.table["log_loss"], np.log(4), rtol=1e-6)


def test_table_and_text(result):
    frame = result.to_frame()
    assert frame.shape == (3, 13)
    assert frame["ece_low"].le(frame["ece_high"]).all()
    text = repr(result)
    assert text.startswith("LayerwiseCalibration: 3 layers, 300 rows, 15 bins")
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer_scores": SCORES[:10]}, ValueError, "has 10 rows where 300"),
        ({"layer_scores": SCORES[:, 0, 0]}, ValueError, "n_layers, n_classes"),
        ({"layer_scores": []}, ValueError, "no layer"),
        ({"layer_scores": 3}, TypeError, "one array per layer"),
        ({"layer_scores": [SCORES[:, 0], SCORES[:, 0, :3]]}, ValueError, "has 3 classes"),
        ({"y_true": np.minimum(Y, 2)}, ValueError, "Pass `labels`"),
        ({"labels": [0, 1, 2, 2]}, ValueError, "once"),
        ({"layers": ["a", "b"]}, ValueError, "2 names for 3 layers"),
        ({"layers": ["a", "b", "b"]}, ValueError, "every layer once"),
        ({"score_kind": "odds"}, ValueError, "`score_kind`"),
        ({"score_kind": "probability"}, ValueError, "softmax"),
        ({"y_true": None}, TypeError, "iterator of chunks"),
        ({"y_true": None, "layer_scores": iter([])}, ValueError, "no chunk"),
        ({"y_true": None, "layer_scores": iter([SCORES])}, TypeError, "must be a pair"),
        ({"n_bins": 0}, ValueError, "`n_bins`"),
        ({"level": 1}, ValueError, "`level`"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    given = {"y_true": Y, "layer_scores": SCORES} | change
    with pytest.raises(error, match=message):
        measure(**given)


def test_chunks_of_other_layers_are_refused():
    chunks = [(Y, {"a": SCORES[:, 0]}), (Y, {"b": SCORES[:, 0]})]
    with pytest.raises(ValueError, match="Chunk 1 of `layer_scores` has the layers"):
        measure(None, iter(chunks))
