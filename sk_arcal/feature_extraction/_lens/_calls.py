"""Every call of a forward pass, in order, as the hooks see it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(eq=False)
class Call:
    """One call of a module.

    Attributes
    ----------
    module : Module
        What was called.
    inputs : tuple of Tensor
        Floating tensors among its arguments, in order.
    start, end : int
        When it began and ended, counted in beginnings and ends of all calls.
    output : Tensor or None
        The first floating tensor it returned.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    start: int
    end: int = -1
    output: Tensor | None = None


class CallLog:
    """Calls in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._open: list[Call] = []
        self._clock = 0

    def begin(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Note that a call begins."""
        inputs = tuple(float_tensors((*args, *kwargs.values())))
        self._open.append(Call(module, inputs, self._tick()))
        self.calls.append(self._open[-1])

    def finish(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Note that it ends."""
        call = self._open.pop()
        call.end, call.output = self._tick(), first_tensor(output)

    def of(self, module: nn.Module) -> list[Call]:
        """Return the calls of a module."""
        return [call for call in self.calls if call.module is module]

    def after(self, moment: int) -> list[Call]:
        """Return the outermost of the calls that began after a moment, in order."""
        outermost: list[Call] = []
        for call in self.calls:
            if call.start > moment and (not outermost or call.start > outermost[-1].end):
                outermost.append(call)
        return outermost

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


@contextmanager
def watching(module: nn.Module) -> Iterator[CallLog]:
    """Yield a log of all calls of a module and its parts; for small inputs, as it keeps them."""
    log, handles = CallLog(), []
    try:
        for part in module.modules():
            handles.append(part.register_forward_pre_hook(log.begin, with_kwargs=True))
            handles.append(part.register_forward_hook(log.finish, with_kwargs=True))
        yield log
    finally:
        for handle in handles:
            handle.remove()


def float_tensors(values: Sequence[Any]) -> list[Tensor]:
    """Return the floating tensors among some values."""
    return [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]


def first_tensor(output: Any) -> Tensor | None:
    """Return the first floating tensor of what a module returned; None if there is none."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        found = float_tensors(output)
        return found[0] if found else None
    return output if isinstance(output, Tensor) and output.is_floating_point() else None
