"""The calibration error under the worst shift of configurations, with where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.metrics._results import as_frame, as_text

_SHOWN = 5


@dataclass(frozen=True, eq=False, repr=False)
class WorstCaseCalibrationError:
    """Calibration error under the worst shift of the prevalence of configurations.

    Returned by :func:`worst_case_calibration_error`.

    Parameters
    ----------
    error : float
        Error under shifts that were found on other rows, in probability units: a lower bound of
        the largest error over the ball, without its noise. Slightly negative if nothing is there.
    low, high : float
        Interval of `error`; its lower end is one for the largest error too.
    standard_error : float
        Standard error behind the interval.
    level : float
        Coverage asked for.
    in_sample : float
        Largest error over the ball on all rows, noise included.
    floor, floor_95 : float
        Mean and 95 % quantile of `in_sample` for a calibrated model.
    plain : float
        Expected calibration error of the same bins, without a shift.
    ball : str
        Name of the ball and its strength.
    weights : ndarray of shape (n_samples,)
        Weights of the rows under the shift of `in_sample`, with mean one.
    configurations : ndarray of shape (n_configurations,)
        The configurations, sorted.
    shares, shifted_shares : ndarray of shape (n_configurations,)
        Their share of the rows, and what the shift makes of it.
    cells : dict of str to ndarray of shape (n_cells,)
        The columns of :meth:`to_frame`.

    See Also
    --------
    worst_case_calibration_error : Computes it.

    Examples
    --------
    >>> from sk_arcal.diagnostics import worst_case_calibration_error
    >>> result = worst_case_calibration_error(
    ...     [1, 1, 0, 0] * 50, [0.5] * 200, ["a", "a", "b", "b"] * 50, n_resamples=10,
    ...     random_state=0,
    ... )
    >>> round(result.plain, 6), result.shifted_shares.round(2)
    (0.0, array([0.95, 0.05]))
    """

    error: float
    low: float
    high: float
    standard_error: float
    level: float
    in_sample: float
    floor: float
    floor_95: float
    plain: float
    ball: str
    weights: FloatArray
    configurations: NDArray[Any]
    shares: FloatArray
    shifted_shares: FloatArray
    cells: Mapping[str, NDArray[Any]] = field(repr=False)

    @property
    def worst_configuration(self) -> Any:
        """The configuration whose share the shift raises most, the first under ties."""
        return self.configurations[int(np.argmax(self.shifted_shares - self.shares))]

    def to_frame(self) -> Any:
        """Return the cells, those first that contribute most to `in_sample`.

        Returns
        -------
        frame : pandas.DataFrame
            "bin", "configuration", "rows", mean "confidence", event "rate", "gap" (rate less
            confidence), "weight" under the shift and "contribution". The contributions add up to
            `in_sample`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return as_frame(self.cells, "WorstCaseCalibrationError.to_frame")

    def __repr__(self) -> str:
        head = (
            f"WorstCaseCalibrationError({self.error:.4g}, {self.level:.0%} interval "
            f"[{self.low:.4g}, {self.high:.4g}]; {self.ball})\n"
            f"plain {self.plain:.4g}, in sample {self.in_sample:.4g}, of a calibrated model "
            f"{self.floor:.4g} (95 % below {self.floor_95:.4g})"
        )
        return f"{head}\n{as_text({name: rows[:_SHOWN] for name, rows in self.cells.items()})}"
