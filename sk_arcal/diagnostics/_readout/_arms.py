"""One arm of a comparison of probabilities on the same rows: its scores, and their noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import log_softmax

from sk_arcal._validation import FloatArray
from sk_arcal.metrics import expected_calibration_error, noise_floor
from sk_arcal.metrics._binning import bin_codes, error_from_gaps

N_BINS = 15
_FEWEST = 5
METRICS = ("ece", "maximum_error", "log_loss", "accuracy")


@dataclass(frozen=True, eq=False)
class Arm:
    """Top-label event, confidence and log loss of every row."""

    right: FloatArray
    confidence: FloatArray
    loss: FloatArray

    @classmethod
    def of(cls, logits: FloatArray, codes: NDArray[np.intp]) -> "Arm":
        """Return the arm that has these logits of shape (n, n_classes)."""
        log_p = log_softmax(logits, axis=1)
        rows, predicted = np.arange(len(codes)), log_p.argmax(axis=1)
        right = (predicted == codes).astype(np.float64)
        return cls(right, np.exp(log_p[rows, predicted]), -log_p[rows, codes])

    def floor(self, n_resamples: int, rng: np.random.Generator) -> float:
        """Return the mean ECE of a calibrated model of the same confidences."""
        floor = noise_floor(
            self.confidence,
            metric=expected_calibration_error,
            n_resamples=n_resamples,
            n_bins=N_BINS,
            random_state=rng,
        )
        return floor.mean

    def scores(self, weights: FloatArray) -> FloatArray:
        """Return `METRICS` under weights of shape (n, m), shape (4, m).

        The maximum error is that of bins that weigh five rows or more, or of all bins if none
        does.
        """
        codes = bin_codes(self.confidence, np.linspace(0, 1, N_BINS + 1))
        n = len(codes)
        gaps, ones = (
            csr_array((values, (codes, np.arange(n))), shape=(N_BINS, n))
            for values in (self.confidence - self.right, np.ones(n))
        )
        gap, mass = (gaps @ weights).T, (ones @ weights).T
        total = weights.sum(axis=0)
        heavy = mass >= np.minimum(_FEWEST, mass.max(axis=1, keepdims=True))
        largest = np.divide(np.abs(gap), mass, out=np.zeros_like(gap), where=heavy).max(axis=1)
        means = (self.loss @ weights / total, self.right @ weights / total)
        return np.stack([error_from_gaps(gap, mass, "l1"), largest, *means])


def paired_differences(
    arm: Arm, untouched: Arm, draws: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return score differences to the untouched model and their standard errors, shape (4,).

    The means have the paired standard error; the binned errors that of a bootstrap of rows,
    whose weights `draws` of shape (n, m) are the same for all arms. The noise of a resample is
    added to that of the rows, so the latter errs on the large side.
    """
    ones = np.ones((len(arm.loss), 1))
    difference = (arm.scores(ones) - untouched.scores(ones))[:, 0]
    deviation = (arm.scores(draws)[:2] - untouched.scores(draws)[:2]).std(axis=1, ddof=1)
    rows = np.stack([arm.loss - untouched.loss, arm.right - untouched.right])
    means = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
    return difference, np.r_[deviation, means]


def bootstrap_weights(n: int, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each of n rows is drawn in each resample, shape (n, n_resamples)."""
    drawn = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(n_resamples)]
    return np.stack(drawn, axis=1).astype(np.float64)
