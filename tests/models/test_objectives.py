import numpy as np
import torch
from scipy.special import log_softmax

from sk_arcal.models._training._objectives import OBJECTIVES, Batch, Criterion, log_loss


def drawn(n=6, k=3):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(n, k)), rng.integers(0, k, n)
    return logits, labels, rng.random(n) + 0.5


def as_batch(logits, labels, weight, smoothing=0.0):
    tensors = (torch.from_numpy(array) for array in (labels, weight))
    return Batch(torch.from_numpy(logits), None, *tensors, smoothing, 1)


def test_log_loss_is_the_weighted_mean_of_minus_log_probabilities():
    logits, labels, weight = drawn()
    losses = -log_softmax(logits, axis=1)[np.arange(6), labels]
    np.testing.assert_allclose(log_loss(as_batch(logits, labels, weight)), (weight * losses).mean())


def test_smoothing_spreads_probability_over_all_classes():
    logits, labels, weight = drawn()
    target = 0.7 * np.eye(3)[labels] + 0.3 / 3
    losses = -(target * log_softmax(logits, axis=1)).sum(axis=1)
    np.testing.assert_allclose(as_batch(logits, labels, weight, 0.3).losses(), losses)


def test_criterion_smooths_in_training_only():
    logits, labels, weight = drawn()
    output = (torch.from_numpy(logits), None)
    target = (torch.from_numpy(labels), torch.from_numpy(weight))
    criterion = Criterion("log_loss", 0.3)
    smoothed, plain = as_batch(logits, labels, weight, 0.3), as_batch(logits, labels, weight)
    torch.testing.assert_close(criterion(output, target), log_loss(smoothed))
    torch.testing.assert_close(criterion.eval()(output, target), log_loss(plain))


def test_objective_sees_routing_and_epoch_and_validation_is_the_log_loss(monkeypatch):
    seen = []

    def peek(batch):
        seen.append((batch.routing, batch.epoch))
        return batch.logits.sum()

    monkeypatch.setitem(OBJECTIVES, "peek", peek)
    logits, labels, weight = drawn()
    output = (torch.from_numpy(logits), "routing")
    target = (torch.from_numpy(labels), torch.from_numpy(weight))
    criterion = Criterion("peek", 0.0)
    criterion.epoch = 7
    torch.testing.assert_close(criterion(output, target), output[0].sum())
    assert seen == [("routing", 7)]
    plain = log_loss(as_batch(logits, labels, weight))
    torch.testing.assert_close(criterion.eval()(output, target), plain)
