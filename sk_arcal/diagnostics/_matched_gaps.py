"""The published matched-confidence diagnostic: outcome gaps between routing strata."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    as_generator,
    check_events,
    check_integer,
    check_option,
    check_probabilities,
    check_vector,
    import_optional,
)
from sk_arcal.diagnostics._cells import (
    Cells,
    FloatArray,
    IntArray,
    cell_values,
    make_cells,
    max_gap,
    weighted_gap,
)
from sk_arcal.diagnostics._null_gaps import null_gaps

VALUES = ("calibrated_residual", "residual", "accuracy")


@dataclass(frozen=True, eq=False, repr=False)
class MatchedGaps:
    """Gaps between routing strata of like confidence, beside what chance alone gives.

    Returned by :func:`matched_confidence_gaps`.

    Parameters
    ----------
    table : dict of str to ndarray
        One row per confidence bin and stratum, bins without rows left out: `bin`, `lower`,
        `upper`, `stratum` (0 = lowest routing), `count`, `mean_confidence`, `accuracy`,
        `value` (mean of the value compared) and `gap` (top minus bottom stratum of the bin, the
        same in all its rows; NaN where a stratum has fewer than `min_count` rows).
    max_gap, weighted_gap : float
        Largest absolute gap, and mean absolute gap weighted by the rows of the bins.
    null_max_gap, null_weighted_gap : float
        Their means when the strata are shuffled inside the bins.
    n_resamples : int
        Shuffles behind the null means.

    Attributes
    ----------
    excess_max_gap, excess_weighted_gap : float
        Observed minus null mean. May be negative.

    See Also
    --------
    matched_confidence_gaps : Computes it.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import matched_confidence_gaps
    >>> data = make_routing_data(2000, effect="none", random_state=0)
    >>> gaps = matched_confidence_gaps(data.y, data.confidence, data.routing[:, 0], random_state=0)
    >>> gaps.table["stratum"][:6]
    array([0, 1, 2, 0, 1, 2])
    """

    table: dict[str, NDArray[Any]]
    max_gap: float
    weighted_gap: float
    null_max_gap: float
    null_weighted_gap: float
    n_resamples: int

    @property
    def excess_max_gap(self) -> float:
        """Largest absolute gap minus its mean under shuffled routing."""
        return self.max_gap - self.null_max_gap

    @property
    def excess_weighted_gap(self) -> float:
        """Weighted gap minus its mean under shuffled routing."""
        return self.weighted_gap - self.null_weighted_gap

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per bin and stratum, with the columns of `table`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="MatchedGaps.to_frame")
        return pandas.DataFrame(self.table)

    def __repr__(self) -> str:
        return (
            f"MatchedGaps(weighted_gap={self.weighted_gap:.4f}, by chance "
            f"{self.null_weighted_gap:.4f}; max_gap={self.max_gap:.4f}, by chance "
            f"{self.null_max_gap:.4f})"
        )


def matched_confidence_gaps(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    n_groups: int = 3,
    value: str = "calibrated_residual",
    min_count: int = 5,
    n_resamples: int = 999,
    random_state: object = None,
) -> MatchedGaps:
    r"""Compare routing strata of like confidence, as published, beside the gaps of chance.

    A description, not a test: the gaps are absolute, so chance alone makes them large. Read
    the excess over the null mean, and decide with :func:`conditional_calibration_test`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1; for top-label confidence 1 = the prediction was right.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,)
        Routing feature; only its ranks count. Ties are broken at random.
    n_bins : int, default=15
        Number of confidence bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equal count with equal confidences kept together.
    n_groups : int, default=3
        Strata of each bin, at least 2. The top one is compared with the bottom one.
    value : {"calibrated_residual", "residual", "accuracy"}, default="calibrated_residual"
        What is averaged: y - g(c) with g an isotonic map fitted on the other four fifths of the
        rows, y - c, or y.
    min_count : int, default=5
        Rows every stratum of a bin must have, at least 1; other bins are left out.
    n_resamples : int, default=999
        Shuffles behind the null means, at least 1.
    random_state : int, RandomState, Generator or None, default=None
        Source of the shuffles, the folds and the order of ties.

    Returns
    -------
    result : MatchedGaps
        The table, the two gaps, their null means and the excess over them.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, an option is not
        among those allowed, or no bin has `min_count` rows in every stratum.
    TypeError
        If an input does not hold numbers, or a count is not an integer.

    See Also
    --------
    routing_permutation_test : The p-value published with these gaps.
    conditional_calibration_test : A test of the same question with the right size and more power.

    Notes
    -----
    With m_b(s) the mean value of stratum s in bin b, and n_b rows in the bin,

    .. math::

        \mathrm{gap}_b = m_b(\mathrm{top}) - m_b(\mathrm{bottom}), \quad
        \mathrm{max} = \max_b |\mathrm{gap}_b|, \quad
        \mathrm{weighted} = \sum_b n_b |\mathrm{gap}_b| / \sum_b n_b .

    Bins, strata and value are a reconstruction: the publication gives the names of the two gaps
    and the within-bin permutation, not their formulas. Time is linear in the rows and the
    shuffles (free of the rows for ``value="accuracy"``); memory is bounded.

    References
    ----------
    .. [1] H. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". 2026. Matched-confidence diagnostic.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import matched_confidence_gaps
    >>> data = make_routing_data(5000, effect="step", strength=0.1, random_state=0)
    >>> gaps = matched_confidence_gaps(data.y, data.confidence, data.routing[:, 0], random_state=0)
    >>> gaps.weighted_gap > 2 * gaps.null_weighted_gap
    True
    """
    events = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(events))
    feature = check_vector(routing, "routing", n_samples=len(events))
    check_option("value", value, VALUES)
    n_resamples = check_integer("n_resamples", n_resamples, low=1)
    ties, folds, shuffles = as_generator(random_state).spawn(3)
    cells, bins = usable_cells(
        confidence, feature, n_bins, strategy, n_groups, min_count=min_count, rng=ties
    )
    values = cell_values(value, events, confidence, folds)
    gaps = observed_gaps(cells, values)
    drawn = null_gaps(cells, values, bins, n_resamples, shuffles)
    sizes = cells.counts[bins].sum(axis=1)
    return MatchedGaps(
        table=_table(cells, events, confidence, values, bins),
        max_gap=float(max_gap(gaps[bins], sizes)),
        weighted_gap=float(weighted_gap(gaps[bins], sizes)),
        null_max_gap=float(max_gap(drawn, sizes).mean()),
        null_weighted_gap=float(weighted_gap(drawn, sizes).mean()),
        n_resamples=n_resamples,
    )


def usable_cells(
    confidence: FloatArray,
    feature: FloatArray,
    n_bins: int,
    strategy: str,
    n_groups: int,
    *,
    min_count: int,
    rng: np.random.Generator,
) -> tuple[Cells, IntArray]:
    """Return the cells and the bins in which every stratum has `min_count` rows, or raise."""
    n_bins = check_integer("n_bins", n_bins, low=1)
    n_groups = check_integer("n_groups", n_groups, low=2)
    min_count = check_integer("min_count", min_count, low=1)
    check_option("strategy", strategy, ("uniform", "quantile"))
    cells = make_cells(
        confidence, feature, n_bins=n_bins, strategy=strategy, n_groups=n_groups, rng=rng
    )
    bins = cells.usable(min_count)
    if not len(bins):
        raise ValueError(
            f"no confidence bin has `min_count`={min_count} rows in each of its {n_groups} "
            f"strata ({len(confidence)} rows in {n_bins} bins). Lower `n_bins`, `n_groups` or "
            "`min_count`, or bring more rows."
        )
    return cells, bins


def observed_gaps(cells: Cells, values: FloatArray) -> FloatArray:
    """Mean of the top minus mean of the bottom stratum, shape (n_bins,)."""
    means = cells.means(values)
    return means[:, -1] - means[:, 0]


def _table(
    cells: Cells, events: FloatArray, confidence: FloatArray, values: FloatArray, bins: IntArray
) -> dict[str, NDArray[Any]]:
    shown = np.flatnonzero(cells.counts.any(axis=1))
    n_groups = cells.counts.shape[1]
    gap = np.full(len(cells.counts), np.nan)
    gap[bins] = observed_gaps(cells, values)[bins]
    return {
        "bin": np.repeat(shown, n_groups),
        "lower": np.repeat(cells.lower[shown], n_groups),
        "upper": np.repeat(cells.upper[shown], n_groups),
        "stratum": np.tile(np.arange(n_groups), len(shown)),
        "count": cells.counts[shown].ravel(),
        "mean_confidence": cells.means(confidence)[shown].ravel(),
        "accuracy": cells.means(events)[shown].ravel(),
        "value": cells.means(values)[shown].ravel(),
        "gap": np.repeat(gap[shown], n_groups),
    }
