"""The states of a network at some of its layers, reduced to rows while it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sk_arcal.feature_extraction._lens._anatomy import Anatomy
from sk_arcal.feature_extraction._lens._calls import first_tensor, float_tensors
from sk_arcal.feature_extraction._lens._tokens import at_token, per_row

See = Callable[[Tensor], Any]


class States:
    """Reduced states by layer; what a row does not need is not kept.

    Parameters
    ----------
    mask : Tensor of shape (n_rows, n_tokens) or None
        Real tokens.
    token : {"last", "mean", "cls"}
        Which token stands for a row.
    """

    def __init__(self, mask: Tensor | None, token: str) -> None:
        self.mask, self.token = mask, token
        self.seen: dict[Any, Tensor] = {}
        self._owner = get_ident()

    def keep(self, layer: Any, path: str, state: Tensor | None) -> None:
        """Keep the state of a layer."""
        # Another thread may run the same module; its rows are not ours.
        if get_ident() != self._owner:
            return
        if state is None:
            raise ValueError(f"{path!r} returns no floating tensor that could be kept.")
        if layer in self.seen:
            raise ValueError(f"{path!r} is called several times in a forward pass; name another.")
        self.seen[layer] = per_row(state, self.mask, self.token, path).detach()

    def keep_mixed(self, layer: int, site: nn.Module, args: tuple) -> None:
        """Keep what the site that ends the network would make of the depth reached."""
        if get_ident() != self._owner:
            return
        sources = site_arguments(args)
        if self.token == "mean":
            # Every token has weights of its own, so the mean comes after the mixture.
            mixed = first_tensor(site.forward(*sources))
        else:
            chosen = (at_token(part, self.mask, self.token)[:, None] for part in sources)
            mixed = first_tensor(site.forward(*chosen))
        assert mixed is not None
        is_chosen = mixed.shape[1] == 1
        self.seen[layer] = mixed[:, 0] if is_chosen else at_token(mixed, self.mask, self.token)


def site_arguments(given: Sequence[Any]) -> list[Tensor]:
    """Return what a site mixes: finished blocks and the running sum, or parallel streams."""
    tensors = float_tensors(given)
    if tensors[0].ndim == 4 and (len(tensors) == 1 or tensors[1].ndim != 3):
        return tensors[:1]
    blocks = next(tensor for tensor in tensors if tensor.ndim == 4)
    total = next(tensor for tensor in tensors if tensor.ndim == 3)
    return [blocks, total]


@contextmanager
def keeping_blocks(anatomy: Anatomy, layers: Sequence[int], states: States) -> Iterator[None]:
    """Keep states between blocks: the input of block l, and after the last block.

    Parameters
    ----------
    anatomy : Anatomy
        Blocks and site.
    layers : sequence of int
        From 0 to the number of blocks.
    states : States
        Where they are kept.
    """
    handles = [_hooked(anatomy, layer, states) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooked(anatomy: Anatomy, layer: int, states: States) -> RemovableHandle:
    """Keep the state of a layer from now on."""
    last, site = len(anatomy.blocks), anatomy.site

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        given = (*args, *kwargs.values())
        if site is None:
            states.keep(layer, f"block {layer}", float_tensors(given)[0])
        else:
            states.keep_mixed(layer, site, given)

    def after(module: nn.Module, args: tuple, output: Any) -> None:
        states.keep(layer, f"block {layer - 1}", first_tensor(output))

    if layer == last and site is None:
        return anatomy.blocks[-1].register_forward_hook(after)
    where = anatomy.blocks[layer] if layer < last else site
    assert where is not None
    return where.register_forward_pre_hook(before, with_kwargs=True)


@contextmanager
def keeping_modules(module: nn.Module, paths: Sequence[str], states: States) -> Iterator[None]:
    """Keep what some modules return, by their paths."""
    parts, handles = dict(module.named_modules()), []
    missing = [path for path in paths if path not in parts]
    if missing:
        raise ValueError(
            f"`layers` names {missing[0]!r}, which {type(module).__name__} does not hold; see its "
            "`named_modules()`."
        )

    def after(path: str) -> Callable:
        def see(part: nn.Module, args: tuple, output: Any) -> None:
            states.keep(path, path, first_tensor(output))

        return see

    try:
        for path in paths:
            handles.append(parts[path].register_forward_hook(after(path)))
        yield
    finally:
        for handle in handles:
            handle.remove()
