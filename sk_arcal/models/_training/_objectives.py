r"""What training minimises. A new objective is one function here and one line in the table.

With losses :math:`\ell_i = -\log p_{y_i}(x_i)` and the rows' shares of the weight of the batch
:math:`\pi_i`, an adversary reweighs the rows of a mini-batch within an entropy budget,

.. math:: \max_q \; \sum_i q_i \ell_i - \frac1\eta \mathrm{KL}(q \,\|\, \pi)
    \quad\Rightarrow\quad q_i \propto \pi_i\, e^{\eta \ell_i} .

``"softmax_weighted"``
    :math:`J = \sum_i q_i \ell_i` with q differentiated too, as in the published code:
    :math:`\partial J / \partial \ell_i = q_i (1 + \eta (\ell_i - J))`, which is negative for easy
    rows.
``"detached"``
    The same value with q held fixed: :math:`\partial J / \partial \ell_i = q_i`.
``"tilted"``
    The value of the maximum, :math:`\frac1\eta \log \sum_i \pi_i e^{\eta \ell_i}`, whose slope is
    :math:`q_i`, too.
``"cvar"``
    The mean of the worst share :math:`\alpha` of the batch.
``"log_loss"``
    The mean.

Sources: G. Wong et al., "Toward Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026;
T. Li et al., "Tilted Empirical Risk Minimization", ICLR 2021; D. Levy et al., "Large-Scale Methods
for Distributionally Robust Optimization", NeurIPS 2020 (CVaR by mini-batch).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sk_arcal.models._training._objective_input import Batch
from sk_arcal.models._training._relevance import anchored
from sk_arcal.models._training._settings import ObjectiveSettings


def log_loss(batch: Batch) -> Tensor:
    """Return the weighted mean log loss."""
    return (batch.weight * batch.losses()).mean()


def softmax_weighted(batch: Batch) -> Tensor:
    """Return the mean loss under softmax weights that are differentiated through."""
    losses = batch.losses()
    return (_tilt(losses, batch) * losses).sum()


def detached(batch: Batch) -> Tensor:
    """Return the mean loss under softmax weights that are held fixed."""
    losses = batch.losses()
    return (_tilt(losses.detach(), batch) * losses).sum()


def tilted(batch: Batch) -> Tensor:
    """Return the exponentially tilted loss; the mean at eta zero."""
    losses, eta = batch.losses(), batch.settings.eta
    if eta == 0:
        return (batch.shares() * losses).sum()
    return torch.logsumexp(eta * losses + batch.shares().log(), dim=0) / eta


def cvar(batch: Batch) -> Tensor:
    """Return the mean loss of the worst share alpha, the row at the boundary in part."""
    ordered, order = batch.losses().sort(descending=True)
    share, alpha = batch.shares()[order], batch.settings.alpha
    before = share.cumsum(dim=0) - share
    taken = torch.minimum((alpha - before).clamp(min=0), share)
    return (taken * ordered).sum() / taken.sum()


OBJECTIVES: dict[str, Callable[[Batch], Tensor]] = {
    "log_loss": log_loss,
    "softmax_weighted": softmax_weighted,
    "detached": detached,
    "tilted": tilted,
    "cvar": cvar,
}


class Criterion(nn.Module):
    """An objective while training; in evaluation mode the log loss without smoothing."""

    def __init__(self, settings: ObjectiveSettings, max_epochs: int = 1) -> None:
        super().__init__()
        self.settings, self.plain = settings, ObjectiveSettings()
        self.n_plain_epochs = round(settings.erm_fraction * max_epochs)
        objective = OBJECTIVES[settings.objective]
        is_filtered = settings.relevance != "all"
        self.objective = anchored(objective, log_loss) if is_filtered else objective
        self.epoch = 0

    def forward(self, output: tuple[Tensor, Any], target: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch from the module's two outputs and labels with weights."""
        settings = self.settings if self.training else self.plain
        batch = Batch(*output, *target, settings, self.epoch)
        is_plain = not self.training or 0 < self.epoch <= self.n_plain_epochs
        return log_loss(batch) if is_plain else self.objective(batch)


def _tilt(losses: Tensor, batch: Batch) -> Tensor:
    return (batch.settings.eta * losses + batch.shares().log()).softmax(dim=0)
