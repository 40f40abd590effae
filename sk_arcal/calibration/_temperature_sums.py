r"""What a stream has to keep so that its temperature is that of all rows.

The loss and its first four derivatives in :math:`\beta = 1/T` are sums over rows. Kept at a few
:math:`\beta` around the optimum of the first block, they merge over blocks and shards by addition.
Between two of these the gradient is the Hermite polynomial of degree seven that has the gradients
and their first three derivatives at both ends; its root is the inverse temperature.

Source of the interpolation: J. Stoer and R. Bulirsch, "Introduction to Numerical Analysis", 2002,
section 2.1.5.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BPoly
from scipy.optimize import brentq

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._saving._plain_state import register_helper
from sk_arcal.calibration._temper_passes import (
    N_SUMS,
    Rows,
    errors_and_leads,
    slope_of_constants,
)
from sk_arcal.calibration._tempering import TemperatureFit, fit_temperature

# Neighbours differ by that factor; the degree of the interpolation allows for it.
_RATIO = 1.35
_STEPS_TO_EACH_SIDE = 2


@register_helper
@dataclass(frozen=True, slots=True, eq=False)
class TemperatureSums:
    """Sums over rows that determine the temperature, and add up over blocks.

    Attributes
    ----------
    nodes : ndarray of shape (n_nodes,)
        Inverse temperatures, rising, at which the sums are taken.
    sums : ndarray of shape (n_nodes, 5)
        Weighted sums of the loss and its first four derivatives.
    weight : float
        Sum of the weights.
    n_samples : int
        Rows.
    slope : float
        Weighted sum of the gradients at an inverse temperature of 0.
    errors : bool
        Whether a logit exceeds that of its row's class.
    leads : bool
        Whether, in a block without errors, one is lower.
    """

    nodes: FloatArray
    sums: FloatArray
    weight: float = 0.0
    n_samples: int = 0
    slope: float = 0.0
    errors: bool = False
    leads: bool = False

    @classmethod
    def around(cls, rows: Rows, bounds: tuple[float, float]) -> "TemperatureSums":
        """Return empty sums at nodes around the optimum of some rows."""
        fit = fit_temperature(rows.logits, rows.labels, rows.weight, bounds=bounds)
        # A block whose optimum is at a bound says little about where that of the others is.
        center = 1.0 if fit.bound else 1 / fit.temperature
        low, high = 1 / bounds[1], 1 / bounds[0]
        steps = np.arange(-_STEPS_TO_EACH_SIDE, _STEPS_TO_EACH_SIDE + 1.0)
        nodes = np.unique(np.clip(np.clip(center, low, high) * _RATIO**steps, low, high))
        return cls(nodes, np.zeros((len(nodes), N_SUMS)))

    def empty(self) -> "TemperatureSums":
        """Return sums of no rows at the same nodes."""
        return TemperatureSums(self.nodes, np.zeros_like(self.sums))

    def plus_rows(self, rows: Rows) -> "TemperatureSums":
        """Return the sums with those of more rows added."""
        errors, leads = errors_and_leads(rows)
        return self.plus(
            TemperatureSums(
                self.nodes,
                np.stack([rows.sums(beta) for beta in self.nodes]),
                float(rows.weight.sum()),
                len(rows.weight),
                slope_of_constants(rows),
                errors,
                leads,
            )
        )

    def plus(self, other: "TemperatureSums") -> "TemperatureSums":
        """Return the sums over the rows of both; raise if their nodes differ."""
        if not np.array_equal(self.nodes, other.nodes):
            raise ValueError(
                "The two streams keep their sums at different temperatures, so these do not add "
                "up. Start every shard with new_shard() of the same scaler."
            )
        return TemperatureSums(
            self.nodes,
            self.sums + other.sums,
            self.weight + other.weight,
            self.n_samples + other.n_samples,
            self.slope + other.slope,
            self.errors or other.errors,
            self.leads or other.leads,
        )

    def minimum(self, bounds: tuple[float, float]) -> TemperatureFit:
        """Return the temperature; not converged if it lies beyond the nodes."""
        losses, gradients = self.sums[:, 0] / self.weight, self.sums[:, 1]
        if self.leads and not self.errors:
            return TemperatureFit(bounds[0], float(losses[-1]), 1, True, "lower", "separated")
        if (gradients > 0).all():
            cause = "narrow" if self.slope < 0 else "unranked"
            is_bound = self.nodes[0] <= 1 / bounds[1]
            return self._at_end(0, is_bound, bounds[1], "upper", cause)
        if (gradients < 0).all():
            is_bound = self.nodes[-1] >= 1 / bounds[0]
            return self._at_end(-1, is_bound, bounds[0], "lower", "narrow")
        if not gradients.any():
            return TemperatureFit(1.0, float(losses[0]), 1, True, None, None)
        beta, loss = self._between_nodes(int(np.flatnonzero(gradients <= 0)[-1]))
        return TemperatureFit(1 / beta, loss, 1, True, None, None)

    def _at_end(
        self, end: int, is_bound: bool, limit: float, bound: str, cause: str
    ) -> TemperatureFit:
        loss = float(self.sums[end, 0] / self.weight)
        if is_bound:
            return TemperatureFit(limit, loss, 1, True, bound, cause)
        return TemperatureFit(float(1 / self.nodes[end]), loss, 1, False, None, None)

    def _between_nodes(self, left: int) -> tuple[float, float]:
        """Return the root of the gradient between a node and the next, and the loss there."""
        if self.sums[left, 1] == 0:
            return float(self.nodes[left]), float(self.sums[left, 0] / self.weight)
        ends = self.nodes[left : left + 2]
        means = self.sums[left : left + 2] / self.weight
        gradient = BPoly.from_derivatives(ends, means[:, 1:])
        beta = brentq(gradient, *ends, xtol=1e-14 * ends[0], rtol=1e-14)
        return float(beta), float(BPoly.from_derivatives(ends, means)(beta))
