"""The handle by which a network is held, shared, sent to workers and told from others."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._sources._document import read_document, write_document
from sk_arcal.feature_extraction._sources._factory import FactorySource
from sk_arcal.feature_extraction._sources._handle import Handle
from sk_arcal.feature_extraction._sources._pretrained import PretrainedSource
from sk_arcal.feature_extraction._sources._source import Source
from sk_arcal.feature_extraction._sources._tokenizer import (
    OwnTokenizer,
    TokenizerSource,
    tokenizer_source,
)

if TYPE_CHECKING:
    import torch

PathLike = str | os.PathLike[str]


class Backbone(Handle):
    """A network as a value: shared by clones, tiny in a pickle, known by its content.

    scikit-learn copies and pickles parameters; a network would be copied for every fold and sent
    with every task. A handle is not: ``clone``, ``copy`` and ``deepcopy`` return the handle
    itself, and its pickle holds a reference of a few hundred bytes. The first pickle of a module
    in memory writes it to disk once; workers map the weights from there and share their memory.
    Needs the extra "torch" to load something.

    Parameters
    ----------
    module : torch.nn.Module
        The network, used as it is. It is never moved and never changed.
    tokenizer : callable or str, default=None
        What turns texts into tokens: an object, a hub name or folder for transformers, or
        "package.module:function", a function that returns one.
    folder : path-like, default=None
        Where it is written for other processes. By default ``backbones`` in the folder named by
        the environment variable SK_ARCAL_CACHE, else in the user's cache folder.

    Raises
    ------
    TypeError
        If `module` is no module, or `tokenizer` cannot be called.
    ImportError
        If torch is not installed.

    See Also
    --------
    Backbone.from_factory : A network built by a function, for files and other machines.
    Backbone.from_pretrained : A network of transformers, by its name.

    Notes
    -----
    Handles are equal if they are the same object. Comparing content would read all weights for a
    question asked in passing, and the content of a module in memory can change; compare
    `digest` where it matters.

    Hooks on the module are not part of it: they run in this process, but neither change the digest
    nor travel, except those by which torch itself computes weights (weight norm, pruning).

    A process that is forked (``multiprocessing`` on Linux before Python 3.14) inherits the module
    but not the threads of torch: if these were in use, the first large operation in the child
    waits forever. joblib's own processes are safe.

    What lies on disk are the weights, and a pickle of the rest. It is read only from a folder that
    belongs to the user and that nobody else can write to, and only if it is the one the handle was
    pickled with. ``joblib.hash`` pickles, so it writes too. Nothing is deleted; the folder may be,
    when no search is running.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> from torch import nn
    >>> from sk_arcal.feature_extraction import Backbone
    >>> backbone = Backbone(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.1)))
    >>> clone(backbone) is backbone
    True
    >>> digest = backbone.digest
    >>> backbone.module[2].p = 0.2
    >>> backbone.refresh()
    >>> backbone.digest == digest
    False
    """

    __slots__ = ()

    def __init__(
        self,
        module: "torch.nn.Module",
        *,
        tokenizer: Any = None,
        folder: PathLike | None = None,
    ) -> None:
        nn = import_optional("torch.nn", extra="torch", caller="Backbone")
        from sk_arcal.feature_extraction._sources._live import LiveSource

        if not isinstance(module, nn.Module):
            raise TypeError(
                f"`module` must be a torch.nn.Module; got {type(module).__name__}. To name a "
                "network instead, use Backbone.from_factory or Backbone.from_pretrained."
            )
        place = _checked_folder(folder)
        self._set(LiveSource(module, place), tokenizer_source(tokenizer, place))

    @classmethod
    def from_factory(
        cls,
        factory: str,
        kwargs: Mapping[str, Any] | None = None,
        *,
        weights: PathLike | None = None,
        tokenizer: Any = None,
        folder: PathLike | None = None,
    ) -> Self:
        """Hold the network that an importable function builds.

        Nothing of it is pickled, so this is the form for files, other machines and other users.
        It is built on first use, once in each process.

        Parameters
        ----------
        factory : str
            "package.module:function"; a class will do. It is called with `kwargs` and returns a
            module.
        kwargs : mapping, default=None
            Plain data: text, numbers, booleans, None, and lists and dictionaries of these.
        weights : path-like, default=None
            A safetensors file with all parameters and buffers. Without one the function has to
            return the same network in every process.
        tokenizer : callable or str, default=None
            As for `Backbone`.
        folder : path-like, default=None
            As for `Backbone`; used if `tokenizer` is an object.

        Returns
        -------
        backbone : Backbone
            Its digest stands for the function and its code, its arguments, the architecture it
            builds and the content of the file; without a file, for the content of what it builds.

        Raises
        ------
        TypeError
            If `factory` is no text, or `kwargs` hold something else than plain data.
        ValueError
            If `factory` has another form, a number in `kwargs` is not finite, or `weights` is not
            named ``*.safetensors``.
        FileNotFoundError
            If there is no file `weights`.

        Examples
        --------
        >>> from sk_arcal.feature_extraction import Backbone
        >>> backbone = Backbone.from_factory("torch.nn:Dropout", {"p": 0.25})
        >>> backbone
        Backbone.from_factory('torch.nn:Dropout')
        >>> backbone.module
        Dropout(p=0.25, inplace=False)
        """
        source = FactorySource.checked(factory, kwargs, weights)
        return cls._made(source, tokenizer_source(tokenizer, _checked_folder(folder)))

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        model_class: str = "AutoModelForCausalLM",
        tokenizer: Any = True,
        trust_remote_code: bool = False,
        folder: PathLike | None = None,
        **kwargs: Any,
    ) -> Self:
        """Hold a network of transformers by its name. Needs the extra "hf".

        It is loaded on first use, once in each process, from safetensors only.

        Parameters
        ----------
        name : str
            Name on the hub, or a folder written by ``save_pretrained``.
        revision : str, default=None
            Branch, tag or commit. What it stands for when the digest is first needed is kept from
            then on, also in pickles.
        model_class : str, default="AutoModelForCausalLM"
            A class of transformers.
        tokenizer : bool, callable or str, default=True
            True for the one beside the network, False or None for none; else as for `Backbone`.
        trust_remote_code : bool, default=False
            Whether code that comes with the weights may run.
        folder : path-like, default=None
            As for `Backbone`; used if `tokenizer` is an object.
        **kwargs : dict
            Further arguments of ``from_pretrained``, plain data, such as
            ``dtype="bfloat16"`` or ``local_files_only=True``.

        Returns
        -------
        backbone : Backbone
            Its digest stands for the content of the folder, or for name and commit; and for the
            class and the arguments.

        Raises
        ------
        TypeError
            If a name is no text, or `kwargs` hold something else than plain data.
        ValueError
            If `kwargs` hold a token, which would end up in pickles.

        Examples
        --------
        >>> from sk_arcal.feature_extraction import Backbone
        >>> Backbone.from_pretrained("org/name", revision="main")
        Backbone.from_pretrained('org/name', revision='main')
        """
        if trust_remote_code:
            kwargs["trust_remote_code"] = True
        source = PretrainedSource.checked(name, revision, model_class, kwargs)
        return cls._made(source, _tokenizer_of(source, tokenizer, _checked_folder(folder)))

    @classmethod
    def from_dict(
        cls, document: Mapping[str, Any], *, trust: bool = False, folder: PathLike | None = None
    ) -> Self:
        """Restore a handle from :meth:`to_dict`.

        Parameters
        ----------
        document : dict
            From `to_dict`, also after a trip through JSON.
        trust : bool, default=False
            Whether functions that it names may be imported and run. Say so only of documents
            whose writer you know.
        folder : path-like, default=None
            As for `Backbone`.

        Returns
        -------
        backbone : Backbone
            With the digest of the one that was written down.

        Raises
        ------
        TypeError
            If it is no dictionary, or an entry has the wrong kind.
        ValueError
            If it is no such document, was written by a newer version, names code and `trust` is
            False, or stands for files with another content.
        FileNotFoundError
            If a file that it names is not there.

        Examples
        --------
        >>> from sk_arcal.feature_extraction import Backbone
        >>> document = Backbone.from_factory("torch.nn:Dropout", {"p": 0.25}).to_dict()
        >>> Backbone.from_dict(document, trust=True)
        Backbone.from_factory('torch.nn:Dropout')
        """
        source, tokenizer = read_document(document, trust=trust)
        return cls._made(source, _tokenizer_of(source, tokenizer, _checked_folder(folder)))

    def to_dict(self) -> dict[str, Any]:
        """Write the handle down as plain data that JSON can hold.

        Returns
        -------
        document : dict
            Names, arguments and the SHA-256 of files; no weights.

        Raises
        ------
        TypeError
            If the network or the tokenizer was given as an object.

        See Also
        --------
        Backbone.from_dict : Reads it back.

        Examples
        --------
        >>> from sk_arcal.feature_extraction import Backbone
        >>> document = Backbone.from_factory("torch.nn:Dropout", {"p": 0.25}).to_dict()
        >>> document["factory"], document["kwargs"]
        ('torch.nn:Dropout', {'p': 0.25})
        """
        tokenizer = None if self._tokenizer is None else self._tokenizer.to_dict()
        return write_document(self._source, tokenizer)

    def __repr__(self) -> str:
        maker = {FactorySource: ".from_factory", PretrainedSource: ".from_pretrained"}
        return f"{type(self).__name__}{maker.get(type(self._source), '')}({self._source!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._source, self._tokenizer)


def _restored(source: Source, tokenizer: TokenizerSource | None) -> Backbone:
    return Backbone._made(source, tokenizer)


def _tokenizer_of(
    source: FactorySource | PretrainedSource, tokenizer: Any, folder: Path | None
) -> TokenizerSource | None:
    if tokenizer is True and isinstance(source, PretrainedSource):
        return OwnTokenizer(source)
    return tokenizer_source(None if tokenizer is False else tokenizer, folder)


def _checked_folder(folder: PathLike | None) -> Path | None:
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"`folder` must be a path; got {folder!r}.")
    return Path(folder).expanduser().absolute()
