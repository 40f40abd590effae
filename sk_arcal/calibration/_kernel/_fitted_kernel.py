"""A kernel estimate that has been fitted, and how it predicts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import (
    FineGrid,
    Grid,
    GridAxis,
    KernelTable,
    kernel_sums,
    leave_one_out_sums,
    takes_grid,
)
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._kernel_axes import KernelAxes
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel._node_sums import TotalTable
from sk_arcal.calibration._kernel._residual_kernel import corrected_probability, too_thin
from sk_arcal.calibration._saving._plain_state import register_helper, to_plain

for _part in (FineGrid, Grid, GridAxis, KernelTable):
    register_helper(_part)


@register_helper
@dataclass(frozen=True, slots=True)
class FittedKernel:
    """Rows or a table of their sums, bandwidths and shrinkage.

    Attributes
    ----------
    axes : KernelAxes
        Turns confidence and routing into positions.
    rows : LeaveOneOut
        Positions, anchors, outcomes and weights of the rows of `fit`; where there is a table, a
        single one of them for its settings.
    bandwidth : ndarray of shape (n_axes,)
        Infinite where an axis is off.
    shrinkage : float
        Pseudo-counts.
    table : KernelTable, TotalTable or None
        Sums at the nodes of a grid.
    confidence_table : KernelTable, TotalTable or None
        The same of a kernel on the confidence only, for rows without neighbours.
    """

    axes: KernelAxes
    rows: LeaveOneOut
    bandwidth: FloatArray
    shrinkage: float
    table: KernelTable | TotalTable | None = None
    confidence_table: KernelTable | TotalTable | None = None

    @classmethod
    def of(
        cls, axes: KernelAxes, rows: LeaveOneOut, bandwidth: FloatArray, shrinkage: float
    ) -> "FittedKernel":
        """Keep the rows, or what a grid needs of them."""
        margin = axes.margin()
        if not takes_grid(rows.algorithm, rows.axes, bandwidth, margin):
            return cls(axes, rows, bandwidth, shrinkage)
        confidence_table = None
        if not rows.anchored:
            confidence_table = _table(rows, confidence_only(bandwidth), margin)
        table = _table(rows, bandwidth, margin)
        return replace(
            cls.without_rows(axes, rows, bandwidth, shrinkage),
            table=table,
            confidence_table=confidence_table,
        )

    @classmethod
    def without_rows(
        cls, axes: KernelAxes, rows: LeaveOneOut, bandwidth: FloatArray, shrinkage: float
    ) -> "FittedKernel":
        """Keep the settings; the tables are still to come."""
        return cls(axes, rows.subset(np.zeros(1, dtype=np.intp)), bandwidth, shrinkage)

    def is_like(self, other: "FittedKernel") -> bool:
        """Tell whether all but the tables agree, so that sums over rows may be added."""
        mine, others = (
            to_plain(replace(kernel, table=None, confidence_table=None)) for kernel in (self, other)
        )
        return _agree(mine, others)

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
            sums, mass = self._sums(positions[thin], confidence_only(self.bandwidth))
            probability[thin] = self._corrected(rate[thin], sums, mass)
        return probability, np.zeros(len(thin), dtype=bool)

    def _sums(self, positions: FloatArray, bandwidth: FloatArray) -> tuple[FloatArray, FloatArray]:
        table = self.table if bandwidth is self.bandwidth else self.confidence_table
        if table is not None:
            sums, mass = table.sums(positions)
            return sums[:, 0], mass
        rows = self.rows
        residual = (rows.y - rows.anchor)[:, None]
        sums, mass = kernel_sums(
            positions,
            rows.axes,
            bandwidth,
            residual,
            sample_weight=rows.sample_weight,
            algorithm="exact",
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


def count_on_fit(
    rows: LeaveOneOut, bandwidth: FloatArray, shrinkage: float, n_classes: int
) -> tuple[int, int]:
    """Return how many rows of `fit` lack neighbours, and how many of K > 2 end below 1/K."""
    if np.isinf(shrinkage):
        return 0, 0
    sums, mass = leave_one_out_sums(
        rows.axes,
        bandwidth[None, :],
        (rows.y - rows.anchor)[:, None],
        sample_weight=rows.sample_weight,
        algorithm=rows.algorithm,
    )
    below = rows.corrected(sums[0, :, 0], mass[0], shrinkage) < 1 / n_classes
    n_fallback = int(np.count_nonzero(too_thin(mass[0], rows.min_mass)))
    return n_fallback, int(np.count_nonzero(below)) if n_classes > 2 else 0


def _table(
    rows: LeaveOneOut, bandwidth: FloatArray, margin: FloatArray
) -> KernelTable | TotalTable:
    residual = (rows.y - rows.anchor)[:, None]
    if np.isinf(bandwidth).all():
        weight = rows.sample_weight
        return TotalTable(np.append(weight @ residual, weight.sum()))
    return KernelTable.of(rows.axes, bandwidth, residual, rows.sample_weight, margin)


def confidence_only(bandwidth: FloatArray) -> FloatArray:
    """Return the bandwidths with all routing axes off."""
    return np.where(np.arange(len(bandwidth)) == 0, bandwidth, np.inf)


def _agree(first: Any, second: Any) -> bool:
    """Tell whether two pieces of plain state are the same."""
    if isinstance(first, dict) and isinstance(second, dict):
        same_names = first.keys() == second.keys()
        return same_names and all(_agree(first[name], second[name]) for name in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_agree, first, second))
    return np.array_equal(first, second)
