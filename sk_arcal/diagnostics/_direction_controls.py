"""A calibration direction against random directions, a temperature and shuffled labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_arcal._validation import FloatArray, as_generator, check_integer, check_length
from sk_arcal.calibration import CalibrationDirection, TemperatureScaler
from sk_arcal.diagnostics._readout._arms import (
    METRICS,
    Arm,
    bootstrap_weights,
    paired_differences,
)
from sk_arcal.metrics._results import as_frame, as_text

_AS_IS, _TUNED, _TEMPERATURE, _SHUFFLED = (
    "as is",
    "direction",
    "temperature",
    "shuffled labels",
)


@dataclass(frozen=True, eq=False, repr=False)
class DirectionControls:
    """A calibration direction and its controls on rows that fitted none of them.

    Returned by :func:`direction_controls`. Printing it shows the arms, with the mean over the
    random directions.

    Attributes
    ----------
    arms : tuple of str
        "as is", "direction", "temperature", "shuffled labels", then "random 1" and so on.
    scale : ndarray of shape (n_arms,)
        Signed length of the shift; 0 as is, NaN for the temperature.
    ece : ndarray of shape (n_arms,)
        Expected calibration error of the top label, 15 equal bins.
    noise_floor : ndarray of shape (n_arms,)
        Its mean for a calibrated model of the same confidences.
    maximum_error : ndarray of shape (n_arms,)
        Largest gap of a bin of at least five rows.
    log_loss : ndarray of shape (n_arms,)
        Nats per row.
    accuracy : ndarray of shape (n_arms,)
        Share of right rows.
    differences : dict of str to ndarray of shape (n_arms,)
        Of "ece", "maximum_error", "log_loss" and "accuracy": the arm less the untouched model.
    standard_errors : dict of str to ndarray of shape (n_arms,)
        Of the differences, paired by row.
    temperature : float
        T of the temperature arm.
    n_samples : int
        Rows compared.

    See Also
    --------
    direction_controls : Computes it.
    """

    arms: tuple[str, ...]
    scale: FloatArray
    ece: FloatArray
    noise_floor: FloatArray
    maximum_error: FloatArray
    log_loss: FloatArray
    accuracy: FloatArray
    differences: dict[str, FloatArray]
    standard_errors: dict[str, FloatArray]
    temperature: float
    n_samples: int

    @property
    def random_share(self) -> float:
        """Share of the random directions whose log loss is no larger than the direction's."""
        return float((self.log_loss[4:] <= self.log_loss[1]).mean())

    def to_frame(self) -> Any:
        """Return one row per arm.

        Returns
        -------
        frame : pandas.DataFrame
            `arm`, `scale`, the scores, and of each `<score>_difference` and `<score>_se`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return as_frame(self._table(), "DirectionControls.to_frame")

    def _table(self) -> dict[str, NDArray[Any]]:
        table: dict[str, Any] = {"arm": np.array(self.arms)}
        for name in ("scale", "ece", "noise_floor", *METRICS[1:]):
            table[name] = getattr(self, name)
        for name in METRICS:
            table[f"{name}_difference"] = self.differences[name]
            table[f"{name}_se"] = self.standard_errors[name]
        return table

    def __repr__(self) -> str:
        table = self._table()
        n_random = len(self.arms) - 4
        names = [*self.arms[:4], f"random, mean of {n_random}"]
        shown = {"arm": np.array(names)}
        for name in ("ece", "noise_floor", *METRICS[1:], "log_loss_difference", "log_loss_se"):
            shown[name] = np.r_[table[name][:4], table[name][4:].mean()]
        return (
            f"DirectionControls: {self.n_samples} rows, temperature {self.temperature:.4g}, "
            f"{self.random_share:.0%} of {n_random} random directions no worse\n{as_text(shown)}"
        )


def direction_controls(
    direction: CalibrationDirection,
    hidden: ArrayLike,
    y: ArrayLike,
    *,
    n_random: int = 20,
    n_resamples: int = 100,
    random_state: object = None,
    n_jobs: int | None = None,
) -> DirectionControls:
    r"""Compare a calibration direction with what it has to beat.

    Along almost any direction that the head does not see, a shift makes states longer and the
    network less sure. So a lower calibration error alone says nothing about the direction: a
    random one, with a scale chosen by the same rule on the same rows, may do as well, and
    so may one temperature.

    Parameters
    ----------
    direction : CalibrationDirection
        Fitted, with ``keep_rows=True``: the controls are fitted on the rows it keeps.
    hidden : array-like of shape (n_samples, d)
        States of other rows at the same layer.
    y : array-like of shape (n_samples,)
        Their class labels.
    n_random : int, default=20
        Random directions, at least 1.
    n_resamples : int, default=100
        Resamples behind noise floors and the standard errors of binned errors, at least 2. Their
        weights take n_samples x n_resamples doubles.
    random_state : int, RandomState, Generator or None, default=None
        Source of directions, orders and resamples.
    n_jobs : int, default=None
        Number of joblib jobs over the directions; the result does not depend on it.

    Returns
    -------
    controls : DirectionControls
        Scores of every arm, and paired differences to the untouched model.

    Raises
    ------
    ValueError
        If the direction kept no rows, a label is unknown, or an input cannot be used.
    TypeError
        If `direction` is no :class:`~sk_arcal.calibration.CalibrationDirection`.

    See Also
    --------
    sk_arcal.calibration.CalibrationDirection : The direction.
    unembedding_profile : Why a random direction works so well.

    Notes
    -----
    Arms: the untouched read-out; the direction; a temperature fitted on all rows that
    the direction was fitted on, both parts; the direction fitted again to shuffled labels,
    scale included; random directions, normal and then projected like the direction, of
    unit length, each with its own scale. Log loss and accuracy are means, so their
    differences have the usual paired standard errors; those of binned errors come from a bootstrap
    of rows and err on the large side.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.calibration import CalibrationDirection, LinearReadout
    >>> from sk_arcal.diagnostics import direction_controls
    >>> rng = np.random.default_rng(0)
    >>> hidden = rng.normal(size=(1200, 8))
    >>> readout = LinearReadout(4 * np.eye(3, 8), norm="rms")
    >>> y = (readout.logits(hidden) / 2 + rng.gumbel(size=(1200, 3))).argmax(axis=1)
    >>> direction = CalibrationDirection(random_state=0).fit(
    ...     hidden[:600], y[:600], readout=readout, reference=hidden[:600] + np.arange(8)
    ... )
    >>> controls = direction_controls(
    ...     direction, hidden[600:], y[600:], n_random=3, random_state=0
    ... )
    >>> bool(controls.differences["log_loss"][1] < 0)
    True
    >>> controls.arms[:3]
    ('as is', 'direction', 'temperature')
    """
    if not isinstance(direction, CalibrationDirection):
        raise TypeError(
            f"`direction` must be a CalibrationDirection; got {type(direction).__name__}."
        )
    check_is_fitted(direction)
    n_random = check_integer("n_random", n_random, low=1)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    states = np.asarray(hidden)
    codes = _codes(direction.classes_, y, len(states))
    shuffling, floors, drawing, *children = as_generator(random_state).spawn(3 + n_random)
    fits = Parallel(n_jobs=n_jobs)(
        delayed(direction.control)(kind, random_state=rng)
        for kind, rng in [("shuffled", shuffling), *(("random", rng) for rng in children)]
    )
    untouched = direction.readout_.logits(states).astype(np.float64)
    temperature = _temperature(direction)
    logits = {
        _AS_IS: untouched,
        _TUNED: _logits(direction, states),
        _TEMPERATURE: untouched / temperature,
    }
    names = [_SHUFFLED, *(f"random {number}" for number in range(1, n_random + 1))]
    logits |= {name: _logits(fit, states) for name, fit in zip(names, fits, strict=True)}
    scale = np.r_[0.0, direction.scale_, np.nan, [fit.scale_ for fit in fits]]
    draws = bootstrap_weights(len(codes), n_resamples, drawing)
    arms = {name: Arm.of(values, codes) for name, values in logits.items()}
    return _compared(arms, scale, temperature, draws, floors.spawn(len(arms)))


def _compared(
    arms: dict[str, Arm],
    scale: FloatArray,
    temperature: float,
    draws: FloatArray,
    rngs: list[np.random.Generator],
) -> DirectionControls:
    n, n_resamples = draws.shape
    ones = np.ones((n, 1))
    scores = np.hstack([arm.scores(ones) for arm in arms.values()])
    pairs = [paired_differences(arm, arms[_AS_IS], draws) for arm in arms.values()]
    differences, errors = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
    floor = [arm.floor(n_resamples, rng) for arm, rng in zip(arms.values(), rngs, strict=True)]
    return DirectionControls(
        arms=tuple(arms),
        scale=scale,
        noise_floor=np.array(floor),
        **dict(zip(METRICS, scores, strict=True)),
        differences=dict(zip(METRICS, differences, strict=True)),
        standard_errors=dict(zip(METRICS, errors, strict=True)),
        temperature=temperature,
        n_samples=n,
    )


def _codes(classes: NDArray[Any], y: ArrayLike, n_samples: int) -> NDArray[np.intp]:
    labels = np.asarray(y)
    check_length("y", labels, n_samples)
    unknown = ~np.isin(labels, classes)
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise ValueError(
            f"Row {row} of `y` holds {labels.tolist()[row]!r}, which is none of the classes "
            f"{classes.tolist()} of the direction."
        )
    return np.searchsorted(classes, labels)


def _logits(direction: CalibrationDirection, hidden: NDArray[Any]) -> FloatArray:
    decision = direction.decision_function(hidden)
    return decision if decision.ndim == 2 else np.stack([np.zeros(len(decision)), decision], axis=1)


def _temperature(direction: CalibrationDirection) -> float:
    rows: Any = direction.calibration_rows_
    logits = direction.readout_.logits(rows["hidden"]).astype(np.float64)
    n_classes = logits.shape[1]
    if n_classes == 2:
        logits = logits[:, 1:] - logits[:, :1]
    scaler = TemperatureScaler(
        confidence_columns=list(range(logits.shape[1])),
        confidence_kind="logit",
        classes=np.arange(n_classes),
    )
    return float(scaler.fit(logits, rows["codes"]).temperature_)
