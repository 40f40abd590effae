"""Routers in float32 while the rest of a network runs under autocast.

It spares the logits the rounding in the router itself, a thousandth of the work. What reaches the
router is rounded all the same, so a few selections still differ from those in float32.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def in_float32(gates: Sequence[nn.Module]) -> Iterator[None]:
    """Run some modules with autocast off and their floating inputs in float32.

    Does nothing where autocast is off, where the parameters of a module are not float32, and in
    other threads.

    Parameters
    ----------
    gates : sequence of Module
        The modules; none inside another.

    Yields
    ------
    nothing : None
        The modules run so until the context is left.
    """
    casts = _Casts()
    handles = []
    try:
        for gate in gates:
            handles.append(gate.register_forward_pre_hook(casts.open, with_kwargs=True))
            # Called after an error too, so that autocast comes back on.
            handles.append(gate.register_forward_hook(casts.close, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
        # No hook is called after a KeyboardInterrupt; what it left open is closed here.
        casts.close_all()


class _Casts:
    """The contexts in which routers of this thread run, the innermost last."""

    def __init__(self) -> None:
        self._owner = get_ident()
        self._opened: list[AbstractContextManager[Any]] = []

    def open(self, gate: nn.Module, args: tuple, *rest: dict[str, Any]) -> Any:
        """Before a router: leave autocast, and hand its inputs on in float32."""
        if get_ident() != self._owner:
            return None
        kwargs = rest[0]
        device = _device_under_autocast(gate, (*args, *kwargs.values()))
        cast = nullcontext() if device is None else torch.autocast(device, enabled=False)
        cast.__enter__()
        self._opened.append(cast)
        if device is None:
            return None
        return tuple(map(_single, args)), {name: _single(value) for name, value in kwargs.items()}

    def close(self, gate: nn.Module, args: tuple, output: Any) -> None:
        """After a router: go back to what was before."""
        if get_ident() == self._owner and self._opened:
            self._opened.pop().__exit__(None, None, None)

    def close_all(self) -> None:
        """Go back to what was before the first."""
        while self._opened:
            self._opened.pop().__exit__(None, None, None)


def _device_under_autocast(gate: nn.Module, values: tuple) -> str | None:
    """Return the kind of device a gate computes on if autocast would round it there."""
    floats = [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]
    if not floats or any(
        p.dtype != torch.float32 for p in gate.parameters() if p.is_floating_point()
    ):
        return None
    device = floats[0].device.type
    return device if torch.is_autocast_enabled(device) else None


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
