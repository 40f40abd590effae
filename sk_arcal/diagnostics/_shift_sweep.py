"""Calibration of one or several models while a shift grows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_events,
    check_integer,
    check_number,
    check_probabilities,
    check_vector,
    import_optional,
)
from sk_arcal.diagnostics._experts._views import effective_rows
from sk_arcal.metrics._calibration_error import expected_calibration_error
from sk_arcal.metrics._interval import calibration_error_interval
from sk_arcal.metrics._noise_floor import noise_floor
from sk_arcal.metrics._results import as_text

# Of the log loss; a probability of zero for what happened would make it infinite.
_SMALLEST = 1e-15
_SHOWN = ("model", "severity", "effective_rows", "ece", "floor", "corrected", "low", "high")


@dataclass(frozen=True, slots=True)
class ShiftSweepRow:
    """One model under one severity, as :func:`shift_sweep` lists them.

    Attributes
    ----------
    model : str
        Name of the model.
    severity : float
        Severity of the shift.
    effective_rows : float
        Rows that would be as precise if they had equal weights.
    event_rate, confidence : float
        Weighted rate of the event and mean probability.
    log_loss : float
        Weighted, nats.
    ece : float
        Weighted expected calibration error.
    floor, floor_95 : float
        Mean and 95 % quantile of `ece` for a calibrated model under the same weights.
    corrected, low, high : float
        `ece` without its bias, and its interval.
    """

    model: str
    severity: float
    effective_rows: float
    event_rate: float
    confidence: float
    log_loss: float
    ece: float
    floor: float
    floor_95: float
    corrected: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class ShiftSweep:
    """Calibration over the severities of a shift.

    Returned by :func:`shift_sweep`.

    Parameters
    ----------
    rows : tuple of ShiftSweepRow
        One per model and severity, model by model; the fields are the columns of
        :meth:`to_frame`.
    level : float
        Coverage of the intervals.
    n_samples : int
        Number of rows.

    See Also
    --------
    shift_sweep : Computes it.

    Examples
    --------
    >>> from sk_arcal.diagnostics import shift_sweep, tilt_weights
    >>> p = [0.2, 0.4, 0.6, 0.8] * 25
    >>> sweep = shift_sweep(
    ...     [0, 1, 1, 1] * 25, p, lambda t: tilt_weights(p, t), [0, 1], n_resamples=10,
    ...     random_state=0,
    ... )
    >>> [round(row.effective_rows) for row in sweep.rows]
    [100, 56]
    """

    rows: tuple[ShiftSweepRow, ...]
    level: float
    n_samples: int

    def to_frame(self) -> Any:
        """Return the numbers as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per model and severity: "model", "severity", "effective_rows", "event_rate",
            mean "confidence", "log_loss" (nats), "ece", its "floor" and "floor_95", and without
            bias "corrected", with its interval "low", "high".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="ShiftSweep.to_frame")
        return pandas.DataFrame(self._columns(ShiftSweepRow.__slots__))

    def _columns(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: [getattr(row, name) for row in self.rows] for name in names}

    def __repr__(self) -> str:
        return as_text(self._columns(_SHOWN))


def shift_sweep(
    y_true: ArrayLike,
    y_prob: ArrayLike | Mapping[str, ArrayLike],
    shift: Callable[[float], ArrayLike],
    severities: ArrayLike,
    *,
    n_bins: int = 15,
    level: float = 0.95,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> ShiftSweep:
    r"""Compute the calibration error of models while a shift grows.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,), or mapping of str to such
        Probability of the event, in [0, 1]; of several models, by name.
    shift : callable
        Takes a severity and returns row weights of shape (n_samples,), non-negative, such as
        :func:`share_weights` or :func:`tilt_weights`. They are divided by their mean.
    severities : array-like of shape (n_severities,)
        Severities, in the order of the result.
    n_bins : int, default=15
        Confidence bins of equal width.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    n_resamples : int, default=200
        Samples behind every interval and floor, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Source of the samples.
    n_jobs : int, default=None
        Number of joblib workers, over severities and models; the result does not depend on it.

    Returns
    -------
    sweep : ShiftSweep
        Error, floor, interval, log loss and effective rows of every model and severity.

    Raises
    ------
    ValueError
        If there is no model or no severity, weights are negative, of the wrong length or on fewer
        than two rows, or an input is out of range.
    TypeError
        If `shift` cannot be called or an input does not hold numbers.

    See Also
    --------
    share_weights : Shifts of shares: labels, domains, experts.
    tilt_weights : Shifts along a value, also within groups.
    worst_case_calibration_error : Without knowing the shift.
    sk_arcal.displays.ShiftSweepDisplay : The picture.

    Notes
    -----
    Weights w leave :math:`n_\mathrm{eff} = (\sum w)^2 / \sum w^2` effective rows [1]_. For the
    interval, where a weight is a number of repetitions, they are rescaled to that sum. The error is
    biased upwards the more, the fewer rows are left; the floor is its mean for a calibrated model
    under the same weights. All models see the same weights.

    References
    ----------
    .. [1] L. Kish. "Survey sampling". Wiley, 1965.

    Examples
    --------
    A model that does not know the group is calibrated until the shares of the groups change.

    >>> import numpy as np
    >>> from sk_arcal.diagnostics import share_weights, shift_sweep
    >>> rng = np.random.default_rng(0)
    >>> group, p = np.arange(3000) % 2, rng.uniform(0.3, 0.7, 3000)
    >>> y_true = rng.random(3000) < p + 0.2 * group - 0.1
    >>> sweep = shift_sweep(
    ...     y_true, {"blind": p, "aware": p + 0.2 * group - 0.1},
    ...     lambda share: share_weights(group, [1 - share, share]), [0.5, 0.9],
    ...     n_resamples=20, random_state=0,
    ... )
    >>> [row.low > 0.03 for row in sweep.rows]
    [False, True, False, False]
    """
    events = check_events(y_true)
    models = _models(y_prob, len(events))
    points = check_vector(severities, "severities")
    level = check_number("level", level, low=0, high=1, strict=True)
    n_bins = check_integer("n_bins", n_bins, low=1)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    if not callable(shift):
        raise TypeError(f"`shift` must be callable: severity to row weights; got {shift!r}.")
    # Weights are computed here, so that a function that cannot be pickled is none to the workers.
    weights = [_weights(shift(float(point)), len(events), point) for point in points]
    tasks = [
        (name, probability, point, weight)
        for name, probability in models.items()
        for point, weight in zip(points.tolist(), weights, strict=True)
    ]
    children = as_generator(random_state).spawn(len(tasks))
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_row)(events, *task, n_bins, level, n_resamples, child)
        for task, child in zip(tasks, children, strict=True)
    )
    return ShiftSweep(tuple(rows), level, len(events))


def _models(y_prob: Any, n_samples: int) -> dict[str, FloatArray]:
    if not isinstance(y_prob, Mapping):
        return {"model": check_probabilities(y_prob, n_samples=n_samples)}
    if not y_prob:
        raise ValueError("`y_prob` holds no model; pass probabilities or a mapping of them.")
    return {
        str(name): check_probabilities(values, f"y_prob[{name!r}]", n_samples=n_samples)
        for name, values in y_prob.items()
    }


def _weights(values: ArrayLike, n_samples: int, severity: float) -> FloatArray:
    weight = check_vector(values, f"shift({severity:g})", n_samples=n_samples)
    if (weight < 0).any() or (weight > 0).sum() < 2:
        raise ValueError(
            f"`shift` must return weights that are not negative and positive on two rows or more; "
            f"at severity {severity:g} {int((weight < 0).sum())} are negative and "
            f"{int((weight > 0).sum())} positive."
        )
    return weight / weight.mean()


def _row(
    events: FloatArray,
    name: str,
    probability: FloatArray,
    severity: float,
    weight: FloatArray,
    n_bins: int,
    level: float,
    n_resamples: int,
    rng: np.random.Generator,
) -> ShiftSweepRow:
    share = weight / weight.sum()
    effective = effective_rows(weight)
    floors, samples = rng.spawn(2)
    floor = noise_floor(
        probability, n_resamples=n_resamples, random_state=floors,
        n_bins=n_bins, sample_weight=weight,
    )  # fmt: skip
    interval = calibration_error_interval(
        events, probability, level=level, n_bins=n_bins, n_resamples=n_resamples,
        sample_weight=share * max(effective, 2.0), random_state=samples,
    )  # fmt: skip
    happened = np.clip(np.where(events == 1, probability, 1 - probability), _SMALLEST, 1)
    return ShiftSweepRow(
        model=name,
        severity=severity,
        effective_rows=effective,
        event_rate=float(share @ events),
        confidence=float(share @ probability),
        log_loss=float(-share @ np.log(happened)),
        ece=expected_calibration_error(events, probability, n_bins=n_bins, sample_weight=weight),
        floor=floor.mean,
        floor_95=floor.quantile_95,
        corrected=interval.corrected,
        low=interval.low,
        high=interval.high,
    )
