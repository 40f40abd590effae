"""Rows sorted by confidence, cut into bins, with what every bin needs to know of its outcomes.

Everything downstream reads rows in this one order: neighbours in confidence are neighbours in
memory, and a bin is a slice. Rows of equal confidence come in random order, never in the order
of the input, because tables are often sorted by class.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._confidence_bins import confidence_bins, tie_midranks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class BinnedOutcomes:
    """Outcomes in order of confidence.

    Attributes
    ----------
    order : ndarray of shape (n_samples,)
        Row of the input at each place; the arrays below follow this order.
    confidence, events : ndarray of shape (n_samples,)
        Probability of the event and whether it happened.
    rank : ndarray of shape (n_samples,)
        t = (midrank of the confidence - 1/2) / n, in (0, 1).
    edges : ndarray of shape (n_bins + 1,)
        Bin b holds the places edges[b] to edges[b + 1] - 1.
    groups : ndarray of shape (n_samples,) or None
        Code of the group of each row.
    """

    order: IntArray
    confidence: FloatArray
    events: FloatArray
    rank: FloatArray
    edges: IntArray
    groups: IntArray | None = None

    @classmethod
    def from_rows(
        cls,
        events: FloatArray,
        confidence: FloatArray,
        groups: IntArray | None,
        rng: np.random.Generator,
    ) -> "BinnedOutcomes":
        """Sort the rows and cut them into bins."""
        order = random_order(confidence, rng)
        confidence = confidence[order]
        codes, n_bins = confidence_bins(confidence)
        return cls(
            order=order,
            confidence=confidence,
            events=events[order],
            rank=tie_midranks(confidence),
            edges=np.searchsorted(codes, np.arange(n_bins + 1)),
            groups=None if groups is None else groups[order],
        )

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.events)

    @property
    def n_bins(self) -> int:
        """Number of bins of like confidence."""
        return len(self.edges) - 1

    @cached_property
    def n_groups(self) -> int | None:
        """Number of groups of dependent rows."""
        return None if self.groups is None else len(np.unique(self.groups))

    def rows(self, b: int) -> slice:
        """Places of bin `b`."""
        return slice(int(self.edges[b]), int(self.edges[b + 1]))

    @cached_property
    def sizes(self) -> IntArray:
        """Rows per bin."""
        return np.diff(self.edges)

    @cached_property
    def hits(self) -> FloatArray:
        """Events per bin."""
        return np.add.reduceat(self.events, self.edges[:-1])

    @cached_property
    def variance(self) -> FloatArray:
        """v_b = r_b (1 - r_b) with r_b = (hits_b + 1/2) / (m_b + 1): never zero."""
        rate = (self.hits + 0.5) / (self.sizes + 1)
        return rate * (1 - rate)

    @cached_property
    def weights(self) -> FloatArray:
        """Pearson weights w_b = max(v_b, 0.01)^(-1/2): near-certain bins do not take over."""
        return np.maximum(self.variance, 0.01) ** -0.5

    def detrended(self, columns: FloatArray, b: int) -> FloatArray:
        """Return residuals of `columns`, rows of bin `b`, from a straight line in the rank.

        What E[y|c] and E[column|c] share along a straight line inside the bin is thereby gone;
        a bias is left only where both curve inside one bin.
        """
        slope, length = self._slope(b)
        residual = columns - columns.mean(axis=0)
        if length > 0:
            residual -= np.multiply.outer(slope, slope @ residual / length)
        # Columns that are a line in the rank leave rounding noise, which must not look like data.
        residual *= (residual * residual).sum(axis=0) > 1e-12 * len(slope)
        return residual

    def leverage(self, b: int) -> FloatArray:
        """Leverage of each row of bin `b` in the straight line that `detrended` removes."""
        slope, length = self._slope(b)
        return 1 / len(slope) + (slope * slope / length if length > 0 else 0 * slope)

    def _slope(self, b: int) -> tuple[FloatArray, float]:
        """Centred ranks of bin `b` and their sum of squares, exactly zero if all are equal."""
        rank = self.rank[self.rows(b)]
        slope = rank - rank.mean() if rank[0] < rank[-1] else np.zeros(len(rank))
        return slope, float(slope @ slope)


def random_order(values: FloatArray, rng: np.random.Generator) -> IntArray:
    """Sort `values` upwards, equal ones in random order."""
    order = np.argsort(values)
    ordered = values[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.lexsort((rng.random(len(values)), values))
    return order
