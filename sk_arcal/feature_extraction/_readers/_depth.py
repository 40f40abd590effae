"""Attention over depth as transformers has it, computed again from what went in."""

from typing import Any

import torch
from torch import nn

from sk_arcal.feature_extraction._readers._routes import Reading

# Classes of transformers that attend over depth; none of them returns its weights.
DEPTH_CLASSES = frozenset({"Inkling2BlockAttentionResidual"})


def read_block_attention_residual(module: nn.Module, args: tuple, output: Any) -> list[Reading]:
    r"""Return the weights of Inkling-2's attention residual.

    With finished blocks and the running sum as sources :math:`v_i` of width d and a learned
    query :math:`q_j`, it mixes :math:`\mathrm{norm}(v_i)` with the weights

    .. math:: \alpha_{ij} = \operatorname{softmax}_i\, q_j^\top \mathrm{norm}(v_i) / \sqrt d .

    Parameters
    ----------
    module : Inkling2BlockAttentionResidual
        Holds `query` and `norm`.
    args : tuple
        Finished blocks, shape (n_rows, n_tokens, n_blocks, d), and the running sum, shape
        (n_rows, n_tokens, d).
    output : object
        Not needed.

    Returns
    -------
    readings : list of Reading
        One, with weights of shape (n_rows, n_tokens, n_queries, n_blocks + 1).
    """
    blocks, partial = args
    parts: Any = module
    sources = torch.cat([blocks, partial.unsqueeze(-2)], dim=-2).float()
    width = sources.shape[-1]
    queries = parts.query.float().reshape(-1, width)
    # Under autocast this product would be rounded; the module itself computes it in float32.
    with torch.autocast(sources.device.type, enabled=False):
        scores = torch.einsum("...sd,qd->...qs", parts.norm(sources), queries) / width**0.5
    return [Reading(weights=scores.softmax(dim=-1), scoring="softmax")]
