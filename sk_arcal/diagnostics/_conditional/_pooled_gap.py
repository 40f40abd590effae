"""The matched gap as a mean over runs that share their items.

In run s the gap is theta_s = sum phi~ y / D (see the leaf on effect sizes), and its error is a
sum over items of scores psi_is = [phi~ e / (1 - h)]_is / D_s, each divided by one minus the
item's share of sum phi~^2. The mean over runs has the scores sum_s psi_is / n_runs; squaring
after the sum over runs counts what the runs have in common. Quantiles are those of Student's t
with (items - 1) degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._effect_size import Contrasts, Gaps
from sk_arcal.diagnostics._conditional._gap_summary import (
    TERTILES,
    GapSummary,
    gap_summary,
    standing_out,
)
from sk_arcal.diagnostics._conditional._pooled_runs import PooledFeature, groups_of
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PooledGap:
    """Mean gap over runs, and the gap of each run.

    Attributes
    ----------
    summary : GapSummary
        Of the mean.
    run_gap : ndarray of shape (n_runs,)
        Same contrast in each run; NaN where a run cannot tell.
    run_low, run_high : ndarray of shape (n_runs,)
        Intervals of `run_gap`.
    """

    summary: GapSummary
    run_gap: FloatArray
    run_low: FloatArray
    run_high: FloatArray


def pooled_gap(pooled: PooledFeature, part_draws: FloatArray, alpha: float) -> PooledGap:
    """Estimate the mean gap; of levels, that of the one that stands out most.

    Parameters
    ----------
    pooled : PooledFeature
        The feature in all runs.
    part_draws : ndarray of shape (n_resamples,)
        Largest squared standard score over the parts in each draw, for intervals that hold for
        all levels at once.
    alpha : float
        Level.
    """
    layout = pooled.layout
    n_contrasts = 1 if layout.is_ranked else layout.n_columns
    estimate, error = np.full((2, len(pooled.features), n_contrasts), np.nan)
    scores = np.zeros((int(groups_of(pooled.outcomes[0]).max()) + 1, n_contrasts))
    for s, (outcomes, feature) in enumerate(zip(pooled.outcomes, pooled.features, strict=True)):
        own_gap, own_scores = item_scores(outcomes, *_contrasts(feature, outcomes))
        known = ~np.isnan(own_gap)
        places = (np.arange(1) if layout.is_ranked else pooled.places(feature))[known]
        estimate[s, places] = own_gap[known]
        error[s, places] = np.sqrt((own_scores[:, known] ** 2).sum(axis=0))
        scores[:, places] += own_scores[:, known]
    count = (~np.isnan(estimate)).sum(axis=0)
    n_runs = np.where(count > 0, count, np.nan)
    degrees = float(len(scores) - 1)
    mean = Gaps(
        np.nansum(estimate, axis=0) / n_runs, np.sqrt((scores**2).sum(axis=0)) / n_runs, degrees
    )
    k = standing_out(mean)
    factor = mean.quantile(1 - alpha / 2)
    if n_contrasts > 1:
        factor = max(factor, float(np.sqrt(np.quantile(part_draws, 1 - alpha, method="higher"))))
    low, high = Gaps(estimate[:, k], error[:, k], degrees).interval(factor)
    summary = gap_summary(mean, k, _contrast_words(layout, k), factor, alpha)
    return PooledGap(summary, estimate[:, k], low, high)


def item_scores(
    outcomes: BinnedOutcomes, contrasts: Contrasts, scale: float
) -> tuple[FloatArray, FloatArray]:
    """Return the gaps of one run and what each item adds to their errors.

    Parameters
    ----------
    outcomes : BinnedOutcomes
        Rows in order of confidence, with items as groups.
    contrasts : callable
        Takes the number of a bin.
    scale : float
        Gap per unit of the contrast.

    Returns
    -------
    estimate : ndarray of shape (n_contrasts,)
        NaN where a contrast does not vary.
    scores : ndarray of shape (n_groups, n_contrasts)
        The sum of their squares is the squared standard error.
    """
    groups = groups_of(outcomes)
    residuals, moments = [], []
    for b in range(outcomes.n_bins):
        values, variance = contrasts(b)
        residual = outcomes.detrended(values, b)
        square = (residual**2).sum(axis=0)
        averaged = (1 - outcomes.leverage(b)) @ variance
        residuals.append(residual)
        moments.append((outcomes.events[outcomes.rows(b)] @ residual, square, square + averaged))
    crossed, own, total = np.sum(moments, axis=0)
    own = np.where(own > 1e-9, own, np.nan)
    scores, shares = np.zeros((2, int(groups.max()) + 1, len(own)))
    for b, residual in enumerate(residuals):
        rows = outcomes.rows(b)
        error = outcomes.detrended(outcomes.events[rows, None], b) - crossed / own * residual
        share = residual**2 / own
        slack = np.maximum(1 - outcomes.leverage(b)[:, None] - share, 1e-6)
        np.add.at(scores, groups[rows], residual * error / slack)
        np.add.at(shares, groups[rows], share)
    per_unit = scale / np.where(np.isnan(own), np.nan, total)
    return crossed * per_unit, scores / np.maximum(1 - shares, 1e-6) * per_unit


def _contrasts(feature: RoutingFeature, outcomes: BinnedOutcomes) -> tuple[Contrasts, float]:
    """Outer tertiles of an ordered feature, all levels of another."""

    def tertiles(b: int) -> tuple[FloatArray, FloatArray]:
        mean, variance = feature.contrast(0, outcomes.rows(b))
        return mean[:, None], variance[:, None]

    def levels(b: int) -> tuple[FloatArray, FloatArray]:
        indicators = feature.columns(outcomes.rows(b))
        return indicators, np.zeros_like(indicators)

    if feature.is_ranked:
        return tertiles, feature.contrast_scale(0)
    return levels, 1.0


def _contrast_words(layout: RoutingFeature, k: int) -> str:
    return TERTILES if layout.is_ranked else f"{layout.part_names[k]} minus the rest"
