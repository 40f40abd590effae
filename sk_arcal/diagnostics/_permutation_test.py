"""The published permutation test of the matched-confidence gap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    as_generator,
    check_events,
    check_integer,
    check_option,
    check_probabilities,
    check_vector,
)
from sk_arcal.diagnostics._cells import GAP_STATISTICS, cell_values
from sk_arcal.diagnostics._confidence_bins import FloatArray
from sk_arcal.diagnostics._matched_gaps import VALUES, observed_gaps, usable_cells
from sk_arcal.diagnostics._null_gaps import BATCH, BinNull, bin_nulls, draw_gaps

# Sums of permuted values differ from the observed ones by rounding where they are equal.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class PermutationResult:
    """Result of :func:`routing_permutation_test`.

    Parameters
    ----------
    statistic : float
        The observed gap, in probability units.
    pvalue : float
        Share of {observed, shuffled} gaps that are at least the observed one; with
        `max_exceedances` reached, that number over the shuffles it took.
    null_mean, null_std : float
        Mean and standard deviation of the gap under shuffled routing.
    n_resamples : int
        Number of shuffles drawn.
    settings : dict
        The options of the call.

    See Also
    --------
    routing_permutation_test : Computes it.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import routing_permutation_test
    >>> data = make_routing_data(1000, random_state=0)
    >>> result = routing_permutation_test(
    ...     data.y, data.confidence, data.routing[:, 0], random_state=0
    ... )
    >>> result.settings["statistic"]
    'weighted_gap'
    """

    statistic: float
    pvalue: float
    null_mean: float
    null_std: float
    n_resamples: int
    settings: dict[str, Any]


def routing_permutation_test(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    statistic: str = "weighted_gap",
    n_bins: int = 15,
    strategy: str = "uniform",
    n_groups: int = 3,
    value: str = "calibrated_residual",
    min_count: int = 5,
    n_resamples: int = 999,
    max_exceedances: int | None = None,
    random_state: object = None,
    n_jobs: int | None = None,
) -> PermutationResult:
    """Test the matched-confidence gap by shuffling routing inside confidence bins, as published.

    Kept to reproduce published audits; to decide, use :func:`conditional_calibration_test`.
    Both errors below are measured by simulation (`benchmarks/scenarios.py`; 2500 rows of which
    81 % are right, level 5 %, 400 data sets, so +- 2 points near 5 % and +- 5 near 50 %).

    *It can reject models whose routing says nothing.* With ``value="accuracy"`` it rejects 88 % of
    overconfident models with routing correlated .95 with the confidence, 17 % at correlation .5,
    and 34 % of calibrated models at .95; with ``value="residual"`` 37 %, 9 % and 4 %. The default
    value keeps 5 % there, but rejects 14 % if the calibration curve is wavy (40 % at 10 000 rows)
    and 68 % if the routing also follows that wave (100 % at 10 000 rows).

    *It overlooks many effects.* In brackets, what :func:`conditional_calibration_test` finds (200
    data sets): a shift of the outer tertiles by 3 points 71 % (92 %), a U-shape 4 % (76 %), one bad
    expert of eight 4 % (64 %), a trend among confident rows only (5000 rows) 17 % (46 %), a bad top
    tenth of the routing 16 % (50 %). With ``statistic="max_gap"`` the shift is found in 12 %.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1; for top-label confidence 1 = the prediction was right.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,)
        Routing feature; only its ranks count. Ties are broken at random.
    statistic : {"weighted_gap", "max_gap"}, default="weighted_gap"
        Mean absolute gap weighted by the rows of the bins, or the largest.
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
        Number of shuffles, at least 1; with `max_exceedances` the largest number.
    max_exceedances : int, default=None
        Stop at the shuffle that reaches the observed gap for the `max_exceedances`-th time. Then
        p = `max_exceedances` / number of shuffles so far. None draws all shuffles.
    random_state : int, RandomState, Generator or None, default=None
        Source of the shuffles, the folds and the order of ties.
    n_jobs : int, default=None
        Jobs over confidence bins, see :class:`joblib.Parallel`. The result does not depend on it.

    Returns
    -------
    result : PermutationResult
        The gap, its p-value, and mean and standard deviation under shuffled routing.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, an option is not
        among those allowed, or no bin has `min_count` rows in every stratum.
    TypeError
        If an input does not hold numbers, or a count is not an integer.

    See Also
    --------
    conditional_calibration_test : The recommended test.
    matched_confidence_gaps : The gaps bin by bin.

    Notes
    -----
    p = (1 + number of shuffled gaps >= the observed one) / (1 + n_resamples). It is exact if
    routing is independent of outcome and confidence inside each bin. Where routing follows
    confidence there, the null distribution is centred wrongly by the covariance, inside the
    bin, of the stratum with g(c) (``value="accuracy"``), with g(c) - c ("residual") or with the
    error of the fitted map ("calibrated_residual"), g the true calibration curve. This bias
    does not fall with the number of rows while the noise does.

    Shuffles come from the cheapest group under which that p is exact: for ``value="accuracy"`` the
    events of the strata are drawn as multivariate hypergeometric; else bins of more than 256 rows
    (fewer than eight bins: parts of that size) are shifted cyclically in a random order, and only
    smaller ones are permuted. So time hardly grows with `n_resamples`. The group is itself drawn,
    with the shuffles, from `random_state`.

    `max_exceedances` = h gives the sequential p-value of [2]_: h / l if shuffle l is the h-th to
    reach the observed gap, else (1 + number that reach it) / (1 + `n_resamples`). It is valid, and
    large p-values stop early; their standard error is about p sqrt((1 - p) / h).

    References
    ----------
    .. [1] H. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". 2026. Within-bin permutation null.
    .. [2] J. Besag and P. Clifford. "Sequential Monte Carlo p-values". Biometrika 78, 1991.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import routing_permutation_test
    >>> data = make_routing_data(5000, effect="step", strength=0.1, random_state=0)
    >>> result = routing_permutation_test(
    ...     data.y, data.confidence, data.routing[:, 0], random_state=0
    ... )
    >>> result.pvalue
    0.001
    """
    events = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(events))
    feature = check_vector(routing, "routing", n_samples=len(events))
    check_option("statistic", statistic, GAP_STATISTICS)
    check_option("value", value, VALUES)
    n_resamples = check_integer("n_resamples", n_resamples, low=1)
    if max_exceedances is not None:
        max_exceedances = check_integer("max_exceedances", max_exceedances, low=1)
    ties, folds, shuffles = as_generator(random_state).spawn(3)
    cells, bins = usable_cells(
        confidence, feature, n_bins, strategy, n_groups, min_count=min_count, rng=ties
    )
    values = cell_values(value, events, confidence, folds)
    summary, sizes = GAP_STATISTICS[statistic], cells.counts[bins].sum(axis=1)
    observed = float(summary(observed_gaps(cells, values)[bins], sizes))
    drawn, reached = _compared(
        bin_nulls(cells, values, bins, shuffles),
        lambda gaps: summary(gaps, sizes),
        observed - _ROUNDING,
        n_resamples,
        max_exceedances,
        n_jobs,
    )
    stopped = reached == max_exceedances
    settings: dict[str, Any] = {
        "statistic": statistic,
        "n_bins": n_bins,
        "strategy": strategy,
        "n_groups": n_groups,
        "value": value,
        "min_count": min_count,
    }
    if max_exceedances is not None:
        settings["max_exceedances"] = max_exceedances
    return PermutationResult(
        statistic=observed,
        pvalue=reached / len(drawn) if stopped else (1 + reached) / (1 + n_resamples),
        null_mean=float(drawn.mean()),
        null_std=float(drawn.std()),
        n_resamples=len(drawn),
        settings=settings,
    )


def _compared(
    nulls: Sequence[BinNull],
    summary: Callable[[FloatArray], FloatArray],
    threshold: float,
    n_resamples: int,
    max_exceedances: int | None,
    n_jobs: int | None,
) -> tuple[FloatArray, int]:
    """Return the statistics drawn, to the last one wanted, and how many reach the threshold."""
    parts: list[FloatArray] = []
    n_drawn = reached = 0
    size = n_resamples if max_exceedances is None else BATCH
    while n_drawn < n_resamples:
        nulls, gaps = draw_gaps(nulls, min(size, n_resamples - n_drawn), n_jobs)
        part = summary(gaps)
        hits = np.flatnonzero(part >= threshold)
        if max_exceedances is not None and reached + len(hits) >= max_exceedances:
            part = part[: hits[max_exceedances - reached - 1] + 1]
            return np.concatenate([*parts, part]), max_exceedances
        parts.append(part)
        reached += len(hits)
        n_drawn += len(part)
        size = n_drawn
    return np.concatenate(parts), reached
