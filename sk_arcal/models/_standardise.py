"""Standardisation inside a network, so that it reads raw rows."""

from typing import Any

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Subtract a mean and divide by a deviation along the last axis.

    Both are buffers: saved with the weights, not trained. They start at zero and one.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("deviation", torch.ones(n_columns))

    def set_moments(self, mean: Any, deviation: Any) -> None:
        """Set both, in the precision the module has now."""
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float64))
        self.deviation.copy_(torch.as_tensor(deviation, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return standardised rows in the precision of the module; `x` may have another."""
        return ((x - self.mean) / self.deviation).to(self.mean.dtype)
