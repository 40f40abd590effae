"""What training minimises. A new objective is one function here and one line in the table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


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
    label_smoothing : float
        Probability that is spread over all classes evenly.
    epoch : int
        From 1.
    """

    logits: Tensor
    routing: Any
    labels: Tensor
    weight: Tensor
    label_smoothing: float
    epoch: int

    def losses(self) -> Tensor:
        """Return the log loss of every row, nats."""
        return functional.cross_entropy(
            self.logits, self.labels, reduction="none", label_smoothing=self.label_smoothing
        )


def log_loss(batch: Batch) -> Tensor:
    """Return the weighted mean log loss."""
    return (batch.weight * batch.losses()).mean()


OBJECTIVES: dict[str, Callable[[Batch], Tensor]] = {"log_loss": log_loss}


class Criterion(nn.Module):
    """An objective while training; in evaluation mode the log loss without smoothing."""

    def __init__(self, objective: str, label_smoothing: float) -> None:
        super().__init__()
        self.objective, self.label_smoothing = OBJECTIVES[objective], label_smoothing
        self.epoch = 0

    def forward(self, output: tuple[Tensor, Any], target: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch from the module's two outputs and labels with weights."""
        smoothing = self.label_smoothing if self.training else 0.0
        batch = Batch(*output, *target, smoothing, self.epoch)
        return self.objective(batch) if self.training else log_loss(batch)
