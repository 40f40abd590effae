"""Rows in blocks that stay in cache: checked and put into bins as they pass.

Blocks of events are float64 whatever came, so no array of the size of the data is made.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import ROUNDING, FloatArray
from sk_arcal.metrics._inputs import Codes, event_inputs

BLOCK = 1 << 14
_EPSILON = float(np.finfo(np.float64).eps)
_HUGE = float(np.finfo(np.float64).max)


class EventBlock(NamedTuple):
    """Some rows; weights are None where every row counts once. Valid until the next block."""

    start: int
    events: FloatArray
    probability: FloatArray
    weight: FloatArray | None


def event_blocks(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    sample_weight: ArrayLike | None = None,
    block_size: int = BLOCK,
) -> Iterator[EventBlock]:
    """Yield checked rows; what `event_inputs` refuses is refused in its words.

    Rows of weight zero are passed on, as they add nothing to a sum.
    """
    weighted = sample_weight is not None
    arrays = _plain_arrays(y_true, y_prob, *((sample_weight,) if weighted else ()))
    if not arrays:
        arrays = list(event_inputs(y_true, y_prob, sample_weight))[: 2 + weighted]
    n_samples = len(arrays[0])
    buffers = np.empty((3, min(n_samples, block_size)))
    total = 0.0
    for start in range(0, n_samples, block_size):
        parts = [array[start : start + block_size] for array in arrays]
        fine = _are_events(parts[0])
        events, probability, *rest = map(_as_float, parts, buffers)
        low, high = probability.min(), probability.max()
        fine = fine and low >= -ROUNDING and high <= 1 + ROUNDING
        if weighted:
            fine = fine and rest[0].min() >= 0 and rest[0].max() <= _HUGE / n_samples
            total += rest[0].sum()
        if not fine:
            event_inputs(y_true, y_prob, sample_weight)
        if low < 0 or high > 1:
            probability = np.clip(probability, 0, 1)
        yield EventBlock(start, events, probability, rest[0] if weighted else None)
    if weighted and total == 0:
        event_inputs(y_true, y_prob, sample_weight)


def _plain_arrays(*given: Any) -> list[NDArray[Any]]:
    """Return arrays of numbers of one length, or none where a closer look is needed."""
    arrays = [_plain(values) for values in given]
    plain = [array for array in arrays if array is not None]
    lengths = {len(array) for array in plain}
    return plain if len(plain) == len(given) and len(lengths) == 1 and 0 not in lengths else []


def _plain(values: Any) -> NDArray[Any] | None:
    if np.ma.isMaskedArray(values):
        return None
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return array if array.ndim == 1 and array.dtype.kind in "biuf" else None


def _are_events(part: NDArray[Any]) -> bool:
    if part.dtype.kind == "b":
        return True
    return np.count_nonzero(part == 0) + np.count_nonzero(part == 1) == len(part)


def _as_float(part: NDArray[Any], buffer: FloatArray) -> FloatArray:
    if part.dtype == np.float64 and part.flags.c_contiguous:
        return part
    np.copyto(buffer[: len(part)], part, casting="unsafe")
    return buffer[: len(part)]


class Ruler:
    """Codes of uniform cells (lower, upper], equal to a search among their edges.

    A product with the number of cells is right for all but rounding. Rows within rounding of
    an edge are searched for.

    Parameters
    ----------
    n_cells : int
        Cells of equal width.
    edges : ndarray
        Edges to search, from 0 to 1. Several may lie within rounding of a nominal one.
    ids : ndarray of shape (len(edges) - 1,)
        Code of each interval; k for the one that fills nominal cell k.
    exact : bool, default=True
        If False, a row within rounding of an edge may be in either cell, and codes are whole
        numbers only once they are cut to integers.
    """

    def __init__(self, n_cells: int, edges: FloatArray, ids: Codes, *, exact: bool = True) -> None:
        self.edges, self.ids, self.size, self.n_cells = edges, ids, len(ids), n_cells
        # Edges are off by two units of rounding at most, so a row not flagged is on the side
        # of them that its code says.
        self._scale = n_cells * (1 - 8 * _EPSILON)
        self._exact = exact
        self._near = 1 - 32 * _EPSILON * n_cells

    def scratch(self, n_samples: int) -> FloatArray:
        """Return memory for `codes`."""
        return np.empty((2, n_samples))

    def codes(self, probability: FloatArray, scratch: FloatArray) -> FloatArray:
        """Return whole numbers in float64, in the memory of `scratch`."""
        code, part = scratch[0, : len(probability)], scratch[1, : len(probability)]
        if not self._exact:
            return np.multiply(probability, self._scale, out=code)
        np.multiply(probability, self._scale, out=part)
        np.trunc(part, out=code)
        part -= code
        if part.max() > self._near:
            rows = np.flatnonzero(part > self._near)
            # An exact 1 is in the last cell already, and may be every row.
            rows = rows[probability[rows] < 1]
            code[rows] = self.ids[np.searchsorted(self.edges[1:-1], probability[rows])]
        return code


@lru_cache(maxsize=16)
def bin_ruler(n_bins: int) -> Ruler:
    """Return the bins with the edges ``linspace(0, 1, n_bins + 1)``."""
    return Ruler(n_bins, np.linspace(0, 1, n_bins + 1), np.arange(n_bins))


@lru_cache(maxsize=1)
def node_ruler(n_cells: int) -> Ruler:
    """Return cells in which it does not matter on which side of an edge a row is."""
    return Ruler(n_cells, np.linspace(0, 1, n_cells + 1), np.arange(n_cells), exact=False)


@lru_cache(maxsize=16)
def cell_ruler(n_cells: int) -> Ruler:
    """Return cells of which the bins of every divisor of `n_cells` are unions.

    ``linspace`` rounds the edge 3/15 other than 1/5. So a nominal edge may be several edges
    with slivers between them, which are numbered after the cells.
    """
    divisors = [n for n in range(1, n_cells + 1) if n_cells % n == 0]
    edges = np.unique(np.concatenate([np.linspace(0, 1, n + 1) for n in divisors]))
    whole = np.diff(edges) > 0.5 / n_cells
    ids = np.empty(len(whole), dtype=np.intp)
    ids[whole] = np.arange(n_cells)
    ids[~whole] = np.arange(n_cells, len(ids))
    return Ruler(n_cells, edges, ids)


def as_codes(code: FloatArray, memory: Codes) -> Codes:
    """Return whole numbers as integers, in the memory given."""
    np.copyto(memory[: len(code)], code, casting="unsafe")
    return memory[: len(code)]
