"""Tensors described by content, and those refused that have none."""

import hashlib
from typing import Any

import torch
from torch import nn

_PLAIN = (torch.Tensor, nn.Parameter)


def tensor_content(tensor: torch.Tensor) -> list[Any]:
    """Describe a tensor by precision, shape and bytes; memory format and device do not count.

    Parameters
    ----------
    tensor : Tensor
        On any device.

    Returns
    -------
    description : list
        Nested lists of text.

    Raises
    ------
    TypeError, ValueError
        See :func:`check_readable`.
    """
    check_readable(tensor)
    values = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    content = hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()
    return [*tensor_shape(tensor), content]


def tensor_shape(tensor: torch.Tensor) -> list[Any]:
    """Describe a tensor by precision and shape alone, also one that has no values yet.

    Parameters
    ----------
    tensor : Tensor
        Any.

    Returns
    -------
    description : list
        Nested lists of text.

    Raises
    ------
    ValueError
        If even the shape is open.
    """
    _refuse_lazy(tensor, "A tensor of the module")
    return ["tensor", str(tensor.dtype), [str(size) for size in tensor.shape]]


def is_by_product(value: object) -> bool:
    """Return whether a plain attribute is what a forward pass left behind, such as a loss.

    Parameters
    ----------
    value : object
        Not a parameter or buffer.

    Returns
    -------
    by_product : bool
        True for tensors that hang on a graph or were made in inference mode.
    """
    return isinstance(value, torch.Tensor) and (value.grad_fn is not None or value.is_inference())


def check_readable(tensor: torch.Tensor, name: str = "A tensor of the module") -> None:
    """Raise unless the values of a tensor are there and lie in memory one beside the other.

    Parameters
    ----------
    tensor : Tensor
        Any.
    name : str
        What the error calls it.

    Raises
    ------
    ValueError
        If it is still without values.
    TypeError
        If it is sparse, quantised, or of another class than torch's own.
    """
    _refuse_lazy(tensor, name)
    if tensor.device.type == "meta":
        raise ValueError(
            f"{name} is on the device 'meta' and has no values. Load the weights first, all of "
            "them into memory."
        )
    kind = type(tensor)
    if kind not in _PLAIN or tensor.layout != torch.strided or tensor.is_quantized:
        raise TypeError(
            f"{name} is a {kind.__module__}.{kind.__qualname__} of {tensor.dtype}, layout "
            f"{tensor.layout}, whose bytes cannot be read. Use Backbone.from_factory, with a "
            "function that builds the module."
        )


def _refuse_lazy(tensor: torch.Tensor, name: str) -> None:
    if nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"{name} has no shape yet. Send one batch through the module, so that its lazy layers "
            "are set up, before it becomes a Backbone."
        )
