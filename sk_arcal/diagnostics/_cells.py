"""The cells of the matched-confidence diagnostic: confidence bins, each cut by routing rank.

Rows of one confidence bin are cut into `n_groups` strata of equal count by the rank of their
routing feature. The gap of a bin is the mean of a value over the top stratum minus its mean
over the bottom one. Shuffling the strata of a bin, with their sizes kept, is the same as
shuffling its values: for 0/1 values the two sums are then multivariate hypergeometric and are
drawn directly; other values are permuted in blocks of bounded memory. Which sampler a bin gets
is decided in :mod:`sk_arcal.diagnostics._null_gaps`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray, confidence_bins
from sk_arcal.metrics._binning import bin_codes, bin_edges

_N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows sorted into confidence bins and routing strata.

    `bins` and `strata` are the codes of the rows; `lower` and `upper` the edges of the bins;
    `counts`, of shape (n_bins, n_groups), the rows of each cell.
    """

    bins: IntArray
    strata: IntArray
    lower: FloatArray
    upper: FloatArray
    counts: IntArray

    def means(self, values: FloatArray) -> FloatArray:
        """Mean of `values` in each cell, shape (n_bins, n_groups); NaN where there is no row."""
        n_bins, n_groups = self.counts.shape
        cell = self.bins * n_groups + self.strata
        sums = np.bincount(cell, weights=values, minlength=n_bins * n_groups)
        empty = np.full(self.counts.shape, np.nan)
        return np.divide(sums.reshape(n_bins, n_groups), self.counts, out=empty, where=self._used)

    @property
    def _used(self) -> np.ndarray:
        return self.counts > 0

    def usable(self, min_count: int) -> IntArray:
        """Bins in which every stratum has at least `min_count` rows."""
        return np.flatnonzero(self.counts.min(axis=1) >= min_count)


def make_cells(
    confidence: FloatArray,
    routing: FloatArray,
    *,
    n_bins: int,
    strategy: str,
    n_groups: int,
    rng: np.random.Generator,
) -> Cells:
    """Bin the confidence and cut each bin by the rank of `routing`; ties are broken at random."""
    if strategy == "uniform":
        edges = bin_edges(confidence, np.ones(len(confidence)), n_bins=n_bins, strategy=strategy)
        bins, lower, upper = bin_codes(confidence, edges), edges[:-1], edges[1:]
    else:
        bins, n_bins = confidence_bins(confidence, n_bins)
        lower, upper = np.full(n_bins, np.inf), np.full(n_bins, -np.inf)
        np.minimum.at(lower, bins, confidence)
        np.maximum.at(upper, bins, confidence)
    strata = rank_strata(routing, bins, n_groups, rng)
    counts = np.bincount(bins * n_groups + strata, minlength=n_bins * n_groups)
    return Cells(bins, strata, lower, upper, counts.reshape(n_bins, n_groups))


def rank_strata(
    routing: FloatArray, bins: IntArray, n_groups: int, rng: np.random.Generator
) -> IntArray:
    """Cut the rows of each bin into `n_groups` strata by rank; sizes differ by one at most."""
    order = _ranked(routing, rng.random(len(routing)))
    order = order[by_bin(bins[order])]
    sizes = np.bincount(bins)
    strata = np.empty_like(order)
    strata[order] = np.concatenate([np.arange(size) * n_groups // size for size in sizes if size])
    return strata


def by_bin(bins: IntArray) -> IntArray:
    """Return the order that gathers the rows of each bin, and keeps the order inside it."""
    # sixteen bits are sorted by digits, in linear time
    narrow = bins.astype(np.uint16) if bins.max() <= np.iinfo(np.uint16).max else bins
    return np.argsort(narrow, kind="stable")


def _ranked(values: FloatArray, lots: FloatArray) -> IntArray:
    """Return the order of `values`, those that are equal ordered by `lots`."""
    # One fast sort, and another of the tied rows only, beat two stable ones of all rows.
    order = np.argsort(values)
    ranked = values[order]
    as_before = np.zeros(len(values), dtype=bool)
    np.equal(ranked[1:], ranked[:-1], out=as_before[1:])
    tied = as_before.copy()
    tied[:-1] |= as_before[1:]
    places = np.flatnonzero(tied)
    rows, run = order[places], np.cumsum(~as_before[places])
    order[places] = rows[np.lexsort((lots[rows], run))]
    return order


def cell_values(
    value: str, events: FloatArray, confidence: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return what is averaged in the cells: y, y - c, or y - g(c) with a cross-fitted g."""
    if value == "accuracy":
        return events
    if value == "residual":
        return events - confidence
    return events - _cross_fitted_isotonic(events, confidence, rng)


def _cross_fitted_isotonic(
    events: FloatArray, confidence: FloatArray, rng: np.random.Generator
) -> FloatArray:
    n_folds = min(_N_FOLDS, len(events))
    fold = (rng.permutation(len(events)) % n_folds).astype(np.uint8)
    order = np.argsort(confidence)
    ranked, hit, fold = confidence[order], events[order], fold[order]
    fitted = np.empty(len(events))
    for k in range(n_folds):
        held_out, others = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        knots, rates = _isotonic_knots(ranked[others], hit[others])
        fitted[held_out] = np.interp(ranked[held_out], knots, rates)
    in_rows = np.empty(len(events))
    in_rows[order] = fitted
    return in_rows


def _isotonic_knots(ranked: FloatArray, hit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where the isotonic map of sorted rows starts and ends a step, and its rates there."""
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1]]))
    copies = np.diff(first, append=len(ranked))
    step = isotonic_regression(np.add.reduceat(hit, first) / copies, weights=copies)
    # between the ends of a step the map is flat: a search among all rows would find nothing else
    ends = np.unique(np.concatenate([step.blocks[:-1], step.blocks[1:] - 1]))
    return ranked[first[ends]], step.x[ends]


def max_gap(gaps: FloatArray, _sizes: FloatArray) -> FloatArray:
    """Largest absolute gap over the last axis."""
    return np.abs(gaps).max(axis=-1)


def weighted_gap(gaps: FloatArray, sizes: FloatArray) -> FloatArray:
    """Mean absolute gap over the last axis, weighted by the rows of the bins."""
    return np.abs(gaps) @ (sizes / sizes.sum())


GAP_STATISTICS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "weighted_gap": weighted_gap,
    "max_gap": max_gap,
}
