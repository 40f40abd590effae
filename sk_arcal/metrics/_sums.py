"""Sums over uniform bins or fine cells, in one pass over the rows."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.metrics._blocks import BLOCK, Ruler, as_codes, bin_ruler, event_blocks
from sk_arcal.metrics._inputs import Codes

# Sums over thousands of cells are added up after each block, so blocks are larger there.
_CELL_BLOCK = 2 * BLOCK


class OutcomeSums(NamedTuple):
    """Weight and confidence of the rows without (0) and with (1) the event, by bin.

    Both have shape (..., 2, n_bins), with the groups first where there are some.
    """

    weight: FloatArray
    confidence: FloatArray

    @property
    def mass(self) -> FloatArray:
        """Total weight, of shape (..., n_bins)."""
        return self.weight.sum(axis=-2)

    @property
    def hits(self) -> FloatArray:
        """Weight with the event, of shape (..., n_bins)."""
        return self.weight[..., 1, :]

    @property
    def total_confidence(self) -> FloatArray:
        """Sum of the confidences, of shape (..., n_bins)."""
        return self.confidence.sum(axis=-2)

    @property
    def gap(self) -> FloatArray:
        """Sum of confidence - event, of shape (..., n_bins)."""
        return (self.confidence[..., 1, :] - self.hits) + self.confidence[..., 0, :]


def outcome_sums(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    sample_weight: ArrayLike | None,
    ruler: Ruler,
    groups: Codes | None = None,
    n_groups: int = 1,
) -> tuple[OutcomeSums, int]:
    """Return the sums of shape (n_groups, 2, ruler.size) and the number of rows of weight."""
    size, n_present = n_groups * 2 * ruler.size, 0
    # Whole numbers are counted in integers: to add them to floats costs more than to count.
    weight = np.zeros(size, dtype=np.intp if sample_weight is None else np.float64)
    confidence = np.zeros(size)
    block_size = _CELL_BLOCK if size > BLOCK // 4 else BLOCK
    memory, scratch = np.empty(block_size, dtype=np.intp), ruler.scratch(block_size)
    for block in event_blocks(y_true, y_prob, sample_weight, block_size):
        code = ruler.codes(block.probability, scratch)
        code += np.multiply(block.events, ruler.size, out=scratch[1, : len(code)])
        if groups is not None:
            part = groups[block.start : block.start + len(code)]
            code += np.multiply(part, 2 * ruler.size, out=scratch[1, : len(code)])
        key = as_codes(code, memory)
        values = block.probability
        if block.weight is None:
            n_present += len(code)
        else:
            n_present += int(np.count_nonzero(block.weight))
            values = np.multiply(values, block.weight, out=scratch[1, : len(code)])
        weight += np.bincount(key, block.weight, size)
        confidence += np.bincount(key, values, size)
    shape = (n_groups, 2, ruler.size)
    sums = OutcomeSums(weight.astype(np.float64).reshape(shape), confidence.reshape(shape))
    return sums, n_present


def sums_of_bins(sums: OutcomeSums, ruler: Ruler, n_bins: int) -> OutcomeSums:
    """Return the sums over `n_bins` bins, a divisor of the cells of the ruler."""
    starts = _first_cells(ruler, n_bins)
    ordered = (np.take(part, ruler.ids, axis=-1) for part in sums)
    return OutcomeSums(*(np.add.reduceat(part, starts, axis=-1) for part in ordered))


@lru_cache(maxsize=64)
def _first_cells(ruler: Ruler, n_bins: int) -> Codes:
    """Return the first cell of each bin; every edge of a bin is an edge of the cells."""
    inner = np.linspace(0, 1, n_bins + 1)[1:-1]
    bins = np.searchsorted(inner, ruler.edges[1:])
    return np.searchsorted(bins, np.arange(n_bins))


def sums_of_groups(sums: OutcomeSums) -> OutcomeSums:
    """Return the sums over all groups, of shape (2, n_bins)."""
    return OutcomeSums(*(part.sum(axis=0) for part in sums))


def uniform_gaps(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    sample_weight: ArrayLike | None,
    n_bins: int,
    *,
    with_mass: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Return the summed gap and the weight of every bin, as `error_from_gaps` takes them.

    Without `with_mass` the whole weight is in the first bin, which is all the l1 norm needs.
    """
    ruler = bin_ruler(n_bins)
    gap, mass = np.zeros(n_bins), np.zeros(n_bins)
    memory = scratch = None
    for block in event_blocks(y_true, y_prob, sample_weight):
        if memory is None or scratch is None:
            memory = np.empty(len(block.events), dtype=np.intp)
            scratch = ruler.scratch(len(memory))
        codes = as_codes(ruler.codes(block.probability, scratch), memory)
        residual = np.subtract(block.probability, block.events, out=scratch[1, : len(codes)])
        if block.weight is not None:
            residual *= block.weight
        gap += np.bincount(codes, residual, n_bins)
        if with_mass:
            mass += np.bincount(codes, block.weight, n_bins)
        else:
            mass[0] += len(codes) if block.weight is None else block.weight.sum()
    return gap, mass
