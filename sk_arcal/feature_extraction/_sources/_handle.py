"""What a backbone does once it is made: it is a value, and it gives the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

from sk_arcal.feature_extraction._sources._source import Source
from sk_arcal.feature_extraction._sources._tokenizer import TokenizerSource

if TYPE_CHECKING:
    import torch


class Handle:
    """An immutable reference to a network and its tokenizer; copies of it are itself.

    Handles are equal if they are the same object. Comparing content would read all weights for a
    question asked in passing, and a hash must not change when the network does.
    """

    __slots__ = ("__weakref__", "_source", "_tokenizer")

    _source: Source
    _tokenizer: TokenizerSource | None

    @classmethod
    def _made(cls, source: Source, tokenizer: TokenizerSource | None) -> Self:
        handle = cls.__new__(cls)
        handle._set(source, tokenizer)
        return handle

    def _set(self, source: Source, tokenizer: TokenizerSource | None) -> None:
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_tokenizer", tokenizer)

    @property
    def digest(self) -> str:
        """What identifies the network by content: 64 hexadecimal digits.

        For a module in memory it covers values of all parameters and buffers, classes, the code of
        their ``forward``, and plain attributes; not training flags, devices, hooks or the
        tokenizer. It is the same in every process with the same minor version of Python. It is
        kept until a parameter or buffer changes in a way that torch counts, or a layer is
        exchanged; see `refresh` for others. A module that counts its calls in a plain attribute
        is another one after each; tensors that a pass leaves behind do not count.

        Returns
        -------
        digest : str
            A SHA-256.

        Raises
        ------
        ValueError
            If a tensor of the module has no values yet, or a file has changed since the handle was
            pickled.
        TypeError
            If a tensor of the module is sparse, quantised or of a subclass.
        """
        return self._source.digest()

    def refresh(self) -> None:
        """Look anew at what may have changed without notice.

        Such are writes through ``parameter.data``, plain attributes such as the rate of a
        dropout, hub branches, and the code of a factory.
        """
        self._source.refresh()

    @property
    def module(self) -> "torch.nn.Module":
        """The network, where it is: the one given, or loaded once in this process.

        A loaded one is in evaluation mode. Do not train it: the handle would still stand for what
        was loaded. Few are kept at a time.

        Returns
        -------
        module : torch.nn.Module
            The same object every time, as long as it is kept.

        Raises
        ------
        FileNotFoundError, PermissionError
            If what was written for this process is not there, or others could have changed it.
        RuntimeError
            If this process was forked from the one that put the module on a GPU.
        """
        return self._source.module()

    @property
    def tokenizer(self) -> Any:
        """What turns texts into tokens, made on first use; None if there is none."""
        return None if self._tokenizer is None else self._tokenizer.get()

    @property
    def device(self) -> str:
        """Where the network computes if nothing else is asked for.

        Returns
        -------
        device : str
            Where the module is, such as "cuda:0"; for one that was sent to this process, where it
            was.
        """
        return self._source.device()

    def load(self, device: Any = None, dtype: Any = None) -> "torch.nn.Module":
        """Return the network on a device and in a precision.

        Parameters
        ----------
        device : str or torch.device, default=None
            Where to; by default where it is, or in a process that it was sent to, where it was.
        dtype : str or torch.dtype, default=None
            Precision of floating-point tensors, such as "bfloat16"; by default the one it has.

        Returns
        -------
        module : torch.nn.Module
            `module` itself if it is there. Else a copy in evaluation mode, remembered until the
            network changes or others push it out.

        Raises
        ------
        ValueError
            If there is no such device or precision.
        TypeError
            If the network cannot be copied.

        Examples
        --------
        >>> from torch import nn
        >>> from sk_arcal.feature_extraction import Backbone
        >>> backbone = Backbone(nn.Linear(2, 1))
        >>> backbone.load("cpu") is backbone.module
        True
        >>> backbone.load(dtype="bfloat16").weight.dtype, backbone.module.weight.dtype
        (torch.bfloat16, torch.float32)
        """
        module = self.module
        from sk_arcal.feature_extraction._sources._loaded import placed

        where = self._source.home() if device is None else device
        return placed(module, self._source.digest, where, dtype)

    def unload(self) -> None:
        """Forget what this process has loaded for the network, such as a copy on a GPU.

        A module in memory that was given stays, and what is in use stays as long as it is.
        """
        from sk_arcal.feature_extraction._sources._loaded import LOADED

        LOADED.forget(self._source.digest())

    @contextmanager
    def exclusive(self, module: "torch.nn.Module | None" = None) -> Iterator["torch.nn.Module"]:
        """Keep other threads away while hooks are installed.

        Hooks belong to the module object, which threads share; without the lock they would
        record each other's batches. Handles of the same module share its lock, and a thread that
        holds it may take it again.

        Parameters
        ----------
        module : torch.nn.Module, default=None
            What `load` returned; by default `module`.

        Yields
        ------
        module : torch.nn.Module
            The one that is locked.

        Examples
        --------
        >>> from torch import nn, zeros
        >>> from sk_arcal.feature_extraction import Backbone
        >>> backbone, shapes = Backbone(nn.Linear(2, 1)), []
        >>> with backbone.exclusive() as module:
        ...     hook = module.register_forward_hook(lambda *call: shapes.append(call[2].shape))
        ...     output = module(zeros(5, 2))
        ...     hook.remove()
        >>> shapes
        [torch.Size([5, 1])]
        """
        locked = self.module if module is None else module
        from sk_arcal.feature_extraction._sources._companions import companion

        with companion(locked).lock:
            yield locked

    def __sklearn_clone__(self) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"A Backbone cannot be changed; `{name}` was assigned. Make a new one."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A Backbone cannot be changed; `{name}` was deleted.")
