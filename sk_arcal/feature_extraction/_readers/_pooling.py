"""From routes per token to numbers per row, where the tensors lie."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sk_arcal._routing import TOKEN_REDUCTIONS, TOKEN_STATISTICS
from sk_arcal._validation import check_option
from sk_arcal.feature_extraction._readers._routes import Routes


@dataclass(frozen=True, eq=False)
class PooledRoutes:
    """What one site did for every row.

    Attributes
    ----------
    weights : Tensor of shape (n_rows, n_routes)
        Reduced over tokens; sums to one.
    statistics : Tensor of shape (n_rows, 4)
        Those of ``TOKEN_STATISTICS``, computed for every token and then reduced.
    load : Tensor of shape (n_rows, n_routes) or None
        Share of the used slots that went to each route; zero where no slot was used. None where
        the selection is not known.
    """

    weights: Tensor
    statistics: Tensor
    load: Tensor | None


def pool(routes: Routes, mask: Tensor | None, reduction: str = "mean") -> PooledRoutes:
    """Reduce the routes of a site over the real tokens of each row.

    Parameters
    ----------
    routes : Routes
        Routes per token.
    mask : Tensor of shape (n_rows, n_tokens) or None
        True or one at real tokens; None if all are real.
    reduction : {"mean", "cls", "last"}, default="mean"
        Mean over the real tokens, the first of them, or the last, whichever side is padded.

    Returns
    -------
    pooled : PooledRoutes
        On the same device, in the precision of the weights.

    Raises
    ------
    ValueError
        If the reduction is unknown, a row has no real token, or the mask does not fit.
    """
    check_option("reduction", reduction, TOKEN_REDUCTIONS)
    weights = routes.weights
    share = _SHARES[reduction](_fitting(mask, weights).to(weights.dtype))
    statistics = token_statistics(weights)
    load = None if routes.selected is None else _load(routes.selected, share, weights.shape[-1])
    return PooledRoutes(_weighted(weights, share), _weighted(statistics, share), load)


def token_statistics(weights: Tensor) -> Tensor:
    """Return the four statistics of every token, in the order of ``TOKEN_STATISTICS``.

    Parameters
    ----------
    weights : Tensor of shape (..., n_routes)
        Distributions.

    Returns
    -------
    statistics : Tensor of shape (..., 4)
        Entropy (nats), largest weight, largest less second largest (the largest itself with a
        single route), and exp(entropy).
    """
    entropy = torch.special.entr(weights).sum(dim=-1)
    top = weights.topk(min(2, weights.shape[-1]), dim=-1).values
    largest = top[..., 0]
    second = top[..., 1] if top.shape[-1] == 2 else torch.zeros_like(largest)
    values = {
        "entropy": entropy,
        "max_weight": largest,
        "margin": largest - second,
        "effective_routes": entropy.exp(),
    }
    return torch.stack([values[name] for name in TOKEN_STATISTICS], dim=-1)


def _fitting(mask: Tensor | None, weights: Tensor) -> Tensor:
    """Return the mask for the tokens of a site; True everywhere if the site has its own tokens."""
    n_rows, n_tokens, _ = weights.shape
    everywhere = torch.ones(n_rows, n_tokens, dtype=torch.bool, device=weights.device)
    if mask is None:
        return everywhere
    if mask.ndim != 2 or len(mask) != n_rows:
        raise ValueError(
            f"`mask` must have shape (n_rows, n_tokens) with {n_rows} rows; got "
            f"{tuple(mask.shape)}."
        )
    real = mask.to(weights.device).bool()
    if real.shape[1] != n_tokens:
        if not bool(real.all()):
            raise ValueError(
                f"A site has {n_tokens} tokens a row where `mask` has {real.shape[1]}, and some of "
                "them are padding, so which of the site's tokens are real is not known. Use rows "
                "of equal length, such as batch_size=1."
            )
        return everywhere
    empty = torch.nonzero(~real.any(dim=1))
    if len(empty):
        raise ValueError(f"Row {int(empty[0])} has no real token: `mask` is zero everywhere.")
    return real


def _mean(real: Tensor) -> Tensor:
    return real / real.sum(dim=1, keepdim=True)


def _first(real: Tensor) -> Tensor:
    return real * (real.cumsum(dim=1) == 1)


def _last(real: Tensor) -> Tensor:
    return _first(real.flip(1)).flip(1)


# What share of a row each token is, from ones at real tokens and zeros at others.
_SHARES: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "cls": _first, "last": _last}


def _weighted(values: Tensor, share: Tensor) -> Tensor:
    """Sum over tokens; padding counts nothing, not even where attention left NaN there."""
    kept = values.masked_fill((share == 0).unsqueeze(-1), 0)
    return torch.einsum("rtn,rt->rn", kept, share)


def _load(selected: Tensor, share: Tensor, n_routes: int) -> Tensor:
    """Return the share of used slots per route; a slot is used if its route is not -1."""
    used = (selected >= 0) * (share > 0).unsqueeze(-1)
    counts = torch.zeros(len(selected), n_routes, dtype=share.dtype, device=share.device)
    slots = selected.clamp(min=0).flatten(1)
    counts.scatter_add_(1, slots, used.flatten(1).to(share.dtype))
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
