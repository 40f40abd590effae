r"""Cells of confidence bin and configuration, and the worst shift of their prevalence.

Within each bin b the configurations are reweighted in the ball, the bins keep their mass, and

.. math:: \sup_w \sum_b m_b \Bigl| \sum_g \pi_{gb} w_{gb} \Delta_{gb} \Bigr|
    = \sum_b m_b \max_{s = \pm 1} \; \sup_w \sum_g \pi_{gb} w_{gb}\, s \Delta_{gb} ,

two linear maxima per bin, each of them exact. All of it is computed from sums over cells.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._shift._ball import Ball

IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False, slots=True)
class ShiftCells:
    """The cells that hold rows, bin by bin.

    Attributes
    ----------
    of_row : ndarray of shape (n_samples,)
        Cell of every row.
    bins, configurations : ndarray of shape (n_cells,)
        Codes of every cell; the bins ascend.
    counts : ndarray of shape (n_cells,)
        Rows of every cell.
    edges : ndarray of shape (n_bins + 1,)
        First cell of every bin that holds rows, and the number of cells.
    """

    of_row: IntArray
    bins: IntArray
    configurations: IntArray
    counts: FloatArray
    edges: IntArray

    @classmethod
    def from_codes(cls, bins: IntArray, configurations: IntArray) -> "ShiftCells":
        """Cross the two codes of every row."""
        width = int(configurations.max()) + 1
        found, of_row, counts = np.unique(
            bins * width + configurations, return_inverse=True, return_counts=True
        )
        cell_bins, cell_configurations = np.divmod(found, width)
        starts = np.flatnonzero(np.diff(cell_bins, prepend=-1))
        edges = np.append(starts, len(found))
        return cls(of_row, cell_bins, cell_configurations, counts.astype(np.float64), edges)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sum of a value of the rows over every cell."""
        total = np.bincount(self.of_row, weights=values, minlength=len(self.counts))
        return np.asarray(total, dtype=np.float64)

    def worst(self, gaps: FloatArray, ball: Ball) -> FloatArray:
        """Return sign times weight of every cell under the worst shift for these gaps."""
        signed = np.empty(len(gaps))
        for start, stop in pairwise(self.edges):
            signed[start:stop] = _worst_of_bin(gaps[start:stop], self.counts[start:stop], ball)
        return signed

    def largest(self, residuals: FloatArray, ball: Ball) -> float:
        """Return the largest error over the ball, from the residuals summed over every cell."""
        signed = self.worst(residuals / self.counts, ball)
        return float(signed @ residuals / self.counts.sum())


def _worst_of_bin(gaps: FloatArray, counts: FloatArray, ball: Ball) -> FloatArray:
    up, down = ball.weights(gaps, counts), ball.weights(-gaps, counts)
    mass = counts * gaps
    return up if mass @ up >= -(mass @ down) else -down
