from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp

from sk_arcal.diagnostics import worst_case_weights
from sk_arcal.models._mixture_of_experts import ExpertRouting
from sk_arcal.models._training._objective_input import Batch
from sk_arcal.models._training._objectives import OBJECTIVES, Criterion, log_loss
from sk_arcal.models._training._settings import ObjectiveSettings


def drawn(n=6, k=3):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(n, k)), rng.integers(0, k, n)
    return logits, labels, rng.random(n) + 0.5


def as_batch(logits, labels, weight, **settings):
    tensors = (torch.from_numpy(array) for array in (labels, weight))
    return Batch(torch.from_numpy(logits), None, *tensors, ObjectiveSettings(**settings), 1)


def numpy_losses(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def slopes(objective, **settings):
    """Value, slopes in the losses, losses and shares: the losses are made the only variable."""
    logits, labels, weight = drawn()
    batch = as_batch(logits, labels, weight, **settings)
    losses = torch.from_numpy(numpy_losses(logits, labels)).requires_grad_()

    class OfLosses(Batch):
        def losses(self):
            return losses

    values = (getattr(batch, name) for name in Batch.__slots__)
    value = OBJECTIVES[objective](OfLosses(*values))
    value.backward()
    return value.item(), losses.grad.numpy(), losses.detach().numpy(), weight / weight.sum()


def test_log_loss_is_the_weighted_mean_of_minus_log_probabilities():
    logits, labels, weight = drawn()
    losses = numpy_losses(logits, labels)
    np.testing.assert_allclose(log_loss(as_batch(logits, labels, weight)), (weight * losses).mean())


def test_smoothing_spreads_probability_over_all_classes():
    logits, labels, weight = drawn()
    target = 0.7 * np.eye(3)[labels] + 0.3 / 3
    losses = -(target * log_softmax(logits, axis=1)).sum(axis=1)
    batch = as_batch(logits, labels, weight, label_smoothing=0.3)
    np.testing.assert_allclose(batch.losses(), losses)


def test_softmax_weights_are_differentiated():
    value, slope, losses, share = slopes("softmax_weighted", eta=2.0)
    q = share * np.exp(2 * losses)
    q /= q.sum()
    np.testing.assert_allclose(value, q @ losses)
    np.testing.assert_allclose(slope, q * (1 + 2 * (losses - q @ losses)))
    assert slope.min() < 0


def test_detached_weights_are_not():
    value, slope, losses, share = slopes("detached", eta=2.0)
    q = share * np.exp(2 * losses)
    q /= q.sum()
    np.testing.assert_allclose(value, q @ losses)
    np.testing.assert_allclose(slope, q)


def test_tilt_is_the_value_of_the_maximum_and_has_its_weights_as_slope():
    value, slope, losses, share = slopes("tilted", eta=2.0)
    q = share * np.exp(2 * losses)
    q /= q.sum()
    np.testing.assert_allclose(value, logsumexp(2 * losses, b=share) / 2)
    np.testing.assert_allclose(value, q @ losses - (q @ np.log(q / share)) / 2)
    np.testing.assert_allclose(slope, q)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0])
def test_cvar_is_the_worst_case_in_its_ball(alpha):
    value, slope, losses, share = slopes("cvar", alpha=alpha)
    worst = share * worst_case_weights(losses, ball="cvar", alpha=alpha, sample_weight=share)
    np.testing.assert_allclose(value, worst @ losses)
    np.testing.assert_allclose(slope, worst, atol=1e-12)


@pytest.mark.parametrize("objective", ["softmax_weighted", "detached", "tilted"])
def test_no_tilt_is_the_mean(objective):
    value, slope, losses, share = slopes(objective, eta=0.0)
    np.testing.assert_allclose(value, share @ losses)
    np.testing.assert_allclose(slope, share)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weight_is_a_repetition(objective):
    logits, labels, _ = drawn()
    repeats = np.array([1, 3, 1, 2, 1, 1])
    settings = {"eta": 1.5, "alpha": 0.4}
    weighted = as_batch(logits, labels, repeats / repeats.mean(), **settings)
    rows = np.repeat(np.arange(6), repeats)
    repeated = as_batch(logits[rows], labels[rows], np.ones(len(rows)), **settings)
    torch.testing.assert_close(OBJECTIVES[objective](weighted), OBJECTIVES[objective](repeated))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("relevance", ["all", "either"])
def test_gradients_of_the_mixture_are_the_analytic_ones(objective, relevance):
    # dl/d router = r - rho, dl/d expert = rho (p - 1{y}); the rest of the chain is dJ/dl
    generator = torch.Generator().manual_seed(0)
    router = torch.randn(7, 2, dtype=torch.double, generator=generator, requires_grad=True)
    scores = torch.randn(7, 2, 3, dtype=torch.double, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (7,), generator=generator)
    weight = torch.rand(7, dtype=torch.double, generator=generator) + 0.5
    experts = scores.log_softmax(dim=2)
    logits = torch.logsumexp(router.log_softmax(dim=1)[:, :, None] + experts, dim=1)
    routing = ExpertRouting(router.softmax(dim=1), experts)
    settings = ObjectiveSettings(objective, relevance=relevance, min_regret=0.3)
    criterion = Criterion(settings)
    criterion((logits, routing), (labels, weight)).backward()

    losses = -logits.detach()[range(7), labels]
    by_loss = losses.clone().requires_grad_()

    def of_losses(rows):
        moved = logits.detach().clone()
        moved[range(7), labels] = -rows
        # renormalised scores would hide the move; the other classes take what is left
        rest = torch.log1p(-torch.exp(-rows)) - torch.log1p(-torch.exp(-losses))
        others = torch.ones(7, 3, dtype=bool)
        others[range(7), labels] = False
        moved = torch.where(others, moved + rest[:, None], moved)
        fixed = replace(routing, expert_log_probabilities=experts.detach())
        return criterion((moved, fixed), (labels, weight))

    of_losses(by_loss).backward()
    joint = (router.log_softmax(dim=1) + experts[range(7), :, labels]).detach()
    rho = (joint + losses[:, None]).exp()
    slope = by_loss.grad[:, None]
    gates = routing.gates.detach()
    torch.testing.assert_close(router.grad, slope * (gates - rho))
    target = torch.nn.functional.one_hot(labels, 3)[:, None]
    by_expert = (slope * rho)[:, :, None] * (experts.detach().exp() - target)
    torch.testing.assert_close(scores.grad, by_expert)


def test_criterion_smooths_in_training_only():
    logits, labels, weight = drawn()
    output = (torch.from_numpy(logits), None)
    target = (torch.from_numpy(labels), torch.from_numpy(weight))
    criterion = Criterion(ObjectiveSettings(label_smoothing=0.3))
    smoothed = as_batch(logits, labels, weight, label_smoothing=0.3)
    plain = as_batch(logits, labels, weight)
    torch.testing.assert_close(criterion(output, target), log_loss(smoothed))
    torch.testing.assert_close(criterion.eval()(output, target), log_loss(plain))


def test_first_epochs_minimise_the_mean():
    logits, labels, weight = drawn()
    output = (torch.from_numpy(logits), None)
    target = (torch.from_numpy(labels), torch.from_numpy(weight))
    criterion = Criterion(ObjectiveSettings("tilted", erm_fraction=0.4), max_epochs=5)
    mean = log_loss(as_batch(logits, labels, weight))
    found = []
    for criterion.epoch in range(1, 6):
        found.append(bool(torch.isclose(criterion(output, target), mean)))
    assert found == [True, True, False, False, False]


def test_objective_sees_routing_and_epoch_and_validation_is_the_log_loss(monkeypatch):
    seen = []

    def peek(batch):
        seen.append((batch.routing, batch.epoch))
        return batch.logits.sum()

    monkeypatch.setitem(OBJECTIVES, "peek", peek)
    logits, labels, weight = drawn()
    output = (torch.from_numpy(logits), "routing")
    target = (torch.from_numpy(labels), torch.from_numpy(weight))
    criterion = Criterion(ObjectiveSettings("peek"))
    criterion.epoch = 7
    torch.testing.assert_close(criterion(output, target), output[0].sum())
    assert seen == [("routing", 7)]
    plain = log_loss(as_batch(logits, labels, weight))
    torch.testing.assert_close(criterion.eval()(output, target), plain)
