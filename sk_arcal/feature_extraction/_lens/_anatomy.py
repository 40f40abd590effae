"""Blocks, final norm and head of a network, found by what a forward pass does.

Names differ between families (``model.norm``, ``transformer.ln_f``, ``backbone.norm_f``, ...), so
none is looked at. Blocks are the members of a list of modules that are called once each, every
one with what the one before returned. The *tail* is what is called between the last block and the
head; the head is the call that holds the unembedding, or in a classifier the last linear map.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sk_arcal.feature_extraction._lens._calls import Call, CallLog, watching
from sk_arcal.feature_extraction._readers._depth import DEPTH_CLASSES

# (n_rows, n_tokens, n_streams, d)
_NDIM_OF_STREAMS = 4


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where the layers of a network lie.

    Attributes
    ----------
    blocks : list of Module
        In order.
    site : Module or None
        What makes one state of several: the last attention over depth, which mixes finished blocks
        and the running sum, or the end of parallel streams (hyper-connections). None with a plain
        residual stream.
    tail : list of Module
        What the state passes after the blocks and the site, before the head.
    head : Module or None
        What turns it into logits; None if there is none.
    """

    blocks: list[nn.Module]
    site: nn.Module | None
    tail: list[nn.Module]
    head: nn.Module | None


def find_anatomy(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Anatomy, Any]:
    """Run a network once on a small input; return its anatomy and what it returned.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    args, kwargs : tuple and dict
        What it is called with.

    Returns
    -------
    anatomy : Anatomy
        Where its layers lie.
    output : object
        What the network returned.

    Raises
    ------
    ValueError
        If no list of modules is a chain.
    """
    with watching(module) as log:
        output = module(*args, **kwargs)
    chain = _longest_chain(module, log)
    if chain is None:
        raise ValueError(
            f"{type(module).__name__} has no list of blocks of which each is called once with what "
            "the one before returned, so its layers cannot be counted. Name modules instead: "
            "readout='hidden' with `layers` as paths from `named_modules()`."
        )
    called = log.after(chain[-1].end)
    tail, head = _split_at_head(module, called)
    several = chain[0].inputs[0].ndim == _NDIM_OF_STREAMS
    is_site = bool(tail) and (several or type(tail[0]).__name__ in DEPTH_CLASSES)
    site = tail[0] if is_site else None
    blocks = [call.module for call in chain]
    return Anatomy(blocks, site, tail[1:] if is_site else tail, head), output


def _longest_chain(module: nn.Module, log: CallLog) -> list[Call] | None:
    """Return the calls of the blocks: of the outermost lists, the one with most members."""
    best: tuple[tuple[int, int], list[Call]] | None = None
    for path, part in module.named_modules():
        if not isinstance(part, (nn.ModuleList, nn.Sequential)) or not len(part):
            continue
        calls = [log.of(member) for member in part]
        if any(len(found) != 1 for found in calls):
            continue
        chain = [found[0] for found in calls]
        rank = (-len(path.split(".")), len(chain))
        if _is_chain(chain) and (best is None or rank > best[0]):
            best = rank, chain
    return None if best is None else best[1]


def _is_chain(calls: list[Call]) -> bool:
    if not calls[0].inputs:
        return False
    state: Tensor | None = calls[0].inputs[0]
    for call in calls:
        if state is None or not call.inputs or not _same(state, call.inputs[0]):
            return False
        if call.output is None or call.output.shape != state.shape:
            return False
        state = call.output
    return True


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _split_at_head(
    module: nn.Module, called: list[Call]
) -> tuple[list[nn.Module], nn.Module | None]:
    """Split what is called after the blocks into the tail and the head."""
    parts = [call.module for call in called]
    unembedding = _unembedding(module)
    if unembedding is None:
        linear = [i for i, part in enumerate(parts) if isinstance(part, nn.Linear)]
        position = linear[-1] if linear else None
    else:
        holds = (i for i, p in enumerate(parts) if any(m is unembedding for m in p.modules()))
        position = next(holds, None)
    if position is None:
        return parts, None
    return parts[:position], parts[position]


def _unembedding(module: nn.Module) -> nn.Module | None:
    getter = getattr(module, "get_output_embeddings", None)
    return getter() if callable(getter) else None
