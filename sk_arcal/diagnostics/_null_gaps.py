"""Gaps of confidence bins with the strata shuffled inside them.

Every bin has a generator of its own and draws in batches of fixed size, so that what is drawn
depends neither on the number of workers nor on where a sequential test stops. The sampler of a
bin goes by its values:

0 or 1
    The events of the strata are multivariate hypergeometric, whatever the bin's size.
other numbers, many rows
    Cyclic shifts (:mod:`sk_arcal.diagnostics._cyclic_shifts`).
other numbers, few rows
    Permutations. So few shifts would make the test blunt, and shuffling is cheap there.

All three are exact, and so is their mixture, since a product of groups is a group.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed

from sk_arcal.diagnostics._cells import Cells, by_bin
from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray
from sk_arcal.diagnostics._cyclic_shifts import drawn_shifts, shift_tables

# Resamples of a bin that are drawn together.
BATCH = 2048
# Bins, or parts of bins, with at most that many rows are shuffled.
_MOST_SHUFFLED = 256
# Shifts that are drawn independently of one another, at least.
_FEWEST_PARTS = 8

# Doubles one block of permuted values may take: 32 MB.
_BLOCK = 4_000_000


class BinNull(ABC):
    """Draws the gap of one bin; a copy in another process goes on where the original stood.

    Parameters
    ----------
    bottom, top : int
        Rows of the two strata.
    rng : Generator
        Of this bin alone.
    """

    def __init__(self, bottom: int, top: int, rng: np.random.Generator) -> None:
        self.bottom, self.top, self.rng = bottom, top, rng

    def draw(self, n_resamples: int) -> FloatArray:
        """Return gaps in the order drawn, shape (n_resamples,)."""
        gaps = np.empty(n_resamples)
        for start in range(0, n_resamples, BATCH):
            part = gaps[start : start + BATCH]
            part[:] = self._batch(len(part))
        return gaps

    @abstractmethod
    def _batch(self, n_resamples: int) -> FloatArray:
        """Return so many gaps."""


class EventNull(BinNull):
    """Gaps of a bin of 0/1 values, of which only the numbers are needed."""

    def __init__(
        self, hits: int, misses: int, bottom: int, top: int, rng: np.random.Generator
    ) -> None:
        super().__init__(bottom, top, rng)
        # Of the rarer outcome there is less to draw.
        self._draws_hits, self._rarer = hits <= misses, min(hits, misses)
        self._strata = [bottom, hits + misses - bottom - top, top]

    def _batch(self, n_resamples: int) -> FloatArray:
        low, _, high = self.rng.multivariate_hypergeometric(
            self._strata, self._rarer, size=n_resamples, method="marginals"
        ).T
        if not self._draws_hits:
            low, high = self.bottom - low, self.top - high
        return high / self.top - low / self.bottom


class ShuffleNull(BinNull):
    """Gaps of a bin whose values are permuted one resample after another."""

    def __init__(self, values: FloatArray, bottom: int, top: int, rng: np.random.Generator) -> None:
        super().__init__(bottom, top, rng)
        self._values = values

    def _batch(self, n_resamples: int) -> FloatArray:
        gaps = np.empty(n_resamples)
        size = max(1, _BLOCK // len(self._values))
        for start in range(0, n_resamples, size):
            rows = min(size, n_resamples - start)
            drawn = self.rng.permuted(np.tile(self._values, (rows, 1)), axis=1)
            high = drawn[:, len(self._values) - self.top :].mean(axis=1)
            gaps[start : start + rows] = high - drawn[:, : self.bottom].mean(axis=1)
        return gaps


class ShiftNull(BinNull):
    """Gaps of a bin whose values are shifted cyclically, in parts."""

    def __init__(
        self,
        values: FloatArray,
        bottom: int,
        top: int,
        n_parts: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(bottom, top, rng)
        self._values, self._n_parts = values, n_parts
        self._tables: list[FloatArray] = []

    def _batch(self, n_resamples: int) -> FloatArray:
        if not self._tables:
            self._tables = shift_tables(
                self._values, self.bottom, self.top, self._n_parts, self.rng
            )
        return drawn_shifts(self._tables, n_resamples, self.rng)


def bin_nulls(
    cells: Cells, values: FloatArray, bins: IntArray, rng: np.random.Generator
) -> list[BinNull]:
    """Return what draws the gaps of each of `bins`."""
    generators = rng.spawn(len(bins))
    outer = [(int(cells.counts[b, 0]), int(cells.counts[b, -1])) for b in bins]
    sizes = cells.counts.sum(axis=1)
    if ((values == 0) | (values == 1)).all():
        hits = np.bincount(cells.bins, values, len(sizes)).astype(np.intp)
        return [
            EventNull(int(hits[b]), int(sizes[b] - hits[b]), *strata, generator)
            for b, strata, generator in zip(bins, outer, generators, strict=True)
        ]
    ordered, stops = values[by_bin(cells.bins)], np.cumsum(sizes)
    n_parts = -(-_FEWEST_PARTS // len(bins))
    return [
        _null_of(ordered[stops[b] - sizes[b] : stops[b]], *strata, n_parts, generator)
        for b, strata, generator in zip(bins, outer, generators, strict=True)
    ]


def _null_of(
    values: FloatArray, bottom: int, top: int, n_parts: int, rng: np.random.Generator
) -> BinNull:
    if len(values) <= _MOST_SHUFFLED * n_parts:
        return ShuffleNull(values, bottom, top, rng)
    return ShiftNull(values, bottom, top, n_parts, rng)


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
