"""Values as JSON, so that nothing is lost: kinds of numbers, shapes, infinities.

What JSON has is written as it is. The rest is an object with one of these keys:

``{"array": nested lists, "dtype": "float64", "shape": [3, 2]}``
    An array, row by row; a number of numpy is an array of shape []. ``"order": "F"`` marks one
    that lies in memory column by column, which decides the last bit of a sum.
``{"float": "inf"}``
    "inf", "-inf" or "nan"; inside arrays these words stand among the numbers.
``{"tuple": [...]}``, ``{"slice": [start, stop, step]}``, ``{"range": [start, stop, step]}``
    What they say.
``{"dict": {...}}``
    A dictionary that has one of these words as a key; others are written as they are.

Python writes the shortest decimal that reads back as the same double, so floats are exact.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS = "biufUO"
_ALLOWED: dict[str, tuple[type, ...]] = {
    "b": (bool,),
    "i": (int,),
    "u": (int,),
    "f": (int, float),
    "U": (str,),
}
_WORDS = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}


def encode(value: Any, owner: str) -> Any:
    """Return what ``json.dumps`` can write and :func:`decode` turns back.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, list, tuple, dict, slice, range or array of these.
    owner : str
        The parameter or attribute it belongs to; stands in the error.

    Returns
    -------
    encoded : object
        Lists, dictionaries with text as keys, text, finite numbers, booleans and None.

    Raises
    ------
    ValueError
        If there is no JSON for it, e.g. for a function.
    """
    if isinstance(value, np.generic) or hasattr(value, "__array__"):
        return _encode_array(np.asarray(value), owner)
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": _word(value)}
    if isinstance(value, list | tuple):
        entries = [encode(entry, owner) for entry in value]
        return entries if isinstance(value, list) else {"tuple": entries}
    if isinstance(value, slice | range):
        ends = [encode(end, owner) for end in (value.start, value.stop, value.step)]
        return {type(value).__name__: ends}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        inside = {key: encode(entry, owner) for key, entry in value.items()}
        return inside if _DECODERS.keys().isdisjoint(inside) else {"dict": inside}
    raise _no_json(value, owner)


def decode(value: Any) -> Any:
    """Return the value that :func:`encode` was given.

    Parameters
    ----------
    value : object
        From `encode`, also after a trip through JSON text.

    Returns
    -------
    decoded : object
        Equal in value, kind and shape.

    Raises
    ------
    ValueError
        If something is not as `encode` writes it.
    """
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    tag = next((key for key in _DECODERS if key in value), None)
    if tag is None:
        return {key: decode(entry) for key, entry in value.items()}
    if tag != "array" and len(value) > 1:
        raise ValueError(f"The entry with {tag!r} has other keys too: {sorted(value)}.")
    return _DECODERS[tag](value)


def _no_json(value: Any, owner: str) -> ValueError:
    if isinstance(value, np.random.RandomState | np.random.Generator):
        advice = "Set it to an integer."
    elif callable(value):
        advice = "Set it to names or positions, or to columns(prefix=...)."
    else:
        advice = "Set it to plain values, or save the object by pickle or skops."
    return ValueError(f"{owner} is a {type(value).__name__}, which JSON cannot hold. {advice}")


def _word(number: float) -> str:
    return "nan" if np.isnan(number) else "inf" if number > 0 else "-inf"


def _encode_array(array: NDArray[Any], owner: str) -> dict[str, Any]:
    if array.dtype.kind not in _KINDS or (array.dtype.itemsize > 8 and array.dtype.kind == "f"):
        raise ValueError(f"{owner} is an array of {array.dtype}, which JSON cannot hold.")
    flat = array.ravel().tolist()
    if array.dtype.kind == "f":
        flat = [number if np.isfinite(number) else _word(number) for number in flat]
    elif array.dtype.kind == "O":
        flat = [encode(entry, owner) for entry in flat]
    text = array.dtype.kind == "U"
    encoded = {
        "array": _nested(flat, array.shape),
        "dtype": array.dtype.str if text else array.dtype.name,
        "shape": list(array.shape),
    }
    by_column = array.flags.f_contiguous and not array.flags.c_contiguous
    return encoded | ({"order": "F"} if by_column else {})


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // max(shape[0], 1)
    rows = (flat[i * step : (i + 1) * step] for i in range(shape[0]))
    return [_nested(row, shape[1:]) for row in rows] if len(shape) > 1 else flat


def _decode_array(value: dict[str, Any]) -> Any:
    if not {"array", "dtype", "shape"} <= value.keys() <= {"array", "dtype", "shape", "order"}:
        raise ValueError(f"An array needs 'array', 'dtype' and 'shape'; got {sorted(value)}.")
    shape, dtype = value["shape"], _dtype(value["dtype"])
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"The shape of an array must be a list of lengths; got {shape!r}.")
    flat = [_entry(entry, dtype.kind) for entry in _flat(value["array"], shape, shape)]
    try:
        array = np.array(flat, dtype=dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"An array does not hold what its dtype {dtype} says: {error}") from None
    if value.get("order") == "F":
        return np.asfortranarray(array)
    return array if shape else array[()]


def _dtype(name: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in _KINDS:
        raise ValueError(f"{name!r} is no dtype of an array of numbers, text or booleans.")
    return dtype


def _flat(nested: Any, shape: list[int], whole: list[int]) -> list[Any]:
    if not shape:
        return [nested]
    if not isinstance(nested, list) or len(nested) != shape[0]:
        raise ValueError(f"An array does not have the shape {whole} that it states.")
    return [entry for part in nested for entry in _flat(part, shape[1:], whole)]


def _entry(entry: Any, kind: str) -> Any:
    if kind == "O":
        return decode(entry)
    if kind == "f" and isinstance(entry, str):
        entry = _WORDS.get(entry, entry)
    allowed = _ALLOWED[kind]
    if not isinstance(entry, allowed) or (kind in "iuf" and isinstance(entry, bool)):
        raise ValueError(f"{entry!r} stands in an array of another kind.")
    return entry


def _decode_float(value: dict[str, Any]) -> float:
    word = value["float"]
    if not isinstance(word, str) or word not in _WORDS:
        raise ValueError(f"'float' must be 'inf', '-inf' or 'nan'; got {word!r}.")
    return _WORDS[word]


def _decode_ends(kind: type) -> Callable[[dict[str, Any]], Any]:
    def decode_ends(value: dict[str, Any]) -> Any:
        ends = value[kind.__name__]
        if not isinstance(ends, list) or len(ends) != 3:
            raise ValueError(f"{kind.__name__!r} must be [start, stop, step]; got {ends!r}.")
        try:
            return kind(*(decode(end) for end in ends))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{ends!r} is no {kind.__name__}: {error}.") from None

    return decode_ends


def _decode_tuple(value: dict[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value["tuple"], list):
        raise ValueError(f"'tuple' must be a list; got {value['tuple']!r}.")
    return tuple(decode(entry) for entry in value["tuple"])


def _decode_dict(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value["dict"], dict):
        raise ValueError(f"'dict' must be an object; got {value['dict']!r}.")
    return {key: decode(entry) for key, entry in value["dict"].items()}


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "array": _decode_array,
    "float": _decode_float,
    "tuple": _decode_tuple,
    "dict": _decode_dict,
    "slice": _decode_ends(slice),
    "range": _decode_ends(range),
}
