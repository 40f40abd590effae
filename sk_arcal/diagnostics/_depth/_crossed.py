"""Find the peak in one half of the rows and measure it in the other, both ways.

A peak that is the largest of many noisy errors would be measured too high on the rows that made it
the largest. Rows that had no part in the choice have no such bias.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._depth._batches import Batches


@dataclass(frozen=True, eq=False)
class Correction:
    """Fall of the calibration error from the peak to the end, and change of accuracy."""

    peaks: tuple[int, int]
    strength: float
    strength_interval: tuple[float, float]
    accuracy_change: float
    accuracy_interval: tuple[float, float]


def plateau_and_peak(accuracy: FloatArray, error: FloatArray, tolerance: float) -> tuple[int, int]:
    """Return the first layer of nearly the largest accuracy, and the worst layer from there on."""
    start = int(np.argmax(accuracy >= (1 - tolerance) * accuracy.max()))
    return start, start + int(np.argmax(error[start:]))


def measure_correction(batches: Batches, tolerance: float, level: float) -> Correction:
    """Measure the peaks of both halves crosswise; batches are in random order."""
    odd = np.arange(len(batches.count)) % 2 == 1
    even_peak, odd_peak = (
        plateau_and_peak(half.accuracy(), half.corrected_errors(), tolerance)[1]
        for half in (batches.part(~odd), batches.part(odd))
    )
    # All rows together, each at the layer that the other half has chosen: a half alone would
    # leave more bias of the errors to be removed.
    crossed = batches.of_layers(np.where(odd, even_peak, odd_peak))
    strength, interval = crossed.error_difference(level)
    change, variance = crossed.accuracy_change()
    half_width = float(ndtri((1 + level) / 2) * np.sqrt(variance))
    return Correction(
        peaks=(even_peak, odd_peak),
        strength=strength,
        strength_interval=interval,
        accuracy_change=change,
        accuracy_interval=(change - half_width, change + half_width),
    )
