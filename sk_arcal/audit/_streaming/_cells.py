"""Counts of rows by confidence, one routing feature and outcome, which add up over chunks.

Confidence is cut at quantiles of the first rows and at multiples of 1/64, a numeric feature at
quantiles, a feature of texts into its levels. Beside the counts stands the sum of what a
confidence exceeds the lower edge of its cell by, so that a straight line in the confidence can be
taken out later (:mod:`sk_arcal.audit._streaming._gap`). Where a cell holds one number only, its
lowest and highest number say so.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._rows import Coded

CONFIDENCE_CELLS, ROUTING_CELLS, GRID = 256, 96, 64
MOST_LEVELS = 256
_FEW_EDGES = 3


def quantile_edges(values: FloatArray, n_cells: int) -> FloatArray:
    """Return rising lower edges of cells of about equal count, the first one left out."""
    return np.unique(np.quantile(values, np.arange(1, n_cells) / n_cells, method="lower"))


def confidence_edges(confidence: FloatArray) -> FloatArray:
    """Return lower edges of all cells of confidence, 0 first."""
    grid = np.arange(GRID) / GRID
    return np.union1d(grid, quantile_edges(confidence, CONFIDENCE_CELLS))


@dataclass(slots=True, eq=False)
class ConfidenceCells:
    """Where the rows of a stream lie along the confidence.

    Attributes
    ----------
    edges : ndarray of shape (n_cells,)
        Lower edges; the first is 0.
    squares, crossed : ndarray of shape (n_cells,)
        Sums of d^2 and of d y, with d what the confidence exceeds its lower edge by.
    """

    edges: FloatArray
    squares: FloatArray = field(init=False)
    crossed: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.squares, self.crossed = np.zeros((2, len(self.edges)))

    def add(self, event: FloatArray, confidence: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Add rows; return their cells, and what they exceed the edges by."""
        cells = np.searchsorted(self.edges[1:], confidence, side="right")
        excess = confidence - self.edges[cells]
        n_cells = len(self.edges)
        self.squares += np.bincount(cells, excess * excess, minlength=n_cells)
        self.crossed += np.bincount(cells, excess * event, minlength=n_cells)
        return cells, excess

    def merge(self, other: Self) -> None:
        """Add the rows of another."""
        self.squares += other.squares
        self.crossed += other.crossed


@dataclass(slots=True, eq=False)
class FeatureCells:
    """One feature: rows by confidence, routing and outcome.

    Attributes
    ----------
    count : ndarray of shape (n_confidence, n_routing, 2)
        Rows; the last axis is the outcome.
    excess : ndarray of shape (n_confidence, n_routing)
        Sums of what the confidence exceeds the lower edge of its cell by.
    """

    count: FloatArray
    excess: FloatArray

    def _add(
        self,
        event: FloatArray,
        cells: NDArray[np.intp],
        excess: FloatArray,
        places: NDArray[np.intp],
    ) -> None:
        n_confidence, n_routing = self.excess.shape
        size = n_confidence * n_routing
        key = cells * n_routing + places
        hits = np.bincount(key, event, minlength=size)
        rows = np.bincount(key, minlength=size)
        self.count += np.stack([rows - hits, hits], axis=1).reshape(self.count.shape)
        self.excess += np.bincount(key, excess, minlength=size).reshape(self.excess.shape)


class NumericCells(FeatureCells):
    """A feature of numbers, cut at edges; `low` and `high` are the extremes in each cell."""

    def __init__(self, n_confidence: int, edges: FloatArray) -> None:
        self.edges = edges
        n_routing = len(edges) + 1
        super().__init__(
            np.zeros((n_confidence, n_routing, 2)), np.zeros((n_confidence, n_routing))
        )
        self.low, self.high = np.full(n_routing, np.inf), np.full(n_routing, -np.inf)

    def empty(self) -> "NumericCells":
        """Return the same cells without rows."""
        return NumericCells(len(self.excess), self.edges)

    def add(
        self,
        event: FloatArray,
        cells: NDArray[np.intp],
        excess: FloatArray,
        values: FloatArray,
    ) -> None:
        """Add rows whose cells of confidence are known."""
        places = np.searchsorted(self.edges, values, side="right")
        self._add(event, cells, excess, places)
        # Only a feature of a few numbers can turn out to have two of them.
        if len(self.edges) <= _FEW_EDGES:
            np.minimum.at(self.low, places, values)
            np.maximum.at(self.high, places, values)

    def merge(self, other: "NumericCells") -> None:
        """Add the rows of another with the same edges."""
        self.count += other.count
        self.excess += other.excess
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def two_values(self) -> tuple[float, int] | None:
        """Return the upper one of two numbers and its cell; None if there are not just two."""
        full = np.flatnonzero(self.count.sum(axis=(0, 2)))
        if len(full) != 2 or (self.low[full] < self.high[full]).any():
            return None
        return float(self.low[full[1]]), int(full[1])


class LevelCells(FeatureCells):
    """A feature of texts; levels are added as they appear, up to 256."""

    def __init__(self, n_confidence: int) -> None:
        self.names: list[str] = []
        super().__init__(np.zeros((n_confidence, 0, 2)), np.zeros((n_confidence, 0)))

    def empty(self) -> "LevelCells":
        """Return a table without levels and rows."""
        return LevelCells(len(self.excess))

    @property
    def is_full(self) -> bool:
        """Whether there were more levels than are counted."""
        return len(self.names) > MOST_LEVELS

    def add(
        self, event: FloatArray, cells: NDArray[np.intp], excess: FloatArray, values: Coded
    ) -> None:
        """Add rows whose cells of confidence are known."""
        place = self._places(np.unique(values.names[values.codes]).tolist())
        if not self.is_full:
            places = np.array([place.get(name, 0) for name in values.names.tolist()], dtype=np.intp)
            self._add(event, cells, excess, places[values.codes])

    def merge(self, other: "LevelCells") -> None:
        """Add the rows of another."""
        place = self._places(other.names)
        if not (self.is_full or other.is_full):
            places = [place[name] for name in other.names]
            self.count[:, places] += other.count
            self.excess[:, places] += other.excess

    def _places(self, names: list[str]) -> dict[str, int]:
        """Return the place of every level once new ones have been added."""
        if not self.is_full:
            self.names += [name for name in names if name not in set(self.names)]
        if self.is_full:
            # What was counted says nothing without the rest, and has no use.
            self.names = self.names[: MOST_LEVELS + 1]
            return {}
        room = len(self.names) - self.excess.shape[1]
        self.count = np.pad(self.count, ((0, 0), (0, room), (0, 0)))
        self.excess = np.pad(self.excess, ((0, 0), (0, room)))
        return {name: position for position, name in enumerate(self.names)}
