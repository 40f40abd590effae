r"""Probes that are the same but for the feature they may use.

A probe with a routing feature may predict better than the raw confidence for reasons that have
nothing to do with routing: it calibrates the confidence on the way, and it is wider. So it is
compared with twins that share its estimator, folds and bandwidth rule: one that sees the
confidence only, one that sees the feature shuffled among rows of like confidence, and one that
sees pure noise. What is left is what the feature says.
"""

from collections.abc import Mapping
from typing import Any

from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, as_generator, check_integer, check_option
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues, read_routing
from sk_arcal.diagnostics._probing._estimators import ESTIMATORS
from sk_arcal.diagnostics._probing._probe_rows import read_rows
from sk_arcal.diagnostics._probing._probe_score import MatchedProbes
from sk_arcal.diagnostics._probing._scoring import Scorer
from sk_arcal.diagnostics._probing._strata import feature_strata
from sk_arcal.diagnostics._probing._suite import (
    CONFIDENCE_ONLY,
    Arm,
    baseline_arms,
    probe_arms,
    score_arm,
)


def matched_probes(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    features: Any,
    *,
    strata: str | None = None,
    groups: ArrayLike | None = None,
    estimator: str = "residual",
    baselines: bool = True,
    n_shuffles: int = 5,
    cv: int = 2,
    max_samples: int = 6000,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> MatchedProbes:
    r"""Compare probes that share everything but the feature they may use.

    One probe per feature, one that sees the confidence only, one per feature that sees it
    shuffled among rows of like confidence, one that sees pure noise, and the textbook maps of
    the confidence, all predicting every row from the same folds.

    Read a feature against "confidence only", and only then against its shuffled twins: a feature
    that says something beats the first, and the twins lose the gain. A difference is **probe
    minus confidence only, so negative is better** than the confidence alone.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Outcome of the event, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Confidence, the probability of the event, in [0, 1].
    features : mapping of str to array-like, or DataFrame
        One column of shape (n_samples,) per feature, routing or control; strings are levels
        without order.
    strata : str, default=None
        Feature whose tertiles by rank the worst-stratum error is about, the same for all probes;
        None takes the first. Of a feature without order, its levels.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent: they stay in one fold and are resampled together.
    estimator : {"residual", "published"}, default="residual"
        "residual" adds kernels to one temperature, with bandwidths and pseudo-counts by
        leave-one-out log loss; the feature may be left out. "published" is plain kernel
        regression of the outcome under Scott's rule [1]_, which pays for every axis it has.
    baselines : bool, default=True
        Whether to add the textbook maps: the raw confidence, one temperature, Platt scaling,
        isotonic regression and 15 quantile bins.
    n_shuffles : int, default=5
        Shuffled twins per feature, at least 1; their scores are averaged.
    cv : int, default=2
        Number of folds, at least 2; each is predicted from the others.
    max_samples : int, default=6000
        Rows used; more are thinned at random, because the cost grows with their square.
    n_resamples : int, default=200
        Bootstrap samples and simulated test sets behind intervals and floors, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, the thinning, the shuffles and the resamples.
    n_jobs : int, default=None
        Number of joblib jobs over the probes; the result does not depend on it.

    Returns
    -------
    probes : MatchedProbes
        Scores and out-of-fold predictions of every probe.

    Raises
    ------
    ValueError
        If lengths differ, a value is missing or not finite, a name repeats or is that of another
        probe, `strata` is not a feature, there are fewer rows or groups than folds, or an option
        is out of range.
    TypeError
        If `features` is neither a mapping nor a frame, or a value is of the wrong kind.

    See Also
    --------
    routing_probe : One feature, with a p-value from as many shuffles as it takes.
    bandwidth_sensitivity : Whether a gain survives other bandwidths.
    conditional_calibration_test : The test; it sees smaller effects than any probe.

    Notes
    -----
    The residual probe is that of :func:`routing_probe`, except that every correction has to
    depend on the feature and that no correction is among the choices: a feature that does not
    vary gives the confidence-only probe exactly. The published probe is

    .. math:: \hat\pi(x) = \sum_j K(x, x_j) \, y_j \Big/ \sum_j K(x, x_j), \qquad
        h_d = \sigma_d \, n^{-1/(D + 4)},

    on (confidence, feature), D = 2, or the confidence, D = 1; a row without neighbours takes the
    estimate from the confidence, then the event rate.

    Intervals of differences in log loss and Brier score are 1.96 standard errors of the paired
    row-wise differences, clustered by group. Calibration errors are biased upwards, and more so
    the better calibrated the probe is; both members of a difference are corrected alike: over
    all rows by :func:`~sk_arcal.metrics.calibration_error_difference`, in the worst stratum by a
    paired bootstrap of rows, or groups, whose interval reaches 1.96 standard deviations beyond
    the plain and the corrected difference. Both cover in about nine of ten test sets or more
    between any two of these probes (``tests/statistical/test_probe_differences.py``). Folds are
    not redrawn: intervals are about these fitted probes, not about other rows to fit them on.
    Floors, and the interval of the error of a single probe, take rows for independent.

    With many features some interval excludes zero by chance: it is not adjusted.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. Matched probes and AR-CondCal.
    .. [2] J. C. Platt. "Probabilistic Outputs for Support Vector Machines". Advances in Large
       Margin Classifiers, 1999.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import matched_probes
    >>> data = make_routing_data(
    ...     600, effect="step", strength=0.2, n_noise_features=1, random_state=0
    ... )
    >>> features = dict(zip(data.feature_names, data.routing.T))
    >>> probes = matched_probes(
    ...     data.y, data.confidence, features, n_shuffles=1, n_resamples=10, random_state=0
    ... )
    >>> {
    ...     score.name: score.log_loss_difference.high < 0
    ...     for score in probes.scores
    ...     if score.role in {"feature", "shuffled"}
    ... }
    {'routing': True, 'routing, shuffled': False, 'noise_1': False, 'noise_1, shuffled': False}
    """
    check_option("estimator", estimator, ESTIMATORS)
    n_shuffles = check_integer("n_shuffles", n_shuffles, low=1)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    rng = as_generator(random_state)
    rows = read_rows(y_true, y_prob, groups, cv=cv, max_samples=max_samples, rng=rng)
    columns = _read_features(features, rows.n_given)
    strata = next(iter(columns)) if strata is None else check_option("strata", strata, columns)
    codes = feature_strata(columns[strata], rows.kept, rng)
    arms = baseline_arms(rows) if baselines else []
    arms += probe_arms(ESTIMATORS[estimator](rows), rows, columns, n_shuffles, rng)
    _check_names([arm.name for arm in arms])
    scorer = Scorer(rows, codes, n_resamples, rng)
    predictions = _predict(arms, n_jobs)
    reference = scorer.score(predictions[CONFIDENCE_ONLY][0])
    seed = int(rng.integers(2**32))
    scores = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(score_arm)(arm, predictions[arm.name], reference, scorer, n_resamples, seed)
        for arm in arms
    )
    return MatchedProbes(
        scores=tuple(scores),
        predictions={name: members[0] for name, members in predictions.items()},
        event=rows.event,
        rows=rows.kept,
        strata_name=strata,
        n_samples=len(rows.event),
        settings={
            "estimator": estimator,
            "cv": int(cv),
            "n_shuffles": n_shuffles,
            "n_resamples": n_resamples,
        },
    )


def _read_features(features: Any, n_samples: int) -> dict[str, RoutingValues]:
    if not (isinstance(features, Mapping) or hasattr(features, "columns")):
        raise TypeError(
            "`features` must be a mapping from name to column, or a data frame; got "
            f"{type(features).__name__}. Pass {{'name': column}}."
        )
    names = list(features if isinstance(features, Mapping) else features.columns)
    if not names:
        raise ValueError("`features` has no columns; at least one feature is needed.")
    _check_names([str(name) for name in names])
    return {
        str(name): read_routing(features[name], f"features[{name!r}]", "auto", n_samples)
        for name in names
    }


def _check_names(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"`features` must have names that differ from each other and from those of the other "
            f"probes; rename {', '.join(map(repr, repeated))}."
        )


def _predict(arms: list[Arm], n_jobs: int | None) -> dict[str, list[FloatArray]]:
    """Predictions of every member of every arm; the members are spread over the jobs."""
    members = [member for arm in arms for member in arm.members]
    made = iter(Parallel(n_jobs=n_jobs, prefer="threads")(delayed(one)() for one in members))
    return {arm.name: [next(made) for _ in arm.members] for arm in arms}
