"""Small JSON documents that lie beside the rows; whoever writes one first, wins."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

TEMPORARY = ".tmp"

# What file systems without hard links answer.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def plain_document(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a document as JSON gives it back; errors call it `name`.

    Parameters
    ----------
    document : mapping
        Text as keys, and values that JSON has.
    name : str
        The parameter that holds it.

    Returns
    -------
    plain : dict
        Lists in place of tuples.

    Raises
    ------
    ValueError
        If a number is infinite or NaN.
    TypeError
        If it is no mapping, a key is no text, or JSON has no word for a value.
    """
    if not isinstance(document, Mapping):
        raise TypeError(f"`{name}` must be a mapping; got {type(document).__name__}.")
    try:
        text = canonical_text(dict(document))
    except (TypeError, ValueError) as error:
        kind = type(error)
        raise kind(f"`{name}` must be plain data that JSON can hold: {error}.") from None
    return json.loads(text)


def canonical_text(document: Any) -> str:
    """Return the one JSON text of a document, whatever the order of its keys."""
    _refuse_other_keys(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _refuse_other_keys(value: Any) -> None:
    """Raise where json would turn a key into text, so that two documents have the same one."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is no text")
    if isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_other_keys(inner)


def read_document(path: Path) -> Any:
    """Return what a file holds, None if it does not exist.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    document : object
        Usually a dict.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{path} is no JSON; delete the folder {path.parent}.") from None


def write_once(path: Path, document: Any) -> Any:
    """Write a document unless there is one, and return the one that is there.

    Parameters
    ----------
    path : Path
        File in a folder that exists.
    document : object
        Plain data.

    Returns
    -------
    winner : object
        `document`, or what another process had written before.

    Raises
    ------
    FileNotFoundError
        If the folder is not there, or was removed meanwhile.
    """
    winner = read_document(path)
    if winner is not None:
        return winner
    temporary = path.with_name(uuid4().hex + TEMPORARY)
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(json.dumps(document, sort_keys=True, indent=2) + "\n")
            file.flush()
            # Rows carry checksums and can be made again; after a power cut this file could not.
            os.fsync(file.fileno())
        _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    winner = read_document(path)
    if winner is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return winner


def _publish(temporary: Path, path: Path) -> None:
    """Give a whole file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Not atomic, but two writers have to come within the same microseconds.
        if not path.exists():
            os.replace(temporary, path)
