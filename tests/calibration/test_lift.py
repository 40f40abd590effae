"""From the confidence of the top class to all classes."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from sk_arcal.calibration._lift import LIFTS, lift_top_label

every_method = pytest.mark.parametrize("method", LIFTS)


def rows(n=200, n_classes=6, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(n, n_classes)), rng.uniform(1 / n_classes, 1, n)


@every_method
@pytest.mark.parametrize("n_classes", [2, 3, 10, 1000])
def test_top_class_gets_its_probability(method, n_classes):
    logits, top = rows(n_classes=n_classes)
    lifted, clipped = lift_top_label(logits, top, method)
    probability = softmax(lifted, axis=1)
    assert not clipped.any()
    np.testing.assert_allclose(
        probability[np.arange(200), logits.argmax(axis=1)], top, rtol=1e-9, atol=1e-9
    )


def test_temperature_is_the_root_that_scipy_finds():
    logits, top = rows(n=20)
    lifted, _ = lift_top_label(logits, top, "temperature")
    for row, wanted, found in zip(logits, top, softmax(lifted, axis=1), strict=True):
        beta = brentq(lambda b, z, t: softmax(b * z).max() - t, 0, 1e3, args=(row, wanted))
        np.testing.assert_allclose(found, softmax(beta * row), atol=1e-9)


def test_proportional_keeps_the_proportions_of_the_others():
    logits, top = rows()
    logits[0] = [0, -50, -60, -70, -80, -90]
    lifted, _ = lift_top_label(logits, top, "proportional")
    others = np.argsort(logits, axis=1)[:, :-1]
    before, after = (
        log_softmax(np.take_along_axis(z, others, axis=1), axis=1) for z in (logits, lifted)
    )
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


def test_uniform_shares_the_rest_equally():
    logits, top = rows(n_classes=5)
    probability = softmax(lift_top_label(logits, top, "uniform")[0], axis=1)
    others = np.sort(probability - np.eye(5)[logits.argmax(axis=1)], axis=1)[:, 1:]
    np.testing.assert_allclose(others, np.repeat((1 - top)[:, None] / 4, 4, axis=1), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e4, 1e99])
@pytest.mark.parametrize("top", [0.0, 0.1, 1 / 6, 0.2, 0.999999, 1.0])
def test_temperature_keeps_the_ranking(scale, top):
    logits, _ = rows(scale=scale)
    lifted, _ = lift_top_label(logits, np.full(200, top), "temperature")
    probability = softmax(lifted, axis=1)
    np.testing.assert_array_equal(probability.argmax(axis=1), logits.argmax(axis=1))
    ascending = np.take_along_axis(probability, logits.argsort(axis=1), axis=1)
    assert (np.diff(ascending, axis=1) >= 0).all()


def test_confidence_below_one_in_k_is_clipped_and_reported():
    logits, _ = rows(n_classes=4)
    lifted, clipped = lift_top_label(logits, np.full(200, 0.2), "temperature")
    assert clipped.all()
    np.testing.assert_allclose(softmax(lifted, axis=1), 0.25, atol=1e-5)


def test_one_in_k_itself_is_not_clipped():
    logits, _ = rows(n_classes=4)
    assert not lift_top_label(logits, np.full(200, 0.25), "temperature")[1].any()


def test_tie_at_the_top_cannot_exceed_one_half():
    logits = np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 0.0]])
    lifted, clipped = lift_top_label(logits, np.array([0.9, 0.9]), "temperature")
    np.testing.assert_array_equal(clipped, [True, False])
    np.testing.assert_allclose(softmax(lifted, axis=1)[0], [0.5, 0.5, 0], atol=1e-12)


def test_tie_at_the_top_below_one_half_is_reached():
    lifted, clipped = lift_top_label(np.array([[1.0, 1.0, 0.0]]), np.array([0.4]), "temperature")
    assert not clipped.any()
    np.testing.assert_allclose(softmax(lifted, axis=1), [[0.4, 0.4, 0.2]], rtol=1e-9)


@pytest.mark.parametrize(("top", "expected"), [(1 / 3, False), (0.6, True), (0.1, True)])
def test_all_classes_tied_stay_tied(top, expected):
    lifted, clipped = lift_top_label(np.full((1, 3), 7.0), np.array([top]), "temperature")
    assert clipped[0] == expected
    np.testing.assert_allclose(softmax(lifted, axis=1), 1 / 3)


@every_method
@pytest.mark.parametrize("top", [0.0, 1.0])
def test_sure_confidences_give_finite_logits(method, top):
    logits, _ = rows(scale=100.0)
    assert np.isfinite(lift_top_label(logits, np.full(200, top), method)[0]).all()


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e99])
@every_method
def test_logits_of_any_size_give_probabilities(scale, method):
    logits, top = rows(scale=scale)
    probability = softmax(lift_top_label(logits, top, method)[0], axis=1)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)


@every_method
def test_input_is_left_alone(method):
    logits, top = rows()
    copies = logits.copy(), top.copy()
    lift_top_label(logits, top, method)
    np.testing.assert_array_equal(logits, copies[0])
    np.testing.assert_array_equal(top, copies[1])
