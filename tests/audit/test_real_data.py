"""Audits of real predictions: published errors, a positive control and its shuffled twin."""

import numpy as np
import pytest
from scipy.special import entr, softmax

from sk_arcal.audit import read_predictions, routing_audit
from sk_arcal.diagnostics import shuffle_within_bins

FAST = {"n_resamples": 199, "random_state": 0}


def test_resnet50_has_its_known_error_before_and_after_temperature(shared_data):
    table = read_predictions(shared_data / "logits" / "cifar10_psr_resnet50_val_test.npz")
    audit = routing_audit(table, **FAST)
    errors = {row.name: row.ece for row in audit.scorecard}
    assert errors["raw"] == pytest.approx(0.1069, abs=1e-4)
    assert errors["temperature"] == pytest.approx(0.0235, abs=1e-4)
    assert all(0 < row.ece_floor < row.ece for row in audit.scorecard[:2])


@pytest.fixture
def human_disagreement(shared_data):
    """CIFAR-10 logits, and how far human voters disagree about the same images (nats)."""
    cell = np.load(shared_data / "logits" / "cifar10_widmann_resnet18.npz")
    counts = np.load(shared_data / "logits" / "cifar10h_human_counts.npz")
    votes = counts["counts"].astype(float)
    entropy = entr(votes / votes.sum(axis=1, keepdims=True)).sum(axis=1)
    return cell["logits"], cell["y"], cell["split"], entropy


def test_human_disagreement_is_a_signal(human_disagreement):
    logits, y, split, entropy = human_disagreement
    audit = routing_audit(y, logits=logits, split=split, routing={"human": entropy}, **FAST)
    assert audit.features["human"].verdict == "signal"


def test_shuffled_human_disagreement_is_not_a_signal(human_disagreement):
    logits, y, split, entropy = human_disagreement
    confidence = softmax(logits.astype(float), axis=1).max(axis=1)
    shuffled = shuffle_within_bins(entropy, confidence, random_state=0)
    audit = routing_audit(y, logits=logits, split=split, routing={"human": shuffled}, **FAST)
    assert audit.features["human"].verdict != "signal"
