"""Worst-tertile calibration error beside what a routing-free model would show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    as_generator,
    check_events,
    check_integer,
    check_probabilities,
    check_vector,
)
from sk_arcal.diagnostics._cells import rank_strata
from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray, confidence_bins
from sk_arcal.metrics._binning import bin_codes, bin_edges

# Sums of the same numbers in another order differ by rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class WorstGroupResult:
    """Result of :func:`worst_tertile_error`.

    Parameters
    ----------
    error : float
        Largest expected calibration error of any stratum, in [0, 1].
    null_mean, null_std : float
        Its mean and standard deviation when outcomes are shuffled among rows of like
        confidence: the model as miscalibrated as it is, and routing without a say.
    pvalue : float
        Share of {observed, shuffled} errors that are at least the observed one.
    stratum_errors : tuple of float
        Error of each stratum, lowest routing first.
    n_resamples : int
        Number of shuffles.

    See Also
    --------
    worst_tertile_error : Computes it.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import worst_tertile_error
    >>> data = make_routing_data(1000, random_state=0)
    >>> result = worst_tertile_error(data.y, data.confidence, data.routing[:, 0], random_state=0)
    >>> result.error == max(result.stratum_errors)
    True
    """

    error: float
    null_mean: float
    null_std: float
    pvalue: float
    stratum_errors: tuple[float, ...]
    n_resamples: int


def worst_tertile_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    n_groups: int = 3,
    n_bins: int = 15,
    n_resamples: int = 200,
    random_state: object = None,
) -> WorstGroupResult:
    """Compute the worst calibration error of routing strata, beside its mean under the null.

    The published headline number, which must not be read alone: of a perfectly calibrated
    model it is about 3.4 % at 2 500 rows and 1.7 % at 10 000. Compare `error` with `null_mean`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1; for top-label confidence 1 = the prediction was right.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,)
        Routing feature; its ranks over all rows make the strata. Ties are broken at random.
    n_groups : int, default=3
        Strata of equal count, at least 2; 3 are the tertiles.
    n_bins : int, default=15
        Equal-width confidence bins of the calibration error, at least 1.
    n_resamples : int, default=200
        Number of shuffles, at least 1.
    random_state : int, RandomState, Generator or None, default=None
        Source of the shuffles and the order of ties.

    Returns
    -------
    result : WorstGroupResult
        Error, null mean and standard deviation, p-value and the error of each stratum.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, or there are
        fewer rows than strata.
    TypeError
        If an input does not hold numbers, or a count is not an integer.

    See Also
    --------
    sk_arcal.metrics.worst_group_calibration_error : The same number for any groups.
    conditional_calibration_test : A test with about twice the power of this p-value.

    Notes
    -----
    With S_t the strata, error = max over t of the sum over bins of (n_tb / n_t) times the
    absolute difference of event rate and mean confidence. For the null, outcomes are shuffled
    inside the quantile bins of confidence of :func:`shuffle_within_bins` and confidence and
    strata stay. The events of the cells (bin x stratum x calibration bin) are then multivariate
    hypergeometric; they are drawn as such, so time and memory are free of the number of rows.

    References
    ----------
    .. [1] H. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". 2026. Worst-tertile ECE.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import worst_tertile_error
    >>> data = make_routing_data(2500, overconfidence=0.0, random_state=0)
    >>> result = worst_tertile_error(data.y, data.confidence, data.routing[:, 0], random_state=0)
    >>> result.error > 0.02, result.pvalue > 0.05
    (True, True)
    """
    events = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(events))
    feature = check_vector(routing, "routing", n_samples=len(events))
    n_groups = check_integer("n_groups", n_groups, low=2)
    n_bins = check_integer("n_bins", n_bins, low=1)
    n_resamples = check_integer("n_resamples", n_resamples, low=1)
    if len(events) < n_groups:
        raise ValueError(f"{n_groups} strata need at least as many rows; got {len(events)}.")
    ties, shuffles = as_generator(random_state).spawn(2)
    strata = rank_strata(feature, np.zeros(len(events), dtype=np.intp), n_groups, ties)
    edges = bin_edges(confidence, np.ones(len(events)), n_bins=n_bins, strategy="uniform")
    cell = strata * n_bins + bin_codes(confidence, edges)
    shape = (n_groups, n_bins)
    expected = np.bincount(cell, weights=confidence, minlength=n_groups * n_bins)
    hits = np.bincount(cell, weights=events, minlength=n_groups * n_bins).astype(np.float64)
    n_rows = np.bincount(strata, minlength=n_groups)
    errors = _stratum_errors(hits - expected, shape, n_rows)[0]
    shuffled = _shuffled_hits(events, confidence, cell, hits.size, n_resamples, shuffles)
    worst = _stratum_errors(shuffled - expected, shape, n_rows).max(axis=1)
    reached = int((worst >= errors.max() - _ROUNDING).sum())
    return WorstGroupResult(
        error=float(errors.max()),
        null_mean=float(worst.mean()),
        null_std=float(worst.std()),
        pvalue=(1 + reached) / (1 + n_resamples),
        stratum_errors=tuple(errors.tolist()),
        n_resamples=n_resamples,
    )


def _stratum_errors(surplus: FloatArray, shape: tuple[int, int], n_rows: IntArray) -> FloatArray:
    """ECE of each stratum, from hits minus expected hits of shape (n_draws, n_cells)."""
    return np.abs(surplus.reshape(-1, *shape)).sum(axis=2) / n_rows


def _shuffled_hits(
    events: FloatArray,
    confidence: FloatArray,
    cell: IntArray,
    n_cells: int,
    n_resamples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Draw the events of every cell, shape (n_resamples, n_cells)."""
    codes, n_shuffle_bins = confidence_bins(confidence)
    joint = codes * n_cells + cell
    rows = np.bincount(joint, minlength=n_shuffle_bins * n_cells).reshape(n_shuffle_bins, n_cells)
    hits = np.bincount(codes, weights=events, minlength=n_shuffle_bins).astype(np.int64)
    drawn = np.zeros((n_resamples, n_cells))
    for b, generator in enumerate(rng.spawn(n_shuffle_bins)):
        cells = np.flatnonzero(rows[b])
        drawn[:, cells] += generator.multivariate_hypergeometric(
            rows[b, cells], hits[b], size=n_resamples, method="marginals"
        )
    return drawn
