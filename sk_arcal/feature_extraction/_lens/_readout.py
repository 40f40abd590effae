"""The readout of a network as plain arrays: final norm, unembedding, and what follows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from sk_arcal.feature_extraction._lens._lens import Lens
from sk_arcal.feature_extraction._lens._norm import describe_norm


def describe_readout(lens: Lens, rows: Sequence[int] = ()) -> dict[str, Any]:
    """Return what turns a state into logits, as numbers.

    Parameters
    ----------
    lens : Lens
        Norm and head.
    rows : sequence of int, default=()
        Classes or tokens; all of them if empty.

    Returns
    -------
    readout : dict
        `weight`, `bias`, `norm`, `norm_weight`, `norm_bias`, `eps`, `scale` and `softcap`.

    Raises
    ------
    ValueError
        If the head is not linear, or something else than a norm and linear maps comes before it.
    """
    has_norm = bool(lens.tail) and not isinstance(lens.tail[0], nn.Linear)
    norm = lens.tail[0] if has_norm else None
    maps: list[nn.Module] = [*lens.tail[has_norm:], lens.head]
    linear = [part for part in maps if isinstance(part, nn.Linear)]
    if len(linear) < len(maps):
        names = ", ".join(type(part).__name__ for part in maps)
        raise ValueError(
            f"The states pass {names} after the final norm, which are not all linear, so the "
            "readout cannot be written down."
        )
    chosen = list(rows) if rows else slice(lens.scaling.n_scores)
    weight = _array(linear[-1].weight[chosen])
    bias = None if linear[-1].bias is None else _array(linear[-1].bias[chosen])
    for part in reversed(linear[:-1]):
        if part.bias is not None:
            bias = (0.0 if bias is None else bias) + weight @ _array(part.bias)
        weight = weight @ _array(part.weight)
    return {
        "weight": weight,
        "bias": bias,
        **describe_norm(norm, weight.shape[1]),
        "scale": lens.scaling.factor,
        "softcap": lens.scaling.softcap,
    }


def _array(values: Any) -> np.ndarray:
    return values.detach().double().cpu().numpy()
