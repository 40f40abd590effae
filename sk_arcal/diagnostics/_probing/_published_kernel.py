r"""The published probe: kernel regression of the outcome on confidence and feature.

.. math:: \hat\pi(x) = \frac{\sum_j K(x, x_j) \, y_j}{\sum_j K(x, x_j)}, \qquad
    h_d = k \, \sigma_d \, n^{-1/(D + 4)},

with a product Gaussian kernel on the D standardised axes, (confidence) or (confidence, feature).
A row without neighbours takes the estimate from the confidence alone, then the event rate.
The mass at which it does lies far above the underflow of the exponential, so that plain sums
serve as well as weights in log space.

Source: Y. Liang et al., "Probing Routing-Conditional Calibration in Attention-Residual
Transformers", arXiv:2605.09850, 2026 (AR-CondCal); bandwidth: D. W. Scott, "Multivariate Density
Estimation", 1992, equation 6.42.
"""

import numpy as np

from sk_arcal._smoothing import kernel_sums, scott_bandwidth
from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._probe_kernel import LEVEL_BANDWIDTH

# No fitted row within five bandwidths: what then is left is the rounding of leave-one-out sums.
SMALLEST_MASS = 1e-6


def published_predictions(
    event: FloatArray,
    confidence: FloatArray,
    feature: FloatArray | None,
    folds: list[tuple[IntArray, IntArray]],
    *,
    nominal: bool = False,
) -> FloatArray:
    """Out-of-fold predictions under Scott's rule; without a feature on the confidence alone."""
    predictions = np.empty(len(event))
    for fit, test in folds:
        train, query, y = confidence[fit, None], confidence[test, None], event[fit]
        alone = _estimate(query, train, scott_bandwidth(train), y, np.full(len(test), y.mean()))
        if feature is not None and np.ptp(feature[fit]) > 0:
            train, query = (np.column_stack([confidence, feature])[rows] for rows in (fit, test))
            alone = _estimate(query, train, scott_bandwidths(train, nominal), y, alone)
        predictions[test] = alone
    return predictions


def scott_bandwidths(train: FloatArray, nominal: bool) -> FloatArray:
    """Scott's rule on (confidence, feature); levels without order are neighbours of their own."""
    if not nominal:
        return scott_bandwidth(train)
    return np.append(scott_bandwidth(train[:, :1]), LEVEL_BANDWIDTH)


def _estimate(
    query: FloatArray,
    train: FloatArray,
    bandwidth: FloatArray,
    event: FloatArray,
    fallback: FloatArray,
) -> FloatArray:
    sums, mass = kernel_sums(query, train, bandwidth, event[:, None])
    rate = np.divide(sums[:, 0], mass, out=fallback.copy(), where=mass > SMALLEST_MASS)
    return np.clip(rate, 0, 1)
