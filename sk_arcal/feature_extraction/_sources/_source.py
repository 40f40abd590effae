"""What every source of a module can do."""

from abc import ABC, abstractmethod
from typing import Any


class Source(ABC):
    """Where a module comes from: what it is, and how it is made.

    Sources load without torch, but for the one of a module that is there already.
    """

    @abstractmethod
    def digest(self) -> str:
        """Return what identifies the module by content: 64 hexadecimal digits."""

    @abstractmethod
    def load(self) -> Any:
        """Make the module."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Write the source down as plain data, or raise TypeError if it cannot be."""

    def module(self) -> Any:
        """Return the module, made once in this process as long as it is used."""
        from sk_arcal.feature_extraction._sources._loaded import LOADED

        return LOADED.get((self.digest(), None, None), self.load)

    @abstractmethod
    def device(self) -> str:
        """Return where the module computes if nothing else is asked for, such as "cuda:0"."""

    def home(self) -> str | None:
        """Return where to put the module if nothing is asked for; None leaves it where it is."""
        return None

    def refresh(self) -> None:
        """Look anew at what may have changed unnoticed."""
        return None


NO_DOCUMENT = (
    "A module in memory has no document. Use Backbone.from_factory, which names a function that "
    "builds it and a safetensors file with its weights, or Backbone.from_pretrained."
)
