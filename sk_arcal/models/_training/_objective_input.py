"""What an objective may look at: one mini-batch, what the network said of it, and strengths."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from sk_arcal.models._training._settings import ObjectiveSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """What an objective may look at.

    Attributes
    ----------
    logits : Tensor of shape (n_rows, n_classes)
        First output of the module.
    routing : object
        Second output of the module, with ``return_routing=True``.
    labels : Tensor of int of shape (n_rows,)
        Class codes.
    weight : Tensor of shape (n_rows,)
        Weights; their mean over all training rows is one.
    settings : ObjectiveSettings
        Strengths.
    epoch : int
        From 1.
    """

    logits: Tensor
    routing: Any
    labels: Tensor
    weight: Tensor
    settings: ObjectiveSettings
    epoch: int

    def losses(self) -> Tensor:
        """Return the log loss of every row, nats."""
        smoothing = self.settings.label_smoothing
        return functional.cross_entropy(
            self.logits, self.labels, reduction="none", label_smoothing=smoothing
        )

    def shares(self) -> Tensor:
        """Return the share of every row in the weight of the batch."""
        return self.weight / self.weight.sum()
