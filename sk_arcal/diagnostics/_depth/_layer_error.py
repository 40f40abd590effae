r"""The calibration errors of one layer, each beside what it needs to be read.

Up to `SIMULATED_ROWS` rows the numbers are those of :mod:`sk_arcal.metrics`, which simulate. Above
it their limits are used: the sum over a bin is then normal, so that with :math:`\sigma_b` its
standard deviation the floor is :math:`\sum_b \sqrt{2/\pi}\, \sigma_b / n`, and the two corrections
behind the interval are means of a folded and of a cut normal variable. Time then does not grow
with the number of resamples.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from sk_arcal._validation import FloatArray
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
)
from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums
from sk_arcal.metrics._interval import _range_factor

SIMULATED_ROWS = 20_000


def layer_errors(
    event: FloatArray,
    confidence: FloatArray,
    rng: np.random.Generator,
    *,
    n_bins: int,
    level: float,
    n_resamples: int,
) -> dict[str, float]:
    """Return error, floor, corrected error, its interval, and the maximum error of one layer."""
    found = {"ece": expected_calibration_error(event, confidence, n_bins=n_bins)}
    if len(event) > SIMULATED_ROWS:
        found |= _limits(event, confidence, n_bins, level)
    else:
        floor_rng, sample_rng = rng.spawn(2)
        floor = noise_floor(
            confidence, n_bins=n_bins, n_resamples=n_resamples, random_state=floor_rng
        )
        interval = calibration_error_interval(
            event, confidence, n_bins=n_bins, level=level, n_resamples=n_resamples,
            random_state=sample_rng,
        )  # fmt: skip
        found |= {
            "ece_floor": floor.mean,
            "ece_corrected": interval.corrected,
            "ece_low": interval.low,
            "ece_high": interval.high,
        }
    found["maximum_error"] = _maximum_error(event, confidence, n_bins)
    return found


def _maximum_error(event: FloatArray, confidence: FloatArray, n_bins: int) -> float:
    """Return the largest gap of a bin with five rows, or of any bin if there is none."""
    edges = np.linspace(0, 1, n_bins + 1)
    fullest = bin_sums(bin_codes(confidence, edges), np.ones_like(confidence)).max()
    return maximum_calibration_error(
        event, confidence, n_bins=n_bins, min_count=min(5.0, float(fullest))
    )


def _limits(
    event: FloatArray, confidence: FloatArray, n_bins: int, level: float
) -> dict[str, float]:
    n_rows, residual = len(event), confidence - event
    edges = bin_edges(confidence, np.ones(n_rows), n_bins=n_bins, strategy="uniform")
    codes = bin_codes(confidence, edges)
    chance = bin_sums(codes, confidence * (1 - confidence), n_bins)
    gap = bin_sums(codes, residual, n_bins)
    noise = np.sqrt(np.maximum(bin_sums(codes, residual**2, n_bins) - gap**2 / n_rows, 0))
    above, below = (float(side.sum()) / n_rows for side in correction_limits(gap, noise))
    shares = np.sign(gap)[codes] * residual
    error = float(shares.std(ddof=1)) / np.sqrt(n_rows)
    half = error * _range_factor(level, above - below, error)
    low, high = np.clip([below - half, above + half], 0, 1).tolist()
    return {
        "ece_floor": float(np.sqrt(2 * chance / np.pi).sum()) / n_rows,
        "ece_corrected": (above + below) / 2,
        "ece_low": low,
        "ece_high": high,
    }


def correction_limits(gap: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Return absolute gaps corrected by too little and by too much.

    With D normal of standard deviation s, these are :math:`2|G| - \mathrm{E}|G + D|` and
    :math:`\mathrm{E}\,[|G| \text{ if } |D| < |G| \text{ else } -|D|]`, of which
    :func:`sk_arcal.metrics.calibration_error_interval` says why.

    Parameters
    ----------
    gap : ndarray of shape (..., n_bins)
        Summed gaps.
    noise : ndarray of shape (..., n_bins)
        Their standard deviations.

    Returns
    -------
    above, below : ndarray of shape (..., n_bins)
        In the units of the gaps.
    """
    size = np.abs(gap)
    ratio = np.divide(size, noise, out=np.full_like(size, np.inf), where=noise > 0)
    bell = np.exp(-(ratio**2) / 2)
    folded = size * (1 - 2 * ndtr(-ratio)) + noise * np.sqrt(2 / np.pi) * bell
    below = size * (1 - 2 * ndtr(-ratio)) - noise * np.sqrt(2 / np.pi) * bell
    return 2 * size - folded, below


def wilson(count: FloatArray, n_rows: int, level: float) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's interval of a share: `count` out of `n_rows`.

    E. B. Wilson. "Probable inference, the law of succession, and statistical inference". Journal
    of the American Statistical Association 22, 1927.
    """
    z = float(ndtri((1 + level) / 2))
    share = count / n_rows
    center = (share + z**2 / (2 * n_rows)) / (1 + z**2 / n_rows)
    spread = np.sqrt(share * (1 - share) / n_rows + z**2 / (4 * n_rows**2))
    half = z * spread / (1 + z**2 / n_rows)
    return np.maximum(center - half, 0), np.minimum(center + half, 1)
