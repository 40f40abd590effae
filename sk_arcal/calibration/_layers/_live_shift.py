"""Adding a vector to the output of live blocks, by forward hooks and without importing torch."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._warning import CalibrationWarning

# torch numbers hooks by a counter that two threads may read at once; one of two hooks of the
# same number would be lost.
_HOOKS = Lock()


@contextmanager
def shifted_blocks(blocks: Iterable[Any], shift: FloatArray) -> Iterator[None]:
    """Add `shift` to what each block returns while the context lasts."""
    hooks = [(block, _Hook(shift)) for block in blocks]
    with ExitStack() as stack:
        for block, hook in hooks:
            with _HOOKS:
                handle = block.register_forward_hook(hook)
            stack.callback(_remove, handle)
        yield
    if unused := [type(block).__name__ for block, hook in hooks if not hook.was_called]:
        warnings.warn(
            f"No shift was added: {', '.join(unused)} did not run within the context. A container "
            "whose parts are called one by one is no block; name the part whose output goes into "
            "the residual stream.",
            CalibrationWarning,
            # Past the context manager, to the end of the user's `with`.
            stacklevel=3,
        )


def _remove(handle: Any) -> None:
    with _HOOKS:
        handle.remove()


def find_blocks(module: Any, path: Any, all_after: bool) -> list[Any]:
    """Return the submodules at a dotted path or several, and with `all_after` what follows."""
    if not hasattr(module, "register_forward_hook"):
        raise TypeError(f"`module` must be a torch module; got {type(module).__name__}.")
    if path is None:
        if all_after:
            raise ValueError("`all_after` needs the `path` of the first block to shift.")
        return [module]
    paths = [path] if isinstance(path, str) else list(path)
    found = [(name, _submodule(module, name)) for name in paths]
    if not all_after:
        return [block for _, block in found]
    if len(found) != 1:
        raise ValueError(f"`all_after` needs one `path`, that of the first block; got {paths}.")
    parent, _, own = paths[0].rpartition(".")
    siblings = list(_submodule(module, parent).named_children())
    start = [name for name, _ in siblings].index(own)
    return [block for _, block in siblings[start:]]


def _submodule(module: Any, name: Any) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"`path` must be text or a list of text; got {name!r}.")
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        children = [child for child, _ in module.named_children()]
        raise ValueError(
            f"`path` {name!r} is no part of the {type(module).__name__}, whose own parts are "
            f"{children[:10]}."
        ) from error


class _Hook:
    """Returns the output of a block with the shift added; converts it once for every dtype."""

    def __init__(self, shift: FloatArray) -> None:
        self.was_called = False
        self._shift = shift
        self._ready: dict[tuple[Any, Any], Any] = {}

    def __call__(self, block: Any, inputs: Any, output: Any) -> Any:
        self.was_called = True
        if not isinstance(output, tuple):
            return self._add(output, block)
        first = self._add(output[0], block)
        names = getattr(output, "_fields", None)
        if names is not None:
            return type(output)(first, *output[1:])
        return (first, *output[1:])

    def _add(self, states: Any, block: Any) -> Any:
        if not hasattr(states, "new_tensor"):
            raise TypeError(
                f"A {type(block).__name__} returns a {type(states).__name__}; the shift can be "
                "added to a tensor, or to the first entry of a tuple. Name another block."
            )
        width = states.shape[-1] if states.ndim else 0
        if width != len(self._shift):
            raise ValueError(
                f"A {type(block).__name__} returns states of width {width}, and the direction "
                f"has width {len(self._shift)}. Name the block it was fitted on in `path`."
            )
        key = (states.dtype, states.device)
        if key not in self._ready:
            self._ready[key] = states.new_tensor(self._shift)
        return states + self._ready[key]
