"""Gaps between parts of the routing among rows of like confidence, with honest intervals.

For a contrast phi (tertile codes -1, 0, +1; an indicator) let phi~ be its residual from a straight
line in the confidence rank inside each bin. Then

    theta = sum phi~ y / D,   D = sum phi~^2 + (what averaging phi over ties took away),

is the coefficient of phi in a regression of y on phi and on a line in every bin; the gap between
the top and the bottom tertile is 2 theta. Its variance is the HC3 one,

    sum [phi~ e / (1 - h)]^2 / D^2,

e the residuals of that regression, h their leverage (J. G. MacKinnon and H. White, Journal of
Econometrics 29, 1985, eq. 13; the jackknife form). With groups the terms are summed over each
group before squaring, each sum again divided by one minus the group's share of sum phi~^2, and
the quantiles are those of Student's t with (groups - 1) degrees of freedom.

The minimum detectable gap is the one that a two-sided 5 % test finds with 80 % power: 2.80
standard errors. Two one-sided 5 % tests find equivalence, |gap| < delta, when the 90 % interval
lies inside (-delta, delta) (D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes

FloatArray = NDArray[np.float64]

# Bin number -> contrasts of its rows, shape (n_rows, n_contrasts), and their variances over ties.
Contrasts = Callable[[int], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Gaps:
    """Matched gaps of several contrasts.

    Attributes
    ----------
    estimate, error : ndarray of shape (n_contrasts,)
        Gaps in probability units, and their standard errors; NaN where the contrast does not
        vary among rows of like confidence.
    degrees : float
        Degrees of freedom of the errors; infinite without groups.
    """

    estimate: FloatArray
    error: FloatArray
    degrees: float

    def quantile(self, probability: float) -> float:
        """Quantile of the standardised estimate."""
        return float(student.ppf(probability, self.degrees))

    def interval(self, factor: float) -> tuple[FloatArray, FloatArray]:
        """Estimates -/+ `factor` standard errors."""
        return self.estimate - factor * self.error, self.estimate + factor * self.error


def matched_gaps(
    outcomes: BinnedOutcomes, contrasts: Contrasts, *, scale: float = 1.0, bins: range | None = None
) -> Gaps:
    """Estimate the gaps of `contrasts` over all or some neighbouring bins.

    Parameters
    ----------
    outcomes : BinnedOutcomes
        Rows in order of confidence.
    contrasts : callable
        Takes the number of a bin.
    scale : float, default=1.0
        Gap per unit of the contrast: 2 for tertile codes.
    bins : range, default=None
        Bins to use; None means all.
    """
    bins = range(outcomes.n_bins) if bins is None else bins
    crossed, own, total = _moments(outcomes, contrasts, bins)
    varies = own > 1e-9
    own, total = np.where(varies, own, np.nan), np.where(varies, total, np.nan)
    summary = _PerRow() if outcomes.groups is None else _PerGroup(outcomes.groups, len(own))
    for b in bins:
        residual, scores = _scores(outcomes, contrasts, b, coefficient=crossed / own, own=own)
        summary.add(outcomes.rows(b), scores, residual**2 / own)
    return Gaps(
        scale * crossed / total, scale * np.sqrt(summary.variance()) / total, summary.degrees
    )


class _PerRow:
    """Variance of a sum of scores of independent rows."""

    degrees = np.inf

    def __init__(self) -> None:
        self._squares: FloatArray | float = 0.0

    def add(self, rows: slice, scores: FloatArray, share: FloatArray) -> None:
        self._squares = self._squares + (scores**2).sum(axis=0)

    def variance(self) -> FloatArray:
        return np.asarray(self._squares)


class _PerGroup:
    """Variance of a sum of scores that are dependent inside groups."""

    def __init__(self, groups: NDArray[np.intp], n_contrasts: int) -> None:
        self._groups = groups
        self._sums, self._shares = np.zeros((2, int(groups.max()) + 1, n_contrasts))
        self._rows = np.zeros(len(self._sums), dtype=np.intp)

    def add(self, rows: slice, scores: FloatArray, share: FloatArray) -> None:
        np.add.at(self._sums, self._groups[rows], scores)
        np.add.at(self._shares, self._groups[rows], share)
        self._rows += np.bincount(self._groups[rows], minlength=len(self._rows))

    def variance(self) -> FloatArray:
        return ((self._sums / np.maximum(1 - self._shares, 1e-6)) ** 2).sum(axis=0)

    @property
    def degrees(self) -> float:
        return float(max(int(np.count_nonzero(self._rows)) - 1, 1))


def _moments(
    outcomes: BinnedOutcomes, contrasts: Contrasts, bins: range
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum phi~ y, sum phi~^2 and D over the bins."""
    per_bin = []
    for b in bins:
        values, variance = contrasts(b)
        residual = outcomes.detrended(values, b)
        own = (residual**2).sum(axis=0)
        total = own + (1 - outcomes.leverage(b)) @ variance
        per_bin.append((outcomes.events[outcomes.rows(b)] @ residual, own, total))
    crossed, own, total = np.sum(per_bin, axis=0)
    return crossed, own, total


def _scores(
    outcomes: BinnedOutcomes,
    contrasts: Contrasts,
    b: int,
    *,
    coefficient: FloatArray,
    own: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return each row's phi~ and phi~ e / (1 - h), both of shape (n_rows, n_contrasts)."""
    residual = outcomes.detrended(contrasts(b)[0], b)
    events = outcomes.detrended(outcomes.events[outcomes.rows(b), None], b)
    leverage = outcomes.leverage(b)[:, None] + residual**2 / own
    # A row that alone decides a coefficient has residual 0 and leverage 1 up to rounding.
    slack = np.maximum(1 - leverage, 1e-6)
    return residual, residual * (events - coefficient * residual) / slack
