"""Backbones as plain data, to be written beside results and read back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sk_arcal import __version__
from sk_arcal.feature_extraction._sources._factory import FactorySource, looks_like_factory
from sk_arcal.feature_extraction._sources._files import file_digest
from sk_arcal.feature_extraction._sources._pretrained import PretrainedSource
from sk_arcal.feature_extraction._sources._source import Source

FORMAT = "sk-arcal backbone"
#: Raised when a document written by this version would not mean the same to the last one.
SCHEMA_VERSION = 1

_ENVELOPE = {"format", "schema_version", "sk_arcal_version", "kind", "tokenizer", "sha256"}
_KINDS = {
    "factory": {"factory", "kwargs", "weights"},
    "pretrained": {"name", "revision", "model_class", "kwargs"},
}


def write_document(source: Source, tokenizer: Any) -> dict[str, Any]:
    """Return a source and its tokenizer as plain data.

    Parameters
    ----------
    source : Source
        Where the module comes from.
    tokenizer : str or bool or None
        Plain data.

    Returns
    -------
    document : dict
        For :func:`read_document`.

    Raises
    ------
    TypeError
        If the source is a module in memory.
    """
    envelope = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "sk_arcal_version": __version__,
    }
    return {**envelope, **source.to_dict(), "tokenizer": tokenizer}


def read_document(document: Any, *, trust: bool) -> tuple[FactorySource | PretrainedSource, Any]:
    """Return the source and the tokenizer that a document describes.

    Parameters
    ----------
    document : dict
        From :func:`write_document`.
    trust : bool
        Whether code that the document names may be imported.

    Returns
    -------
    source : FactorySource or PretrainedSource
        Nothing is loaded yet.
    tokenizer : str or bool or None
        As it was written.

    Raises
    ------
    TypeError
        If it is no dictionary, or an entry has the wrong kind.
    ValueError
        If it is no such document, was written by a newer schema, names code and is not trusted,
        or stands for files with another content.
    FileNotFoundError
        If a file it names is not there.
    """
    kind = _checked_kind(document)
    if not trust:
        _refuse_code(document, kind)
    if kind == "factory":
        factory = FactorySource.checked(*(document[k] for k in ("factory", "kwargs", "weights")))
        found = None if document["weights"] is None else file_digest(Path(document["weights"]))
        _compare(found, document["sha256"], document["weights"])
        return factory, document["tokenizer"]
    entries = (document[key] for key in ("name", "revision", "model_class", "kwargs"))
    model = PretrainedSource.checked(*entries)
    if document["sha256"] is not None:
        _compare(model.files_sha256(), document["sha256"], document["name"])
    return model, document["tokenizer"]


def _checked_kind(document: Any) -> str:
    if not isinstance(document, Mapping):
        raise TypeError(
            f"A document is a dictionary, as Backbone.to_dict returns; got "
            f"{type(document).__name__}."
        )
    version, kind = document.get("schema_version"), document.get("kind")
    if document.get("format") != FORMAT or kind not in _KINDS:
        raise ValueError(
            f"This is no document of a Backbone: its 'format' is {document.get('format')!r}, not "
            f"{FORMAT!r}, or its 'kind' {kind!r} is not among {sorted(_KINDS)}."
        )
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"The document was written with schema {version!r} by sk-arcal "
            f"{document.get('sk_arcal_version')}; this version, {__version__}, reads schema "
            f"{SCHEMA_VERSION}."
        )
    wanted = _ENVELOPE | _KINDS[kind]
    if document.keys() != wanted:
        missing, extra = sorted(wanted - document.keys()), sorted(document.keys() - wanted)
        raise ValueError(f"The document lacks {missing} and has {extra} too much.")
    if not isinstance(document["kwargs"], Mapping):
        raise TypeError(f"'kwargs' must be a dictionary; got {document['kwargs']!r}.")
    if not isinstance(document["tokenizer"], str | bool | None):
        raise TypeError(f"'tokenizer' must be a name; got {document['tokenizer']!r}.")
    return str(kind)


def _refuse_code(document: Mapping[str, Any], kind: str) -> None:
    tokenizer = document["tokenizer"]
    if kind == "factory":
        named = f"the function {document['factory']!r}"
    elif isinstance(tokenizer, str) and looks_like_factory(tokenizer):
        named = f"the function {tokenizer!r}"
    elif document["kwargs"].get("trust_remote_code"):
        named = f"code that comes with {document['name']!r}"
    else:
        return
    raise ValueError(
        f"The document names {named}, which would be run. Pass trust=True if you know who wrote "
        "the document."
    )


def _compare(found: str | None, expected: Any, where: Any) -> None:
    if found != expected:
        raise ValueError(
            f"{where} is not what the document was written for: its SHA-256 is {found}, not "
            f"{expected}."
        )
