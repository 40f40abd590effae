r"""A norm as numbers, found by what it does: its kind, weight, bias and epsilon.

.. math:: \frac{x}{\sqrt{\overline{x^2} + \epsilon}} \odot w
   \qquad\text{or}\qquad
   \frac{x - \bar x}{\sqrt{\overline{(x - \bar x)^2} + \epsilon}} \odot w + b

Large inputs show w and b, as epsilon does not count there; small ones then show epsilon.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_N_PROBES = 64
_TOLERANCE = 1e-4

Array = NDArray[np.float64]


def describe_norm(module: nn.Module | None, width: int) -> dict[str, Any]:
    """Return kind and numbers of a norm.

    Parameters
    ----------
    module : Module or None
        From (n, width) to (n, width).
    width : int
        Numbers of a state.

    Returns
    -------
    norm : dict
        `norm` ("none", "rms" or "layer"), `norm_weight`, `norm_bias` and `eps`.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if module is None:
        return {"norm": "none", "norm_weight": None, "norm_bias": None, "eps": 0.0}
    drawn = np.random.default_rng(0).normal(1.0, 3.0, size=(_N_PROBES, width))
    # In single precision: what a network rounds to half of it would hide its epsilon.
    alone = deepcopy(module).float().to("cpu")
    large, tiny = drawn * 1e3, drawn * 1e-3
    out_large, out_tiny = _run(alone, large), _run(alone, tiny)
    for kind, centre in (("rms", False), ("layer", True)):
        weight, bias, gap = _fitted(_scaled(large, centre, 0.0), out_large, intercept=centre)
        if gap <= _TOLERANCE:
            eps = _epsilon(tiny, out_tiny, weight, bias, centre)
            if _gap(_scaled(tiny, centre, eps) * weight + bias, out_tiny) <= _TOLERANCE:
                kept = bias if centre else None
                return {"norm": kind, "norm_weight": weight, "norm_bias": kept, "eps": eps}
    raise ValueError(
        f"The final norm, {type(module).__name__}, is neither a root-mean-square nor a layer norm, "
        "so the readout cannot be written down."
    )


@torch.inference_mode()
def _run(module: nn.Module, values: Array) -> Array:
    return module(torch.tensor(values, dtype=torch.float32)).double().numpy()


def _scaled(values: Array, centre: bool, eps: float) -> Array:
    centred = values - values.mean(axis=1, keepdims=True) * centre
    return centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + eps)


def _fitted(inputs: Array, outputs: Array, *, intercept: bool) -> tuple[Array, Array, float]:
    """Return slope and intercept of every column by least squares, and the largest miss."""
    shift = inputs.mean(axis=0) * intercept
    lift = outputs.mean(axis=0) * intercept
    moved = inputs - shift
    weight = (moved * (outputs - lift)).sum(axis=0) / np.square(moved).sum(axis=0)
    bias = lift - weight * shift
    return weight, bias, _gap(inputs * weight + bias, outputs)


def _gap(ours: Array, theirs: Array) -> float:
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def _epsilon(inputs: Array, outputs: Array, weight: Array, bias: Array, centre: bool) -> float:
    """Return the epsilon that shrinks small inputs as much as was seen."""
    centred = inputs - inputs.mean(axis=1, keepdims=True) * centre
    ideal = centred * weight
    shrunk = (ideal * (outputs - bias)).sum(axis=1) / np.square(ideal).sum(axis=1)
    found = np.median(shrunk**-2 - np.square(centred).mean(axis=1))
    return max(float(found), 0.0)
