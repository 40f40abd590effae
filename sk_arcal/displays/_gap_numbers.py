r"""Numbers of the routing-gap figure.

In a bin b of confidence with :math:`n_b` rows and :math:`h_b` events, let :math:`m_{bs}` be the
mean of the compared value over the :math:`n_{bs}` rows of stratum s, and :math:`m_b` its mean over
the bin. The gap is :math:`d_{bs} = m_{bs} - m_b`, and that of a stratum
:math:`d_s = \sum_b n_{bs} d_{bs} / \sum_b n_{bs}`.

Were the outcomes shuffled inside the bin, the events of a cell would be hypergeometric
(:math:`n_{bs}` draws from :math:`n_b` rows with :math:`h_b` events). The band of the map is that of
their rate, half an event added on either side; the band of the profile is normal, with

.. math:: \mathrm{var}\, d_{bs} =
    \frac{h_b (n_b - h_b)}{n_b (n_b - 1)} \Big(\frac{1}{n_{bs}} - \frac{1}{n_b}\Big).

What the confidence explains inside a bin is small beside that of the event and is left in. Both
bands are simultaneous (Šidák): over all strata, and over all cells.

Strata go by the rank of the feature among rows of like confidence (`_residual_rank`), not by the
feature itself: inside a bin a feature that follows the confidence would only sort rows by it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import hypergeom

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_length,
    check_vector,
)
from sk_arcal.diagnostics import MatchedGaps, matched_confidence_gaps
from sk_arcal.diagnostics._cells import Cells, cell_values, make_cells
from sk_arcal.diagnostics._conditional._binned_outcomes import random_order
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline, residual_rank
from sk_arcal.diagnostics._confidence_bins import tie_midranks

IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_MOST_LEVELS = 12
_N_GROUPS = 5


@dataclass(frozen=True)
class GapNumbers:
    """Deviations from the bin by cell and by stratum, with the bands of chance.

    Attributes
    ----------
    strata : tuple of str
        Names of the strata, lowest first.
    ranked : bool
        Whether strata are shares of the rows in order of the feature, not values of it.
    lower, upper, confidence : ndarray of shape (n_bins,)
        Bins of confidence and their mean.
    count : ndarray of shape (n_bins, n_strata)
        Rows in each cell.
    usable : ndarray of shape (n_bins, n_strata)
        Whether a cell has enough rows to be shown.
    gap, band_low, band_high : ndarray of shape (n_bins, n_strata)
        Mean of the cell less that of its bin, and the limits that chance alone lets any of the
        cells leave with probability 0.05.
    stratum_gap, stratum_band : ndarray of shape (n_strata,)
        The same over all usable cells of a stratum; its limits are minus and plus the band.
    """

    strata: tuple[str, ...]
    ranked: bool
    lower: FloatArray
    upper: FloatArray
    confidence: FloatArray
    count: IntArray
    usable: BoolArray
    gap: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    stratum_gap: FloatArray
    stratum_band: FloatArray

    @property
    def outside(self) -> BoolArray:
        """Which usable cells lie outside their band."""
        return self.usable & ((self.gap < self.band_low) | (self.gap > self.band_high))

    @property
    def stratum_outside(self) -> BoolArray:
        """Which strata lie outside their band."""
        return np.abs(self.stratum_gap) > self.stratum_band

    @property
    def stratum_count(self) -> IntArray:
        """Rows of each stratum in usable cells."""
        return np.where(self.usable, self.count, 0).sum(axis=0)


def gap_numbers(
    event: FloatArray,
    confidence: FloatArray,
    routing: ArrayLike,
    *,
    n_bins: int = 8,
    strategy: str = "quantile",
    n_groups: int | str = "auto",
    value: str = "calibrated_residual",
    min_count: int = 5,
    random_state: object = 0,
) -> GapNumbers:
    """Compute the numbers with strata by value where there are few, else by rank."""
    cells: dict[str, Any] = {
        "n_bins": n_bins,
        "strategy": strategy,
        "value": value,
        "min_count": min_count,
    }
    ties, rest = as_generator(random_state).spawn(2)
    if n_groups == "auto" and _has_few_values(routing, len(event)):
        codes, names = _levels(np.asarray(routing))
        return _from_levels(event, confidence, codes, names, rng=rest, **cells)
    feature = check_vector(routing, "routing", n_samples=len(event))
    # the picture has bands of its own, so that one shuffle is enough
    gaps = matched_confidence_gaps(
        event, confidence, _rank_at_equal_confidence(confidence, feature, ties),
        n_groups=_N_GROUPS if n_groups == "auto" else check_integer("n_groups", n_groups, low=2),
        n_resamples=1, random_state=rest, **cells,
    )  # fmt: skip
    return from_matched_gaps(gaps)


def from_matched_gaps(gaps: MatchedGaps) -> GapNumbers:
    """Read the numbers off the table of matched gaps."""
    n_strata = int(gaps.table["stratum"].max()) + 1
    cells = {name: column.reshape(-1, n_strata) for name, column in gaps.table.items()}
    names = ("low", *(str(s + 1) for s in range(1, n_strata - 1)), "high")
    return _numbers(cells, np.isfinite(cells["gap"]), names, ranked=True)


def _from_levels(
    event: FloatArray,
    confidence: FloatArray,
    codes: IntArray,
    names: tuple[str, ...],
    *,
    n_bins: int,
    strategy: str,
    value: str,
    min_count: int,
    rng: np.random.Generator,
) -> GapNumbers:
    """Compute the numbers with one stratum for each value of the feature."""
    binned = make_cells(
        confidence, np.zeros(len(event)), n_bins=n_bins, strategy=strategy, n_groups=1, rng=rng
    )
    shape = (len(binned.counts), len(names))
    counts = np.bincount(binned.bins * shape[1] + codes, minlength=shape[0] * shape[1])
    cells = replace(binned, strata=codes, counts=counts.reshape(shape))
    return _numbers(
        _columns(cells, event, confidence, cell_values(value, event, confidence, rng)),
        cells.counts[cells.counts.any(axis=1)] >= min_count,
        names,
        ranked=False,
    )


def _levels(values: NDArray[Any]) -> tuple[IntArray, tuple[str, ...]]:
    """Return codes and names of the values; beyond twelve, the rarest become "others"."""
    values = values.astype(str) if values.dtype.kind == "O" else values
    found, codes, copies = np.unique(values, return_inverse=True, return_counts=True)
    names = [str(level) if values.dtype.kind in "USb" else f"{level:g}" for level in found]
    if len(found) <= _MOST_LEVELS:
        return codes, tuple(names)
    kept = np.sort(np.argsort(-copies, kind="stable")[: _MOST_LEVELS - 1])
    place = np.full(len(found), _MOST_LEVELS - 1)
    place[kept] = np.arange(_MOST_LEVELS - 1)
    return place[codes], (*(names[k] for k in kept), "others")


def _has_few_values(routing: ArrayLike, n_samples: int) -> bool:
    """Whether the feature is made of words or of few different numbers."""
    values = np.asarray(routing)
    if values.dtype.kind in "OUSb":
        check_length("routing", values, n_samples)
        return True
    return len(np.unique(check_vector(routing, "routing", n_samples=n_samples))) <= _MOST_LEVELS


def _rank_at_equal_confidence(
    confidence: FloatArray, feature: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return the rank of the feature among rows of like confidence, as the test takes it."""
    order = random_order(confidence, rng)
    spline = ConfidenceSpline(tie_midranks(confidence[order]))
    rank = np.empty(len(order))
    low, high = residual_rank(feature[order], spline, rng)
    rank[order] = (low + high) / 2
    return rank


def _columns(
    cells: Cells, event: FloatArray, confidence: FloatArray, values: FloatArray
) -> dict[str, NDArray[Any]]:
    """Return the columns of a table of matched gaps, bins without rows left out."""
    shown = cells.counts.any(axis=1)
    return {
        "lower": cells.lower[shown, None],
        "upper": cells.upper[shown, None],
        "count": cells.counts[shown],
        "mean_confidence": cells.means(confidence)[shown],
        "accuracy": cells.means(event)[shown],
        "value": cells.means(values)[shown],
    }


def _numbers(
    cells: dict[str, NDArray[Any]], usable: BoolArray, names: tuple[str, ...], *, ranked: bool
) -> GapNumbers:
    """Compute deviations and bands of a bins x strata table."""
    count = cells["count"]
    size = count.sum(axis=1)
    gap = cells["value"] - _bin_means(cells["value"], count)[:, None]
    kept = np.where(usable, count, 0)
    share = kept / np.maximum(kept.sum(axis=0), 1)
    hits = np.rint(_bin_means(cells["accuracy"], count) * size)
    low, high = _cell_band(hits, size, count, usable.sum())
    return GapNumbers(
        strata=names,
        ranked=ranked,
        lower=cells["lower"][:, 0],
        upper=cells["upper"][:, 0],
        confidence=_bin_means(cells["mean_confidence"], count),
        count=count,
        usable=usable,
        gap=gap,
        band_low=low,
        band_high=high,
        stratum_gap=np.where(kept.any(axis=0), np.nansum(share * gap, axis=0), np.nan),
        stratum_band=_stratum_band(hits, size, count, share),
    )


def _cell_band(
    hits: FloatArray, size: IntArray, count: IntArray, n_cells: int
) -> tuple[FloatArray, FloatArray]:
    """Return the limits of the gaps that hold for all cells with probability 0.95."""
    level = 0.95 ** (1 / max(n_cells, 1))
    rows = np.maximum(count, 1)
    low, high = hypergeom.interval(level, size[:, None], hits[:, None], rows)
    rate = (hits / size)[:, None]
    return (low - 0.5) / rows - rate, (high + 0.5) / rows - rate


def _stratum_band(
    hits: FloatArray, size: IntArray, count: IntArray, share: FloatArray
) -> FloatArray:
    """Return how far from zero the gaps of all strata stay with probability 0.95."""
    variance = hits * (size - hits) / (size * np.maximum(size - 1, 1))
    unlike = np.maximum(1 / np.maximum(count, 1) - 1 / size[:, None], 0)
    std = np.sqrt((share**2 * variance[:, None] * unlike).sum(axis=0))
    return float(ndtri(0.5 + 0.5 * 0.95 ** (1 / count.shape[1]))) * std


def _bin_means(values: FloatArray, count: IntArray) -> FloatArray:
    """Return the mean over the rows of each bin; empty cells hold NaN and weigh nothing."""
    return np.nansum(values * count, axis=1) / count.sum(axis=1)
