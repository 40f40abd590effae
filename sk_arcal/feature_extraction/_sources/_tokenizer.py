"""Where a backbone's tokenizer comes from: an object, a name for transformers, or a function."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._sources import _hub
from sk_arcal.feature_extraction._sources._factory import looks_like_factory, resolve
from sk_arcal.feature_extraction._sources._files import spill_folder
from sk_arcal.feature_extraction._sources._pretrained import PretrainedSource
from sk_arcal.feature_extraction._sources._spilled import read_spilled


class TokenizerSource(ABC):
    """Makes a tokenizer, once in this process."""

    _made: Any = None

    def get(self) -> Any:
        """Return the tokenizer, made on first use."""
        if self._made is None:
            self._made = self.load()
        return self._made

    @abstractmethod
    def load(self) -> Any:
        """Make the tokenizer."""

    @abstractmethod
    def to_dict(self) -> Any:
        """Write the source down as plain data, or raise TypeError if it cannot be."""


def tokenizer_source(tokenizer: Any, folder: Path | None) -> TokenizerSource | None:
    """Return the source for what a user passed.

    Parameters
    ----------
    tokenizer : object or str or None
        A tokenizer, "package.module:function", a hub name, or a folder.
    folder : Path or None
        Where an object is spilled when it is pickled.

    Returns
    -------
    source : TokenizerSource or None
        Nothing is loaded yet.

    Raises
    ------
    TypeError
        If it is neither text nor something to call.
    """
    if tokenizer is None:
        return None
    if isinstance(tokenizer, str):
        if looks_like_factory(tokenizer):
            return BuiltTokenizer(tokenizer)
        if _hub.is_folder(tokenizer):
            tokenizer = str(Path(tokenizer).expanduser().absolute())
        return NamedTokenizer(tokenizer)
    if not callable(tokenizer):
        raise TypeError(
            "`tokenizer` must be something to call with texts, or a name; got "
            f"{type(tokenizer).__name__}."
        )
    return LiveTokenizer(tokenizer, folder)


class LiveTokenizer(TokenizerSource):
    """A tokenizer in memory; spilled to disk when it is pickled.

    Parameters
    ----------
    tokenizer : callable
        The tokenizer.
    folder : Path or None
        Where it is spilled; None is the user's cache folder.
    """

    def __init__(self, tokenizer: Any, folder: Path | None) -> None:
        self._made, self._folder = tokenizer, folder

    def load(self) -> Any:
        return self._made

    def to_dict(self) -> Any:
        raise TypeError(
            "A tokenizer in memory has no document. Name it: a hub name, a folder written by "
            "save_pretrained, or 'package.module:function'."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        import_optional("torch", extra="torch", caller="Backbone")
        from sk_arcal.feature_extraction._sources._spill import spill
        from sk_arcal.feature_extraction._sources._tokenizer_digest import tokenizer_digest

        digest, folder = tokenizer_digest(self._made), spill_folder(self._folder)
        skeleton = spill(self._made, digest, folder)
        return SpilledTokenizer(str(folder), digest, skeleton).__reduce__()


class SpilledTokenizer(TokenizerSource):
    """A tokenizer that another process has spilled to disk.

    Parameters
    ----------
    folder, digest, skeleton_sha256 : str
        As in SpilledSource.
    """

    def __init__(self, folder: str, digest: str, skeleton_sha256: str) -> None:
        self._arguments = (folder, digest, skeleton_sha256)

    def load(self) -> Any:
        return read_spilled(*self._arguments)

    to_dict = LiveTokenizer.to_dict

    def __reduce__(self) -> tuple[Any, ...]:
        folder, *hashes = self._arguments
        return _restored, (folder, *map(bytes.fromhex, hashes))


def _restored(folder: str, digest: bytes, skeleton: bytes) -> SpilledTokenizer:
    return SpilledTokenizer(folder, digest.hex(), skeleton.hex())


class NamedTokenizer(TokenizerSource):
    """A tokenizer that transformers loads by name.

    Parameters
    ----------
    name : str
        Hub name, or absolute path of a folder.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self) -> Any:
        return _load(self._name, None, {})

    def to_dict(self) -> Any:
        return self._name

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedTokenizer, (self._name,)


class OwnTokenizer(TokenizerSource):
    """The tokenizer that lies beside a pretrained model, at the same commit.

    Parameters
    ----------
    model : PretrainedSource
        The model.
    """

    def __init__(self, model: PretrainedSource) -> None:
        self._model = model

    def load(self) -> Any:
        return _load(self._model.name, self._model.commit(), self._model.options())

    def to_dict(self) -> Any:
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnTokenizer, (self._model,)


class BuiltTokenizer(TokenizerSource):
    """A tokenizer that an importable function builds.

    Parameters
    ----------
    factory : str
        "package.module:function", called without arguments.
    """

    def __init__(self, factory: str) -> None:
        self._factory = factory

    def load(self) -> Any:
        return resolve(self._factory)()

    def to_dict(self) -> Any:
        return self._factory

    def __reduce__(self) -> tuple[Any, ...]:
        return BuiltTokenizer, (self._factory,)


def _load(name: str, revision: str | None, options: dict[str, Any]) -> Any:
    library = _hub.transformers()
    with _hub.one_sentence(name, revision):
        return library.AutoTokenizer.from_pretrained(name, revision=revision, **options)
