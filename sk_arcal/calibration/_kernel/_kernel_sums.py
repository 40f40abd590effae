"""What a stream keeps so that its kernel is that of all rows."""

from dataclasses import dataclass, replace

import numpy as np

from sk_arcal._smoothing import takes_grid
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._fitted_kernel import FittedKernel, confidence_only
from sk_arcal.calibration._kernel._node_sums import NodeSums
from sk_arcal.calibration._saving._plain_state import register_helper


@register_helper
@dataclass(frozen=True, slots=True, eq=False)
class KernelSums:
    """Sums on the grid of the first block, which add up over blocks and shards.

    Attributes
    ----------
    sums : NodeSums
        Under the kernel.
    confidence_sums : NodeSums or None
        The same of a kernel on the confidence only, where rows without neighbours need it.
    n_samples : int
        Rows of positive weight.
    n_outside : int
        Those of them beyond the grid, which are not in the sums.
    """

    sums: NodeSums
    confidence_sums: NodeSums | None = None
    n_samples: int = 0
    n_outside: int = 0

    @classmethod
    def around(cls, kernel: FittedKernel, positions: FloatArray) -> "KernelSums":
        """Return empty sums on the grid that a kernel needs; raise if none is possible."""
        bandwidth, margin = kernel.bandwidth, kernel.axes.margin()
        n_used = int(np.isfinite(bandwidth).sum())
        if n_used and not takes_grid("binned", positions, bandwidth, margin):
            raise ValueError(
                f"The first block asks for a kernel on {n_used} axes with the bandwidths "
                f"{bandwidth.tolist()}, too fine or too many for the grid that `partial_fit` sums "
                "rows up on. Name fewer `routing_columns`, widen the kernel by `bandwidth` or "
                "`bandwidth_scale`, or pass all rows to `fit`."
            )
        sums, confidence_sums = NodeSums.around(positions, bandwidth, margin), None
        if not kernel.rows.anchored:
            alone = confidence_only(bandwidth)
            confidence_sums = NodeSums.around(positions, alone, margin)
        return cls(sums, confidence_sums)

    def empty(self) -> "KernelSums":
        """Return sums of no rows on the same grid."""
        alone = self.confidence_sums
        return KernelSums(self.sums.empty(), None if alone is None else alone.empty())

    def plus_rows(
        self, positions: FloatArray, residual: FloatArray, weight: FloatArray
    ) -> "KernelSums":
        """Return the sums with those of more rows added."""
        rows, alone = (positions, residual, weight), self.confidence_sums
        return KernelSums(
            self.sums.plus_rows(*rows),
            None if alone is None else alone.plus_rows(*rows),
            self.n_samples + len(weight),
            self.n_outside + int(np.count_nonzero(~self.sums.is_inside(positions))),
        )

    def plus(self, other: "KernelSums") -> "KernelSums":
        """Return the sums over the rows of both."""
        alone, others = self.confidence_sums, other.confidence_sums
        return KernelSums(
            self.sums.plus(other.sums),
            None if alone is None or others is None else alone.plus(others),
            self.n_samples + other.n_samples,
            self.n_outside + other.n_outside,
        )

    def is_like(self, other: "KernelSums") -> bool:
        """Tell whether the sums are taken on the same grid."""
        return self.sums.is_like(other.sums)

    def kernel(self, like: FittedKernel) -> FittedKernel:
        """Return the kernel of all rows so far, with the settings of another."""
        alone = self.confidence_sums
        return replace(
            like,
            table=self.sums.table(),
            confidence_table=None if alone is None else alone.table(),
        )
