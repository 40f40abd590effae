"""Learn a score on one part of the rows, test it on the other, several times over.

The score is fixed before an outcome of the held-out part is seen, so the test of one feature
applies to it unchanged. Splits of the same rows depend on one another; their p-values are merged
by Cauchy's rule,

    p = 1/2 - arctan(mean_k tan(pi (1/2 - p_k))) / pi,

which is nearly exact for small p however they depend [1].

[1] Y. Liu and J. Xie. "Cauchy combination test: a powerful test with analytic p-value calculation
under arbitrary dependency structures". Journal of the American Statistical Association 115, 2020.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional_test import conditional_calibration_test
from sk_arcal.diagnostics._profile._learners import Score, learn_score
from sk_arcal.diagnostics._profile._profile_columns import ProfileColumns
from sk_arcal.diagnostics._result import ConditionalCalibrationResult

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class HeldOut:
    """One split.

    Attributes
    ----------
    result : ConditionalCalibrationResult
        Test of the score on the held-out rows.
    rows : ndarray of shape (n_held_out,)
        Those rows, as places in the order of confidence.
    scores : ndarray of shape (n_held_out,)
        Learned score of these rows.
    importance : dict of str to float
        How far the score moves on the rows it was learned on, root mean square over its
        standard deviation, when a column is permuted there.
    """

    result: ConditionalCalibrationResult
    rows: IntArray
    scores: FloatArray
    importance: dict[str, float]


def held_out_tests(
    learner: Any,
    columns: ProfileColumns,
    outcomes: BinnedOutcomes,
    fit_fraction: float,
    n_splits: int,
    options: dict[str, Any],
    rng: np.random.Generator,
    n_jobs: int | None,
) -> list[HeldOut]:
    """Run all splits; the same for every `n_jobs`."""
    fit_parts = [fit_part(outcomes, fit_fraction, child) for child in rng.spawn(n_splits)]
    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_held_out)(learner, columns, outcomes, part, options, child)
        for part, child in zip(fit_parts, rng.spawn(n_splits), strict=True)
    )


def fit_part(
    outcomes: BinnedOutcomes, fit_fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mark the rows to learn on; groups stay whole.

    Groups are drawn in random order until the fraction of the rows is reached; one group at
    least goes to either part.
    """
    units = np.arange(outcomes.n_samples) if outcomes.groups is None else outcomes.groups
    _, first, codes = np.unique(units, return_index=True, return_inverse=True)
    # Named by their first row, so that the names of groups do not matter.
    codes = np.argsort(np.argsort(first))[codes]
    sizes = np.bincount(codes)
    order = rng.permutation(len(sizes))
    reached = np.cumsum(sizes[order]) / len(codes)
    n_fit = int(np.clip(np.argmin(np.abs(reached - fit_fraction)) + 1, 1, len(sizes) - 1))
    return np.isin(codes, order[:n_fit])


def _held_out(
    learner: Any,
    columns: ProfileColumns,
    outcomes: BinnedOutcomes,
    is_fit: NDArray[np.bool_],
    options: dict[str, Any],
    rng: np.random.Generator,
) -> HeldOut:
    bin_rng, learn_rng, test_rng, importance_rng = rng.spawn(4)
    fit, test = np.flatnonzero(is_fit), np.flatnonzero(~is_fit)
    part = BinnedOutcomes.from_rows(outcomes.events[fit], outcomes.confidence[fit], None, bin_rng)
    learned_on = _take(columns, fit[part.order])
    score = learn_score(learner, learned_on, part, learn_rng)
    scores = _rounded(score(_take(columns, test)))
    result = conditional_calibration_test(
        outcomes.events[test],
        outcomes.confidence[test],
        scores,
        routing_kind="continuous",
        groups=None if outcomes.groups is None else outcomes.groups[test],
        random_state=test_rng,
        **options,
    )
    return HeldOut(result, test, scores, _importance(score, learned_on, importance_rng))


def _take(columns: ProfileColumns, rows: IntArray) -> ProfileColumns:
    return replace(columns, values=columns.values[rows], rank=columns.rank[rows])


def _rounded(scores: FloatArray) -> FloatArray:
    """Make equal what differs by rounding alone, for instance a constant score."""
    scale = np.abs(scores).max()
    return np.round(scores / scale, 12) * scale if scale > 0 else scores


def _importance(
    score: Score, columns: ProfileColumns, rng: np.random.Generator
) -> dict[str, float]:
    usual = score(columns)
    spread = float(usual.std())
    names = list(dict.fromkeys(columns.sources))
    moved = {}
    for name, child in zip(names, rng.spawn(len(names)), strict=True):
        own = [source == name for source in columns.sources]
        values = columns.values.copy()
        values[:, own] = child.permutation(values[:, own])
        change = score(replace(columns, values=values)) - usual
        moved[name] = float(np.sqrt(np.mean(change**2))) / spread if spread > 0 else 0.0
    return moved


def merged_pvalue(pvalues: FloatArray, n_resamples: int) -> float:
    """Merge p-values of dependent tests by Cauchy's rule; NaN are left out.

    A rank p-value of exactly 1 would outweigh all others; it counts as 1 - 1 / (2 B + 2).
    """
    known = pvalues[~np.isnan(pvalues)]
    if not known.size:
        return np.nan
    known = np.minimum(known, 1 - 0.5 / (n_resamples + 1))
    return float(0.5 - np.arctan(np.mean(np.tan(np.pi * (0.5 - known)))) / np.pi)
