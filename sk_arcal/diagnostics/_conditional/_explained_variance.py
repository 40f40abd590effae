"""The variance of the truth at fixed confidence that a feature explains, and its noise.

The measurement behind :func:`~sk_arcal.diagnostics.grouping_loss` and
:func:`~sk_arcal.diagnostics.configuration_collapse`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, check_groups, check_integer
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._conditional._routing_patterns import (
    explained,
    residuals,
    routing_patterns,
)
from sk_arcal.diagnostics._conditional._squared_length import SquaredLength

# Pairs of slices per cube root of n: more would drown a pattern in the noise of the others.
_SLICE_RATE, _MOST_SLICES = 1 / 7, 16


@dataclass(frozen=True, eq=False, slots=True)
class ExplainedVariance:
    """What a feature explains of the outcomes among rows of like confidence.

    Attributes
    ----------
    length : SquaredLength
        Unbiased estimate with what its interval needs.
    covariance : ndarray of shape (n_patterns, n_patterns)
        Of the vector whose squared length it is.
    outcome_variance : float
        Mean variance of the outcome among rows of like confidence.
    """

    length: SquaredLength
    covariance: FloatArray
    outcome_variance: float

    @property
    def share(self) -> float:
        """The estimate as share of the outcome's variance; zero where that is none."""
        return self.length.estimate / self.outcome_variance if self.outcome_variance > 0 else 0.0


def explained_variance(
    event: FloatArray,
    confidence: FloatArray,
    values: RoutingValues,
    n_slices: int | None,
    groups: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> ExplainedVariance:
    """Measure a feature.

    Parameters
    ----------
    event, confidence : ndarray of shape (n_samples,)
        Outcomes and probability of the event.
    values : RoutingValues
        The feature.
    n_slices : int or None
        Slices of the confidence; None takes a number that grows with the cube root of the rows.
    groups : ndarray of shape (n_samples,) or None
        Codes of groups of dependent rows.
    rng : Generator
        Order of ties.

    Returns
    -------
    found : ExplainedVariance
        Estimate and noise.

    Raises
    ------
    ValueError
        If `n_slices` is below one.
    TypeError
        If it is no integer.
    """
    given = _default_slices(len(event)) if n_slices is None else n_slices
    slices = check_integer("n_slices", given, low=1)
    outcomes = BinnedOutcomes.from_rows(event, confidence, groups, rng)
    patterns = routing_patterns(values, outcomes.order, outcomes.rank, rng)
    vector, covariance = explained(outcomes, patterns, slices)
    residual, leverage = residuals(outcomes)
    variance = float((residual**2).sum() / max((1 - leverage).sum(), 1e-12))
    return ExplainedVariance(SquaredLength.of(vector, covariance), covariance, variance)


def group_codes(groups: ArrayLike | None, n_samples: int) -> NDArray[np.intp] | None:
    """Return codes of groups of dependent rows, of which an interval needs two or more."""
    if groups is None:
        return None
    codes = check_groups(groups, n_samples)[1]
    if codes.max() == 0:
        raise ValueError("`groups` holds one group; an interval needs at least two.")
    return codes


def _default_slices(n_samples: int) -> int:
    """Return an even number, so that the middle of the confidence is an edge."""
    return int(np.clip(2 * round(n_samples ** (1 / 3) * _SLICE_RATE), 2, _MOST_SLICES))
