"""Names that transformers understands: folders by their files, hub names by their commit."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._sources._files import file_digest

_CALLER = "Backbone.from_pretrained"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})/")
# Settings, weights, vocabularies, templates and code; not documentation, pickles or logs.
_CONTENT = {".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".py"}


def transformers() -> Any:
    """Return the library transformers, or say how to install it."""
    return import_optional("transformers", extra="hf", caller=_CALLER)


def is_folder(name: str) -> bool:
    """Return whether a name stands for a folder on this machine.

    Parameters
    ----------
    name : str
        Hub name or path.

    Returns
    -------
    is_folder : bool
        A folder that exists wins over a hub name, as in transformers.
    """
    return Path(name).expanduser().is_dir()


def content_files(folder: str) -> list[Path]:
    """Return the files of a folder that say what a model or tokenizer is.

    Parameters
    ----------
    folder : str
        As ``save_pretrained`` writes it.

    Returns
    -------
    files : list of Path
        Sorted by name; those in folders below are other models.
    """
    files = sorted(Path(folder).iterdir())
    return [file for file in files if file.suffix in _CONTENT and file.is_file()]


def content_digests(folder: str) -> dict[str, str]:
    """Return the SHA-256 of each of the files that say what a model or tokenizer is.

    Parameters
    ----------
    folder : str
        As ``save_pretrained`` writes it.

    Returns
    -------
    digests : dict
        By name of the file.
    """
    return {file.name: file_digest(file) for file in content_files(folder)}


def commit_of(name: str, revision: str | None, options: Mapping[str, Any]) -> str:
    """Return the commit that a revision of a hub name stands for now.

    Parameters
    ----------
    name : str
        Hub name.
    revision : str or None
        Branch, tag or commit; None is the main branch.
    options : mapping
        Where to look, as ``from_pretrained`` takes it.

    Returns
    -------
    commit : str
        40 hexadecimal digits.

    Raises
    ------
    OSError
        If the name is neither in the cache nor within reach.
    ValueError
        If transformers does not say which commit it found.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    with one_sentence(name, revision):
        config = transformers().utils.cached_file(name, "config.json", revision=revision, **options)
    # Since its version 5 the library keeps the commit to itself; the cache is laid out by it.
    found = _SNAPSHOT.search(Path(config).as_posix())
    if found is None:
        raise ValueError(
            f"transformers does not say which commit of {name!r} it found. Pass the commit, 40 "
            "hexadecimal digits, as `revision`."
        )
    return found.group(1)


@contextmanager
def one_sentence(name: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of a hub that was not reached, or lacks something, into one that helps.

    Parameters
    ----------
    name : str
        Hub name or path.
    revision : str or None
        Revision.

    Yields
    ------
    nothing : None
        The block may load something.

    Raises
    ------
    OSError
        In place of every OSError in the block.
    """
    try:
        yield
    except OSError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        where = "folder" if is_folder(name) else f"revision {revision or 'main'!r}"
        raise OSError(
            f"{name!r} ({where}) cannot be loaded: {reason}. Weights have to be safetensors. "
            "Without a network only a local folder works, or what was downloaded before."
        ) from error
