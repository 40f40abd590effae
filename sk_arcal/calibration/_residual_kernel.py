r"""The kernel estimate of the residual, and its leave-one-out loss.

With an anchor :math:`p` (the confidence after temperature scaling) and kernel weights
:math:`K_j(x)` the estimate is

.. math:: q(x) = p(x) + \frac{\sum_j w_j K_j(x) (y_j - p_j)}{\sum_j w_j K_j(x) + \lambda}.

The pseudo-counts :math:`\lambda` are rows that would agree with the anchor. Smoothing residuals
instead of outcomes avoids the bias that a kernel has near confidence 1, and leaves the anchor
alone where there are few rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import leave_one_out_sums
from sk_arcal._validation import FloatArray

# A kernel mass this close below a threshold has reached it up to rounding.
_ROUNDING = 1e-9
# Below this share of one row, sums are rounding errors.
_TINY_MASS = 1e-8
_PROBABILITY_MARGIN = 1e-12


def too_thin(mass: FloatArray, min_mass: float) -> NDArray[np.bool_]:
    """Tell where the kernel mass is too small to correct anything."""
    return mass < max(min_mass * (1 - _ROUNDING), _TINY_MASS)


def corrected_probability(
    anchor: FloatArray,
    sums: FloatArray,
    mass: FloatArray,
    *,
    shrinkage: float,
    min_mass: float,
    bounded: bool = True,
) -> FloatArray:
    """Return the anchor plus the shrunk mean residual of the neighbours.

    Parameters
    ----------
    anchor : ndarray of shape (n_samples,)
        Probability before the correction.
    sums : ndarray of shape (n_samples,)
        Kernel-weighted sum of residuals.
    mass : ndarray of shape (n_samples,)
        Kernel mass.
    shrinkage : float
        Pseudo-counts; infinite switches the correction off.
    min_mass : float
        Rows with less kernel mass keep the anchor.
    bounded : bool, default=True
        Keep a corrected probability half a row away from 0 and 1, i.e. above 1/(2M + 2), unless
        the anchor itself is nearer: M rows cannot prove more.

    Returns
    -------
    probability : ndarray of shape (n_samples,)
        In (0, 1).
    """
    thin = too_thin(mass, min_mass)
    residual = np.where(thin, 0.0, sums / np.where(thin, 1.0, mass + shrinkage))
    margin = 0.5 / (mass + 1) if bounded else np.full(len(mass), _PROBABILITY_MARGIN)
    margin = np.maximum(np.minimum(margin, np.minimum(anchor, 1 - anchor)), 0)
    probability = np.clip(anchor + residual, margin, 1 - margin)
    return np.clip(probability, _PROBABILITY_MARGIN, 1 - _PROBABILITY_MARGIN)


def log_loss(probability: FloatArray, y: FloatArray) -> FloatArray:
    """Return -log of the probability given to what happened, per row, nats."""
    return -np.log(np.where(y == 1, probability, 1 - probability))


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and its leave-one-out log loss.

    Attributes
    ----------
    bandwidth : ndarray of shape (n_axes,)
        Infinite where the axis is off.
    shrinkage : float
        Pseudo-counts.
    complexity : float
        Sum over rows of the weight an outcome has in its own prediction: the effective number
        of parameters.
    losses : ndarray of shape (n_samples,)
        Log loss of every row, nats.
    loss : float
        Their weighted mean.
    """

    bandwidth: FloatArray
    shrinkage: float
    complexity: float
    losses: FloatArray
    loss: float

    @property
    def n_routing(self) -> int:
        """Number of routing axes in use."""
        return int(np.isfinite(self.bandwidth[1:]).sum())


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Everything the leave-one-out loss of a setting depends on.

    Attributes
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions.
    anchor : ndarray of shape (n_samples,)
        Anchor probabilities; held fixed while rows are left out.
    y : ndarray of shape (n_samples,)
        Outcomes, 0 or 1.
    sample_weight : ndarray of shape (n_samples,)
        Repetitions.
    min_mass : float
        Smallest kernel mass that corrects.
    bounded : bool
        See `corrected_probability`.
    shrinkages : tuple of float
        Pseudo-counts to try with every bandwidth.
    """

    axes: FloatArray
    anchor: FloatArray
    y: FloatArray
    sample_weight: FloatArray
    min_mass: float
    bounded: bool
    shrinkages: tuple[float, ...]

    def subset(self, rows: NDArray[np.intp]) -> "LeaveOneOut":
        """Return the problem on some of the rows."""
        return replace(
            self,
            axes=self.axes[rows],
            anchor=self.anchor[rows],
            y=self.y[rows],
            sample_weight=self.sample_weight[rows],
        )

    def trial(
        self, bandwidth: FloatArray, shrinkage: float, complexity: float, losses: FloatArray
    ) -> Trial:
        """Return a trial with its mean loss."""
        loss = float(self.sample_weight @ losses / self.sample_weight.sum())
        return Trial(bandwidth, shrinkage, complexity, losses, loss)

    def trials(self, bandwidths: FloatArray, *, largest_thin_share: float = 1.0) -> list[Trial]:
        """Try every bandwidth with every shrinkage.

        Bandwidths that leave more than `largest_thin_share` of the rows without enough kernel
        mass are skipped: their loss is the anchor's wherever it matters.
        """
        residual = (self.y - self.anchor)[:, None]
        sums, masses = leave_one_out_sums(
            self.axes, bandwidths, residual, sample_weight=self.sample_weight
        )
        found = []
        for bandwidth, total, mass in zip(bandwidths, sums[:, :, 0], masses, strict=True):
            thin = self.sample_weight @ too_thin(mass, self.min_mass) / self.sample_weight.sum()
            if thin <= largest_thin_share:
                found += [self._shrunk(bandwidth, total, mass, s) for s in self.shrinkages]
        return found

    def _shrunk(
        self, bandwidth: FloatArray, sums: FloatArray, mass: FloatArray, shrinkage: float
    ) -> Trial:
        probability = self.corrected(sums, mass, shrinkage)
        own_weight = np.where(too_thin(mass, self.min_mass), 0.0, 1 / (mass + 1 + shrinkage))
        complexity = float(self.sample_weight @ own_weight)
        return self.trial(bandwidth, shrinkage, complexity, log_loss(probability, self.y))

    def corrected(self, sums: FloatArray, mass: FloatArray, shrinkage: float) -> FloatArray:
        """Return corrected probabilities from leave-one-out sums."""
        return corrected_probability(
            self.anchor,
            sums,
            mass,
            shrinkage=shrinkage,
            min_mass=self.min_mass,
            bounded=self.bounded,
        )

    def standard_error(self, first: Trial, second: Trial) -> float:
        """Return the standard error of the mean paired difference of two trials' losses."""
        total = self.sample_weight.sum()
        difference = first.losses - second.losses - (first.loss - second.loss)
        return float(np.sqrt(self.sample_weight @ difference**2) / total)
