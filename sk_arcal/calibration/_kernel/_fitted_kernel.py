"""A kernel estimate that has been fitted, and how it predicts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import kernel_sums, leave_one_out_sums
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._kernel_axes import KernelAxes
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel._residual_kernel import corrected_probability, too_thin
from sk_arcal.calibration._saving._plain_state import register_helper


@register_helper
@dataclass(frozen=True, slots=True)
class FittedKernel:
    """Rows, bandwidths and shrinkage.

    Attributes
    ----------
    axes : KernelAxes
        Turns confidence and routing into positions.
    rows : LeaveOneOut
        Positions, anchors, outcomes and weights of the rows of `fit`.
    bandwidth : ndarray of shape (n_axes,)
        Infinite where an axis is off.
    shrinkage : float
        Pseudo-counts.
    """

    axes: KernelAxes
    rows: LeaveOneOut
    bandwidth: FloatArray
    shrinkage: float

    def mass(self, confidence: FloatArray, routing: FloatArray) -> FloatArray:
        """Return the kernel mass of new rows."""
        return self._sums(self.axes.positions(confidence, routing), self.bandwidth)[1]

    def estimate(
        self, confidence: FloatArray, routing: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return probabilities of the event, and which of them are the confidence unchanged."""
        positions = self.axes.positions(confidence, routing)
        sums, mass = self._sums(positions, self.bandwidth)
        thin = too_thin(mass, self.rows.min_mass)
        if self.rows.anchored:
            return self._corrected(confidence, sums, mass), thin
        rate = np.full(len(confidence), self.rows.anchor[0])
        probability = self._corrected(rate, sums, mass)
        if thin.any():
            confidence_only = np.where(np.arange(len(self.bandwidth)) == 0, self.bandwidth, np.inf)
            sums, mass = self._sums(positions[thin], confidence_only)
            probability[thin] = self._corrected(rate[thin], sums, mass)
        return probability, np.zeros(len(thin), dtype=bool)

    def count_on_fit(self, n_classes: int) -> tuple[int, int]:
        """Return how many rows of `fit` lack neighbours, and how many of K > 2 end below 1/K."""
        if np.isinf(self.shrinkage):
            return 0, 0
        rows = self.rows
        sums, mass = leave_one_out_sums(
            rows.axes,
            self.bandwidth[None, :],
            (rows.y - rows.anchor)[:, None],
            sample_weight=rows.sample_weight,
        )
        below = rows.corrected(sums[0, :, 0], mass[0], self.shrinkage) < 1 / n_classes
        n_fallback = int(np.count_nonzero(too_thin(mass[0], rows.min_mass)))
        return n_fallback, int(np.count_nonzero(below)) if n_classes > 2 else 0

    def _sums(self, positions: FloatArray, bandwidth: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows = self.rows
        residual = (rows.y - rows.anchor)[:, None]
        sums, mass = kernel_sums(
            positions, rows.axes, bandwidth, residual, sample_weight=rows.sample_weight
        )
        return sums[:, 0], mass

    def _corrected(self, anchor: FloatArray, sums: FloatArray, mass: FloatArray) -> FloatArray:
        return corrected_probability(
            anchor,
            sums,
            mass,
            shrinkage=self.shrinkage,
            min_mass=self.rows.min_mass,
            bounded=self.rows.anchored,
        )
