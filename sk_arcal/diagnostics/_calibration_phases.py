"""Phases of calibration over depth: when accuracy is there, and whether confidence follows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_groups,
    check_integer,
    check_number,
    import_optional,
)
from sk_arcal.diagnostics._depth._batches import Batches, deal
from sk_arcal.diagnostics._depth._crossed import measure_correction, plateau_and_peak
from sk_arcal.diagnostics._layerwise import LayerwiseCalibration

_FEWEST_UNITS = 20


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationPhases:
    """Where accuracy is reached, where calibration is worst, and how much of it is mended after.

    Returned by :func:`calibration_phases`. Printing it says so in words. Layers are positions,
    counted from 0; `layers` has their names.

    Attributes
    ----------
    layers : tuple
        Names of the layers.
    plateau_start : int
        First layer that has nearly the largest accuracy.
    plateau_interval : tuple of int
        Where it lies in `level` of bootstrap samples.
    peak : int
        Layer of the largest corrected calibration error from `plateau_start` on.
    peak_interval : tuple of int
        Where it lies in `level` of bootstrap samples.
    peak_shares : ndarray of shape (n_layers,)
        Share of the bootstrap samples in which each layer is the peak.
    measured_peaks : tuple of int
        Peaks of both halves of the rows, each of which is measured on the other half.
    strength : float
        Correction strength: the calibration error at the peak less that of the last layer, less
        the bias of both and that of having chosen the peak. In probability units.
    strength_interval : tuple of float
        Its interval.
    naive_strength : float
        Difference of the two errors as they stand, at `peak`.
    accuracy_change : float
        Accuracy of the last layer less that of the peak, on the same halves as the strength.
    accuracy_interval : tuple of float
        Its interval.
    tolerance : float
        What counts as no loss of accuracy.
    level : float
        Coverage of the intervals.
    """

    layers: tuple[Any, ...]
    plateau_start: int
    plateau_interval: tuple[int, int]
    peak: int
    peak_interval: tuple[int, int]
    peak_shares: FloatArray
    measured_peaks: tuple[int, int]
    strength: float
    strength_interval: tuple[float, float]
    naive_strength: float
    accuracy_change: float
    accuracy_interval: tuple[float, float]
    tolerance: float
    level: float

    @property
    def present(self) -> bool:
        """Whether there is a phase of correction.

        Returns
        -------
        present : bool
            The interval of the strength lies above zero, and the accuracy changes by no more than
            `tolerance`.
        """
        return self.strength_interval[0] > 0 and abs(self.accuracy_change) <= self.tolerance

    @property
    def summary(self) -> str:
        """What was found, in words.

        Returns
        -------
        summary : str
            Two sentences.
        """
        low, high = (100 * end for end in self.strength_interval)
        where = (
            f"Accuracy is on its plateau from layer {self.layers[self.plateau_start]!s} on, and "
            f"calibration is worst at layer {self.layers[self.peak]!s}."
        )
        if self.peak == len(self.layers) - 1:
            return f"{where} That is the last layer, so nothing corrects the confidence after it."
        numbers = (
            f"from there to the end the calibration error falls by {100 * self.strength:.1f} "
            f"points [{low:.1f}, {high:.1f}] while accuracy changes by "
            f"{100 * self.accuracy_change:+.1f} points"
        )
        return f"{where} {self._verdict()}: {numbers}."

    def _verdict(self) -> str:
        if self.present:
            return "The confidence is corrected after that"
        if self.strength_interval[0] > 0:
            return "The calibration error falls, but accuracy moves with it"
        return "No phase of correction is shown"

    def to_frame(self) -> Any:
        """Return the numbers as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row each for `plateau_start`, `peak`, `strength` and `accuracy_change`, with
            `estimate`, `low` and `high`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="CalibrationPhases.to_frame")
        rows = {
            "plateau_start": (self.plateau_start, *self.plateau_interval),
            "peak": (self.peak, *self.peak_interval),
            "strength": (self.strength, *self.strength_interval),
            "accuracy_change": (self.accuracy_change, *self.accuracy_interval),
        }
        columns = ["estimate", "low", "high"]
        return pandas.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __repr__(self) -> str:
        names = [
            "{} [{}, {}]".format(*(self.layers[place] for place in (center, *ends)))
            for center, ends in (
                (self.plateau_start, self.plateau_interval),
                (self.peak, self.peak_interval),
            )
        ]
        low, high = self.accuracy_interval
        return (
            f"CalibrationPhases: present={self.present}\n{self.summary}\n"
            f"  plateau starts at {names[0]}, peak at {names[1]}, "
            f"accuracy change [{low:+.4f}, {high:+.4f}]"
        )


def calibration_phases(
    layerwise: LayerwiseCalibration,
    *,
    tolerance: float = 0.05,
    level: float = 0.95,
    n_resamples: int = 500,
    groups: ArrayLike | None = None,
    random_state: object = None,
) -> CalibrationPhases:
    r"""Say whether a network corrects its confidence after it has decided.

    Networks have been seen [1]_ to reach their accuracy in a middle layer, to be overconfident
    there, and to correct the confidence in the layers that follow, at no change of accuracy. Where
    the layers differ by noise alone, the layer that looks worst also looks corrected after: peak
    and correction are therefore taken from different rows.

    Parameters
    ----------
    layerwise : LayerwiseCalibration
        Of :func:`layerwise_calibration`.
    tolerance : float, default=0.05
        The plateau starts where the accuracy reaches (1 - tolerance) of its largest; and a phase
        of correction changes the accuracy by no more than this. In [0, 1).
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    n_resamples : int, default=500
        Bootstrap samples behind the intervals of plateau and peak, at least 2.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent; they are drawn, and kept in one half, together.
    random_state : int, RandomState, Generator or None, default=None
        Source of halves and samples.

    Returns
    -------
    phases : CalibrationPhases
        Plateau, peak and correction.

    Raises
    ------
    TypeError
        If `layerwise` is something else, or a number is none.
    ValueError
        If there are fewer than two layers, 20 rows or 20 groups, or a number is out of range.

    See Also
    --------
    layerwise_calibration : The numbers of the layers.
    sk_arcal.metrics.calibration_error_difference : Two models with one event.

    Notes
    -----
    With accuracy :math:`a_l` and calibration error :math:`e_l` of the layers 0 to L,

    .. math:: s = \min \{l : a_l \ge (1 - \mathrm{tolerance}) \max a\}, \qquad
        p = \arg\max_{l \ge s} e_l, \qquad \mathrm{strength} = e_p - e_L .

    Two biases are removed. An error reads too high, the more so the smaller it is: p is chosen by
    errors that are corrected as in :func:`sk_arcal.metrics.calibration_error_interval`, and the
    interval is of the kind made there. With :math:`A_l` the error corrected by too little,
    :math:`B_l` by too much, and s the paired standard error of the difference over rows or
    groups, it is :math:`[B_p - A_L - z s, A_p - B_L + z s]`; the strength is its middle. And
    the largest of many noisy errors is too large: rows are halved at random, and each half is
    measured at the peak that the other has chosen. The strength speaks of the peaks chosen,
    which are not quite the worst layers, so that it may fall short of the true one where
    `measured_peaks` are apart.

    It errs on the side of too little. In 40 runs each of ``python -m benchmarks.phases_of_layers
    --sizes 2000 --replicates 40``, ten layers and 2 000 rows, a phase was present in no run where
    the layers differ by noise alone, in half of those with a strength of 4 points, and in all of
    those with 6 or 23; the interval held the strength in 95 to 100 %, and lay above it in one run.

    Rows or groups are dealt to at most 2048 batches, whose sums are resampled for the intervals of
    plateau and peak, with every layer's error moved by its bias.

    References
    ----------
    .. [1] A. Joshi, A. Ahmad and A. Modi. "Calibration Across Layers: Understanding Calibration
       Evolution in LLMs". EMNLP 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import calibration_phases, layerwise_calibration
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(1000, 4))
    >>> y_true = (logits + rng.gumbel(size=(1000, 4))).argmax(axis=1)
    >>> noise = rng.normal(size=(1000, 4))
    >>> layer_scores = np.stack([noise, logits + noise, 3 * logits, logits], axis=1)
    >>> layerwise = layerwise_calibration(y_true, layer_scores, random_state=0)
    >>> phases = calibration_phases(layerwise, random_state=0)
    >>> phases.present, phases.plateau_start, phases.peak
    (True, 2, 2)
    """
    tolerance = _check(layerwise, tolerance)
    level = check_number("level", level, low=0, high=1, strict=True)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    deal_rng, sample_rng = as_generator(random_state).spawn(2)
    batches = _batches(layerwise, groups, deal_rng)
    start, peak = plateau_and_peak(batches.accuracy(), batches.corrected_errors(), tolerance)
    samples = zip(*batches.resampled(n_resamples, sample_rng), strict=True)
    starts, peaks = np.array([plateau_and_peak(*one, tolerance) for one in samples]).T
    correction = measure_correction(batches, tolerance, level)
    error = layerwise.table["ece"]
    return CalibrationPhases(
        layers=layerwise.layers,
        plateau_start=start,
        plateau_interval=_range(starts, level),
        peak=peak,
        peak_interval=_range(peaks, level),
        peak_shares=np.bincount(peaks, minlength=len(error)) / n_resamples,
        measured_peaks=correction.peaks,
        strength=correction.strength,
        strength_interval=correction.strength_interval,
        naive_strength=float(error[peak] - error[-1]),
        accuracy_change=correction.accuracy_change,
        accuracy_interval=correction.accuracy_interval,
        tolerance=tolerance,
        level=level,
    )


def _batches(
    layerwise: LayerwiseCalibration, groups: ArrayLike | None, rng: np.random.Generator
) -> Batches:
    codes = None if groups is None else check_groups(groups, len(layerwise.event))[1]
    batches = deal(
        layerwise.event, layerwise.right, layerwise.confidence, codes, layerwise.n_bins, rng
    )
    if len(batches.count) < _FEWEST_UNITS:
        raise ValueError(
            f"Phases need at least {_FEWEST_UNITS} rows, or `groups` as many; got "
            f"{len(batches.count)}."
        )
    return batches


def _range(places: NDArray[np.intp], level: float) -> tuple[int, int]:
    """Return the layers between which `level` of the places lie."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(places, ends, method="inverted_cdf").tolist()
    return int(low), int(high)


def _check(layerwise: object, tolerance: object) -> float:
    if not isinstance(layerwise, LayerwiseCalibration):
        raise TypeError(
            "`layerwise` must be a LayerwiseCalibration, which `layerwise_calibration` returns; "
            f"got {type(layerwise).__name__}."
        )
    if len(layerwise.layers) < 2:
        raise ValueError("`layerwise` has one layer; phases need at least two.")
    number = check_number("tolerance", tolerance, low=0, high=1)
    if number == 1:
        raise ValueError("`tolerance` must be below 1, or every layer is on the plateau.")
    return number
