"""How wide the kernel is, as the user states it, and the table of what was tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray, check_number
from sk_arcal.calibration._residual_kernel import LeaveOneOut, Trial


@dataclass(frozen=True, slots=True)
class Selection:
    """The setting that was chosen.

    Attributes
    ----------
    word : str
        The arm: "identity", "temperature", "mean", "confidence" or "routing".
    bandwidth : ndarray of shape (n_axes,)
        Infinite where an axis is off.
    shrinkage : float
        Pseudo-counts.
    table : dict of str to ndarray
        Every setting tried; see `SearchLog.table`.
    """

    word: str
    bandwidth: FloatArray
    shrinkage: float
    table: dict[str, NDArray[Any]]


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
        """Return the columns "candidate", "bandwidth", "shrinkage", "complexity", "loss" (mean
        leave-one-out log loss, nats) and "standard_error" (of the difference to the first line).
        """
        names = ("candidate", "bandwidth", "shrinkage", "complexity", "loss", "standard_error")
        columns = zip(*self._lines, strict=True)
        return {name: np.array(column) for name, column in zip(names, columns, strict=True)}


def check_bandwidth(bandwidth: object, n_axes: int) -> FloatArray | str:
    """Return "loo", "scott", or one positive number (inf allowed) for every axis.

    Parameters
    ----------
    bandwidth : str, float or sequence of float
        As the user gave it.
    n_axes : int
        One for the confidence plus the number of routing columns.

    Returns
    -------
    bandwidth : str or ndarray of shape (n_axes,)
        Checked.

    Raises
    ------
    ValueError
        If a word is unknown, a number is not positive, or the length is wrong.
    TypeError
        If it is none of these kinds.
    """
    expected = "`bandwidth` must be 'loo', 'scott', a number, or a sequence of numbers"
    if isinstance(bandwidth, str):
        if bandwidth not in {"loo", "scott"}:
            raise ValueError(f"{expected}; got {bandwidth!r}.")
        return bandwidth
    if isinstance(bandwidth, Real):
        return np.full(n_axes, _check_positive("bandwidth", bandwidth))
    if not isinstance(bandwidth, (Sequence, np.ndarray)) or np.ndim(bandwidth) != 1:
        raise TypeError(f"{expected}; got {bandwidth!r}.")
    if len(bandwidth) != n_axes:
        raise ValueError(
            f"`bandwidth` has {len(bandwidth)} entries but there are {n_axes} axes: the confidence "
            f"first, then {n_axes - 1} routing column(s). Write np.inf for an axis to ignore."
        )
    return np.array([_check_positive(f"bandwidth[{i}]", h) for i, h in enumerate(bandwidth)])


def _check_positive(name: str, value: object) -> float:
    number = check_number(name, value, low=0.0)
    if number == 0:
        raise ValueError(f"`{name}` must be positive; got 0. An axis is ignored with np.inf.")
    return number
