"""The lens: what the network's own head says of the states at every layer.

Source: nostalgebraist, "interpreting GPT: the logit lens", 2020.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sk_arcal.feature_extraction._lens._anatomy import Anatomy, find_anatomy
from sk_arcal.feature_extraction._lens._calls import first_tensor
from sk_arcal.feature_extraction._lens._scaling import Scaling, find_scaling, refuse_difference
from sk_arcal.feature_extraction._lens._states import States, keeping_blocks
from sk_arcal.feature_extraction._readers._scoring import at_least_single


class Lens:
    """Logits of states, by the tail and the head of their network.

    Parameters
    ----------
    tail : sequence of Module
        What a state passes before the head, the final norm.
    head : Module
        From states to raw logits.
    scaling : Scaling
        From raw logits to logits.
    """

    def __init__(self, tail: Sequence[nn.Module], head: nn.Module, scaling: Scaling) -> None:
        self.tail, self.head, self.scaling = list(tail), head, scaling

    def normed(self, states: Tensor) -> Tensor:
        """Return what the head is given for states of shape (n_rows, n_layers, d)."""
        return passed(self.tail, states)

    def logits(self, states: Tensor, rows: Sequence[int] = ()) -> Tensor:
        """Return logits of states of shape (n_rows, n_layers, d), all or those of some rows.

        Raises
        ------
        ValueError
            If the network does not know a row.
        """
        known = self.scaling.n_scores
        if rows and max(rows) >= known:
            raise ValueError(
                f"`option_tokens` holds token {max(rows)}, but the model scores {known} tokens."
            )
        chosen = list(rows) if rows else slice(known)
        normed = self.normed(states)
        if not isinstance(self.head, nn.Linear):
            return self.scaling(at_least_single(self.head(normed))[..., chosen])
        bias = self.head.bias
        raw = functional.linear(
            at_least_single(normed),
            at_least_single(self.head.weight[chosen]),
            None if bias is None else at_least_single(bias[chosen]),
        )
        return self.scaling(raw)


def passed(modules: Sequence[nn.Module], states: Tensor) -> Tensor:
    """Return what modules make of states, one after the other."""
    for part in modules:
        states = part(states)
    return states


def find_lens(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Anatomy, Lens]:
    """Find the layers of a network and its head, and check that they give its own logits.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    args, kwargs : tuple and dict
        A small input without padding.

    Returns
    -------
    anatomy : Anatomy
        Where the layers lie.
    lens : Lens
        Equal to the network at the last layer.

    Raises
    ------
    ValueError
        If the network has no such layers or no head, or does more than they do.
    """
    anatomy, output = find_anatomy(module, args, kwargs)
    head = anatomy.head
    if head is None:
        raise ValueError(
            f"{type(module).__name__} has blocks but no head after them, so there is no lens. Pass "
            "the model with its head, such as AutoModelForCausalLM, or use readout='hidden'."
        )
    theirs = logits_at_last(output)
    states = States(None, "last")
    with keeping_blocks(anatomy, [len(anatomy.blocks)], states):
        module(*args, **kwargs)
    state = states.seen[len(anatomy.blocks)][:, None]
    with _explained(anatomy):
        entering = passed(anatomy.tail, state)
        scaling = find_scaling(
            entering, head, lambda x: _with_state(module, anatomy, x, args, kwargs)
        )
        lens = Lens(anatomy.tail, head, scaling)
        ours = lens.logits(state)[:, 0]
    refuse_difference(
        ours, theirs, state.dtype, "something between the last block and the head is not known"
    )
    return anatomy, lens


@contextmanager
def _explained(anatomy: Anatomy) -> Iterator[None]:
    """Say what could not be done with a state alone."""
    try:
        yield
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        names = ", ".join(type(part).__name__ for part in (*anatomy.tail, anatomy.head))
        raise ValueError(
            f"What follows the last block, {names}, cannot be applied to the state of a token "
            f"alone ({type(error).__name__}: {error}), so there is no lens. Use readout='hidden'."
        ) from error


def logits_at_last(output: Any) -> Tensor:
    """Return the logits that follow the last token of rows without padding."""
    found = getattr(output, "logits", None)
    logits = found if isinstance(found, Tensor) else first_tensor(output)
    if logits is None or logits.ndim not in (2, 3):
        raise ValueError("The network returns no logits of shape (n_rows, ..., n_scores).")
    return at_least_single(logits if logits.ndim == 2 else logits[:, -1])


def _with_state(
    module: nn.Module, anatomy: Anatomy, state: Tensor, args: tuple, kwargs: dict[str, Any]
) -> Tensor:
    """Return the network's logits if a state came out of the tail, at every token."""
    assert anatomy.head is not None
    handle = (
        anatomy.tail[-1].register_forward_hook(lambda part, given, out: state.expand_as(out))
        if anatomy.tail
        else anatomy.head.register_forward_pre_hook(
            lambda part, given: (state.expand_as(given[0]), *given[1:])
        )
    )
    try:
        with torch.inference_mode():
            return logits_at_last(module(*args, **kwargs))
    finally:
        handle.remove()
