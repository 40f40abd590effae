"""One routing feature as the columns the test sums over the outcomes.

continuous
    u, the residual rank; (3 u^2 - 1) / 2, both ends against the middle; 1[u < -0.8] and
    1[u > 0.8], the outer deciles.
discrete (12 numbers or fewer, such as a count of experts)
    u, and one indicator for each level with enough rows. Two numbers need no more than the
    indicator of the upper one.
nominal (names, such as an expert's id)
    the indicators alone: nothing depends on the order or the names of the levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._residual_rank import (
    ConfidenceSpline,
    residual_rank,
    share_left_open,
    share_of_levels_left_open,
)
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_OUTER = 0.8
_TERTILE = 1 / 3
_WIDE_TIE = 0.05
# What "linear", "low_order", "part" and "scan" count in the combined score. Found on simulated
# effects of many shapes, then measured on fresh ones (docs/level_and_power.inc). Any weights keep
# the level. The low orders hold the trend, too, so that the trend alone counts half; with levels
# the evidence is in single ones.
_WEIGHTS_OF_RANKS = (0.5, 1.5, 0.5, 1.25)
_WEIGHTS_OF_LEVELS = (0.5, 1.0, 2.0, 0.5)


@dataclass(frozen=True)
class RoutingFeature:
    """Columns of one routing feature, rows in order of confidence.

    Attributes
    ----------
    low, high : ndarray of shape (n_samples,), or (0,) where the order is not used
        Interval of the residual rank u, in (-1, 1), that each row covers.
    level : ndarray of shape (n_samples,) or None
        Column of indicators each row belongs to; -1 for levels with too few rows.
    level_names : tuple of str
        Name of the level behind each indicator.
    share_left_open : float
        nu, the share of the routing that the confidence leaves open.
    """

    low: FloatArray
    high: FloatArray
    level: IntArray | None = None
    level_names: tuple[str, ...] = ()
    share_left_open: float = 1.0

    @property
    def is_ranked(self) -> bool:
        """Whether the order of the routing values is used."""
        return len(self.low) > 0

    @property
    def is_lumpy(self) -> bool:
        """Whether levels or a wide tie let few rows of a bin decide its sums."""
        if self.level is not None or not self.is_ranked:
            return True
        return bool((self.high - self.low).max() > _WIDE_TIE)

    @property
    def component_weights(self) -> FloatArray:
        """Weights of the four components in the combined score."""
        return np.array(_WEIGHTS_OF_RANKS if self.level is None else _WEIGHTS_OF_LEVELS)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        if self.level is None:
            return 4
        return len(self.level_names) + (self.is_ranked)

    @property
    def trend(self) -> slice:
        """Columns that the trend and the scan over confidence follow."""
        return slice(0, 1) if self.is_ranked else slice(0, self.n_columns)

    @property
    def directions(self) -> slice:
        """Columns of the low-order test."""
        return slice(0, 2) if self.level is None else slice(0, self.n_columns)

    @property
    def parts(self) -> slice:
        """Columns that single out a part of the routing."""
        if self.level is None:
            return slice(2, 4)
        return slice(self.n_columns - len(self.level_names), self.n_columns)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Words for each of `parts`."""
        if self.level is None:
            return "bottom decile of routing", "top decile of routing"
        return tuple(f"routing {name}" for name in self.level_names)

    def columns(self, rows: slice) -> FloatArray:
        """Columns of the given rows, shape (n_rows, n_columns)."""
        if self.level is None:
            low, high = self._interval(rows)
            curvature = (low * low + low * high + high * high - 1) / 2
            below, above = _share_below(low, high, -_OUTER), _share_below(-high, -low, -_OUTER)
            return np.column_stack([(low + high) / 2, curvature, below, above])
        indicators = (self.level[rows, None] == np.arange(len(self.level_names))) * 1.0
        if not self.is_ranked:
            return indicators
        return np.column_stack([sum(self._interval(rows)) / 2, indicators])

    def contrast(self, column: int, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return what the gap behind a column compares, averaged over ties.

        A trend compares tertiles (-1, 0, +1), a curvature the outer tertiles with the middle
        one (1, 0, 1), a part its rows with the rest (1, 0).

        Returns
        -------
        mean, variance : ndarray of shape (n_rows,)
            Of the contrast, over all ways to break the ties.
        """
        if column >= self.parts.start:
            share = self.columns(rows)[:, column]
            return share, share * (1 - share)
        low, high = self._interval(rows)
        bottom, top = _share_below(low, high, -_TERTILE), _share_below(-high, -low, -_TERTILE)
        mean = top - bottom if column == 0 else top + bottom
        return mean, top + bottom - mean * mean

    def contrast_scale(self, column: int) -> float:
        """Return the gap per unit of the contrast: top minus bottom tertile is two units."""
        return 2.0 if self.is_ranked and column == 0 else 1.0

    def contrast_name(self, column: int) -> str:
        """Return what the contrast of a column compares, in words."""
        if column >= self.parts.start:
            return self.part_names[column - self.parts.start]
        return "trend of routing" if column == 0 else "both ends of routing against its middle"

    def _interval(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        return self.low[rows], self.high[rows]


def _share_below(low: FloatArray, high: FloatArray, cut: float) -> FloatArray:
    """Share of each interval [low, high] below `cut`; 0 or 1 where the interval is a point."""
    return np.clip((cut - low) / np.maximum(high - low, 1e-12), 0, 1)


def routing_feature(
    values: RoutingValues, order: IntArray, spline: ConfidenceSpline, rng: np.random.Generator
) -> RoutingFeature:
    """Turn checked routing into columns.

    Parameters
    ----------
    values : RoutingValues
        Routing, rows as the user gave them.
    order : ndarray of shape (n_samples,)
        Rows in order of confidence.
    spline : ConfidenceSpline
        Regression on the rank of the confidence.
    rng : numpy Generator
        For ties.
    """
    if values.kind == "continuous":
        return _ranked(values.numbers[order], spline, rng)
    level, kept = level_columns(values.codes[order], len(values.levels))
    two_values = values.kind == "discrete" and len(values.levels) == 2
    if values.kind == "discrete" and not len(kept) and not two_values:
        return _ranked(values.numbers[order], spline, rng)
    nu = share_of_levels_left_open(level + 1, len(kept) + 1)
    if two_values:
        level, kept = np.where(level == 1, 0, -1), kept[1:]
    elif values.kind == "discrete":
        low, high = residual_rank(values.numbers[order], spline, rng)
        return RoutingFeature(low, high, level, tuple(values.levels[k] for k in kept), nu)
    nothing = np.empty(0)
    return RoutingFeature(nothing, nothing, level, tuple(values.levels[k] for k in kept), nu)


def _ranked(
    numbers: FloatArray, spline: ConfidenceSpline, rng: np.random.Generator
) -> RoutingFeature:
    low, high = residual_rank(numbers, spline, rng)
    return RoutingFeature(low, high, share_left_open=share_left_open(numbers))


def level_columns(level: IntArray, n_levels: int) -> tuple[IntArray, IntArray]:
    """Keep the levels that leave max(20, 1 %) rows on either side.

    Returns
    -------
    column : ndarray of shape (n_samples,)
        Number of each row's level among those kept, -1 where it is not.
    kept : ndarray of shape (n_kept,)
        Codes of the levels kept, in increasing order.
    """
    n = len(level)
    smallest = smallest_level(n)
    counts = np.bincount(level, minlength=n_levels)
    kept = np.flatnonzero((counts >= smallest) & (counts <= n - smallest))
    column_of_level = np.full(n_levels, -1)
    column_of_level[kept] = np.arange(len(kept))
    return column_of_level[level], kept


def smallest_level(n_samples: int) -> int:
    """Return the fewest rows a level needs to be tested by itself: 20, or 1 % if that is more."""
    return max(20, -(-n_samples // 100))
