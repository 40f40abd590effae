"""Checks on arrays and options, shared by every function.

Each check returns the array in the form the caller computes with, or raises with a sentence
that says what was expected, what came, and which parameter held it. Only numpy is needed
here, so that the metrics load without scikit-learn.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from numbers import Integral, Real
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Softmax in float16 misses a sum of one by about this much; anything worse is not rounding.
ROW_SUM_TOLERANCE = 5e-3
# A mixture whose weights sum to one in float32 overshoots by this much at most.
ROUNDING = 1e-6
_NEGLIGIBLE = 1e-8
# Entries looked at together, so that a second look finds them in the cache.
_BLOCK = 1 << 14


def check_option(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the `allowed` words."""
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise ValueError(f"`{name}` must be one of {words}; got {value!r}.")
    return value


def check_integer(name: str, value: object, *, low: int) -> int:
    """Return `value` as an int not below `low`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be an integer; got {value!r}.")
    if value < low:
        raise ValueError(f"`{name}` must be at least {low}; got {value!r}.")
    return int(value)


def check_number(
    name: str, value: object, *, low: float = -np.inf, high: float = np.inf, strict: bool = False
) -> float:
    """Return `value` as a float in [low, high], or in (low, high) if `strict`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number; got {value!r}.")
    number = float(value)
    inside = low < number < high if strict else low <= number <= high
    if not inside:
        bounds = f"({low}, {high})" if strict else f"[{low}, {high}]"
        raise ValueError(f"`{name}` must lie in {bounds}; got {value!r}.")
    return number


def check_vector(
    values: ArrayLike, name: str, *, n_samples: int | None = None, finite: bool = True
) -> FloatArray:
    """Return `values` as a 1-D float64 array without NaN or infinity, or raise.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Numbers; a column of shape (n_samples, 1) is accepted.
    name : str
        What the caller calls it; stands in the error.
    n_samples : int, default=None
        Expected length.
    finite : bool, default=True
        If False, NaN and infinities pass.
    """
    array = _as_array(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n_samples,); got shape {array.shape}.")
    vector = _as_float(array, name)
    if vector.size == 0:
        raise ValueError(f"`{name}` is empty; at least one row is needed.")
    check_length(name, vector, n_samples)
    if finite:
        check_finite(vector, name)
    return vector


def _as_array(values: Any, name: str) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise ValueError(f"`{name}` has masked entries; fill or drop them first.")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"`{name}` is no array: its rows differ in length.") from error


def _as_float(array: NDArray[Any], name: str) -> FloatArray:
    if array.dtype.kind == "c":
        raise TypeError(f"`{name}` must hold real numbers; got complex values.")
    # numpy would parse text, and turn dates into days since 1970.
    is_number = array.dtype.kind in "biufO" and not (
        array.dtype.kind == "O" and any(isinstance(value, (str, bytes)) for value in array.flat)
    )
    try:
        if is_number:
            return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise TypeError(f"`{name}` must hold numbers; got values of type {array.dtype}.")


def check_finite(array: FloatArray, name: str) -> None:
    """Raise if an entry is NaN or infinite, naming the first row that holds one."""
    low, high = value_range(array)
    if np.isfinite(low) and np.isfinite(high):
        return
    bad = ~np.isfinite(array)
    row = int(np.argwhere(bad)[0][0])
    value = array[row] if array.ndim == 1 else array[row][bad[row]][0]
    raise ValueError(
        f"`{name}` must be finite; row {row} holds {value} ({int(bad.sum())} such values). "
        "Drop or impute those rows first."
    )


def value_range(array: NDArray[Any]) -> tuple[float, float]:
    """Return least and largest entry in one pass; NaN if one is NaN, (0, 0) if there is none."""
    if array.size == 0:
        return 0.0, 0.0
    flat = array.ravel(order="K")
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    ends = np.array([(block.min(), block.max()) for block in blocks], dtype=np.float64)
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def check_length(name: str, array: NDArray[Any], n_samples: int | None) -> None:
    """Raise if `array` does not have `n_samples` rows."""
    if n_samples is not None and len(array) != n_samples:
        raise ValueError(f"`{name}` has {len(array)} rows where {n_samples} were expected.")


def check_events(y_true: ArrayLike, name: str = "y_true") -> FloatArray:
    """Return 0/1 outcomes as float64; booleans pass, anything else is refused."""
    events = check_vector(y_true, name, finite=False)
    for start in range(0, len(events), _BLOCK):
        block = events[start : start + _BLOCK]
        if np.count_nonzero(block == 0) + np.count_nonzero(block == 1) < len(block):
            _refuse_events(events, name)
    return events


def _refuse_events(events: FloatArray, name: str) -> None:
    check_finite(events, name)
    row = int(np.flatnonzero((events != 0) & (events != 1))[0])
    raise ValueError(
        f"`{name}` must be 0 or 1 (did the event happen?); row {row} holds {events[row]:g}. "
        "For class labels pass `y_true == event`, or use a top-label or class-wise function."
    )


def check_probabilities(
    y_prob: ArrayLike, name: str = "y_prob", *, n_samples: int | None = None
) -> FloatArray:
    """Return probabilities of one event as a 1-D float64 array in [0, 1]."""
    probability = check_vector(y_prob, name, n_samples=n_samples, finite=False)
    low, high = value_range(probability)
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        check_finite(probability, name)
        _check_unit_interval(probability, name)
    return np.clip(probability, 0, 1)


def _check_unit_interval(array: FloatArray, name: str) -> None:
    outside = (array < -ROUNDING) | (array > 1 + ROUNDING)
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        value = array[row] if array.ndim == 1 else array[row][outside[row]][0]
        raise ValueError(
            f"`{name}` must lie in [0, 1]; row {row} holds {value}. "
            "If these are logits, apply a sigmoid or softmax first."
        )


def check_probability_matrix(
    y_prob: ArrayLike, name: str = "y_prob", *, n_samples: int | None = None
) -> FloatArray:
    """Return class probabilities in float64; rows, off by half precision at most, sum to one."""
    given = as_probability_matrix(y_prob, name, n_samples=n_samples)
    matrix = np.empty(given.shape)
    for start, block, total in probability_rows(given, name):
        np.divide(block, total[:, None], out=matrix[start : start + len(block)])
    return matrix


def as_probability_matrix(
    y_prob: ArrayLike, name: str = "y_prob", *, n_samples: int | None = None
) -> FloatArray:
    """Return class probabilities whose entries are yet to be checked, in any type of number."""
    array = _as_array(y_prob, name)
    if array.ndim != 2 or array.shape[1] < 2:
        shape = "shape (n_samples, n_classes) with at least two classes"
        raise ValueError(f"`{name}` must have {shape}; got shape {array.shape}.")
    if len(array) == 0:
        raise ValueError(f"`{name}` is empty; at least one row is needed.")
    check_length(name, array, n_samples)
    return array if array.dtype.kind in "biuf" else _as_float(array, name)


def probability_rows(
    matrix: FloatArray, name: str = "y_prob"
) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Yield first row, entries cut to [0, 1] and row sums of blocks of rows, checked."""
    # Each look at a block costs a call, so there are fewer of them than elsewhere.
    n_rows = max(1, 4 * _BLOCK // matrix.shape[1])
    for start in range(0, len(matrix), n_rows):
        block = np.asarray(matrix[start : start + n_rows], dtype=np.float64)
        with np.errstate(all="ignore"):
            low, total = block.min(), block.sum(axis=1)
        # NaN fails every comparison. An entry beyond one by less than this is cut by the sum.
        if not (low >= 0 and total.max() <= 1 + _NEGLIGIBLE):
            if not (low >= -ROUNDING and block.max() <= 1 + ROUNDING):
                _refuse_matrix(matrix, name)
            block = np.clip(block, 0, 1)
            total = block.sum(axis=1)
        if np.abs(total - 1).max() > ROW_SUM_TOLERANCE:
            _refuse_matrix(matrix, name)
        yield start, block, total


def _refuse_matrix(matrix: FloatArray, name: str) -> None:
    matrix = np.asarray(matrix, dtype=np.float64)
    check_finite(matrix, name)
    _check_unit_interval(matrix, name)
    total = np.clip(matrix, 0, 1).sum(axis=1)
    row = int(np.argmax(np.abs(total - 1) > ROW_SUM_TOLERANCE))
    raise ValueError(f"The rows of `{name}` must sum to one; row {row} sums to {total[row]:.4g}.")


def check_weights(sample_weight: ArrayLike | None, n_samples: int) -> FloatArray:
    """Return non-negative weights of shape (n_samples,); None means one for every row."""
    if sample_weight is None:
        return np.ones(n_samples)
    weights = check_vector(sample_weight, "sample_weight", n_samples=n_samples)
    low, high = value_range(weights)
    if low < 0:
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(
            "`sample_weight` must not be negative (a weight is a number of repetitions); "
            f"row {row} holds {weights[row]:g}."
        )
    if high == 0:
        raise ValueError("`sample_weight` is zero in every row, so no row is left.")
    if high > np.finfo(np.float64).max / n_samples:
        raise ValueError("`sample_weight` is so large that its sum overflows; rescale it.")
    return weights


def check_groups(groups: ArrayLike, n_samples: int, name: str = "groups") -> tuple:
    """Return group names of shape (n_groups,) and each row's code of shape (n_samples,)."""
    array = np.asarray(groups)
    if array.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n_samples,); got shape {array.shape}.")
    check_length(name, array, n_samples)
    if array.dtype.kind == "f":
        check_finite(array.astype(np.float64), name)
    if array.dtype.kind == "O":
        _check_none_missing(array, name)
        array = array.astype(str)
    return np.unique(array, return_inverse=True)


def _check_none_missing(array: NDArray[Any], name: str) -> None:
    words = {"None", "nan", "<NA>", "NaT"}
    missing = [not isinstance(value, str) and str(value) in words for value in array]
    if any(missing):
        raise ValueError(
            f"`{name}` is missing in row {missing.index(True)} ({sum(missing)} such rows). Drop "
            "those rows or give them a group of their own."
        )


def as_generator(random_state: object = None) -> np.random.Generator:
    """Return a numpy Generator from None, a seed, a RandomState or a Generator.

    A legacy RandomState is asked for one seed, so its own stream moves on as usual.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(int(random_state.randint(2**31 - 1)))
    if isinstance(random_state, Integral):
        return np.random.default_rng(check_integer("random_state", random_state, low=0))
    if random_state is None or isinstance(random_state, np.random.SeedSequence):
        return np.random.default_rng(random_state)
    raise TypeError(
        "`random_state` must be None, an integer, a numpy RandomState or a numpy Generator; "
        f"got {type(random_state).__name__}."
    )


def import_optional(module: str, *, extra: str, caller: str) -> ModuleType:
    """Import an optional dependency, or say in one sentence how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".", maxsplit=1)[0]
        raise ImportError(
            f"{caller} needs {package}, which is not installed. "
            f'Install it with: pip install "sk-arcal[{extra}]"'
        ) from error


def usable_device(torch: Any, name: str, dtype: Any) -> Any:
    """Return a device of torch, or say in one sentence that it cannot be used.

    Parameters
    ----------
    torch : module
        Handed over, so that this file needs numpy alone.
    name : str
        Such as "cpu" or "cuda:1".
    dtype : torch.dtype
        Precision to compute in.

    Returns
    -------
    device : torch.device
        It is there, and has the precision.

    Raises
    ------
    ValueError
        If it is not, or has not.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=dtype, device=device)
    # torch raises another kind for a name it cannot read, a build without the device, a device
    # that is absent, and one without the precision.
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        precision = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"`device` is {name!r}, which torch {torch.__version__} cannot compute on in "
            f"{precision} here. Use device='cpu'."
        ) from error
    return device
