"""All terms of a profile in one statistic, on all rows.

Inside bins of like confidence every term f is freed of a straight line in the confidence rank and
weighted by w_b = v_b^(-1/2), as in the test of one feature. With S = sum_i f_i y_i, V its
covariance under shuffles of y inside bins, and z = diag(V)^(-1/2) S with correlation matrix C,
each kind of term (trend, curvature, turn, pair) has two statistics:

    max_k z_k^2    and    z' (C + I)^-1 z.

The first finds a single term. The second adds up many weak ones, also where they show only in
differences between terms that go together: it is the penalised score statistic of a model in
which every term has a small random coefficient [1]. Nothing is fitted to the outcome, so no rows
are spent on learning a direction: the shuffles, which all statistics share, know how large each
becomes by chance.

Statistics are ranked among {data, draws}. The smaller p of a kind, and then the smallest p of the
kinds, is ranked again among the same.

[1] J. J. Goeman, S. A. van de Geer and H. C. van Houwelingen. "Testing against a high dimensional
alternative". Journal of the Royal Statistical Society B 68, 2006, pp. 477-493.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._step_down import rank_pvalues
from sk_arcal.diagnostics._profile._joint_draws import joint_sums
from sk_arcal.diagnostics._profile._profile_columns import ProfileColumns, Term

FloatArray = NDArray[np.float64]

KINDS = ("trend", "curvature", "turn", "pair")
_PENALTY = 1.0
# A term that keeps less variance than this inside bins is a function of the confidence.
_FLAT = 1e-3


@dataclass(frozen=True)
class JointTest:
    """What the joint test found.

    Attributes
    ----------
    pvalue : float
        Of all kinds together; NaN if no term varies at equal confidence.
    kind_pvalues : dict of str to float
        Of each kind of term that the profile has.
    terms : list of Term
        Terms tested.
    scores : ndarray of shape (n_terms,)
        z of each term.
    null : {"shuffle", "sign-flip", "normal"}
        How draws were made.
    """

    pvalue: float
    kind_pvalues: dict[str, float]
    terms: list[Term]
    scores: FloatArray
    null: str


def joint_test(
    columns: ProfileColumns,
    outcomes: BinnedOutcomes,
    n_resamples: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> JointTest:
    """Test all terms of a profile together."""
    terms = columns.terms
    sums = joint_sums(columns, terms, outcomes, n_resamples, rng, n_jobs)
    variance = np.diag(sums.covariance)
    kept = np.flatnonzero((sums.strength > _FLAT) & (variance > 0))
    terms = [terms[k] for k in kept]
    deviation = np.sqrt(variance[kept])
    scores = sums.values[:, kept] / deviation
    correlation = sums.covariance[np.ix_(kept, kept)] / np.multiply.outer(deviation, deviation)
    of_kind: dict[str, FloatArray] = {}
    for kind in KINDS:
        places = np.flatnonzero([term.kind == kind for term in terms])
        if len(places):
            statistics = kind_statistics(scores[:, places], correlation[np.ix_(places, places)])
            of_kind[kind] = smallest_pvalues(rank_pvalues(statistics))
    overall = np.nan
    if of_kind:
        overall = float(smallest_pvalues(np.column_stack(list(of_kind.values())))[0])
    kind_pvalues = {kind: float(pvalues[0]) for kind, pvalues in of_kind.items()}
    return JointTest(overall, kind_pvalues, terms, scores[0], sums.null)


def kind_statistics(scores: FloatArray, correlation: FloatArray) -> FloatArray:
    """Return the statistics of one kind of term, shape (1 + n_resamples, 1 or 2).

    A single term has one statistic, because both are its square.
    """
    largest = (scores**2).max(axis=1)
    if scores.shape[1] == 1:
        return largest[:, None]
    penalised = correlation + _PENALTY * np.eye(len(correlation))
    sums = (scores * np.linalg.solve(penalised, scores.T).T).sum(axis=1)
    return np.column_stack([largest, sums])


def smallest_pvalues(pvalues: FloatArray) -> FloatArray:
    """Rank rows of p-values, shape (1 + n_resamples, k), by the smallest, then by the sum."""
    n, k = pvalues.shape
    counts = np.rint(pvalues * n)
    score = counts.min(axis=1) * (k * n + 1) + counts.sum(axis=1)
    return rank_pvalues(-score[:, None])[:, 0]
