"""From values per token or place to values per row."""

import torch
from torch import Tensor


def at_token(values: Tensor, mask: Tensor | None, token: str) -> Tensor:
    """Reduce the token axis.

    Parameters
    ----------
    values : Tensor of shape (n_rows, n_tokens, ...)
        Values of every token.
    mask : Tensor of shape (n_rows, n_tokens) or None
        True at real tokens; None if all are real, or the tokens are not those of the input.
    token : {"last", "mean", "cls"}
        The last real token, the mean over the real ones, or the first, whichever side is padded.

    Returns
    -------
    reduced : Tensor of shape (n_rows, ...)
        On the same device.
    """
    n_rows, n_tokens = values.shape[:2]
    if mask is None or tuple(mask.shape) != (n_rows, n_tokens):
        mask = torch.ones(n_rows, n_tokens, dtype=torch.bool, device=values.device)
    mask = mask.to(values.device)
    if token == "mean":
        share = (mask / mask.sum(dim=1, keepdim=True)).to(values.dtype)
        return torch.einsum("nt,nt...->n...", share, values)
    places = torch.arange(n_tokens, device=values.device)
    if token == "last":
        chosen = torch.where(mask, places, -1).amax(dim=1)
    else:
        chosen = torch.where(mask, places, n_tokens).amin(dim=1)
    return values[torch.arange(n_rows, device=values.device), chosen]


def per_row(values: Tensor, mask: Tensor | None, token: str, path: str) -> Tensor:
    """Reduce whatever a module returns to shape (n_rows, d).

    Parameters
    ----------
    values : Tensor of shape (n_rows, d), (n_rows, n_tokens, d) or (n_rows, d, height, width, ...)
        What it returned; maps have their channels first.
    mask : Tensor of shape (n_rows, n_tokens) or None
        Real tokens.
    token : {"last", "mean", "cls"}
        Which token stands for a row.
    path : str
        Where the module lies; stands in the error.

    Returns
    -------
    reduced : Tensor of shape (n_rows, d)
        Means over places where there are some.

    Raises
    ------
    ValueError
        If the values have fewer than two axes, or padding cannot be told from tokens.
    """
    if values.ndim < 2:
        raise ValueError(
            f"{path!r} returns a tensor of shape {tuple(values.shape)}; (n_rows, d), "
            "(n_rows, n_tokens, d) or (n_rows, channels, height, width) is needed."
        )
    if values.ndim == 2:
        return values
    if values.ndim > 3:
        return values.flatten(2).mean(dim=2)
    if mask is not None and mask.shape[1] != values.shape[1] and not bool(mask.all()):
        raise ValueError(
            f"{path!r} has {values.shape[1]} tokens a row where the input has {mask.shape[1]}, "
            "some of them padding, so which are real is not known. Use batch_size=1."
        )
    return at_token(values, mask, token)
