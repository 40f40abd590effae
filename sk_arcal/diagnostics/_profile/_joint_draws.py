"""Sums of all terms over the outcomes, of the data and of draws without effect.

shuffle
    Outcomes are permuted inside bins of like confidence; profile and confidence stay together.
sign-flip
    Rows come in groups: the detrended outcomes of a group change sign together, or not at all.
normal
    Beyond 20 000 rows without groups: the normal law with the covariance of the shuffles,
    r (1 - r) m / (m - 1) F_b' F_b in a bin of m rows with event rate r.
"""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import sparse

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._profile._profile_columns import ProfileColumns, Term

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_MAX_SHUFFLED = 20_000
# Doubles in one block of draws: 32 MB.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class JointSums:
    """Sums S of the terms.

    Attributes
    ----------
    values : ndarray of shape (1 + n_resamples, n_terms)
        Row 0 belongs to the data, the others to the draws.
    covariance : ndarray of shape (n_terms, n_terms)
        Of the draws, by formula.
    strength : ndarray of shape (n_terms,)
        Variance that the term keeps inside bins; 1 if it varies as freely there as overall.
    null : {"shuffle", "sign-flip", "normal"}
        How the draws were made.
    """

    values: FloatArray
    covariance: FloatArray
    strength: FloatArray
    null: str


@dataclass(frozen=True)
class _Binned:
    """Weighted, detrended terms, one bin at a time."""

    columns: ProfileColumns
    terms: list[Term]
    outcomes: BinnedOutcomes

    def block(self, b: int) -> FloatArray:
        """F_b, shape (rows of bin b, n_terms)."""
        rows = self.outcomes.rows(b)
        terms = self.columns.of_terms(self.terms, rows)
        return self.outcomes.weights[b] * self.outcomes.detrended(terms, b)


def joint_sums(
    columns: ProfileColumns,
    terms: list[Term],
    outcomes: BinnedOutcomes,
    n_resamples: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> JointSums:
    """Return sums of the data and of `n_resamples` draws; the same for every `n_jobs`."""
    binned = _Binned(columns, terms, outcomes)
    null = "shuffle" if outcomes.n_samples <= _MAX_SHUFFLED else "normal"
    if outcomes.groups is not None:
        null = "sign-flip"
    n_shuffles = n_resamples if null == "shuffle" else 0
    values, covariance, free = _over_bins(binned, n_shuffles, rng, n_jobs)
    if outcomes.groups is not None:
        parts = _group_parts(binned, outcomes.groups)
        values, covariance = _signed(parts, n_resamples, rng), parts.T @ parts
    elif null == "normal":
        values = np.vstack([values, _normal(covariance, n_resamples, rng)])
    return JointSums(values, covariance, free, null)


def _over_bins(
    binned: _Binned, n_shuffles: int, rng: np.random.Generator, n_jobs: int | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Add up sums, shuffled sums, their covariance and the squares of the terms over the bins."""
    outcomes, n_terms = binned.outcomes, len(binned.terms)
    values = np.zeros((1 + n_shuffles, n_terms))
    covariance = np.zeros((n_terms, n_terms))
    # "generator": the bins are added in their order, and only few are in memory at a time.
    bins = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
        delayed(_one_bin)(binned, b, n_shuffles, child)
        for b, child in enumerate(rng.spawn(outcomes.n_bins))
    )
    squares = np.zeros(n_terms)
    for b, (sums, gram) in enumerate(bins):
        values += sums
        size, hits = outcomes.sizes[b], outcomes.hits[b]
        covariance += hits * (1 - hits / size) / max(size - 1, 1) * gram
        squares += np.diag(gram) / outcomes.weights[b] ** 2
    return values, covariance, squares / outcomes.n_samples


def _one_bin(
    binned: _Binned, b: int, n_shuffles: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    block = binned.block(b)
    events = binned.outcomes.events[binned.outcomes.rows(b)]
    sums = [(events @ block)[None]]
    step = max(1, _BLOCK // len(events))
    for start in range(0, n_shuffles, step):
        drawn = np.tile(events, (min(step, n_shuffles - start), 1))
        rng.permuted(drawn, axis=1, out=drawn)
        sums.append(drawn @ block)
    return np.vstack(sums), block.T @ block


def _normal(covariance: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    noise = rng.standard_normal((n_resamples, len(values)))
    return (noise * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _group_parts(binned: _Binned, groups: IntArray) -> FloatArray:
    """Each group's share of the sums, shape (n_groups, n_terms)."""
    outcomes = binned.outcomes
    codes = np.unique(groups, return_inverse=True)[1]
    parts = np.zeros((codes.max() + 1, len(binned.terms)))
    for b in range(outcomes.n_bins):
        rows = outcomes.rows(b)
        products = binned.block(b) * outcomes.detrended(outcomes.events[rows, None], b)
        members, place = np.unique(codes[rows], return_inverse=True)
        one_hot = sparse.csc_array((np.ones(len(place)), place, np.arange(len(place) + 1)))
        parts[members] += one_hot @ products
    return parts


def _signed(parts: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    sums = [parts.sum(axis=0)[None]]
    step = max(1, _BLOCK // len(parts))
    for start in range(0, n_resamples, step):
        shape = (min(step, n_resamples - start), len(parts))
        sums.append((2.0 * rng.integers(0, 2, shape) - 1) @ parts)
    return np.vstack(sums)
