"""The rows of a leave-one-out problem counted in cells, so that a search costs no pass of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import CellGrid
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRows(LeaveOneOut):
    """Rows of one cell and one outcome as a single row of their summed weight.

    It lies at the centre of its cell and has the mean anchor; its neighbours are found cell by
    cell. One axis of the cells is the confidence, so anchors in a cell hardly differ.

    Attributes
    ----------
    cells : CellGrid
        The cells.
    code : ndarray of shape (n_distinct,)
        Cell of each of these rows.
    kind : ndarray of shape (n_samples,)
        Which of these rows each of the original ones has become.
    weight : ndarray of shape (n_samples,)
        Repetitions of the original rows.
    """

    cells: CellGrid
    code: NDArray[np.intp]
    kind: NDArray[np.intp]
    weight: FloatArray

    @classmethod
    def of(cls, problem: LeaveOneOut) -> "CellRows":
        """Count the rows of a problem."""
        cells = CellGrid.of(problem.axes)
        pair = 2 * cells.codes(problem.axes) + (problem.y == 1)
        present = np.bincount(pair, problem.sample_weight) > 0
        kind = (np.cumsum(present) - 1)[pair]
        code, outcome = np.divmod(np.flatnonzero(present), 2)
        total = np.bincount(kind, problem.sample_weight).astype(np.float64)
        anchor = np.bincount(kind, problem.sample_weight * problem.anchor) / total
        return cls(
            axes=cells.centres(code),
            anchor=anchor,
            y=outcome.astype(np.float64),
            sample_weight=total,
            min_mass=problem.min_mass,
            anchored=problem.anchored,
            shrinkages=problem.shrinkages,
            algorithm=problem.algorithm,
            cells=cells,
            code=code,
            kind=kind,
            weight=problem.sample_weight,
        )

    def means(self, values: FloatArray) -> FloatArray:
        """Return the mean of a value of the original rows for each of these rows."""
        return np.bincount(self.kind, self.weight * values) / self.sample_weight

    def can_try(self, bandwidths: FloatArray) -> NDArray[np.bool_]:
        """Tell which bandwidths the cells resolve."""
        return self.cells.resolves(bandwidths)

    def sums(self, bandwidths: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Return sums of residuals and kernel mass without the row, for every bandwidth."""
        residual = self.y - self.anchor
        columns = np.column_stack([self.sample_weight * residual, self.sample_weight])
        # Leaving out takes one repetition away; of a row of weight below one, all of it.
        left_out = np.minimum(self.means(np.minimum(self.weight, 1)), 1)
        return [
            (totals[:, 0] - own * left_out * residual, np.maximum(totals[:, 1] - own * left_out, 0))
            for totals, own in self.cells.smoothed(bandwidths, self.code, columns)
        ]
