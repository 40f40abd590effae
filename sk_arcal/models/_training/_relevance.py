r"""The filtered objective: a mean over all rows, and an adversary where routing matters.

.. math:: J = \frac1n \sum_i \ell_i + \max_q \sum_{i \in R} q_i \ell_i ,

with the second term over the *relevant* rows of the batch alone, or the mean once more if there
are none. A row is relevant by *regret* if some expert alone was better than the mixture,
:math:`\ell_i - \min_m \ell_{im}` above a threshold, and by *disagreement* if
:math:`\sum_m r_m \|p_m - p\|^2` is above another.

Source: G. Wong et al., "Toward Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026,
objective "Robust Filtered".
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from sk_arcal.models._training._objective_input import Batch

Objective = Callable[[Batch], Tensor]


def anchored(objective: Objective, anchor: Objective) -> Objective:
    """Return the anchor on all rows plus the objective on the relevant ones."""

    def value(batch: Batch) -> Tensor:
        mean = anchor(batch)
        weight = batch.weight * relevant(batch)
        found = weight.sum() > 0
        # Masks instead of chosen rows, and no branch: the device need not wait for the host.
        rows = replace(batch, weight=torch.where(found, weight, batch.weight))
        return mean + torch.where(found, objective(rows), mean)

    return value


def relevant(batch: Batch) -> Tensor:
    """Return which rows of a batch depend on their routing, without gradients."""
    settings = batch.settings
    with torch.no_grad():
        by_regret = regret(batch) > settings.min_regret
        by_disagreement = disagreement(batch) > settings.min_disagreement
    rules = {
        "regret": by_regret,
        "disagreement": by_disagreement,
        "either": by_regret | by_disagreement,
    }
    return rules[settings.relevance]


def regret(batch: Batch) -> Tensor:
    """Return the log loss of the mixture less that of its best expert, nats."""
    mixed = functional.cross_entropy(batch.logits, batch.labels, reduction="none")
    experts = batch.routing.expert_log_probabilities
    labels = batch.labels[:, None, None].expand(-1, experts.shape[1], 1)
    return mixed + experts.gather(2, labels)[:, :, 0].max(dim=1).values


def disagreement(batch: Batch) -> Tensor:
    """Return the gate-weighted squared distance of the experts to their mixture."""
    apart = batch.routing.expert_log_probabilities.exp() - batch.logits.softmax(dim=1)[:, None]
    return (batch.routing.gates * apart.square().sum(dim=2)).sum(dim=1)
