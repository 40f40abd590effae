"""One routing feature in several runs on the same items: sums added over runs, signs by item.

Every run has its own confidences and so its own bins. In run s let X_is be what item i adds to
the sums of f over the bins: f times its outcome, both detrended in their bin. Bins are matched
over runs by their place in the order of confidence, columns f by name, and

    S = sum_i X_i,   X_i = sum_s X_is,   V = sum_i X_i X_i'.

Under the null an item's X_i is as likely to be -X_i. One random sign for each item, the same in
all its runs and features, therefore keeps whatever makes runs alike (hard items, routing that
follows the item), and the draws of S pass through the four statistics of the single test. V
holds the covariances between runs as well; with one run, or copies of one, nothing is left but
the single test with grouped rows.

A line fitted to the outcomes of a bin comes too close to them. V and the draws therefore take
residuals from the line that is fitted without the row, e / (1 - h) with leverage h (as in the
effect sizes; R. Davidson and E. Flachaire, "The wild bootstrap, tamed at last", Journal of
Econometrics 146, 2008). With the e themselves both are too small, in one bin of m rows by 2 / m.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import Components
from sk_arcal.diagnostics._conditional._contrast_covariance import ContrastCovariance
from sk_arcal.diagnostics._conditional._null import WeightedColumns, group_contributions
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Doubles that one block of draws may take, the windows of the scan counted in: 32 MB.
_BLOCK = 4_000_000
_DOUBLES_PER_SUM = 6


@dataclass(frozen=True)
class PooledFeature:
    """One routing feature in all runs that can answer, on common bins and columns.

    Attributes
    ----------
    outcomes : sequence of BinnedOutcomes
        Each run's rows, with items as groups.
    features : sequence of RoutingFeature
        The feature in each run.
    bins : sequence of ndarray of shape (n_bins of the run,)
        Common bin of each bin of a run.
    n_bins : int
        Number of common bins.
    """

    outcomes: Sequence[BinnedOutcomes]
    features: Sequence[RoutingFeature]
    bins: Sequence[IntArray]
    n_bins: int

    @cached_property
    def layout(self) -> RoutingFeature:
        """Feature that has the columns of all runs, and no rows."""
        first = self.features[0]
        if all(feature.level is None for feature in self.features):
            return first
        names = dict.fromkeys(chain.from_iterable(f.level_names for f in self.features))
        nothing = np.empty(0, dtype=np.intp)
        return RoutingFeature(first.low, first.high, nothing, tuple(names))

    def places(self, feature: RoutingFeature) -> IntArray:
        """Return the common column of each column of a run; -1 where the others have none like it.

        In a run whose levels are all too small an ordered feature has deciles instead.
        """
        place = {name: k for k, name in enumerate(_column_names(self.layout))}
        return np.array([place.get(name, -1) for name in _column_names(feature)])

    def sums(self) -> FloatArray:
        """Observed S, shape (n_bins * n_columns,)."""
        total = np.zeros(self.n_bins * self.layout.n_columns)
        for outcomes, feature, bins in zip(self.outcomes, self.features, self.bins, strict=True):
            own, _ = WeightedColumns(outcomes, [feature]).sums_and_grams()
            total += own.ravel() @ self._selection(feature, bins)
        return total

    def contributions(self) -> sparse.csc_array:
        """X_i of all items for draws and covariances, shape (n_groups, n_bins * n_columns)."""
        total = None
        for outcomes, feature, bins in zip(self.outcomes, self.features, self.bins, strict=True):
            columns = WeightedColumns(outcomes, [feature])
            own = left_out_contributions(columns, groups_of(outcomes))
            moved = own @ self._selection(feature, bins)
            total = moved if total is None else total + moved
        return sparse.csc_array(total)

    def covariance(self, contributions: sparse.csc_array) -> ContrastCovariance:
        """Null covariances of the sums."""
        known = ContrastCovariance.from_groups(contributions, self.n_bins, self.layout.trend)
        if self.layout.is_ranked:
            return known
        return known.without_thin_windows(self._information())

    def _selection(self, feature: RoutingFeature, bins: IntArray) -> sparse.csc_array:
        """Matrix that moves a run's bins and columns to the common ones."""
        places = self.places(feature)
        source = np.arange(len(bins) * len(places)).reshape(len(bins), len(places))
        target = bins[:, None] * self.layout.n_columns + places
        kept = np.broadcast_to(places >= 0, target.shape)
        shape = source.size, self.n_bins * self.layout.n_columns
        ones = np.ones(np.count_nonzero(kept))
        return sparse.coo_array((ones, (source[kept], target[kept])), shape=shape).tocsc()

    def _information(self) -> FloatArray:
        """Rarer outcomes behind each level and bin: mean over the runs that have the level.

        Not the sum: runs that fail on the same items do not know more than one of them.
        """
        total = np.zeros((self.n_bins, self.layout.n_columns))
        count = np.zeros(self.layout.n_columns)
        for outcomes, feature, bins in zip(self.outcomes, self.features, self.bins, strict=True):
            _, grams = WeightedColumns(outcomes, [feature]).sums_and_grams()
            scale = outcomes.variance / outcomes.weights**2
            places = self.places(feature)
            own = scale[:, None] * np.diagonal(grams, axis1=1, axis2=2)
            np.add.at(total, (bins[:, None], places), own)
            count[places] += 1
        return total / np.maximum(count, 1)


@dataclass(frozen=True)
class _PerSlack(WeightedColumns):
    """Columns divided by 1 - h, so that times e they are times the left-out residual."""

    def block(self, b: int) -> FloatArray:
        slack = np.maximum(1 - self.outcomes.leverage(b), 1e-6)
        return super().block(b) / slack[:, None]


def left_out_contributions(columns: WeightedColumns, groups: IntArray) -> sparse.csc_array:
    """Sum f times the left-out residual over each group and bin, as `group_contributions`."""
    return group_contributions(_PerSlack(columns.outcomes, columns.features), groups)


def groups_of(outcomes: BinnedOutcomes) -> IntArray:
    """Return the groups, which runs always have."""
    assert outcomes.groups is not None
    return outcomes.groups


def _column_names(feature: RoutingFeature) -> list[str]:
    return [feature.contrast_name(k) for k in range(feature.n_columns)]


def common_bins(outcomes: Sequence[BinnedOutcomes]) -> tuple[int, list[IntArray]]:
    """Match the bins of all runs by their place in the order of confidence.

    The run with the most bins lends its own (of several, the one whose first bins are smaller);
    a bin of another run goes to the one that holds its middle. Heavy ties only make
    this coarser, or leave a bin without rows of one run.

    Returns
    -------
    n_bins : int
        Number of common bins.
    bins : list of ndarray of shape (n_bins of the run,)
        Common bin of each bin.
    """
    edges = max((run.edges for run in outcomes), key=lambda own: (len(own), (-own).tolist()))
    middles = [(run.edges[1:] + run.edges[:-1]) / 2 for run in outcomes]
    return len(edges) - 1, [np.searchsorted(edges, own, side="right") - 1 for own in middles]


@dataclass(frozen=True)
class SharedSigns:
    """Random signs of the items, the same ones each time they are asked for.

    Attributes
    ----------
    n_groups : int
        Items, or groups of items, that flip together.
    n_resamples : int
        Number of draws.
    n_sums : int
        Sums that the widest feature makes of one draw; bounds the size of a block.
    rng : numpy Generator
        Where the stream begins; it is not moved.
    """

    n_groups: int
    n_resamples: int
    n_sums: int
    rng: np.random.Generator

    def __iter__(self) -> Iterator[FloatArray]:
        """Yield blocks of shape (n_draws, n_groups)."""
        rng = deepcopy(self.rng)
        most = max(1, _BLOCK // (self.n_groups + _DOUBLES_PER_SUM * self.n_sums))
        for start in range(0, self.n_resamples, most):
            size = min(most, self.n_resamples - start)
            coins = rng.integers(0, 2, (size, self.n_groups), dtype=np.int8)
            yield 2 * coins.astype(np.float64) - 1


def pooled_statistics(pooled: PooledFeature, signs: SharedSigns) -> FloatArray:
    """Return the four statistics of the data, row 0, and of the draws, (1 + n_resamples, 4)."""
    contributions = pooled.contributions()
    components = Components(pooled.layout, pooled.covariance(contributions))
    draws = (block @ contributions for block in signs)
    statistics = []
    for block in chain([pooled.sums()[None]], draws):
        sums = block.reshape(len(block), pooled.n_bins, -1)
        statistics.append(components.statistics(sums, components.squares(sums)))
    return np.concatenate(statistics)
