"""Values described by content: the same in every process, whatever their addresses.

Numbers, text, containers, arrays, tensors, modules, settings and functions are described by what
they hold; anything else by the path of its class alone. Nothing is read from pickles: those of a
tensor hold its address.
"""

import hashlib
import inspect
import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from os import PathLike, fspath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from sk_arcal.feature_extraction._sources._code import (
    code_of_class,
    code_of_functions,
    is_foreign,
    names_used,
    path_of,
)
from sk_arcal.feature_extraction._sources._compiled import uncompiled
from sk_arcal.feature_extraction._sources._tensors import is_by_product, tensor_content
from sk_arcal.feature_extraction._sources._transformers_state import MARKS_OF_HOOKS

_ATOMS = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice)
# What torch keeps about a module, where it is, and what loading and training hang on it.
_BOOKKEEPING = {*vars(nn.Module()), *MARKS_OF_HOOKS, "_compiled_call_impl"} | {
    *("device", "_device"),
    *("gradient_checkpointing", "name_or_path", "_is_hf_initialized", "_weight_conversions"),
    *("_hf_hook", "_old_forward", "hf_device_map"),
}
# Weight norm, spectral norm and pruning compute `weight` anew from these before every pass.
_SOURCES_OF_WEIGHTS = ("_orig", "_v")
_ORIGIN_OF_SETTINGS = {"_name_or_path", "_commit_hash", "transformers_version"}
_IN_ORDER = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_ITERATING = {"children", "named_children", "modules", "named_modules", "_modules"}


class Describer:
    """Turns values into short texts that are equal where the values are.

    Every object is described once, and by content: whether two names share a tensor or hold equal
    ones makes no difference, as it makes none to the forward pass.

    Parameters
    ----------
    tensors : callable, default=tensor_content
        Describes a tensor.
    """

    def __init__(self, tensors: Callable[[torch.Tensor], list[Any]] = tensor_content) -> None:
        self._tensor = tensors
        # Objects are kept, so that no other one gets the same address meanwhile.
        self._known: dict[int, tuple[Any, str]] = {}
        self._open: list[int] = []

    def __call__(self, value: Any) -> Any:
        """Return a list of texts for a plain value, and the SHA-256 of a description for others."""
        if isinstance(value, _ATOMS):
            return [type(value).__name__, repr(value)]
        if id(value) in self._open:
            return ["what contains this", str(self._open.index(id(value)))]
        if id(value) not in self._known:
            self._open.append(id(value))
            try:
                text = hashed(self._described(value))
            finally:
                self._open.pop()
            self._known[id(value)] = (value, text)
        return self._known[id(value)][1]

    def _described(self, value: Any) -> Any:
        for kinds, describe in _KINDS:
            if isinstance(value, kinds):
                return describe(self, value)
        if _is_settings(value):
            own = {k: entry for k, entry in vars(value).items() if k not in _ORIGIN_OF_SETTINGS}
            return [path_of(type(value)), self._mapping(own)]
        if is_dataclass(value):
            own = {field.name: getattr(value, field.name, None) for field in fields(value)}
            return [path_of(type(value)), self._mapping(own)]
        return self._other(value)

    def _other(self, value: Any) -> list[Any]:
        """Describe what can be called, such as an activation, by its attributes; else by class."""
        cls = type(value)
        if is_foreign(cls) or not callable(value):
            return ["object", path_of(cls)]
        return [path_of(cls), code_of_class(cls), self._mapping(getattr(value, "__dict__", {}))]

    def _module(self, module: nn.Module) -> list[Any]:
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                "The module is TorchScript, whose code cannot be read back as Python. Use "
                "Backbone.from_factory, with a function that loads it."
            )
        module = uncompiled(module)
        # Weights come first, so that one in inference mode is not taken for a by-product.
        weights = [
            sorted([name, self(tensor)] for name, tensor in held.items())
            for held in (module._parameters, module._buffers)
        ]
        children = [[name, self(part)] for name, part in module._modules.items()]
        if not _order_counts(type(module)):
            children.sort(key=json.dumps)
        return [self(type(module)), self._mapping(_attributes(module)), weights, children]

    def _mapping(self, mapping: Mapping[Any, Any]) -> list[Any]:
        # An attribute that waits for a by-product is None until then.
        kept = ((k, v) for k, v in mapping.items() if not (v is None or self._passes(v)))
        return sorted(([self(key), self(value)] for key, value in kept), key=json.dumps)

    def _sequence(self, values: Any) -> list[Any]:
        return [
            path_of(type(values)),
            *(self(value) for value in values if not self._passes(value)),
        ]

    def _passes(self, value: Any) -> bool:
        return is_by_product(value) and id(value) not in self._known

    def _set(self, values: Any) -> list[Any]:
        return ["set", *sorted((self(value) for value in values), key=json.dumps)]

    def _array(self, array: np.ndarray) -> list[Any]:
        if array.dtype.hasobject:
            return ["array", self(array.tolist())]
        content = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        return ["array", array.dtype.str, [str(size) for size in array.shape], content]

    def _class(self, cls: type) -> list[Any]:
        return [path_of(cls), code_of_class(cls) if issubclass(cls, nn.Module) else []]

    def _function(self, function: FunctionType) -> list[Any]:
        return [path_of(function), code_of_functions([function])]

    def _partial(self, call: partial) -> list[Any]:
        return [self(call.func), self(call.args), self._mapping(call.keywords)]

    def _method(self, method: MethodType) -> list[Any]:
        owner = method.__self__ if isinstance(method.__self__, type) else type(method.__self__)
        return [self(method.__func__), path_of(owner)]


def hashed(description: Any) -> str:
    """Return the SHA-256 of nested lists of text.

    Parameters
    ----------
    description : list or str
        Description.

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    text = json.dumps(description, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


# The first kind that fits describes a value.
_KINDS: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
    (torch.Tensor, lambda self, tensor: self._tensor(tensor)),
    (nn.Module, Describer._module),
    (np.generic, lambda self, number: ["number", str(number.dtype), repr(number.item())]),
    (np.ndarray, Describer._array),
    (type, Describer._class),
    (Enum, lambda self, member: [path_of(type(member)), member.name]),
    (Mapping, lambda self, mapping: ["mapping", self._mapping(mapping)]),
    ((list, tuple), Describer._sequence),
    ((set, frozenset), Describer._set),
    (FunctionType, Describer._function),
    (partial, Describer._partial),
    (MethodType, Describer._method),
    (BuiltinFunctionType, lambda self, function: ["builtin", path_of(function)]),
    (ModuleType, lambda self, module: ["python module", module.__name__]),
    ((torch.dtype, torch.layout, torch.memory_format), lambda self, word: ["torch", str(word)]),
    (torch.device, lambda self, device: ["device"]),
    (PathLike, lambda self, path: ["path", str(fspath(path))]),
    ((Namespace, SimpleNamespace), lambda self, names: ["names", self._mapping(vars(names))]),
)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return the plain attributes of a module on which its forward pass may depend."""
    hidden = set(_BOOKKEEPING)
    if "_old_forward" in vars(module):
        # accelerate moves tensors in a `forward` of its own; what is computed is the old one's.
        hidden.add("forward")
    for suffix in _SOURCES_OF_WEIGHTS:
        sources = (name for name in module._parameters if name.endswith(suffix))
        hidden.update(name.removesuffix(suffix) for name in sources)
    return {name: value for name, value in vars(module).items() if name not in hidden}


def _is_settings(value: Any) -> bool:
    """Return whether it is a configuration of transformers, whichever way its name is spelled."""
    return any(base.__name__.lower() == "pretrainedconfig" for base in type(value).__mro__)


def _order_counts(cls: type) -> bool:
    """Return whether a module goes through its children one by one instead of by name."""
    if issubclass(cls, _IN_ORDER):
        return True
    code = getattr(inspect.unwrap(getattr(cls, "forward", len)), "__code__", None)
    return code is not None and bool(names_used(code) & _ITERATING)
