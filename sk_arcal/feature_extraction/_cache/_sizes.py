"""Sizes in bytes, as people write them: decimal units, as on the label of a disk."""

import re

_UNITS = ("B", "kB", "MB", "GB", "TB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_POWERS = {
    unit.lower(): base**power
    for units, base in ((_UNITS, 1000), (_BINARY, 1024))
    for power, unit in enumerate(units)
}


def format_size(n_bytes: float) -> str:
    """Return a size in words, such as "61.4 MB"."""
    power = 0
    while n_bytes >= 999.5 and power < len(_UNITS) - 1:
        n_bytes /= 1000
        power += 1
    return f"{n_bytes:.3g} {_UNITS[power]}"


def parse_size(text: str) -> int:
    """Return the bytes that a text states, such as "500MB", "1.5 GiB" or "2048".

    Parameters
    ----------
    text : str
        A number, and B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024) after it.

    Returns
    -------
    n_bytes : int
        Rounded to the nearest.

    Raises
    ------
    ValueError
        If it is not of this form.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", text, re.ASCII | re.IGNORECASE)
    unit = match[2].lower() or "b" if match else ""
    if match is None or unit not in _POWERS:
        raise ValueError(f"{text!r} is no size; write it as 500MB, 10GB or a number of bytes.")
    return round(float(match[1]) * _POWERS[unit])
