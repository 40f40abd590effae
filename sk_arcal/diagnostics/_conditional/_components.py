"""The four statistics, as functions of what each confidence bin sums.

With f the columns of a routing feature, detrended in every bin and weighted (their Gram matrix
in bin b is F_b), S_b = sum of f y over bin b and C_b = v_b F_b:

- linear:    (sum_b S_1b)^2 / sum_b C_11b                 one trend over all confidences
- low_order: S' C^-1 S over the directions, S = sum_b S_b, C = sum_b C_b, plus
             (sum_b a_b S_1b)^2 / sum_b a_b^2 C_11b       trend, curvature, trend that turns
- part:      max over parts p of S_p^2 / C_pp             one part of the routing
- scan:      max over windows W of l = 1, 2, 4, ... neighbouring bins of
             (sum_W S_1b)^2 / sum_W C_11b - 2 log(n_bins / l)   one range of confidence

where a_b = b - (mean of b weighted by C_11b). A nominal feature has a trend in every level: the
squares of the first two become quadratic forms over the levels, the scan takes the largest level.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._contrast_covariance import (
    ContrastCovariance,
    window_lengths,
    window_sums,
)
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

FloatArray = NDArray[np.float64]

COMPONENTS = ("linear", "low_order", "part", "scan")
_TINY = 1e-9


@dataclass(frozen=True)
class Squares:
    """Squared standard scores of every single contrast, for each draw.

    Attributes
    ----------
    total : ndarray of shape (n_draws, n_columns)
        Each column summed over all bins (curvature made orthogonal to the trend).
    turn : ndarray of shape (n_draws, n_trends)
        Trend that changes sign along the confidence.
    windows : list of ndarray of shape (n_draws, n_windows, n_trends)
        Trend within windows of 1, 2, 4, ... bins.
    """

    total: FloatArray
    turn: FloatArray
    windows: list[FloatArray]

    def largest(self) -> FloatArray:
        """Largest square of each draw, shape (n_draws,)."""
        best = np.maximum(self.total.max(axis=1), self.turn.max(axis=1))
        return np.max([best, *(window.max(axis=(1, 2)) for window in self.windows)], axis=0)

    def penalised_windows(self) -> FloatArray:
        """Best window of each length less 2 log(n_bins / length), shape (n_draws, n_lengths)."""
        n_bins = self.windows[0].shape[1]
        best = [window.max(axis=(1, 2)) for window in self.windows]
        return np.column_stack(best) - 2 * np.log(n_bins / np.array(window_lengths(n_bins)))


class Components:
    """The four statistics of one routing feature.

    Parameters
    ----------
    feature : RoutingFeature
        Says which columns are trend, directions and parts.
    covariance : ContrastCovariance
        Null variances of their sums.
    """

    def __init__(self, feature: RoutingFeature, covariance: ContrastCovariance) -> None:
        self._feature = feature
        self._covariance = covariance
        total = covariance.total
        self._contrast = np.eye(len(total))
        if feature.level is None:
            self._contrast[0, 1] = -total[0, 1] / max(total[0, 0], _TINY)
        self._roots = {
            "trend": _inverse_root(total[feature.trend, feature.trend]),
            "directions": _inverse_root(total[feature.directions, feature.directions]),
            "turn": _inverse_root(covariance.turn),
        }

    def squares(self, sums: FloatArray) -> Squares:
        """Return the squared standard scores of every contrast.

        Parameters
        ----------
        sums : ndarray of shape (n_draws, n_bins, n_columns)
            S_b of each draw.
        """
        trend = sums[:, :, self._feature.trend]
        known = self._covariance
        variance = np.einsum("ij,ik,kj->j", self._contrast, known.total, self._contrast)
        return Squares(
            total=_ratio(sums.sum(axis=1) @ self._contrast, variance),
            turn=_ratio(self._turned(sums), np.diag(known.turn)),
            windows=[
                _ratio(window, spread)
                for window, spread in zip(window_sums(trend), known.windows, strict=True)
            ],
        )

    def statistics(self, sums: FloatArray, squares: Squares) -> FloatArray:
        """Return the four statistics, shape (n_draws, 4), in the order of `COMPONENTS`."""
        feature = self._feature
        total = sums.sum(axis=1)
        low_order = _squared_length(total[:, feature.directions] @ self._roots["directions"])
        return np.column_stack(
            [
                _squared_length(total[:, feature.trend] @ self._roots["trend"]),
                low_order + _squared_length(self._turned(sums) @ self._roots["turn"]),
                squares.total[:, feature.parts].max(axis=1),
                squares.penalised_windows().max(axis=1),
            ]
        )

    def _turned(self, sums: FloatArray) -> FloatArray:
        weights = self._covariance.turn_weights
        return np.tensordot(sums[:, :, self._feature.trend], weights, axes=(1, 0))


def _ratio(sums: FloatArray, variance: FloatArray) -> FloatArray:
    """Return sums^2 / variance; zero where nothing varies."""
    inverse = np.where(variance > _TINY, 1 / np.maximum(variance, _TINY), 0.0)
    return sums * sums * inverse


def _inverse_root(matrix: FloatArray) -> FloatArray:
    """Return R with R R' the pseudo-inverse of a covariance matrix."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > max(values[-1], _TINY) * 1e-9
    return vectors[:, kept] / np.sqrt(values[kept])


def _squared_length(vectors: FloatArray) -> FloatArray:
    return np.einsum("ij,ij->i", vectors, vectors)
