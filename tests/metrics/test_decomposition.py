import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from sk_arcal.metrics import score_decomposition

SCORES = {"brier": brier_score_loss, "log": log_loss}
both_scores = pytest.mark.parametrize("score", SCORES)


@both_scores
def test_score_equals_sklearn(score, events):
    parts = score_decomposition(*events, score=score)
    assert parts.score == pytest.approx(SCORES[score](*events))


@both_scores
def test_refinement_is_the_score_after_isotonic_recalibration(score, events):
    y_true, y_prob = events
    recalibrated = IsotonicRegression(y_min=0, y_max=1).fit(y_prob, y_true).predict(y_prob)
    parts = score_decomposition(y_true, y_prob, score=score)
    assert parts.refinement == pytest.approx(SCORES[score](y_true, recalibrated), abs=1e-12)


@both_scores
def test_uncertainty_is_the_score_of_the_event_rate(score, events):
    y_true, _ = events
    constant = np.full(len(y_true), y_true.mean())
    parts = score_decomposition(*events, score=score)
    assert parts.uncertainty == pytest.approx(SCORES[score](y_true, constant))


@both_scores
def test_parts_add_up(score, events):
    parts = score_decomposition(*events, score=score)
    assert parts.score == pytest.approx(parts.miscalibration + parts.refinement)
    assert parts.refinement == pytest.approx(parts.uncertainty - parts.discrimination)


@both_scores
def test_miscalibration_and_discrimination_are_not_negative(score, rng):
    for _ in range(50):
        y_true, y_prob = rng.integers(0, 2, 12), np.round(rng.random(12), 1)
        parts = score_decomposition(y_true, y_prob, score=score)
        assert parts.miscalibration >= -1e-12
        assert parts.discrimination >= -1e-12


@pytest.mark.parametrize(
    ("score", "ties", "weighted", "expected"),
    [
        ("brier", False, False, (0.036680011604, 0.098576286868, 0.2244, 0.162503724737)),
        ("log", False, False, (0.108143082164, 0.260760663524, 0.641035477881, 0.488417896522)),
        ("brier", True, True, (0.032577398818, 0.097236023818, 0.22359375, 0.158935125)),
        ("log", True, True, (0.094422483684, 0.255855290012, 0.6393632996692, 0.477930493340)),
    ],
)
def test_parts_equal_those_of_model_diagnostics(score, ties, weighted, expected):
    # model-diagnostics 1.5.0, decompose with SquaredError or LogLoss, on the same 400 rows.
    i = np.arange(1, 401)
    y_prob, u = (i * 0.6180339887498949) % 1, (i * 0.7548776662466927) % 1
    y_true = u < y_prob**2
    y_prob = np.clip(np.round(y_prob, 1) if ties else y_prob, 0.01, 0.99)
    weight = 1 + i % 3 if weighted else None
    parts = score_decomposition(y_true, y_prob, score=score, sample_weight=weight)
    found = (parts.miscalibration, parts.discrimination, parts.uncertainty, parts.score)
    np.testing.assert_allclose(found, expected, atol=1e-11)


@both_scores
def test_increasing_maps_change_only_miscalibration(score, events):
    y_true, y_prob = events
    parts = score_decomposition(y_true, y_prob, score=score)
    mapped = score_decomposition(y_true, 0.1 + 0.8 * y_prob**3, score=score)
    assert mapped.refinement == pytest.approx(parts.refinement)
    assert mapped.uncertainty == pytest.approx(parts.uncertainty)


def test_rows_of_equal_probability_are_pooled():
    y_true, y_prob = np.array([1, 0, 0, 1]), np.full(4, 0.5)
    parts = score_decomposition(y_true, y_prob)
    assert parts.discrimination == 0
    assert parts.refinement == 0.25


@both_scores
def test_separable_outcomes_have_no_refinement_left(score):
    parts = score_decomposition([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.7], score=score)
    assert parts.refinement == 0


@both_scores
def test_one_outcome_only_has_no_uncertainty(score):
    parts = score_decomposition([1, 1, 1], [0.2, 0.5, 0.9], score=score)
    assert parts.uncertainty == 0
    assert parts.score == parts.miscalibration


def test_log_loss_of_a_confident_error_is_finite_as_in_sklearn():
    y_true, y_prob = [1, 0, 1], [0.0, 0.2, 1.0]
    parts = score_decomposition(y_true, y_prob, score="log")
    assert parts.score == pytest.approx(log_loss(y_true, y_prob))


@both_scores
def test_single_row_is_all_miscalibration(score):
    parts = score_decomposition([1], [0.3], score=score)
    assert parts.score == parts.miscalibration > 0


def test_refuses_unknown_score():
    with pytest.raises(ValueError, match="`score` must be one of 'brier', 'log'"):
        score_decomposition([0, 1], [0.1, 0.2], score="spherical")


def test_frame_and_text_show_all_parts(events):
    pytest.importorskip("pandas")
    parts = score_decomposition(*events)
    names = ["score", "miscalibration", "refinement", "discrimination", "uncertainty"]
    assert list(parts.to_frame()) == names
    assert all(name in repr(parts) for name in names)
