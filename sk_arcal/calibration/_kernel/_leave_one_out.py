"""The leave-one-out log loss of a kernel setting, and a record of what was tried."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import leave_one_out_sums
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._residual_kernel import corrected_probability, log_loss, too_thin
from sk_arcal.calibration._saving._plain_state import register_helper

# Smaller problems take no time worth saving.
_FEWEST_IN_SINGLE_PRECISION = 1000


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


@register_helper
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
    anchored : bool
        False if the anchor is one event rate for all rows, so that outcomes are smoothed.
    shrinkages : tuple of float
        Pseudo-counts to try with every bandwidth.
    algorithm : {"auto", "exact", "binned"}
        How kernel sums are computed.
    """

    axes: FloatArray
    anchor: FloatArray
    y: FloatArray
    sample_weight: FloatArray
    min_mass: float
    anchored: bool
    shrinkages: tuple[float, ...]
    algorithm: str = "auto"

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

    def can_try(self, bandwidths: FloatArray) -> NDArray[np.bool_]:
        """Tell which bandwidths can be tried: all of them."""
        return np.ones(len(bandwidths), dtype=bool)

    def means(self, values: FloatArray) -> FloatArray:
        """Return a value of the rows as it is; where rows are counted, their mean."""
        return values

    @property
    def _is_large(self) -> bool:
        # Single precision rounds far finer than the standard errors that a search goes by.
        return self.algorithm == "auto" and len(self.y) >= _FEWEST_IN_SINGLE_PRECISION

    def sums(self, bandwidths: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Return sums of residuals and kernel mass without the row, for every bandwidth."""
        sums, masses = leave_one_out_sums(
            self.axes,
            bandwidths,
            (self.y - self.anchor)[:, None],
            sample_weight=self.sample_weight,
            algorithm=self.algorithm,
            dtype=np.float32 if self._is_large else np.float64,
        )
        return list(zip(sums[:, :, 0], masses, strict=True))

    def trials(self, bandwidths: FloatArray) -> list[Trial]:
        """Try every bandwidth with every shrinkage."""
        found = zip(bandwidths, self.sums(bandwidths), strict=True)
        return [trial for bandwidth, sums in found for trial in self.shrunk(bandwidth, *sums)]

    def shrunk(self, bandwidth: FloatArray, sums: FloatArray, mass: FloatArray) -> list[Trial]:
        """Try a bandwidth, of which the sums are known, with every shrinkage."""
        return [self._shrunk(bandwidth, sums, mass, shrinkage) for shrinkage in self.shrinkages]

    def thin_share(self, mass: FloatArray) -> float:
        """Return the share of the rows without enough kernel mass."""
        # Exactly one if all rows are thin, which a dot product may overshoot.
        return float(np.average(too_thin(mass, self.min_mass), weights=self.sample_weight))

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
            bounded=self.anchored,
        )

    def standard_error(self, first: Trial, second: Trial) -> float:
        """Return the standard error of the mean paired difference of two trials' losses."""
        total = self.sample_weight.sum()
        difference = first.losses - second.losses - (first.loss - second.loss)
        return float(np.sqrt(self.sample_weight @ difference**2) / total)


class SearchLog:
    """The settings tried so far, without their losses row by row.

    Parameters
    ----------
    problem : LeaveOneOut
        The data, for standard errors.
    reference : Trial
        What loss differences are taken against.
    """

    def __init__(self, problem: LeaveOneOut, reference: Trial) -> None:
        self._problem = problem
        self._reference = reference
        self._lines: list[tuple[Any, ...]] = []

    def add(self, trial: Trial, word: str | None = None) -> None:
        """Note one trial; by default its word says which axes it uses."""
        if word is None:
            word = "routing" if trial.n_routing else "confidence"
        error = self._problem.standard_error(trial, self._reference)
        self._lines.append(
            (word, trial.bandwidth, trial.shrinkage, trial.complexity, trial.loss, error)
        )

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the lines as columns.

        Returns
        -------
        columns : dict of str to ndarray
            "candidate", "bandwidth", "shrinkage", "complexity", "loss" (mean leave-one-out log
            loss, nats) and "standard_error" (of its difference to the reference).
        """
        names = ("candidate", "bandwidth", "shrinkage", "complexity", "loss", "standard_error")
        columns = zip(*self._lines, strict=True)
        return {name: np.array(column) for name, column in zip(names, columns, strict=True)}
