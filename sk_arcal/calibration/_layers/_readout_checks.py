"""Checks of a read-out's fields and of the hidden states it is given."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import check_finite, check_number, check_option

NORMS = ("none", "rms", "layer")
_SINGLE = (np.dtype(np.float16), np.dtype(np.float32))


def check_hidden(hidden: Any, n_features: int, name: str = "hidden") -> NDArray[Any]:
    """Return states of shape (..., d) in single or double precision; NaN passes."""
    states = _real_array(hidden, name)
    if states.ndim == 0 or states.shape[-1] != n_features:
        width = states.shape[-1] if states.ndim else "none"
        raise ValueError(
            f"The last axis of `{name}` must be the width {n_features} of the read-out; "
            f"got shape {states.shape}, width {width}."
        )
    return states


def check_readout(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a read-out, arrays in single or double precision."""
    weight = _real_array(given["weight"], "weight")
    if weight.ndim != 2 or weight.shape[0] < 2 or weight.shape[1] < 1:
        raise ValueError(
            "`weight` must have shape (n_classes, d) with at least two classes; got shape "
            f"{weight.shape}. Write the head of one event as two rows, the first of zeros."
        )
    check_finite(weight, "weight")
    n_classes, width = weight.shape
    norm = check_option("norm", given["norm"], NORMS)
    lengths = {"bias": n_classes, "norm_weight": width, "norm_bias": width}
    vectors = {name: _vector(given[name], name, n) for name, n in lengths.items()}
    if norm == "none" and (vectors["norm_weight"] is not None or vectors["norm_bias"] is not None):
        raise ValueError(
            "`norm_weight` and `norm_bias` belong to a norm, and `norm` is 'none'; pass "
            "norm='rms' or norm='layer'."
        )
    softcap = given["softcap"]
    return {
        "weight": weight,
        **vectors,
        "norm": norm,
        "eps": check_number("eps", given["eps"], low=0),
        "scale": check_number("scale", given["scale"], low=-np.inf, high=np.inf, strict=True),
        "softcap": None if softcap is None else _positive("softcap", softcap),
    }


def _positive(name: str, value: object) -> float:
    return check_number(name, value, low=0, high=np.inf, strict=True)


def _vector(values: Any, name: str, length: int) -> NDArray[Any] | None:
    if values is None:
        return None
    vector = _real_array(values, name)
    if vector.shape != (length,):
        raise ValueError(f"`{name}` must have shape ({length},); got shape {vector.shape}.")
    check_finite(vector, name)
    return vector


def _real_array(values: Any, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must hold real numbers; got values of type {array.dtype}.")
    return array.astype(np.float32 if array.dtype in _SINGLE else np.float64, copy=False)
