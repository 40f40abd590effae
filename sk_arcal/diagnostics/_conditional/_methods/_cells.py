"""The cells of the published diagnostic, made valid: one test for all of them.

Cells are the bins of like confidence times strata of the routing: tertiles of u, its rank among
rows of like confidence, or its levels. With phi~ the indicator of cell k less a straight line in
the confidence rank inside its bin,

    gap_k = sum phi~ y / sum phi~^2,   Z_k = sum phi~ y / sd_k,   T = max_k |Z_k|.

Outcomes are shuffled inside the bins (m rows, h events), where the exact variance sd_k^2 is
h (m - h) / (m (m - 1)) sum phi~^2; with groups the outcomes, detrended to e, flip sign group by
group, and sd_k^2 is the sum over groups of (sum phi~ e)^2. The adjusted p-value of a cell is the
share of {data, draws} with T >= |Z_k|, and the 1 - alpha quantile of T times sd_k makes intervals
that hold for all cells at once (single-step max-T: Westfall and Young, "Resampling-Based Multiple
Testing", Wiley, 1993, section 2.6). Cells that expect fewer than two of the rarer outcome (eight,
with groups) are shown and not tested: their scores would drown the others.

Measured at level 5 %, n = 2500 (A7: 5000), scenarios as in `benchmarks.scenarios`, with
``python -m benchmarks.conditional_test_level_and_power --tests cells --n-jobs 2`` and ``--parts
level --replicates 200`` (+/- 3 points), ``--parts power --replicates 100`` (+/- 10 points):

    true nulls rejected, %  N1 6.5 N2 6.0 N3 6.0 N4 3.5 N5 4.0 N6 4.5 N7 3.0 N8 5.5
                            N9 6.0 N10 2.5 N11 9.0 N12 9.5 N13 4.0 N14 7.5 N15 4.5
    effects found, %        A1 25 A2 20 A3 17 A4 46 A5 13 A6 10 A7 12 A8 9 A9 4
                            A10 6 A11 26

In N11 (groups) and N12 (routing follows the miscalibration) it rejects a little too often. It is
made for an effect in a single cell (A4) and finds little else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table
from sk_arcal.diagnostics._conditional._null import (
    WeightedColumns,
    group_contributions,
    shuffled_sums,
    signed_sums,
)
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature
from sk_arcal.diagnostics._conditional._step_down import rank_pvalues
from sk_arcal.diagnostics._conditional_cells import ConditionalCells

FloatArray = NDArray[np.float64]

_TERTILE = 1 / 3
_TERTILE_NAMES = tuple(f"{part} tertile of routing" for part in ("bottom", "middle", "top"))
_MIN_EXPECTED = 2.0
# A sign flip makes a skewed residual symmetric, which few rows of the rarer outcome do not forgive
# in the tail that a maximum looks at.
_MIN_EXPECTED_WITH_GROUPS = 8.0
_TINY = 1e-12


@dataclass(frozen=True)
class _CellColumns(WeightedColumns):
    """Indicators of the strata of all features side by side, detrended in their bin."""

    @property
    def n_columns(self) -> int:
        return sum(len(stratum_names(feature)) for feature in self.features)

    @property
    def slices(self) -> list[slice]:
        ends = np.cumsum([len(stratum_names(feature)) for feature in self.features])
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def indicators(self, b: int) -> FloatArray:
        rows = self.outcomes.rows(b)
        return np.hstack([strata(feature, rows) for feature in self.features])

    def block(self, b: int) -> FloatArray:
        return self.outcomes.detrended(self.indicators(b), b)


def stratum_names(feature: RoutingFeature) -> tuple[str, ...]:
    """Words for the strata of a feature: its tertiles, or its levels."""
    return _TERTILE_NAMES if feature.level is None else feature.part_names


def strata(feature: RoutingFeature, rows: slice) -> FloatArray:
    """Return indicators of the strata, shape (n_rows, n_strata)."""
    if feature.level is not None:
        return feature.columns(rows)[:, feature.parts]
    middle = (feature.low[rows] + feature.high[rows]) / 2
    tertile = (middle > -_TERTILE).astype(np.intp) + (middle > _TERTILE)
    return (tertile[:, None] == np.arange(3)) * 1.0


@dataclass(frozen=True)
class _Cells:
    """Every cell of every feature, arrays of shape (n_bins, n_columns)."""

    counts: FloatArray
    hits: FloatArray
    gap: FloatArray
    error: FloatArray
    tested: NDArray[np.bool_]

    @classmethod
    def of(cls, columns: _CellColumns, variance: FloatArray) -> "_Cells":
        outcomes = columns.outcomes
        sums, grams = columns.sums_and_grams()
        squares = np.diagonal(grams, axis1=1, axis2=2)
        squares = np.where(squares > _TINY, squares, np.nan)
        indicators = [columns.indicators(b) for b in range(outcomes.n_bins)]
        counts = np.array([inside.sum(axis=0) for inside in indicators])
        pairs = enumerate(indicators)
        hits = np.array([outcomes.events[outcomes.rows(b)] @ inside for b, inside in pairs])
        rate = outcomes.hits / outcomes.sizes
        expected = np.minimum(rate, 1 - rate)[:, None] * counts
        enough = _MIN_EXPECTED if outcomes.groups is None else _MIN_EXPECTED_WITH_GROUPS
        tested = (expected >= enough) & (variance > _TINY) & ~np.isnan(squares)
        return cls(counts, hits, sums / squares, np.sqrt(variance) / squares, tested)

    def of_feature(self, own: slice) -> "_Cells":
        return _Cells(*(array[:, own] for array in vars(self).values()))

    @property
    def scores(self) -> FloatArray:
        return np.where(self.tested, np.abs(self.gap) / np.where(self.tested, self.error, 1), 0)


def cells(table: Table) -> list[Finding]:
    """Test each feature by the largest standard score of its cells, on shared draws."""
    columns = _CellColumns(table.outcomes, table.features)
    variance, draws = _null_law(columns, table)
    board = _Cells.of(columns, variance)
    inverse = np.where(board.tested, 1 / np.sqrt(np.maximum(variance, _TINY)), 0.0)
    blocks = [board.scores[None], *(np.abs(block * inverse) for block in draws)]
    largest = np.concatenate(
        [np.stack([b[:, :, own].max(axis=(1, 2)) for own in columns.slices], 1) for b in blocks]
    )
    return [
        _finding(table, feature, board.of_feature(own), largest[:, k])
        for k, (feature, own) in enumerate(zip(table.features, columns.slices, strict=True))
    ]


def _null_law(columns: _CellColumns, table: Table) -> tuple[FloatArray, Iterator[FloatArray]]:
    """Exact variance of the sums of the cells under the null hypothesis, and draws of the sums."""
    outcomes = columns.outcomes
    if outcomes.groups is not None:
        parts = group_contributions(columns, outcomes.groups)
        variance = np.asarray(parts.multiply(parts).sum(axis=0))
        draws = signed_sums(parts, outcomes.n_bins, table.n_resamples, table.rng)
        return variance.reshape(outcomes.n_bins, -1), draws
    _, grams = columns.sums_and_grams()
    scale = outcomes.hits * (1 - outcomes.hits / outcomes.sizes) / np.maximum(outcomes.sizes - 1, 1)
    variance = scale[:, None] * np.diagonal(grams, axis1=1, axis2=2)
    return variance, shuffled_sums(columns, table.n_resamples, table.rng)


def _finding(table: Table, feature: RoutingFeature, board: _Cells, largest: FloatArray) -> Finding:
    pvalues = rank_pvalues(largest[:, None])[:, 0]
    factor = float(np.quantile(largest[1:], 1 - table.alpha, method="higher"))
    shown = _cell_table(table, feature, board, largest, factor)
    best = int(board.scores.argmax())
    leading = f"cells: {shown.words(best)}" if board.tested.any() else "cells: none can be tested"
    return Finding(
        statistic=float(largest[0]),
        pvalue=float(pvalues[0]),
        leading=leading,
        gap=float(shown.gap[best]),
        interval=(float(shown.gap_low[best]), float(shown.gap_high[best])),
        draws=largest[1:],
        shared_pvalues=pvalues,
        cells=shown,
    )


def _cell_table(
    table: Table, feature: RoutingFeature, board: _Cells, largest: FloatArray, factor: float
) -> ConditionalCells:
    outcomes, names = table.outcomes, stratum_names(feature)
    first, last = outcomes.edges[:-1], outcomes.edges[1:] - 1
    scores = np.where(board.tested, board.scores, np.nan).ravel()
    at_least = np.round(largest, 9)[:, None] >= np.round(scores, 9)
    empty = np.full(board.counts.shape, np.nan)
    rate = np.divide(board.hits, board.counts, out=empty, where=board.counts > 0)
    return ConditionalCells(
        confidence_low=np.repeat(outcomes.confidence[first], len(names)),
        confidence_high=np.repeat(outcomes.confidence[last], len(names)),
        stratum=names * outcomes.n_bins,
        n_samples=board.counts.ravel().astype(np.intp),
        event_rate=rate.ravel(),
        gap=board.gap.ravel(),
        gap_low=(board.gap - factor * board.error).ravel(),
        gap_high=(board.gap + factor * board.error).ravel(),
        pvalue_adjusted=np.where(np.isnan(scores), np.nan, at_least.mean(axis=0)),
        alpha=table.alpha,
    )
