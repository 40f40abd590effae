"""The three ways to a network's layers: its own method, its blocks, or modules by their paths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from sk_arcal.feature_extraction._lens._anatomy import Anatomy, find_anatomy
from sk_arcal.feature_extraction._lens._lens import Lens, find_lens, logits_at_last
from sk_arcal.feature_extraction._lens._scaling import Scaling, refuse_difference
from sk_arcal.feature_extraction._lens._states import States, keeping_blocks, keeping_modules

_N_PROBE_TOKENS = 8

Run = Callable[[], Any]
Layers = str | Sequence[int] | Sequence[str]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a batch left at some layers.

    Attributes
    ----------
    names : list of str
        The layers.
    states : list of Tensor of shape (n_rows, d)
        One a layer.
    last : Tensor of shape (n_rows, d) or None
        State of the last layer, where the lens is the network's own output.
    output : object
        What the network returned.
    """

    names: list[str]
    states: list[Tensor]
    last: Tensor | None
    output: Any


class Reader(Protocol):
    """Reads layers while a network runs."""

    lens: Lens | None

    def read(self, layers: Layers, run: Run, args: tuple, states: States) -> Reading:
        """Run the network and return what it left."""


class OwnReader:
    """A network that says itself what its layers hold.

    Its method `read_layers(x)` returns states of shape (n_rows, n_layers, d), and
    `layer_readout()` the norm (or None) and the linear head that turn them into logits, at the
    last layer those of the network.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = cast(Any, module)
        norm, head = self._module.layer_readout()
        tail: list[nn.Module] = [] if norm is None else [norm]
        self.lens: Lens | None = Lens(tail, head, Scaling(1.0, None, head.out_features))

    def checked(self, args: tuple) -> "OwnReader":
        """Return the reader if its lens at the last layer is the network itself."""
        assert self.lens is not None
        states = self._module.read_layers(*args)[:, -1:]
        theirs = logits_at_last(self._module(*args))
        refuse_difference(
            self.lens.logits(states)[:, 0],
            theirs,
            states.dtype,
            "its `read_layers` and `layer_readout` do not belong to its `forward`",
        )
        return self

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Whether a network has both methods."""
        return all(callable(getattr(module, m, None)) for m in ("read_layers", "layer_readout"))

    def read(self, layers: Layers, run: Run, args: tuple, states: States) -> Reading:
        """Run the network and return what it left; the tokens were reduced by itself."""
        held = self._module.read_layers(*args)
        numbers = resolved(layers, held.shape[1])
        assert self.lens is not None
        last = held[:, -1]
        output = self.lens.logits(last[:, None])[:, 0]
        return Reading([*map(str, numbers)], [held[:, i] for i in numbers], last, output)


class BlockReader:
    """Blocks of one list, and the head after them where the lens is wanted."""

    def __init__(self, anatomy: Anatomy, lens: Lens | None = None) -> None:
        self.anatomy, self.lens = anatomy, lens

    def read(self, layers: Layers, run: Run, args: tuple, states: States) -> Reading:
        """Run the network and return what it left."""
        n_blocks = len(self.anatomy.blocks)
        numbers = resolved(layers, n_blocks + 1)
        # The last layer tells the prediction.
        also = [] if self.lens is None else [n_blocks]
        with keeping_blocks(self.anatomy, sorted({*numbers, *also}), states):
            output = run()
        kept = [states.seen[i] for i in numbers]
        return Reading([*map(str, numbers)], kept, states.seen.get(n_blocks), output)


class ModuleReader:
    """Modules by their paths."""

    lens: Lens | None = None

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def read(self, layers: Layers, run: Run, args: tuple, states: States) -> Reading:
        """Run the network and return what it left."""
        paths = [str(path) for path in layers]
        with keeping_modules(self._module, paths, states):
            output = run()
        uncalled = [path for path in paths if path not in states.seen]
        if uncalled:
            raise ValueError(f"`layers` names {uncalled[0]!r}, which a forward pass does not call.")
        return Reading(paths, [states.seen[path] for path in paths], None, output)


def resolved(layers: Layers, n_layers: int) -> list[int]:
    """Return the numbers of layers, all or those given; negative ones count from the end.

    Raises
    ------
    ValueError
        If there is no such layer, or one is named twice.
    """
    if isinstance(layers, str):
        return list(range(n_layers))
    given = [int(layer) for layer in layers]
    numbers = [layer + n_layers if layer < 0 else layer for layer in given]
    if any(not 0 <= number < n_layers for number in numbers) or len({*numbers}) < len(numbers):
        raise ValueError(
            f"`layers` must hold different numbers from 0, the input of the first block, to "
            f"{n_layers - 1}, the output of the last; got {given}."
        )
    return numbers


def reader_of(module: nn.Module, readout: str, layers: Layers, batch: Any, ids: Any) -> Reader:
    """Return how to read the layers of a network.

    Parameters
    ----------
    module : Module
        In evaluation mode, on its device.
    readout : {"lens", "hidden"}
        What is wanted.
    layers : "all", or sequence of int or str
        Numbers of layers, or paths of modules.
    batch : callable
        Returns arguments of a small batch of the rows at hand, (args, kwargs).
    ids : Tensor or None
        Token ids to probe a lens with; None if the network takes none.

    Returns
    -------
    reader : Reader
        Ready to read.

    Raises
    ------
    ValueError
        If the network cannot be read so.
    """
    if not isinstance(layers, str) and isinstance(layers[0], str):
        return ModuleReader(module)
    args, kwargs = batch()
    if OwnReader.fits(module):
        return OwnReader(module).checked(args)
    if readout == "hidden":
        return BlockReader(find_anatomy(module, args, kwargs)[0])
    return lens_reader(module, ids)


def lens_reader(module: nn.Module, ids: Tensor | None) -> Reader:
    """Return a reader with a lens that was checked against the network."""
    if OwnReader.fits(module):
        return OwnReader(module)
    if ids is None:
        raise ValueError(
            f"{type(module).__name__} has no lens: it takes no `input_ids`, and has no methods "
            "`read_layers` and `layer_readout`. Use readout='hidden'."
        )
    return BlockReader(*find_lens(module, (), {"input_ids": ids}))


def probe_ids(module: nn.Module, device: torch.device) -> Tensor | None:
    """Return one short row of tokens, none of them padding; None if there is no vocabulary."""
    known: Any = module
    if not callable(getattr(known, "get_input_embeddings", None)):
        return None
    n_tokens = getattr(known.get_input_embeddings(), "num_embeddings", None)
    if n_tokens is None:
        return None
    config = getattr(known, "config", None)
    special = {getattr(config, name, None) for name in ("pad_token_id", "eos_token_id")}
    usual = [token for token in range(min(n_tokens, 1000)) if token not in special]
    step = max(1, len(usual) // _N_PROBE_TOKENS)
    return torch.tensor([usual[::step][:_N_PROBE_TOKENS]], device=device)
