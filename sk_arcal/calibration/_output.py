"""The array that a user wants predictions written to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def checked_output(out: Any, shape: tuple[int, int], values: NDArray[Any]) -> NDArray[np.floating]:
    """Return `out` if it can take the predictions, or a new array if it is None.

    Parameters
    ----------
    out : ndarray or None
        As the user gave it.
    shape : tuple of int
        Rows and classes.
    values : ndarray
        What is read while `out` is written.

    Returns
    -------
    out : ndarray of shape `shape`
        Float64 if it is new.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If its shape or precision is another, or it cannot be written to.
    """
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"`out` must be a numpy array or None; got {type(out).__name__}.")
    if out.shape != shape:
        raise ValueError(
            f"`out` must have one row per row of X and one column per class, shape {shape}; got "
            f"shape {out.shape}."
        )
    if out.dtype not in (np.float64, np.float32):
        raise ValueError(f"`out` must be of float64 or float32; got {out.dtype}.")
    if not out.flags.writeable:
        raise ValueError("`out` is read-only; pass an array that can be written to.")
    if np.may_share_memory(out, values):
        raise ValueError("`out` overlaps X, which is still read while it is written; pass another.")
    return out
