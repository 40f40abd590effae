"""Gaps of confidence bins with the strata shuffled inside them.

Every bin has a generator of its own and draws in batches of fixed size, so that what is drawn
depends neither on the number of workers nor on where a sequential test stops. The sampler of a
bin goes by its values:

0 or 1
    The events of the strata are multivariate hypergeometric: two draws, whatever the bin's size.
other numbers, many rows
    Cyclic shifts (:mod:`sk_arcal.diagnostics._cyclic_shifts`).
other numbers, few rows
    Permutations. So few shifts would make the test blunt, and shuffling is cheap there.

All three are exact, and so is their mixture, since a product of groups is a group.
"""

from collections.abc import Callable, Sequence

import numpy as np
from joblib import Parallel, delayed

from sk_arcal.diagnostics._cells import (
    Cells,
    _hypergeometric_gaps,
    _permuted_gaps,
    by_bin,
)
from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray
from sk_arcal.diagnostics._cyclic_shifts import drawn_shifts, shift_tables

# Resamples of a bin that are drawn together.
BATCH = 2048
# Bins, or parts of bins, with at most that many rows are shuffled.
_MOST_SHUFFLED = 256
# Shifts that are drawn independently of one another, at least.
_FEWEST_PARTS = 8

Sampler = Callable[[FloatArray, int, int, int, np.random.Generator], FloatArray]


class BinNull:
    """Draws the gap of one bin; a copy in another process goes on where the original stood."""

    def __init__(
        self,
        values: FloatArray,
        bottom: int,
        top: int,
        n_parts: int,
        rng: np.random.Generator,
    ) -> None:
        self._values, self._sizes, self._n_parts, self._rng = values, (bottom, top), n_parts, rng
        self._is_binary = bool(((values == 0) | (values == 1)).all())
        self._tables: list[FloatArray] = []

    def draw(self, n_resamples: int) -> FloatArray:
        """Return gaps in the order drawn, shape (n_resamples,)."""
        sampler, gaps = self._sampler(), np.empty(n_resamples)
        for start in range(0, n_resamples, BATCH):
            part = gaps[start : start + BATCH]
            part[:] = sampler(self._values, *self._sizes, len(part), self._rng)
        return gaps

    def _sampler(self) -> Sampler:
        if self._is_binary:
            return _hypergeometric_gaps
        if len(self._values) <= _MOST_SHUFFLED * self._n_parts:
            return _permuted_gaps
        return self._shifted_gaps

    def _shifted_gaps(
        self,
        values: FloatArray,
        bottom: int,
        top: int,
        n_resamples: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        if not self._tables:
            self._tables = shift_tables(values, bottom, top, self._n_parts, rng)
        return drawn_shifts(self._tables, n_resamples, rng)


def bin_nulls(
    cells: Cells, values: FloatArray, bins: IntArray, rng: np.random.Generator
) -> list[BinNull]:
    """Return what draws the gaps of each of `bins`."""
    ordered = values[by_bin(cells.bins)]
    sizes = cells.counts.sum(axis=1)
    stops = np.cumsum(sizes)
    n_parts = -(-_FEWEST_PARTS // len(bins))
    return [
        BinNull(
            ordered[stops[b] - sizes[b] : stops[b]],
            int(cells.counts[b, 0]),
            int(cells.counts[b, -1]),
            n_parts,
            generator,
        )
        for b, generator in zip(bins, rng.spawn(len(bins)), strict=True)
    ]


def draw_gaps(
    nulls: Sequence[BinNull], n_resamples: int, n_jobs: int | None = None
) -> tuple[list[BinNull], FloatArray]:
    """Draw in parallel over bins; return what draws on, and gaps (n_resamples, n_bins)."""
    drawn = Parallel(n_jobs=n_jobs)(delayed(_draw)(null, n_resamples) for null in nulls)
    return [null for null, _ in drawn], np.array([gaps for _, gaps in drawn]).T


def null_gaps(
    cells: Cells,
    values: FloatArray,
    bins: IntArray,
    n_resamples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Draw the gaps of `bins` with strata shuffled inside bins, shape (n_resamples, len(bins))."""
    return draw_gaps(bin_nulls(cells, values, bins, rng), n_resamples)[1]


def _draw(null: BinNull, n_resamples: int) -> tuple[BinNull, FloatArray]:
    return null, null.draw(n_resamples)
