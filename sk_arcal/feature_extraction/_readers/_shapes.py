"""From a reading, whose tokens may lie in one long row, to routes per row and token."""

from dataclasses import replace

import torch
from torch import Tensor

from sk_arcal.feature_extraction._readers._routes import Reading, Routes
from sk_arcal.feature_extraction._readers._scoring import at_least_single, distribution

_QUERY_NAMES = {3: ("q", "k", "v")}


def as_routes(reading: Reading, n_rows: int, path: str, n_shared: int | None = None) -> Routes:
    """Give a reading its shape, and its distribution over the routes.

    Parameters
    ----------
    reading : Reading
        With a scoring.
    n_rows : int
        Number of rows in the batch.
    path : str
        Where the module lies; stands in the error.
    n_shared : int, default=None
        Experts that every token uses.

    Returns
    -------
    routes : Routes
        On the same device, without gradients.

    Raises
    ------
    ValueError
        If the tokens cannot be shared out among the rows.
    """
    weights, logits, selected, used = (
        None if tensor is None else by_token(tensor.detach(), n_rows, path)
        for tensor in (
            reading.weights,
            reading.logits,
            reading.selected,
            reading.selected_weights,
        )
    )
    if weights is None:
        if logits is None:
            raise ValueError(f"{path!r} gave neither logits nor weights; one of them is needed.")
        weights = distribution(logits, reading.scoring)
    return Routes(
        at_least_single(weights),
        logits,
        None if selected is None else selected.long(),
        used,
        reading.scoring,
        n_shared,
    )


def by_token(tensor: Tensor, n_rows: int, path: str) -> Tensor:
    """Return shape (n_rows, n_tokens, n); what has no token axis has one token per row.

    Tokens in one long row are taken to be whole rows one after the other, all of one length.
    """
    if tensor.ndim == 3 and len(tensor) == n_rows:
        return tensor
    flat = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
    if flat.ndim == 2 and len(flat) and len(flat) % n_rows == 0:
        return flat.reshape(n_rows, -1, flat.shape[-1])
    raise ValueError(
        f"{path!r} gave a tensor of shape {tuple(tensor.shape)} for a batch of {n_rows} rows. "
        "Expected is (n_rows, n_tokens, n), or (n_rows * n_tokens, n) with rows of equal length; "
        "use `register_router` or `register_depth_site` to put it into that shape."
    )


def by_query(reading: Reading) -> list[Reading]:
    """Split weights of shape (n_rows, n_tokens, n_queries, n_routes) into one reading a query."""
    weights = reading.weights
    if weights is None or weights.ndim != 4:
        return [reading]
    n_queries = weights.shape[2]
    if n_queries == 1:
        return [replace(reading, weights=weights[:, :, 0])]
    names = _QUERY_NAMES.get(n_queries, [f"q{i}" for i in range(n_queries)])
    return [
        replace(reading, weights=part, suffix=f"{reading.suffix}_{name}")
        for part, name in zip(torch.unbind(weights, dim=2), names, strict=True)
    ]
