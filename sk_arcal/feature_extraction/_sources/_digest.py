"""The content of a module as one SHA-256: its tensors and its architecture.

Two modules have the same digest if their forward passes compute the same function of their inputs
for reasons one can read off: classes and code, plain attributes, values of parameters and buffers.
Training flags, devices, hooks, gradients and addresses do not enter.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sk_arcal.feature_extraction._sources._describe import Describer, hashed
from sk_arcal.feature_extraction._sources._tensors import check_readable, tensor_shape

# Raised when the meaning of a digest changes, so that older ones are not taken for it.
_VERSION = "sk-arcal module 1"


def module_digest(module: nn.Module) -> str:
    """Return the digest of a module's tensors and architecture.

    Parameters
    ----------
    module : Module
        With all its values in memory, on any device.

    Returns
    -------
    digest : str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        If a tensor has no values yet.
    TypeError
        If a tensor is sparse, quantised or of a subclass, or the module is TorchScript.
    """
    for name, tensor in named_tensors(module):
        check_readable(tensor, f"`{name}`")
    return hashed([_VERSION, Describer()(module)])


def architecture_digest(module: nn.Module) -> str:
    """Return the digest of a module but for the values of its tensors.

    Parameters
    ----------
    module : Module
        Also one on the device "meta".

    Returns
    -------
    digest : str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        If the module is TorchScript.
    """
    return hashed([_VERSION, "architecture", Describer(tensor_shape)(module)])


def fingerprint(module: nn.Module) -> int:
    """Return a number that changes when the module does, at a thousandth of the price.

    It follows torch's own counters: optimiser steps, ``load_state_dict``, ``copy_``, casts and
    exchanged layers change it. Writes through ``.data`` and changed plain attributes do not.

    Parameters
    ----------
    module : Module
        Any.

    Returns
    -------
    number : int
        Valid in this process only.
    """
    traces: list[Any] = []
    for part in module.modules():
        traces.append(id(part))
        for held in (part._parameters, part._buffers):
            traces += [(name, *_trace(value)) for name, value in held.items() if value is not None]
    return hash(tuple(traces))


def named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield all names and tensors, parameters and buffers; a shared one under every name.

    Parameters
    ----------
    module : Module
        Any.

    Yields
    ------
    name : str
        Such as "layers.0.weight".
    tensor : Tensor
        Parameter or buffer.
    """
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def device_of(module: nn.Module) -> str:
    """Return the device of the first tensor of a module that has values.

    Parameters
    ----------
    module : Module
        Any.

    Returns
    -------
    device : str
        Without such a tensor the one on which torch makes new ones.
    """
    devices = (tensor.device for _, tensor in named_tensors(module))
    found = next((device for device in devices if device.type != "meta"), None)
    return str(torch.get_default_device() if found is None else found)


def _trace(tensor: torch.Tensor) -> tuple[Any, ...]:
    try:
        return tensor.data_ptr(), tensor._version, tensor.dtype, tensor.shape
    except (RuntimeError, ValueError):
        # Made in inference mode, where changes are not counted; or without memory of its own, and
        # then the digest will refuse it.
        return (id(tensor),)
