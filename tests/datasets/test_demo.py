import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import rankdata, spearmanr

from sk_arcal.datasets import load_routing_demo
from sk_arcal.metrics import expected_calibration_error


@pytest.fixture(scope="module")
def demo():
    return load_routing_demo()


@pytest.fixture(scope="module")
def right(demo):
    return (demo.logits.argmax(axis=1) == demo.y).astype(float)


def test_demo_is_a_real_overconfident_model(demo, right):
    confidence = softmax(demo.logits, axis=1).max(axis=1)
    assert demo.logits.shape == (1797, 10)
    assert 0.80 < right.mean() < 0.88
    assert 0.05 < expected_calibration_error(right, confidence) < 0.15
    assert np.isfinite(demo.logits).all()


def test_demo_is_the_same_every_time(demo):
    again = load_routing_demo()
    np.testing.assert_array_equal(again.logits, demo.logits)
    np.testing.assert_array_equal(again.routing, demo.routing)


def test_demo_planted_feature_separates_right_from_wrong_and_null_only_follows_confidence(
    demo, right
):
    confidence = softmax(demo.logits, axis=1).max(axis=1)
    planted, null = demo.routing.T
    assert planted[right == 1].mean() - planted[right == 0].mean() > 0.8
    assert spearmanr(null, confidence).statistic > 0.6
    rank = rankdata(confidence) / len(confidence)
    design = np.column_stack([rank**k for k in range(5)])
    residual = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (null, right)]
    assert abs(np.corrcoef(*residual)[0, 1]) < 3 / np.sqrt(len(right))
