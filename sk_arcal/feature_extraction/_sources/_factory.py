"""A module that an importable function builds, with weights from a safetensors file or its own."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._documents import canonical_text, plain_document
from sk_arcal.feature_extraction._sources._code import (
    code_of_class,
    code_of_functions,
    functions_in,
)
from sk_arcal.feature_extraction._sources._files import Stamp, file_digest, stamp
from sk_arcal.feature_extraction._sources._source import Source

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def looks_like_factory(text: str) -> bool:
    """Return whether a text has the form "package.module:function".

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    looks : bool
        Nothing is imported.
    """
    return _FORM.fullmatch(text) is not None


def resolve(factory: str) -> Callable[..., Any]:
    """Import what "package.module:function" names.

    Parameters
    ----------
    factory : str
        Of that form.

    Returns
    -------
    function : callable
        Function or class.

    Raises
    ------
    ImportError
        If it cannot be imported.
    TypeError
        If it cannot be called.
    """
    module, _, name = factory.partition(":")
    try:
        function = attrgetter(name)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"`factory` is {factory!r}, which cannot be imported here: {error}. It has to be "
            "importable in every process that uses it."
        ) from error
    if not callable(function):
        raise TypeError(f"`factory` is {factory!r}, which is no function but a {function!r}.")
    return function


class FactorySource(Source):
    """A function that builds the module, what it is called with, and a file with weights.

    Parameters
    ----------
    factory : str
        "package.module:function".
    kwargs : dict
        Keyword arguments, plain data.
    weights : str or None
        Absolute path of a safetensors file.
    known : tuple of (str or None, str or None, stamp or None, str or None)
        Digest of the module, SHA-256 of the file, the stamp of the file that had it, and the
        device of the module, as another process says.
    """

    def __init__(
        self,
        factory: str,
        kwargs: Mapping[str, Any],
        weights: str | None = None,
        known: tuple[str | None, str | None, Stamp | None, str | None] = (None,) * 4,
    ) -> None:
        self.factory, self._kwargs, self._weights = factory, dict(kwargs), weights
        self._digest, self._sha256, self._stamp, self._device = known
        self._description: str | None = None
        self._built: Any = None

    @classmethod
    def checked(cls, factory: Any, kwargs: Any, weights: Any) -> "FactorySource":
        """Return a source for what a user passed, or raise.

        Parameters
        ----------
        factory, kwargs, weights : object
            See :meth:`Backbone.from_factory`.

        Returns
        -------
        source : FactorySource
            Nothing is imported yet.

        Raises
        ------
        TypeError
            If one is of the wrong kind.
        ValueError
            If the factory has another form, or the file another format.
        FileNotFoundError
            If there is no such file.
        """
        if not isinstance(factory, str):
            raise TypeError(
                "`factory` must be the name of a function, 'package.module:function', so that "
                f"other processes can import it; got {factory!r}."
            )
        if not looks_like_factory(factory) or factory.startswith("__main__:"):
            raise ValueError(
                "`factory` must name an importable function as 'package.module:function'; got "
                f"{factory!r}."
            )
        plain = plain_document({} if kwargs is None else kwargs, "kwargs")
        return cls(factory, plain, None if weights is None else str(_checked_file(weights)))

    def __repr__(self) -> str:
        return repr(self.factory)

    def digest(self) -> str:
        sha256 = self._weights_sha256()
        if self._digest is None or (sha256 is not None and sha256 != self._sha256):
            self._sha256 = sha256
            self._digest = self._digest_from_weights() if sha256 else self._digest_from_building()
        return self._digest

    def load(self) -> Any:
        expected = self.digest()
        module, self._built = self._built or self._build(), None
        if self._weights is not None:
            from sk_arcal.feature_extraction._sources._weights import put_weights

            put_weights(module, Path(self._weights))
        if self._digest_of(module) != expected:
            raise ValueError(
                f"{self.factory!r} builds another module here than the handle stands for. "
                "Give it `weights`, or a seed among its arguments, and the same version of its "
                "code in every process."
            )
        return module.eval()

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "factory",
            "factory": self.factory,
            "kwargs": self._kwargs,
            "weights": self._weights,
            "sha256": self._weights_sha256(),
        }

    def device(self) -> str:
        if self._device is None:
            self.refresh()
            self.digest()
        return str(self._device)

    def refresh(self) -> None:
        self._digest = self._description = self._built = None

    def __reduce__(self) -> tuple[Any, ...]:
        digest = self.digest()
        changed = None if self._weights is None else stamp(Path(self._weights))
        known = (digest, self._sha256, changed, self._device)
        return FactorySource, (self.factory, self._kwargs, self._weights, known)

    def _weights_sha256(self) -> str | None:
        if self._weights is None:
            return None
        path = Path(self._weights)
        if self._stamp is not None and stamp(path) == self._stamp:
            return self._sha256
        found = file_digest(path)
        if self._stamp is not None and found != self._sha256:
            raise ValueError(
                f"{path} has changed since the Backbone was pickled. Pickle it again, or put the "
                "file back."
            )
        return found

    def _build(self) -> Any:
        torch = import_optional("torch", extra="torch", caller="Backbone.from_factory")
        module = resolve(self.factory)(**self._kwargs)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(
                f"{self.factory!r} must return a torch.nn.Module; it returned a "
                f"{type(module).__name__}."
            )
        return module

    def _digest_of(self, module: Any) -> str:
        from sk_arcal.feature_extraction._sources._digest import architecture_digest, module_digest

        if self._weights is None:
            return module_digest(module)
        return self._digest_with(architecture_digest(module))

    def _digest_from_building(self) -> str:
        from sk_arcal.feature_extraction._sources._digest import device_of

        self._built = self._build()
        self._device = device_of(self._built)
        return self._digest_of(self._built)

    def _digest_from_weights(self) -> str:
        if self._description is None:
            self._description = self._architecture()
        return self._digest_with(self._description)

    def _architecture(self) -> str:
        """Return the digest of the architecture, if possible without memory for its weights."""
        torch = import_optional("torch", extra="torch", caller="Backbone.from_factory")
        from sk_arcal.feature_extraction._sources._digest import architecture_digest, device_of

        try:
            with torch.device("meta"):
                module = self._build()
        except Exception:
            # Some factories compute with the values; the real module says the same.
            module = self._build()
        self._device = device_of(module)
        return architecture_digest(module)

    def _digest_with(self, architecture: str) -> str:
        from sk_arcal.feature_extraction._sources._describe import hashed

        function = resolve(self.factory)
        if isinstance(function, type):
            code = code_of_class(function, ("__init__", "__new__"))
        else:
            code = code_of_functions(functions_in(function))
        call = [self.factory, canonical_text(self._kwargs), code]
        return hashed(["sk-arcal factory 1", call, architecture, self._sha256])


def _checked_file(weights: Any) -> Path:
    try:
        path = Path(weights).expanduser().absolute()
    except TypeError:
        raise TypeError(f"`weights` must be the path of a file; got {weights!r}.") from None
    if path.suffix != ".safetensors":
        raise ValueError(
            f"`weights` must be a .safetensors file; got {str(path)!r}. Other formats are pickles, "
            "which run code when they are read; convert with safetensors.torch.save_model."
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` is {str(path)!r}, where there is no file.")
    return path
