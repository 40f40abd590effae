"""Modules that say themselves what they route, and those that the user has registered.

What they hand over is checked: it comes from code that this library has not seen.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sk_arcal._routing import SITE_KINDS
from sk_arcal._validation import ROW_SUM_TOLERANCE
from sk_arcal.feature_extraction._readers._registry import Parser, registered
from sk_arcal.feature_extraction._readers._routes import Reading
from sk_arcal.feature_extraction._readers._scoring import SCORES

_TENSORS = ("logits", "weights", "selected", "selected_weights")


def described(path: str, module: nn.Module) -> tuple[str, Parser] | None:
    """Return kind and parser of a module that was registered or describes itself, or None.

    Parameters
    ----------
    path : str
        Where it lies.
    module : Module
        The module.

    Returns
    -------
    entry : (str, callable) or None
        The registration, before the module's own word.

    Raises
    ------
    TypeError
        If the module has a `route_kind` that is no kind, or no `read_routes`.
    """
    entry = registered(path, module)
    kind = getattr(module, "route_kind", None)
    if entry is not None or kind is None:
        return entry
    if kind not in SITE_KINDS or not callable(getattr(module, "read_routes", None)):
        raise TypeError(
            f"{_name(path, module)} has route_kind={kind!r}; to describe its routes it needs "
            "route_kind 'router' or 'depth' and a method read_routes(args, output)."
        )
    return kind, _own_word


def _own_word(module: Any, args: tuple, output: Any) -> Any:
    return module.read_routes(args, output)


def checked_reading(given: Any, kind: str, where: str) -> Reading:
    """Turn what a parser returned into a reading, or say what is wrong with it.

    Parameters
    ----------
    given : mapping or Tensor
        See :func:`register_router` and :func:`register_depth_site`.
    kind : {"router", "depth"}
        Kind of the site.
    where : str
        Names the module in errors.

    Returns
    -------
    reading : Reading
        With a scoring.

    Raises
    ------
    TypeError
        If it is neither a mapping nor, for a depth site, a tensor, or an entry is no tensor.
    ValueError
        If entries are missing or unknown, or weights are no weights.
    """
    if kind == "depth" and isinstance(given, Tensor):
        given = {"weights": given}
    if not isinstance(given, Mapping):
        also = " or a tensor of weights" if kind == "depth" else ""
        raise TypeError(f"{where} must give a mapping{also}; got {type(given).__name__}.")
    _check_entries(given, kind, where)
    if given.get("weights") is not None:
        _check_weights(given["weights"], where)
    scoring = "given" if given.get("weights") is not None else given.get("scoring", "softmax")
    logits, weights, selected, factors = (given.get(name) for name in _TENSORS)
    return Reading(logits, weights, selected, factors, scoring)


def _check_entries(given: Mapping[str, Any], kind: str, where: str) -> None:
    allowed = {*_TENSORS, "scoring"}
    needed = ["weights"] if kind == "depth" else ["weights", "logits"]
    unknown = sorted(str(key) for key in given if key not in allowed)
    if unknown:
        raise ValueError(f"{where} gave {unknown}; known are {sorted(allowed)}.")
    if all(given.get(key) is None for key in needed):
        raise ValueError(f"{where} must give {' or '.join(map(repr, needed))}.")
    for name in _TENSORS:
        if not isinstance(given.get(name), (Tensor, type(None))):
            raise TypeError(f"{where}: {name!r} must be a tensor; got {given[name]!r}.")
    if given.get("scoring", "softmax") not in SCORES:
        raise ValueError(
            f"{where}: 'scoring' must be one of {sorted(SCORES)}; got {given['scoring']!r}."
        )
    _check_selection(given, where)


def _check_selection(given: Mapping[str, Any], where: str) -> None:
    selected, factors = given.get("selected"), given.get("selected_weights")
    if selected is not None and selected.is_floating_point():
        raise TypeError(f"{where}: 'selected' must hold indices; got {selected.dtype}.")
    if factors is not None and (selected is None or factors.shape != selected.shape):
        shape = None if selected is None else tuple(selected.shape)
        raise ValueError(
            f"{where}: 'selected_weights' of shape {tuple(factors.shape)} needs 'selected' of the "
            f"same shape; got {shape}."
        )


def _check_weights(weights: Tensor, where: str) -> None:
    if weights.ndim < 2:
        raise ValueError(
            f"{where}: 'weights' must have shape (n_rows, n_tokens, n_routes) or (n_rows, "
            f"n_routes); got {tuple(weights.shape)}."
        )
    total = weights.detach().float().sum(dim=-1)
    off = (total - 1).abs().max()
    low = weights.detach().min()
    # One transfer from the device for both; NaN fails either comparison.
    worst, lowest = (float(value) for value in torch.stack([off, low.float()]).cpu())
    if not (worst <= ROW_SUM_TOLERANCE and lowest >= 0):
        raise ValueError(
            f"{where}: 'weights' must be finite, not negative and sum to one over the last axis; "
            f"the smallest is {lowest:.3g}, and sums miss one by up to {worst:.3g}. Give 'logits' "
            "if these are logits."
        )


def _name(path: str, module: nn.Module) -> str:
    return f"{path or 'the module'} ({type(module).__name__})"
