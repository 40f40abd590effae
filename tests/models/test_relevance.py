import numpy as np
import pytest
import torch

from sk_arcal.diagnostics import expert_disagreement, mixture_regret
from sk_arcal.models._mixture_of_experts import ExpertRouting
from sk_arcal.models._training._objective_input import Batch
from sk_arcal.models._training._objectives import log_loss, softmax_weighted
from sk_arcal.models._training._relevance import anchored, disagreement, regret, relevant
from sk_arcal.models._training._settings import ObjectiveSettings


def batch(n=40, **settings):
    generator = torch.Generator().manual_seed(3)
    router = torch.randn(n, 3, dtype=torch.double, generator=generator)
    experts = torch.randn(n, 3, 4, dtype=torch.double, generator=generator).log_softmax(dim=2)
    logits = torch.logsumexp(router.log_softmax(dim=1)[:, :, None] + experts, dim=1)
    labels = torch.randint(0, 4, (n,), generator=generator)
    weight = torch.rand(n, dtype=torch.double, generator=generator) + 0.5
    routing = ExpertRouting(router.softmax(dim=1), experts)
    return Batch(logits, routing, labels, weight, ObjectiveSettings(**settings), 1)


def test_rules_are_those_of_the_diagnostics():
    rows = batch()
    gates, experts = rows.routing.gates.numpy(), rows.routing.expert_log_probabilities.exp().numpy()
    labels = rows.labels.numpy()
    np.testing.assert_allclose(regret(rows), mixture_regret(labels, experts, gates), atol=1e-12)
    np.testing.assert_allclose(disagreement(rows), expert_disagreement(experts, gates), rtol=1e-10)


@pytest.mark.parametrize(
    ("relevance", "rule"),
    [
        ("regret", lambda r, d: r > 0.4),
        ("disagreement", lambda r, d: d > 0.12),
        ("either", lambda r, d: (r > 0.4) | (d > 0.12)),
    ],
)
def test_thresholds_choose_rows(relevance, rule):
    rows = batch(relevance=relevance, min_regret=0.4, min_disagreement=0.12)
    expected = rule(regret(rows), disagreement(rows))
    assert 0 < expected.sum() < len(expected)
    assert torch.equal(relevant(rows), expected)


def test_anchor_is_all_rows_and_adversary_the_relevant_ones():
    rows = batch(relevance="regret", min_regret=0.4)
    chosen = relevant(rows)
    part = Batch(
        rows.logits[chosen], None, rows.labels[chosen], rows.weight[chosen], rows.settings, 1
    )
    expected = log_loss(rows) + softmax_weighted(part)
    torch.testing.assert_close(anchored(softmax_weighted, log_loss)(rows), expected)


def test_without_a_relevant_row_the_mean_counts_twice_and_has_finite_slopes():
    rows = batch(relevance="either", min_regret=50.0, min_disagreement=2.0)
    rows.logits.requires_grad_()
    value = anchored(softmax_weighted, log_loss)(rows)
    torch.testing.assert_close(value, 2 * log_loss(rows))
    value.backward()
    assert torch.isfinite(rows.logits.grad).all()
