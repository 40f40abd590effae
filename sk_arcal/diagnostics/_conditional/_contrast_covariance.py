"""Null variances of the sums that the statistics are made of.

Rows that are alike only within their bin have S_b uncorrelated between bins, with covariance
C_b = v_b F_b' F_b. Rows that come in groups have whatever covariance the random signs of the
groups give: the sum over groups g of X_g X_g', X_g the group's contributions to all bins. In
both cases the variance of a window of bins is a difference of cumulated sums.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]

_TINY = 1e-9
_MIN_INFORMATION = 5.0


@dataclass(frozen=True)
class ContrastCovariance:
    """Null covariance of every contrast of one routing feature.

    Attributes
    ----------
    total : ndarray of shape (n_columns, n_columns)
        Covariance of the columns summed over all bins.
    turn_weights : ndarray of shape (n_bins,)
        a_b: the number of the bin less its mean, weighted by the variance of the trend.
    turn : ndarray of shape (n_trends, n_trends)
        Covariance of sum_b a_b S_b over the trend columns.
    windows : list of ndarray of shape (n_windows, n_trends)
        Variance of the trend in all windows of 1, 2, 4, ... bins.
    """

    total: FloatArray
    turn_weights: FloatArray
    turn: FloatArray
    windows: list[FloatArray]

    @classmethod
    def from_bins(cls, covariance: FloatArray, trend: slice) -> "ContrastCovariance":
        """Take uncorrelated bins; `covariance` has shape (n_bins, n_columns, n_columns)."""
        of_trend = covariance[:, trend, trend]
        weights = _turn_weights(np.trace(of_trend, axis1=1, axis2=2))
        variance = np.diagonal(of_trend, axis1=1, axis2=2)
        return cls(
            total=covariance.sum(axis=0),
            turn_weights=weights,
            turn=np.tensordot(weights**2, of_trend, axes=1),
            windows=[sums[0] for sums in window_sums(variance[None])],
        )

    @classmethod
    def from_groups(
        cls, contributions: sparse.csc_array, n_bins: int, trend: slice
    ) -> "ContrastCovariance":
        """Take groups that flip sign; `contributions`: shape (n_groups, n_bins * n_columns)."""
        n_columns = contributions.shape[1] // n_bins
        identity = sparse.eye_array(n_columns)
        columns = np.arange(n_columns)[trend]
        between = np.stack([_gram(contributions[:, k::n_columns]) for k in columns])
        weights = _turn_weights(np.einsum("kbb->b", between))
        over_bins = sparse.kron(np.column_stack([np.ones(n_bins), weights]), identity)
        summed = (contributions @ over_bins).toarray()
        turn = summed[:, n_columns + columns]
        return cls(
            total=summed[:, :n_columns].T @ summed[:, :n_columns],
            turn_weights=weights,
            turn=turn.T @ turn,
            windows=[_window_variance(between, length) for length in window_lengths(n_bins)],
        )

    def without_thin_windows(self, information: FloatArray) -> "ContrastCovariance":
        """Drop windows in which a level has too few outcomes for a standard score to mean much.

        Parameters
        ----------
        information : ndarray of shape (n_bins, n_trends)
            Sum of f^2 v without weights: about the number of rarer outcomes among the level's
            rows. Where it is small the score of a single error is large, and the largest of many
            such scores would hide the others.
        """
        enough = [sums[0] >= _MIN_INFORMATION for sums in window_sums(information[None])]
        pairs = zip(self.windows, enough, strict=True)
        return replace(self, windows=[np.where(kept, spread, 0) for spread, kept in pairs])


def window_lengths(n_bins: int) -> list[int]:
    """Window lengths in bins: 1, 2, 4, ... up to half of the bins."""
    lengths = [1]
    while 4 * lengths[-1] <= n_bins:
        lengths.append(2 * lengths[-1])
    return lengths


def window_sums(per_bin: FloatArray) -> list[FloatArray]:
    """Sum axis 1, the bins, over all windows of each length."""
    cumulated = np.zeros((per_bin.shape[0], per_bin.shape[1] + 1, per_bin.shape[2]))
    np.cumsum(per_bin, axis=1, out=cumulated[:, 1:])
    lengths = window_lengths(per_bin.shape[1])
    return [cumulated[:, length:] - cumulated[:, :-length] for length in lengths]


def _window_variance(between: FloatArray, length: int) -> FloatArray:
    """Variance of window sums, (n_windows, n_trends), from covariances between bins."""
    corner = np.pad(between.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    start = np.arange(between.shape[1] - length + 1)
    end = start + length
    crossed = corner[:, start, end] + corner[:, end, start]
    return (corner[:, end, end] + corner[:, start, start] - crossed).T


def _turn_weights(spread: FloatArray) -> FloatArray:
    """Count bins from their mean, so that trend and turn are uncorrelated."""
    bins = np.arange(len(spread), dtype=np.float64)
    return bins - bins @ spread / max(spread.sum(), _TINY)


def _gram(columns: sparse.csc_array) -> FloatArray:
    return (columns.T @ columns).toarray()
