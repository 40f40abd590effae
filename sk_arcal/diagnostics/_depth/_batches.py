"""Sums over random batches of rows: all that resampling of a depth profile needs.

Rows, or whole groups of them, are dealt at random to at most `MOST_BATCHES` batches, and of each
the gaps in the confidence bins of every layer are summed, and the right predictions. A bootstrap of
batches then costs the same for a thousand rows and for a million, and the spread of batch sums is
the noise of the whole, dependence inside groups and between layers included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._depth._layer_error import correction_limits
from sk_arcal.metrics._binning import bin_codes, bin_sums
from sk_arcal.metrics._interval import _range_factor

MOST_BATCHES = 2048


@dataclass(frozen=True, eq=False)
class Batches:
    """Sums over batches, of all rows or of a part of them.

    Attributes
    ----------
    count : ndarray of shape (n_batches,)
        Rows.
    right : ndarray of shape (n_batches, n_layers)
        Right predictions.
    gap : ndarray of shape (n_batches, n_layers, n_bins)
        Confidence less event.
    """

    count: FloatArray
    right: FloatArray
    gap: FloatArray

    def part(self, chosen: NDArray[np.bool_]) -> "Batches":
        """Return some of the batches."""
        return Batches(*(values[chosen] for values in vars(self).values()))

    def accuracy(self) -> FloatArray:
        """Return the accuracy of every layer."""
        return np.asarray(self.right.sum(axis=0) / self.count.sum())

    def corrected_errors(self) -> FloatArray:
        """Return the calibration error of every layer less its bias."""
        total = self.gap.sum(axis=0)
        above, below = correction_limits(total, np.sqrt(self._spread(self.gap)))
        return np.asarray((above + below).sum(axis=-1) / (2 * self.count.sum()))

    def resampled(self, n_draws: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return accuracies and calibration errors (n_draws, n_layers) of bootstrap samples.

        A bootstrap sample has the noise twice, which biases errors upwards once more; the errors
        are moved so that their mean is the corrected error.
        """
        n_batches = len(self.count)
        times = rng.multinomial(n_batches, np.full(n_batches, 1 / n_batches), size=n_draws)
        rows = (times @ self.count)[:, None]
        accuracy = times @ self.right / rows
        gaps = times @ self.gap.reshape(n_batches, -1)
        error = np.abs(gaps.reshape(n_draws, *self.gap.shape[1:])).sum(axis=-1) / rows
        return accuracy, error - error.mean(axis=0) + self.corrected_errors()

    def of_layers(self, layer: NDArray[np.intp]) -> "Batches":
        """Return the layer of each batch, shape (n_batches,), and the last, as two layers."""
        rows, last = np.arange(len(layer)), np.full(len(layer), self.right.shape[1] - 1)
        return Batches(
            self.count,
            *(
                np.stack([values[rows, layer], values[rows, last]], axis=1)
                for values in (self.right, self.gap)
            ),
        )

    def accuracy_change(self) -> tuple[float, float]:
        """Return accuracy of the last layer less that of the first, and its variance."""
        change = self.right[:, -1] - self.right[:, 0]
        rows = self.count.sum()
        return float(change.sum() / rows), float(self._spread(change) / rows**2)

    def error_difference(self, level: float) -> tuple[float, tuple[float, float]]:
        """Return the error of the first layer less that of the last, corrected, and an interval.

        The interval of :func:`sk_arcal.metrics.calibration_error_interval`, of a difference: what
        is corrected by too little in one error and by too much in the other bounds it.
        """
        if np.array_equal(self.gap[:, 0], self.gap[:, -1]):
            return 0.0, (0.0, 0.0)
        rows, total = self.count.sum(), self.gap.sum(axis=0)
        sides = correction_limits(total, np.sqrt(self._spread(self.gap)))
        above, below = (side.sum(axis=-1) / rows for side in sides)
        most, least = float(above[0] - below[-1]), float(below[0] - above[-1])
        shares = (np.sign(total) * self.gap).sum(axis=-1)
        error = float(np.sqrt(self._spread(shares[:, 0] - shares[:, -1]))) / float(rows)
        half = error * _range_factor(level, most - least, error)
        low, high = np.clip([least - half, most + half], -1, 1).tolist()
        return (most + least) / 2, (low, high)

    def _spread(self, sums: FloatArray) -> FloatArray:
        """Return the variance of totals over the first axis."""
        return np.asarray((self._away(sums) ** 2).sum(axis=0) * _unbiased(len(sums)))

    def _away(self, sums: FloatArray) -> FloatArray:
        """Return what batches add beyond their number of rows."""
        count = self.count.reshape(-1, *[1] * (sums.ndim - 1))
        return np.asarray(sums - count * sums.sum(axis=0) / self.count.sum())


def _unbiased(n_batches: int) -> float:
    return n_batches / (n_batches - 1)


def deal(
    event: NDArray[np.bool_],
    right: NDArray[np.bool_],
    confidence: NDArray[np.float32],
    groups: NDArray[np.intp] | None,
    n_bins: int,
    rng: np.random.Generator,
) -> Batches:
    """Deal rows, or groups of them, to batches.

    Parameters
    ----------
    event, right, confidence : ndarray of shape (n_samples, n_layers)
        Of every row and layer.
    groups : ndarray of shape (n_samples,) or None
        Codes of groups that stay together.
    n_bins : int
        Equal-width confidence bins.
    rng : Generator
        Deals.

    Returns
    -------
    batches : Batches
        As many as there are rows or groups, and no more than `MOST_BATCHES`.
    """
    n_rows, n_layers = event.shape
    n_units = n_rows if groups is None else int(groups.max()) + 1
    n_batches = min(n_units, MOST_BATCHES)
    place = rng.permutation(n_units) % n_batches
    batch = place if groups is None else place[groups]
    edges = np.linspace(0, 1, n_bins + 1)
    gap = np.empty((n_batches, n_layers, n_bins))
    hits = np.empty((n_batches, n_layers))
    for layer in range(n_layers):
        trust = confidence[:, layer].astype(np.float64)
        cell = batch * n_bins + bin_codes(trust, edges)
        sums = bin_sums(cell, trust - event[:, layer], n_batches * n_bins)
        gap[:, layer] = sums.reshape(n_batches, n_bins)
        hits[:, layer] = bin_sums(batch, right[:, layer].astype(np.float64), n_batches)
    return Batches(bin_sums(batch, np.ones(n_rows), n_batches), hits, gap)
