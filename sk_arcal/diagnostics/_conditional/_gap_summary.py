"""The gap that a routing feature is summed up by, and what its interval can and cannot exclude."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._effect_size import Gaps, matched_gaps
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]

TERTILES = "top minus bottom tertile of routing"
_POWER = 0.8


@dataclass(frozen=True)
class GapSummary:
    """Overall matched gap of one feature; names as in ConditionalCalibrationResult."""

    gap: float
    gap_contrast: str
    gap_interval: tuple[float, float]
    gap_se: float
    min_detectable_gap: float
    equivalence_interval: tuple[float, float]


def summarise_gap(
    feature: RoutingFeature, outcomes: BinnedOutcomes, part_draws: FloatArray, alpha: float
) -> GapSummary:
    """Estimate the overall gap.

    Parameters
    ----------
    feature : RoutingFeature
        Ranked features are summed up by their outer tertiles, levels by the level that stands
        out most from the rest.
    outcomes : BinnedOutcomes
        Rows in order of confidence.
    part_draws : ndarray of shape (n_resamples,)
        Largest squared standard score over the parts in each draw. Its quantile makes intervals
        hold for all levels at once.
    alpha : float
        Level.
    """
    if feature.is_ranked:
        return gap_summary(*_tertile_gap(feature, outcomes, alpha), alpha)
    gaps = matched_gaps(outcomes, lambda b: _levels(feature, outcomes.rows(b)))
    factor = gaps.quantile(1 - alpha / 2)
    if len(gaps.estimate) > 1:
        factor = max(factor, float(np.sqrt(np.quantile(part_draws, 1 - alpha, method="higher"))))
    level = standing_out(gaps)
    return gap_summary(gaps, level, f"{feature.part_names[level]} minus the rest", factor, alpha)


def _tertile_gap(
    feature: RoutingFeature, outcomes: BinnedOutcomes, alpha: float
) -> tuple[Gaps, int, str, float]:
    def tertiles(b: int) -> tuple[FloatArray, FloatArray]:
        mean, variance = feature.contrast(0, outcomes.rows(b))
        return mean[:, None], variance[:, None]

    gaps = matched_gaps(outcomes, tertiles, scale=feature.contrast_scale(0))
    return gaps, 0, TERTILES, gaps.quantile(1 - alpha / 2)


def _levels(feature: RoutingFeature, rows: slice) -> tuple[FloatArray, FloatArray]:
    indicators = feature.columns(rows)
    return indicators, np.zeros_like(indicators)


def standing_out(gaps: Gaps) -> int:
    """Return the level with the largest standard score; of two mirror images the positive one."""
    score = np.round(gaps.estimate / np.where(gaps.error > 0, gaps.error, np.nan), 9)
    if np.isnan(score).all():
        return 0
    return int(np.nanargmax(np.abs(score) + 1e-9 * (score > 0)))


def gap_summary(gaps: Gaps, k: int, words: str, factor: float, alpha: float) -> GapSummary:
    """Sum up the gap of contrast `k`, whose interval is `factor` standard errors to either side."""
    low, high = gaps.interval(factor)
    inner_low, inner_high = gaps.interval(gaps.quantile(1 - alpha))
    return GapSummary(
        gap=float(gaps.estimate[k]),
        gap_contrast=words,
        gap_interval=(float(low[k]), float(high[k])),
        gap_se=float(gaps.error[k]),
        min_detectable_gap=float((factor + gaps.quantile(_POWER)) * gaps.error.max()),
        equivalence_interval=(float(inner_low.min()), float(inner_high.max())),
    )
