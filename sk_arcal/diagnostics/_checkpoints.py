"""The temporal pilot: how calibration moves over training, and what checkpoints know together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from sk_arcal._validation import (
    as_generator,
    check_integer,
    check_vector,
    import_optional,
)
from sk_arcal.diagnostics._confidence_bins import FloatArray, IntArray
from sk_arcal.diagnostics._temporal._ensemble import (
    CheckpointEnsemble,
    averaging_helps,
    compare_ensemble,
)
from sk_arcal.diagnostics._temporal._paired import (
    Interval,
    calibration_error_shares,
    mean_with_interval,
    trend_shares,
)
from sk_arcal.diagnostics._temporal._trajectory import Trajectory, read_trajectory
from sk_arcal.diagnostics._worst_tertile import worst_tertile_error
from sk_arcal.metrics import expected_calibration_error, noise_floor

if TYPE_CHECKING:
    import pandas

# Order of the curves in tables.
_ORDER = (
    *("accuracy", "confidence", "ece", "ece_floor", "log_loss", "brier"),
    *("worst_tertile_ece", "worst_tertile_null", "routing"),
)
# Checkpoints that the text of a profile shows at most.
_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class CheckpointProfile:
    """A training run seen through its checkpoints.

    Returned by :func:`checkpoint_profile`. Curves have shape (n_checkpoints,), oldest first.

    Attributes
    ----------
    curves : dict of str to ndarray
        `accuracy`, `confidence` (its mean), `ece` (expected calibration error), `ece_floor` (its
        mean for a calibrated model of the same confidences), `log_loss` (nats) and `brier`. With
        `routing` also `routing` (its mean), `worst_tertile_ece` and `worst_tertile_null` (its
        mean when routing says nothing).
    n_late : int
        Number of checkpoints in the last third.
    ece_slope : float
        Least-squares slope of the calibration error over the last third, per checkpoint.
    ece_slope_interval : tuple of float
        95 % interval of the slope over test sets, for these checkpoints.
    ece_rank_correlation : float
        Spearman correlation of the calibration error with time over the last third; 0 if the
        error does not move.
    ece_drifts_up : bool
        First expected signature: `ece_slope_interval` lies above zero.
    ensemble : CheckpointEnsemble
        Mean of the last few checkpoints against the last one alone.
    ensemble_helps : bool
        Second expected signature: the intervals of the differences in calibration error and in
        log loss lie below zero, and that in accuracy does not.
    features : dict of str to ndarray of shape (n_samples,)
        Columns for `routing` of the tests and the audit. `confidence_variance`: variance over
        checkpoints of the probability of the class that the last one predicts (of the event,
        where its probability was given). `disagreement`: share of checkpoints that predict
        another class than the last one. `prediction_changes`: number of changes of the
        prediction from one checkpoint to the next.
    event : ndarray of shape (n_samples,)
        The event of the last checkpoint, 0 or 1: whether its prediction is right, or `y_true`
        where the probability of one event was given. Goes with `features`.
    confidence : ndarray of shape (n_samples,)
        Confidence of the last checkpoint in it.
    """

    curves: dict[str, FloatArray]
    n_late: int
    ece_slope: float
    ece_slope_interval: Interval
    ece_rank_correlation: float
    ece_drifts_up: bool
    ensemble: CheckpointEnsemble
    ensemble_helps: bool
    features: dict[str, FloatArray]
    event: IntArray
    confidence: FloatArray

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per checkpoint, oldest first.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_checkpoints, n_curves)
            A column per curve; the index counts checkpoints from 0.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "CheckpointProfile.to_frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        return pandas.DataFrame(self.curves).rename_axis("checkpoint")

    def __repr__(self) -> str:
        n = len(self.curves["ece"])
        low, high = self.ece_slope_interval
        widths = [max(len(name), 6) for name in self.curves]
        head = "  ".join(name.rjust(w) for name, w in zip(self.curves, widths, strict=True))
        lines = [f"CheckpointProfile: {n} checkpoints, {len(self.event)} rows", f"      {head}"]
        for k in np.unique(np.linspace(0, n - 1, min(n, _SHOWN)).round().astype(int)):
            numbers = (f"{curve[k]:.4f}" for curve in self.curves.values())
            cells = "  ".join(x.rjust(w) for x, w in zip(numbers, widths, strict=True))
            lines.append(f"{k:4}  {cells}")
        verdict = "drifts up" if self.ece_drifts_up else "no drift upwards shown"
        lines.append(
            f"ECE over the last {self.n_late}: {self.ece_slope:+.5f} per checkpoint "
            f"[{low:+.5f}, {high:+.5f}], rank correlation {self.ece_rank_correlation:+.2f}: "
            f"{verdict}"
        )
        helps = "helps" if self.ensemble_helps else "no help shown"
        return "\n".join([*lines, f"{self.ensemble!r}", f"Averaging: {helps}"])


def checkpoint_profile(
    y_true: ArrayLike,
    staged_proba: Any,
    *,
    routing: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    last: int = 5,
    n_bins: int = 15,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> CheckpointProfile:
    r"""Follow calibration over the checkpoints of a training run, and average the last few.

    Two signatures are expected of networks that are trained for long [1]_: the calibration error
    of single checkpoints drifts upwards late in training, and the average of the last checkpoints
    has a lower calibration error and log loss at no loss of accuracy. How checkpoints disagree is
    then a feature to compare routing with; `features` has it in the form that the tests take.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels, or 0/1 outcomes where the probability of one event is given.
    staged_proba : array-like or iterator
        Probabilities of the checkpoints on the same rows, oldest first: an array of shape
        (n_checkpoints, n_samples, n_classes), or an iterator over its entries such as
        `staged_predict_proba` returns. An iterator is read once, and only what is needed is
        held. Entries of shape (n_samples,) are probabilities of one event.
    routing : array-like of shape (n_samples,) or (n_checkpoints, n_samples), default=None
        Routing feature, of the last network or of every checkpoint.
    labels : array-like of shape (n_classes,), default=None
        The class of every column; None means the sorted labels of `y_true`.
    last : int, default=5
        Number of last checkpoints to average, at least 2.
    n_bins : int, default=15
        Equal-width confidence bins of the calibration errors, at least 1.
    n_resamples : int, default=200
        Number of simulated test sets for every floor and null mean, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Source of the simulated test sets.
    n_jobs : int, default=None
        Number of joblib workers over checkpoints; the result does not depend on it.

    Returns
    -------
    profile : CheckpointProfile
        Curves, the ensemble, both signatures, and the features.

    Raises
    ------
    ValueError
        If there are fewer checkpoints than `last`, shapes do not fit each other, or a value is
        not finite or out of range.
    TypeError
        If an array does not hold numbers, a count is not an integer, or `staged_proba` cannot be
        iterated over.

    See Also
    --------
    conditional_calibration_tests : Takes `features` as `routing`.
    sk_arcal.models.VisionTransformerClassifier : A network with `staged_predict_proba`.

    Notes
    -----
    The event is that the most probable class is right. With w the least-squares weights of the
    last third of the checkpoints, :math:`\sum_k w_k \mathrm{ECE}_k` is a mean over rows,

    .. math:: \frac 1 n \sum_i \sum_k w_k \, s_{k b_k(i)} (c_{ki} - y_{ki}) ,

    where s is the sign of the summed gap of a bin. Its interval follows from the spread of the
    rows, so that checkpoints that err together are not taken for independent ones; the signs are
    taken for known, so it is trustworthy where errors stand clear of their floors; where one of
    them does not, a change is understated, as the smaller error reads too high. The interval
    speaks of these checkpoints on other test sets, not of another training. Differences of the
    ensemble have paired intervals made in the same way. The Brier score is the sum over classes,
    halved for two classes.

    References
    ----------
    .. [1] H. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". 2026. Temporal pilot.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import checkpoint_profile
    >>> rng = np.random.default_rng(0)
    >>> log_odds = rng.normal(size=2000)
    >>> y_true = rng.random(2000) < 1 / (1 + np.exp(-log_odds))
    >>> noisy = log_odds + 2 * rng.normal(size=(8, 2000))  # eight networks, one truth
    >>> profile = checkpoint_profile(
    ...     y_true, 1 / (1 + np.exp(-noisy)), n_resamples=20, random_state=0
    ... )
    >>> profile.ensemble_helps, list(profile.features)
    (True, ['confidence_variance', 'disagreement', 'prediction_changes'])
    """
    last = check_integer("last", last, low=2)
    settings = {
        "n_bins": check_integer("n_bins", n_bins, low=1),
        "n_resamples": check_integer("n_resamples", n_resamples, low=2),
    }
    rng = as_generator(random_state)
    run = read_trajectory(y_true, staged_proba, labels, last)
    states = _staged_routing(routing, run.confidence.shape)
    jobs = zip(run.confidence, run.event, states, rng.spawn(len(states)), strict=True)
    columns = Parallel(n_jobs=n_jobs)(delayed(_errors)(*job, **settings) for job in jobs)
    curves = {name: np.array([column[name] for column in columns]) for name in columns[0]}
    curves |= run.scores
    n_late = max(-(-len(states) // 3), min(len(states), 3))
    late = zip(run.confidence[-n_late:], run.event[-n_late:], strict=True)
    shares = np.stack([calibration_error_shares(*rows, settings["n_bins"]) for rows in late])
    slope, interval = mean_with_interval(trend_shares(shares))
    ensemble = compare_ensemble(run.last, run.ensemble, last, rng, **settings)
    return CheckpointProfile(
        curves={name: curves[name] for name in _ORDER if name in curves},
        n_late=n_late,
        ece_slope=slope,
        ece_slope_interval=interval,
        ece_rank_correlation=_rank_correlation(shares.mean(axis=1)),
        ece_drifts_up=interval[0] > 0,
        ensemble=ensemble,
        ensemble_helps=averaging_helps(ensemble.interval),
        features=_features(run),
        event=run.last.event.astype(np.intp),
        confidence=run.last.confidence,
    )


def _staged_routing(routing: ArrayLike | None, shape: tuple[int, ...]) -> list[FloatArray | None]:
    """Return the routing of every checkpoint."""
    if routing is None:
        return [None] * shape[0]
    if np.ndim(routing) == 1:
        return [check_vector(routing, "routing", n_samples=shape[1])] * shape[0]
    if np.shape(routing) != shape:
        raise ValueError(
            f"`routing` must have shape (n_samples,) or (n_checkpoints, n_samples), here "
            f"({shape[1]},) or {shape}; got shape {np.shape(routing)}."
        )
    return [check_vector(row, f"routing[{k}]") for k, row in enumerate(np.asarray(routing))]


def _errors(
    confidence: FloatArray,
    event: NDArray[np.bool_],
    routing: FloatArray | None,
    rng: np.random.Generator,
    *,
    n_bins: int,
    n_resamples: int,
) -> dict[str, float]:
    """Return the calibration errors of one checkpoint, each beside its null."""
    floor_rng, null_rng = rng.spawn(2)
    simulated: dict[str, Any] = {"n_bins": n_bins, "n_resamples": n_resamples}
    found = {
        "confidence": float(confidence.mean()),
        "ece": expected_calibration_error(event, confidence, n_bins=n_bins),
        "ece_floor": noise_floor(confidence, random_state=floor_rng, **simulated).mean,
    }
    if routing is not None:
        worst = worst_tertile_error(event, confidence, routing, random_state=null_rng, **simulated)
        found |= {
            "worst_tertile_ece": worst.error,
            "worst_tertile_null": worst.null_mean,
            "routing": float(routing.mean()),
        }
    return found


def _rank_correlation(values: FloatArray) -> float:
    """Return Spearman's correlation with time, zero if the values do not move."""
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), np.arange(len(values)))[0, 1])


def _features(run: Trajectory) -> dict[str, FloatArray]:
    prediction = run.prediction
    return {
        "confidence_variance": run.variance,
        "disagreement": (prediction != prediction[-1]).mean(axis=0),
        "prediction_changes": (prediction[1:] != prediction[:-1]).sum(axis=0).astype(np.float64),
    }
