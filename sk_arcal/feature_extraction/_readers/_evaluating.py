"""Evaluation mode for the time of a forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def evaluating(module: "nn.Module") -> Iterator[None]:
    """Switch dropout and batch statistics off, and every part back to what it was.

    Parameters
    ----------
    module : Module
        With all its parts.

    Yields
    ------
    nothing : None
        The module is in evaluation mode until the context is left.
    """
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
