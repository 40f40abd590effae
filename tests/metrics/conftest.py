"""Predictions shared by the tests of the metrics."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20261122)


@pytest.fixture
def events(rng):
    """Outcomes and probabilities of an overconfident model, with ties and exact 0 and 1."""
    y_prob = np.round(rng.random(400), 2)
    y_prob[:4] = [0, 0, 1, 1]
    y_true = (rng.random(400) < 0.5 + 0.7 * (y_prob - 0.5)).astype(float)
    return y_true, y_prob


@pytest.fixture
def classes(rng):
    """Labels of five classes and probabilities of an overconfident model."""
    logits = 2 * rng.normal(size=(300, 5))
    tempered = np.exp(0.5 * logits)
    y_true = (tempered.cumsum(axis=1) < rng.random((300, 1)) * tempered.sum(axis=1)[:, None]).sum(
        axis=1
    )
    y_prob = np.exp(logits)
    return y_true, y_prob / y_prob.sum(axis=1, keepdims=True)
