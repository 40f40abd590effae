"""Where transformers says its routers are: the one file that knows how it says so.

A model class declares what of its inside can be recorded, as `_can_record_outputs`: a name, and
one or several recorders (class of the module, position in what it returns, part of its path).
The declaration is young and may change; nothing is imported from transformers, so what it no
longer declares is simply not found.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

_DECLARATION = "_can_record_outputs"
_ROUTERS = "router_logits"
# Routers with learned scores that their models do not declare, as their selection is not learned.
_UNDECLARED = frozenset({"DeepseekV4HashRouter"})


@dataclass(frozen=True)
class DeclaredRouter:
    """A module that transformers would record router logits from.

    Attributes
    ----------
    path : str
        Where it lies.
    module, parent : Module
        It, and the module that holds it.
    index : int
        Position of the logits in what it returns.
    config : object or None
        Configuration of the model around it.
    """

    path: str
    module: nn.Module
    parent: nn.Module | None
    index: int
    config: Any


@dataclass(frozen=True)
class _Model:
    """The innermost model around a module: its recorders, and its configuration."""

    recorders: tuple[Any, ...] = ()
    config: Any = None

    @classmethod
    def of(cls, module: nn.Module) -> "_Model":
        declared = (getattr(module, _DECLARATION) or {}).get(_ROUTERS, ())
        recorders = declared if isinstance(declared, (list, tuple)) else [declared]
        return cls(tuple(recorders), getattr(module, "config", None))

    def index(self, path: str, module: nn.Module) -> int | None:
        """Return where a module's output holds router logits; None if it has none."""
        for recorder in self.recorders:
            if _fits(recorder, path, module):
                return 1 if isinstance(recorder, (type, str)) else int(recorder.index)
        return 0 if type(module).__name__ in _UNDECLARED else None


def declared_routers(root: nn.Module) -> Iterator[DeclaredRouter]:
    """Yield the routers declared by the models in a module, each by the model around it.

    Parameters
    ----------
    root : Module
        Anything; models of transformers may lie anywhere inside.

    Yields
    ------
    router : DeclaredRouter
        In the order of `named_modules`. A router inside another declared one replaces it: the
        outer one only passes on what the inner one found.
    """
    modules = dict(root.named_modules())
    models: dict[str, _Model] = {}
    found: dict[str, int] = {}
    for path, module in modules.items():
        around = models.get(_holder(path), _Model()) if path else _Model()
        models[path] = _Model.of(module) if hasattr(module, _DECLARATION) else around
        index = models[path].index(path, module)
        if index is not None:
            found[path] = index
    for path, index in found.items():
        if not any(other.startswith(f"{path}.") for other in found):
            parent = modules.get(_holder(path)) if path else None
            yield DeclaredRouter(path, modules[path], parent, index, models[path].config)


def _holder(path: str) -> str:
    return path.rpartition(".")[0]


def _fits(recorder: Any, path: str, module: nn.Module) -> bool:
    """Whether a recorder, or the bare class or class name it may be, means this module."""
    target = getattr(recorder, "target_class", recorder)
    suffix = getattr(recorder, "class_name", recorder)
    by_class = isinstance(target, type) and isinstance(module, target)
    by_path = isinstance(suffix, str) and path.endswith(suffix)
    part = getattr(recorder, "layer_name", None)
    inside = part is None or f".{part.strip('.')}." in f".{path}."
    return (by_class or by_path) and inside
