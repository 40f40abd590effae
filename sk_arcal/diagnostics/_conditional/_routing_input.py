"""What the user gave as routing: numbers with an order, or names without one."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_length, check_option, check_vector

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

ROUTING_KINDS = ("auto", "continuous", "discrete", "nominal")
_MAX_DISCRETE = 12


@dataclass(frozen=True)
class RoutingValues:
    """Checked routing of one feature.

    Attributes
    ----------
    kind : {"continuous", "discrete", "nominal"}
        How it is read.
    numbers : ndarray of shape (n_samples,)
        The values; for nominal routing the codes of the levels.
    levels : tuple of str
        Names of the levels in the order of their numbers; empty for continuous routing.
    codes : ndarray of shape (n_samples,)
        Level of each row; empty for continuous routing.
    """

    kind: str
    numbers: FloatArray
    levels: tuple[str, ...]
    codes: IntArray


def read_routing(routing: ArrayLike, name: str, kind: str, n_samples: int) -> RoutingValues:
    """Check one routing feature and decide how it is read.

    "auto" reads names as nominal, 12 distinct numbers or fewer as discrete, more as continuous.
    """
    check_option("routing_kind", kind, ROUTING_KINDS)
    array = _as_column(routing, name)
    check_length(name, array, n_samples)
    if _holds_numbers(array):
        array = check_vector(array, name)
    else:
        _check_names(array, name, kind)
        array, kind = array.astype(str), "nominal"
    if kind == "continuous":
        return RoutingValues(kind, array, (), np.empty(0, dtype=np.intp))
    values, codes = np.unique(array, return_inverse=True)
    if kind == "auto":
        kind = "discrete" if len(values) <= _MAX_DISCRETE else "continuous"
    if kind == "continuous":
        return RoutingValues(kind, array, (), np.empty(0, dtype=np.intp))
    levels = tuple(v if isinstance(v, str) else f"{v:g}" for v in values.tolist())
    numbers = codes.astype(np.float64) if kind == "nominal" else array
    return RoutingValues(kind, numbers, levels, codes)


def _as_column(routing: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(routing)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have shape (n_samples,); got shape {array.shape}. "
            "For several features call conditional_calibration_tests."
        )
    return array


def _holds_numbers(array: NDArray[Any]) -> bool:
    if array.dtype.kind != "O":
        return array.dtype.kind not in "US"
    return all(isinstance(value, Real) or _is_missing(value) for value in array)


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or value != value


def _check_names(array: NDArray[Any], name: str, kind: str) -> None:
    if kind not in {"auto", "nominal"}:
        raise TypeError(
            f"`{name}` holds names, which have no order; got routing_kind={kind!r}. "
            "Use 'nominal' or 'auto', or pass numbers."
        )
    missing = [row for row, value in enumerate(array) if _is_missing(value)]
    if missing:
        raise ValueError(
            f"`{name}` has no value in row {missing[0]} ({len(missing)} such rows). "
            "Drop those rows, or give them a level of their own."
        )
