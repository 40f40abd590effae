"""A network on the full routing profile against networks of its size that know no routing."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from sk_arcal._numeric import clipped_logit
from sk_arcal._validation import FloatArray, as_generator, check_integer, import_optional
from sk_arcal.calibration import CapacityMatchedMLP
from sk_arcal.diagnostics._conditional._profile import read_profile
from sk_arcal.diagnostics._probing._paired import Difference, clustered_difference
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows, read_rows

FULL, LOGISTIC = "full profile", "logistic on confidence"
# Name of each network, and the value of its parameter `control`.
_NETWORKS = {
    FULL: None,
    "confidence only": "confidence_only",
    "shuffled profile": "shuffled_routing",
}
ARMS = (*_NETWORKS, LOGISTIC)
# Larger batches and longer steps than the estimator's own, for a call per feature of an audit. The
# mean over the networks and the controls judge what is gained, so no network has to prove itself.
_SCHEDULE: dict[str, Any] = {
    "batch_size": 1024,
    "learning_rate": 0.03,
    "max_epochs": 60,
    "n_iter_no_change": 8,
    "n_standard_errors": 0.0,
}
_LEAST = 1e-15


@dataclass(frozen=True, eq=False, repr=False)
class CapacityControl:
    """Log losses of a network on the full routing profile and of its controls.

    Returned by :func:`capacity_control`.

    Parameters
    ----------
    log_loss : dict of str to float
        Mean log loss of the event out of fold, nats per row, by arm: "full profile", "confidence
        only", "shuffled profile" and "logistic on confidence".
    gain : dict of str to Difference
        By how much the full profile is better than each other arm: `estimate`, `low` and `high`
        of a 95 % interval, nats per row, paired by row, or by group where groups were given.
    n_parameters : dict of str to int
        Numbers that each arm learns, in one of its networks.
    n_samples : int
        Rows compared.
    n_networks : int
        Networks whose probabilities are averaged in each fold.

    Attributes
    ----------
    survives : bool
        Whether the gains over both controls, confidence only and shuffled profile, have a lower
        end above zero.

    See Also
    --------
    capacity_control : Computes it.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import capacity_control
    >>> data = make_routing_data(800, effect="step", strength=0.3, random_state=0)
    >>> control = capacity_control(
    ...     data.y, data.confidence, data.routing, n_networks=1, random_state=0
    ... )
    >>> control.n_parameters["full profile"], control.n_parameters["confidence only"]
    (65, 64)
    """

    log_loss: dict[str, float]
    gain: dict[str, Difference]
    n_parameters: dict[str, int]
    n_samples: int
    n_networks: int

    @property
    def survives(self) -> bool:
        """Whether the full profile beats both of its controls."""
        return all(self.gain[arm].low > 0 for arm in _NETWORKS if arm != FULL)

    def to_frame(self) -> Any:
        """Return one row per arm.

        Returns
        -------
        frame : pandas.DataFrame
            Columns `arm`, `n_parameters`, `log_loss`, and `gain`, `gain_low`, `gain_high` of the
            full profile over the arm, NaN in its own row.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="CapacityControl.to_frame")
        nothing = Difference(np.nan, np.nan, np.nan)
        gains = [self.gain.get(arm, nothing) for arm in ARMS]
        return pandas.DataFrame(
            {
                "arm": ARMS,
                "n_parameters": [self.n_parameters[arm] for arm in ARMS],
                "log_loss": [self.log_loss[arm] for arm in ARMS],
                "gain": [gain.estimate for gain in gains],
                "gain_low": [gain.low for gain in gains],
                "gain_high": [gain.high for gain in gains],
            }
        )

    def __repr__(self) -> str:
        lines = [f"CapacityControl: {self.n_samples} rows, survives={self.survives}"]
        for arm in ARMS:
            line = f"  {arm:22}  log loss {self.log_loss[arm]:.4f}"
            if arm in self.gain:
                gain = self.gain[arm]
                line += (
                    f"  gain of full profile {gain.estimate:+.5f} "
                    f"[{gain.low:+.5f}, {gain.high:+.5f}]"
                )
            lines.append(line)
        return "\n".join(lines)


def capacity_control(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: Any,
    *,
    groups: ArrayLike | None = None,
    n_networks: int = 3,
    cv: int = 2,
    max_samples: int = 20_000,
    random_state: object = None,
    n_jobs: int | None = None,
) -> CapacityControl:
    r"""Compare a network on confidence and full routing profile with controls of its size.

    A network that reads the whole profile may win because it bends the confidence where a
    simple calibrator cannot, and not because routing says anything. Its twins can bend as well:
    one reads the confidence alone through as many parameters, one reads the profiles of other
    rows of like confidence. A gain over the logistic fit alone is the trap; the finding
    `survives` if there is a gain over both twins. Needs the extra "torch".

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Outcome of the event, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Confidence, the probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,) or (n_samples, n_features), mapping or frame
        Routing profile. Columns of names are read as indicators of their levels, at most the 12
        most frequent ones.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent and stay in one fold.
    n_networks : int, default=3
        Networks per fold and arm, from different starts, whose probabilities are averaged. The
        starts and the rows held out are the same for all arms.
    cv : int, default=2
        Number of folds; every row is predicted by networks fitted on the others.
    max_samples : int, default=20000
        Rows used; more are thinned at random.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the thinning, the folds and the networks.
    n_jobs : int, default=None
        Number of joblib jobs over the networks; the result does not depend on it.

    Returns
    -------
    control : CapacityControl
        Log loss of the four arms, gains of the full profile, and whether it survives.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, or a fold lacks
        one of the outcomes.
    TypeError
        If an input does not hold numbers, or a count is not an integer.
    ImportError
        If torch or skorch are not installed.

    See Also
    --------
    matched_probes : The same comparison for kernels on single features.
    conditional_calibration_test : The test with an error rate, which sees more.
    sk_arcal.calibration.CapacityMatchedMLP : The network.

    Notes
    -----
    The gain over an arm is the mean over rows of its log loss minus that of the full profile, its
    interval :math:`\pm 1.96` standard errors, from sums over groups. `survives` asks for a lower
    end above zero against both controls: two one-sided tests at 2.5 % that both have to reject.
    A useless column only adds noise to the full profile, which keeps the rule on the safe side
    where routing says nothing.

    At 10 000 rows (``pytest -m slow tests/statistical/test_capacity_control.py``) at most one of
    100 data sets without an effect survives, with one column as with six, and none of 50 in which
    the event bends with the confidence in a way no line can follow; a step of strength 0.04 of
    :func:`~sk_arcal.datasets.make_routing_data` survives in at least 97 of 100. The more columns
    say nothing, the less is seen; more folds see more, at their price.

    Networks are trained for at most 60 epochs of batches of 1024 rows with step size 0.03, and used
    as they come; other parameters are the defaults of
    :class:`~sk_arcal.calibration.CapacityMatchedMLP`.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. The full-profile network and its controls.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import capacity_control
    >>> data = make_routing_data(1500, effect="step", strength=0.3, random_state=0)
    >>> capacity_control(
    ...     data.y, data.confidence, data.routing, n_networks=1, random_state=0
    ... ).survives
    True
    """
    n_networks = check_integer("n_networks", n_networks, low=1)
    thinning, seeds = as_generator(random_state).spawn(2)
    rows = read_rows(y_true, y_prob, groups, cv=cv, max_samples=max_samples, rng=thinning)
    profile = read_profile(routing, rows.n_given)[rows.kept]
    folds = rows.folds()
    _check_outcomes(rows, folds)
    # Here and not in each job, so that the sentence names the function that was called.
    for package in ("torch", "skorch"):
        import_optional(package, extra="torch", caller="capacity_control")
    table = np.column_stack([rows.confidence, profile])
    starts = seeds.integers(2**31 - 1, size=(len(folds), n_networks)).tolist()
    jobs = list(product(_NETWORKS, range(len(folds)), range(n_networks)))
    done = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_predict)(
            _NETWORKS[arm], table, rows.event, folds[fold], starts[fold][number]
        )
        for arm, fold, number in jobs
    )
    probability = {arm: np.zeros(len(rows.event)) for arm in _NETWORKS}
    n_parameters = {LOGISTIC: 2}
    for (arm, fold, _), (predicted, size) in zip(jobs, done, strict=True):
        probability[arm][folds[fold][1]] += predicted / n_networks
        n_parameters[arm] = size
    probability[LOGISTIC] = _logistic(rows, folds)
    losses = {arm: _losses(rows.event, probability[arm]) for arm in ARMS}
    return CapacityControl(
        log_loss={arm: float(losses[arm].mean()) for arm in ARMS},
        gain={
            arm: clustered_difference(losses[arm] - losses[FULL], rows.cluster)
            for arm in ARMS
            if arm != FULL
        },
        n_parameters=n_parameters,
        n_samples=len(rows.event),
        n_networks=n_networks,
    )


def _check_outcomes(
    rows: ProbeRows, folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
) -> None:
    for fitted, _ in folds:
        if rows.event[fitted].min() == rows.event[fitted].max():
            raise ValueError(
                f"`y_true` is {rows.event[fitted][0]:g} in all {len(fitted)} rows that a fold is "
                "fitted on; both outcomes are needed there. Pass more rows, or a smaller `cv`."
            )


def _fit_and_predict(
    control: str | None,
    table: FloatArray,
    event: FloatArray,
    fold: tuple[NDArray[np.intp], NDArray[np.intp]],
    seed: int,
) -> tuple[FloatArray, int]:
    """Return P(event) of the rows to predict, and the size of the network."""
    network = CapacityMatchedMLP(
        confidence_columns=0,
        confidence_kind="probability",
        classes=(0, 1),
        control=control,
        random_state=seed,
        **_SCHEDULE,
    ).fit(table[fold[0]], event[fold[0]])
    probability = network.predict_proba(table[fold[1]])[:, 1].astype(np.float64, copy=False)
    return probability, network.n_parameters_


def _logistic(
    rows: ProbeRows, folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
) -> FloatArray:
    logit, predicted = clipped_logit(rows.confidence, 1e-6)[:, None], np.empty(len(rows.event))
    for fitted, held_out in folds:
        # A touch of penalty keeps a separable sample finite.
        model = LogisticRegression(C=1e4).fit(logit[fitted], rows.event[fitted])
        predicted[held_out] = model.predict_proba(logit[held_out])[:, 1]
    return predicted


def _losses(event: FloatArray, probability: FloatArray) -> FloatArray:
    own = np.where(event == 1, probability, 1 - probability)
    return np.asarray(-np.log(np.maximum(own, _LEAST)))
