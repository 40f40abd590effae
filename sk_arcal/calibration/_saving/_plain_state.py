"""Fitted state without private classes: arrays, numbers, text, lists, tuples and dictionaries.

Small classes keep the code of a fitted calibrator readable, but a file that outlives a release
must not name them, and a reader of files should have to trust one class, not six. A class joins
by the decorator :func:`register_helper`; what it holds has to be plain or registered itself.
"""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

# No identifier, so that it never is the name of a field.
HELPER = "sk-arcal helper"

_Class = TypeVar("_Class", bound=type)
_HELPERS: dict[str, type] = {}


def register_helper(cls: _Class) -> _Class:
    """Let objects of a class travel as dictionaries of their fields.

    Parameters
    ----------
    cls : type
        A dataclass, or a class whose objects are nothing but their attributes.

    Returns
    -------
    cls : type
        The same class.
    """
    if _HELPERS.setdefault(cls.__name__, cls) is not cls:
        raise TypeError(f"Another helper is already called {cls.__name__}.")
    return cls


def to_plain(value: Any) -> Any:
    """Return `value` with every helper, however deep, replaced by a dictionary.

    Parameters
    ----------
    value : object
        A helper, a list, tuple or dict that may hold some, or anything else.

    Returns
    -------
    plain : object
        Anything else than helpers and containers stays the same object.
    """
    if type(value) in _HELPERS.values():
        inside = {name: to_plain(entry) for name, entry in _fields(value).items()}
        return {HELPER: type(value).__name__, **inside}
    if type(value) in (list, tuple):
        return type(value)(to_plain(entry) for entry in value)
    if type(value) is dict:
        return {key: to_plain(entry) for key, entry in value.items()}
    return value


def from_plain(value: Any) -> Any:
    """Return `value` with every dictionary that :func:`to_plain` made turned back into a helper.

    Parameters
    ----------
    value : object
        What `to_plain` returned.

    Returns
    -------
    restored : object
        What `to_plain` was given.

    Raises
    ------
    ValueError
        If a helper is unknown or its fields are not those of its class.
    """
    if type(value) in (list, tuple):
        return type(value)(from_plain(entry) for entry in value)
    if type(value) is not dict:
        return value
    inside = {key: from_plain(entry) for key, entry in value.items() if key != HELPER}
    return _helper(value[HELPER], inside) if HELPER in value else inside


def _fields(helper: Any) -> dict[str, Any]:
    if is_dataclass(helper):
        return {field.name: getattr(helper, field.name) for field in fields(helper)}
    return vars(helper)


def _helper(name: Any, inside: dict[str, Any]) -> Any:
    cls = _HELPERS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(
            f"The saved state names a part {name!r} that this version of sk-arcal does not have."
        )
    if is_dataclass(cls):
        # A field that a later version adds has a default that means what the file meant.
        defaults = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
        wanted, inside = {f.name for f in fields(cls)}, {**defaults, **inside}
        if inside.keys() != wanted:
            raise ValueError(
                f"The saved part {name!r} needs the fields {sorted(wanted)}; got {sorted(inside)}."
            )
    helper: Any = object.__new__(cls)
    for field, entry in inside.items():
        # Frozen dataclasses refuse plain assignment; the values were theirs before.
        object.__setattr__(helper, field, entry)
    return helper
