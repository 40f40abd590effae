"""Evaluation of a module on arrays of rows, block by block, into numpy."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sk_arcal._validation import FloatArray

# Rows whose activations lie in memory at a time.
_BLOCK_ROWS = 256


def logits_of(module: nn.Module, x: NDArray[Any]) -> FloatArray:
    """Return the logits of a module in evaluation mode, (n_samples, n_classes)."""
    return np.concatenate(_by_blocks(module, x, lambda block: _as_array(module(block))))


def depth_weights_of(module: nn.Module, x: NDArray[Any], tokens: str) -> dict[str, FloatArray]:
    """Return the weights of every read by its path: the mean of tokens, token 0, or all."""
    kept = {"mean": slice(None), "cls": slice(1), "all": slice(None)}[tokens]

    def weights(block: Tensor) -> dict[str, FloatArray]:
        _, routing = module(block, return_routing=True)
        arrays = {path: _as_array(alpha[:, kept]) for path, alpha in routing.items()}
        return arrays if tokens == "all" else {p: a.mean(axis=1) for p, a in arrays.items()}

    found = _by_blocks(module, x, weights)
    return {path: np.concatenate([part[path] for part in found]) for path in found[0]}


def expert_scores_of(module: nn.Module, x: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return gates (n_samples, n_experts) and the experts' log-probabilities."""

    def scores(block: Tensor) -> tuple[FloatArray, FloatArray]:
        _, routing = module(block, return_routing=True)
        return _as_array(routing.gates), _as_array(routing.expert_log_probabilities)

    gates, experts = zip(*_by_blocks(module, x, scores), strict=True)
    return np.concatenate(gates), np.concatenate(experts)


def with_state(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a module with other weights, in evaluation mode."""
    other = deepcopy(module)
    other.load_state_dict(state)
    return other.eval()


def _by_blocks(module: nn.Module, x: NDArray[Any], keep: Callable[[Tensor], Any]) -> list[Any]:
    module.eval()
    device = next(module.parameters()).device
    with torch.no_grad():
        return [
            keep(torch.tensor(x[start : start + _BLOCK_ROWS], device=device))
            for start in range(0, len(x), _BLOCK_ROWS)
        ]


def _as_array(tensor: Tensor) -> FloatArray:
    return tensor.cpu().numpy().astype(np.float64)
