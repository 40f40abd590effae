"""What a method is given, what it says of each routing feature, and p-values of several."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._combination import holm
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._conditional._step_down import step_down
from sk_arcal.diagnostics._conditional_cells import ConditionalCells

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Table:
    """Checked data of all features whose question has an answer.

    Attributes
    ----------
    outcomes : BinnedOutcomes
        Rows in order of confidence.
    spline : ConfidenceSpline
        Regression on the rank of the confidence, for these rows.
    values : sequence of RoutingValues
        Routing, rows as the user gave them.
    features : sequence of RoutingFeature
        The same as columns, rows in order of confidence.
    alpha : float
        Level.
    n_resamples : int
        Draws of methods that draw.
    rng : numpy Generator
        Seed of those draws.
    """

    outcomes: BinnedOutcomes
    spline: ConfidenceSpline
    values: Sequence[RoutingValues]
    features: Sequence[RoutingFeature]
    alpha: float
    n_resamples: int
    rng: np.random.Generator


@dataclass(frozen=True)
class Finding:
    """What a method says of one feature.

    Attributes
    ----------
    statistic, pvalue : float
        The number it is named for, and its p-value.
    leading : str
        What speaks loudest, in words.
    gap : float or None
        Gap of that, if it is not the overall one of the feature.
    interval : tuple of float or None
        Simultaneous interval of `gap`.
    draws : ndarray of shape (n_resamples,) or (0,)
        The statistic under the null hypothesis.
    shared_pvalues : ndarray of shape (1 + n_resamples,) or (0,)
        p-values of data and draws, for methods whose draws are shared by all features.
    cells : ConditionalCells or None
        Table of cells.
    """

    statistic: float
    pvalue: float
    leading: str
    gap: float | None = None
    interval: tuple[float, float] | None = None
    draws: FloatArray = field(default_factory=lambda: np.empty(0))
    shared_pvalues: FloatArray = field(default_factory=lambda: np.empty(0))
    cells: ConditionalCells | None = None


def adjusted_pvalues(findings: Sequence[Finding]) -> FloatArray:
    """Adjust by Westfall and Young's rule where all features share their draws, else by Holm's."""
    if findings and all(len(finding.shared_pvalues) for finding in findings):
        return step_down(np.column_stack([finding.shared_pvalues for finding in findings]))
    return holm(np.array([finding.pvalue for finding in findings], dtype=np.float64))


def trend_words(feature: RoutingFeature, column: int) -> str:
    """Words for one column of a feature, over all confidences."""
    return f"{feature.contrast_name(column)} over all confidences"
