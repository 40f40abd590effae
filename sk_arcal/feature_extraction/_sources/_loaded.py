"""What this process has loaded: the few modules used last, and copies of modules on devices.

Entries are found by digest, so that handles unpickled one after the other share one module. Weights
on a GPU are expensive to keep; that is why the entries are few.
"""

import copy
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sk_arcal.feature_extraction._sources._companions import companion
from sk_arcal.feature_extraction._sources._digest import named_tensors

# A module in memory and its copy on a GPU, for two backbones.
_N_KEPT = 4

Key = tuple[Any, ...]


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.module: nn.Module | None = None


class LoadedModules:
    """The modules used last, each made once even if threads ask at the same time.

    Parameters
    ----------
    n_kept : int
        How many.
    """

    def __init__(self, n_kept: int = _N_KEPT) -> None:
        self.n_kept = n_kept
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all; for forked children, where a lock may be held by nobody."""
        self._guard = threading.Lock()
        self._slots: OrderedDict[Key, _Slot] = OrderedDict()

    def get(self, key: Key, make: Callable[[], nn.Module]) -> nn.Module:
        """Return the module under a key, made by `make` if it is not there.

        Parameters
        ----------
        key : tuple
            Digest, device and precision.
        make : callable
            Builds it; called without arguments.

        Returns
        -------
        module : Module
            The same object as long as it is kept.
        """
        with self._guard:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self.n_kept:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.module is None:
                slot.module = make()
            return slot.module

    def forget(self, digest: str) -> None:
        """Drop what was loaded under a digest, copies on devices included."""
        with self._guard:
            for key in [key for key in self._slots if digest in key]:
                del self._slots[key]


LOADED = LoadedModules()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOADED.start_anew)


def placed(
    module: nn.Module, digest: Callable[[], str], device: object, dtype: object
) -> nn.Module:
    """Return a module on a device and in a precision: itself if it is there, else a copy.

    Parameters
    ----------
    module : Module
        Never moved.
    digest : callable
        Returns its digest; called if a copy is needed.
    device : device, str or None
        Where to; None stays.
    dtype : dtype, str or None
        Precision of floating-point tensors; None keeps it.

    Returns
    -------
    module : Module
        A copy is in evaluation mode.

    Raises
    ------
    ValueError
        If there is no such device or precision.
    TypeError
        If the module cannot be copied.
    """
    devices, dtypes = _present(module)
    where, precision = _device(device), _dtype(dtype)
    if (where is None or devices <= {where}) and (precision is None or dtypes <= {precision}):
        return module
    # What is left open is where it is, so that both ways to ask for a copy find the same one.
    where = where or (next(iter(devices)) if len(devices) == 1 else None)
    precision = precision or (next(iter(dtypes)) if len(dtypes) == 1 else None)
    # The lock comes first: a copy must not carry the hooks of a thread that is extracting, and
    # whoever holds it may ask for a copy too.
    with companion(module).lock:
        key = (digest(), where, precision)
        return LOADED.get(key, lambda: _copy(module, where, precision))


def _copy(module: nn.Module, device: torch.device | None, dtype: torch.dtype | None) -> nn.Module:
    """Copy a module so that every tensor is written once, where it shall be."""
    moved = {}
    for _, tensor in named_tensors(module):
        precision = dtype if tensor.is_floating_point() else None
        values = tensor.detach().to(device=device, dtype=precision, copy=True)
        is_parameter = isinstance(tensor, nn.Parameter)
        moved[id(tensor)] = nn.Parameter(values, tensor.requires_grad) if is_parameter else values
    try:
        duplicate = copy.deepcopy(module, dict(moved))
    except Exception as error:
        raise TypeError(
            f"The module {type(module).__name__} cannot be copied to another device or precision: "
            f"{error}. Move it yourself, with module.to(...), before it becomes a Backbone."
        ) from error
    # Moves nothing any more, but lets layers that keep their weights in one piece sort themselves.
    return duplicate.to(device=device, dtype=dtype).eval()


def _present(module: nn.Module) -> tuple[set[torch.device], set[torch.dtype]]:
    """Return the devices of the tensors of a module, and the precisions of those that are cast."""
    tensors = [tensor for _, tensor in named_tensors(module)]
    floats = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return {tensor.device for tensor in tensors}, floats


def _device(name: Any) -> torch.device | None:
    """Return the device as tensors on it name it, with its index."""
    if name is None:
        return None
    try:
        return torch.empty(0, device=name).device
    # torch raises another kind for a name it cannot read, a build without the device, and a
    # device that is absent.
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"`device` is {name!r}, which torch {torch.__version__} cannot use here: {error}"
        ) from error


def _dtype(name: Any) -> torch.dtype | None:
    dtype = getattr(torch, name, None) if isinstance(name, str) else name
    if name is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return dtype
    raise ValueError(
        f"`dtype` must be a floating-point precision, such as 'bfloat16'; got {name!r}."
    )
