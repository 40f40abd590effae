"""The envelope of a saved calibrator: what it is, who wrote it, and a checksum.

The checksum is the SHA-256 of all the rest, written as JSON with sorted keys, without spaces, in
ASCII. It finds a damaged or edited file. It is no signature: whoever can edit the file can also
write a new checksum.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sk_arcal import __version__

FORMAT = "sk-arcal calibrator"
#: Raised when a file written by this version would not mean the same to the last one.
SCHEMA_VERSION = 1

_KEYS = ("format", "schema_version", "sk_arcal_version", "class", "parameters", "state", "sha256")


def seal(name: str, *, parameters: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON will hold.

    Parameters
    ----------
    name : str
        Name of the class.
    parameters, state : dict
        Encoded values.

    Returns
    -------
    saved : dict
        With the keys "format", "schema_version", "sk_arcal_version", "class", "parameters",
        "state" and "sha256".
    """
    saved = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "sk_arcal_version": __version__,
        "class": name,
        "parameters": parameters,
        "state": state,
    }
    return {**saved, "sha256": _checksum(saved)}


def check_seal(saved: Any) -> None:
    """Raise unless `saved` is a saved calibrator that this version reads, unchanged.

    Parameters
    ----------
    saved : object
        What a user hands in.

    Raises
    ------
    ValueError
        If a key is missing or unknown, the schema is newer, or the checksum does not match.
    TypeError
        If it is no dictionary.
    """
    if not isinstance(saved, Mapping):
        raise TypeError(
            f"A saved calibrator is a dictionary, as json.loads returns; got {type(saved).__name__}"
            "."
        )
    if saved.get("format") != FORMAT:
        raise ValueError(
            f"This is no saved calibrator: its 'format' is {saved.get('format')!r}, not {FORMAT!r}."
        )
    version = saved.get("schema_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"'schema_version' must be a whole number from 1; got {version!r}.")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"The calibrator was saved with schema {version} by sk-arcal "
            f"{saved.get('sk_arcal_version')}; this version, {__version__}, reads schemas up to "
            f"{SCHEMA_VERSION}. Upgrade sk-arcal to load it."
        )
    if saved.keys() != set(_KEYS):
        missing, extra = sorted(set(_KEYS) - saved.keys()), sorted(saved.keys() - set(_KEYS))
        raise ValueError(f"The saved calibrator lacks {missing} and has {extra} too much.")
    _check_content(saved)


def _check_content(saved: Mapping[str, Any]) -> None:
    try:
        checksum = _checksum(saved)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The saved calibrator holds what JSON cannot: {error}.") from None
    if checksum != saved["sha256"]:
        raise ValueError(
            "The saved calibrator was changed or damaged after it was written: its checksum does "
            "not match. Save it again from the fitted calibrator."
        )
    if not isinstance(saved["parameters"], dict) or not isinstance(saved["state"], dict):
        raise ValueError("'parameters' and 'state' of a saved calibrator must be dictionaries.")


def _checksum(saved: Mapping[str, Any]) -> str:
    content = {key: saved[key] for key in _KEYS if key != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
