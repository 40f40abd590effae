"""What the kernel corrects: the confidence after one temperature."""

import numpy as np
from scipy.special import expit

from sk_arcal._numeric import top_probability
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._tempering import fit_temperature, warn_at_bound


def anchor_temperature(logits: FloatArray, y: FloatArray, sample_weight: FloatArray) -> float:
    """Return the temperature of the anchor; warnings blame the user, four calls above."""
    fit = fit_temperature(logits, y, sample_weight)
    warn_at_bound(fit, stacklevel=6)
    # Perfect separation: 0 and 1 as anchors would leave nothing to smooth.
    return 1.0 if fit.bound == "lower" else fit.temperature


def top_confidence(logits: FloatArray) -> FloatArray:
    """Confidence the event has: of the event itself, or of the most probable class."""
    return expit(logits) if logits.ndim == 1 else top_probability(logits)


def event(logits: FloatArray, y: FloatArray) -> FloatArray:
    """Tell of every row whether the event happened, or the most probable class was right."""
    return y if logits.ndim == 1 else (logits.argmax(axis=1) == y).astype(np.float64)
