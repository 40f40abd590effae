"""What the sums of each confidence bin would be if routing said nothing beyond confidence.

Three ways to draw the sums S_b = sum of f y over bin b, f the detrended columns F_b:

shuffle
    Outcomes are permuted inside each bin. Routing and confidence stay together, so their
    dependence is kept, and one shuffle serves every routing feature.
sign-flip
    Rows come in groups (crops of an image, tokens of a text). The outcomes, detrended in their
    bins, change sign together or not at all, one coin per group.
normal
    Many rows: the sums are drawn from the normal law with exactly the covariance of the shuffles,
    r (1 - r) m / (m - 1) F_b' F_b in a bin of m rows with event rate r, or of the sign flips, the
    sum over groups of the outer product of their contributions. Time and memory are free of n.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Doubles that one block of draws may take, the windows of the scan counted in: 32 MB.
_BLOCK = 4_000_000
_DOUBLES_PER_SUM = 6


@dataclass(frozen=True)
class WeightedColumns:
    """Columns of all features side by side, detrended in their bin and weighted."""

    outcomes: BinnedOutcomes
    features: Sequence[RoutingFeature]

    @property
    def n_columns(self) -> int:
        """Number of columns of all features."""
        return sum(feature.n_columns for feature in self.features)

    @property
    def slices(self) -> list[slice]:
        """Columns of each feature."""
        ends = np.cumsum([feature.n_columns for feature in self.features]).tolist()
        return [slice(end - f.n_columns, end) for f, end in zip(self.features, ends, strict=True)]

    def block(self, b: int) -> FloatArray:
        """F_b, shape (rows in bin b, n_columns)."""
        rows = self.outcomes.rows(b)
        columns = np.hstack([feature.columns(rows) for feature in self.features])
        return self.outcomes.weights[b] * self.outcomes.detrended(columns, b)

    def sums_and_grams(self) -> tuple[FloatArray, FloatArray]:
        """Observed S_b, shape (n_bins, n_columns), and F_b' F_b, (n_bins, n_columns, n_columns)."""
        blocks = (self.block(b) for b in range(self.outcomes.n_bins))
        pairs = [
            (self.outcomes.events[self.outcomes.rows(b)] @ block, block.T @ block)
            for b, block in enumerate(blocks)
        ]
        return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def shuffled_sums(
    columns: WeightedColumns, n_resamples: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yield blocks (n_draws, n_bins, n_columns) of sums with outcomes shuffled inside bins."""
    outcomes = columns.outcomes
    n_bins = outcomes.n_bins
    generators = rng.spawn(n_bins)
    per_draw = _DOUBLES_PER_SUM * n_bins * columns.n_columns + int(outcomes.sizes.max())
    for size in _block_sizes(n_resamples, per_draw):
        sums = np.empty((size, n_bins, columns.n_columns))
        for b, generator in enumerate(generators):
            events = np.tile(outcomes.events[outcomes.rows(b)], (size, 1))
            generator.permuted(events, axis=1, out=events)
            sums[:, b] = events @ columns.block(b)
        yield sums


def normal_sums(
    grams: FloatArray, outcomes: BinnedOutcomes, n_resamples: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yield blocks of sums from the normal law with the covariance of the shuffles."""
    n_bins, n_columns, _ = grams.shape
    scale = outcomes.hits * (1 - outcomes.hits / outcomes.sizes)
    scale = scale / np.maximum(outcomes.sizes - 1, 1)
    roots = [_root(scale[b] * grams[b]) for b in range(n_bins)]
    for size in _block_sizes(n_resamples, _DOUBLES_PER_SUM * n_bins * n_columns):
        noise = rng.standard_normal((size, n_bins, n_columns))
        drawn = [noise[:, b, : len(root)] @ root for b, root in enumerate(roots)]
        yield np.stack(drawn, axis=1)


def signed_sums(
    contributions: sparse.csc_array, n_bins: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yield blocks of sums with the outcomes of each group times one random sign."""
    n_groups, width = contributions.shape
    for size in _block_sizes(n_resamples, n_groups + _DOUBLES_PER_SUM * width):
        signs = 2.0 * rng.integers(0, 2, (size, n_groups), dtype=np.int8) - 1
        yield (signs @ contributions).reshape(size, n_bins, -1)


def normal_signed_sums(
    contributions: sparse.csc_array, n_bins: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yield blocks of sums from the normal law with the covariance of the sign flips."""
    root = _root((contributions.T @ contributions).toarray())
    for size in _block_sizes(n_resamples, _DOUBLES_PER_SUM * root.shape[1]):
        yield (rng.standard_normal((size, len(root))) @ root).reshape(size, n_bins, -1)


def group_contributions(columns: WeightedColumns, groups: IntArray) -> sparse.csc_array:
    """Sum f times the detrended outcome over each group and bin.

    Returns
    -------
    contributions : sparse array of shape (n_groups, n_bins * n_columns)
        Column b * n_columns + k belongs to column k in bin b.
    """
    outcomes, n_columns = columns.outcomes, columns.n_columns
    data, row, column = [], [], []
    for b in range(outcomes.n_bins):
        rows = outcomes.rows(b)
        residual = outcomes.detrended(outcomes.events[rows, None], b)
        members, place = np.unique(groups[rows], return_inverse=True)
        one_hot = sparse.csc_array((np.ones(len(place)), place, np.arange(len(place) + 1)))
        data.append((one_hot @ (columns.block(b) * residual)).ravel())
        row.append(np.repeat(members.astype(np.int32), n_columns))
        places = np.arange(b * n_columns, (b + 1) * n_columns, dtype=np.int32)
        column.append(np.tile(places, len(members)))
    entries = np.concatenate(data), (np.concatenate(row), np.concatenate(column))
    shape = (int(groups.max()) + 1, outcomes.n_bins * n_columns)
    return sparse.coo_array(entries, shape=shape).tocsc()


def _root(covariance: FloatArray) -> FloatArray:
    """Return R with R' R the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-12 * max(values[-1], 0)
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T


def _block_sizes(n_resamples: int, doubles_per_draw: int) -> Iterator[int]:
    """Split the draws into blocks of bounded memory."""
    size = max(1, _BLOCK // doubles_per_draw)
    for start in range(0, n_resamples, size):
        yield min(size, n_resamples - start)
