"""Whether what a feature adds depends on how wide the kernel is.

A kernel probe has a bandwidth, and a gain that only one bandwidth shows is a gain of that
bandwidth. The table repeats the comparison "with the feature" against "confidence only" under
multiples of Scott's rule, under two rules that pick from them, and under an oracle that picks on
the evaluated rows: a bound for what any choice of bandwidth could make look good.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_option,
    check_vector,
)
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._bandwidth_rules import Chosen, FoldRows, scott_rule
from sk_arcal.diagnostics._probing._bandwidth_table import (
    ORACLE,
    BandwidthRule,
    BandwidthSensitivity,
)
from sk_arcal.diagnostics._probing._estimators import ESTIMATORS
from sk_arcal.diagnostics._probing._probe_kernel import feature_axis
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows, deal_folds, read_rows
from sk_arcal.diagnostics._probing._scoring import Scored, Scorer
from sk_arcal.diagnostics._probing._sensitivity_probes import ProbeSettings, probe_pairs
from sk_arcal.diagnostics._probing._strata import feature_strata

_N_PARTS = 5


def bandwidth_sensitivity(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    multiples: Sequence[float] = (0.25, 0.5, 1, 2, 4),
    groups: ArrayLike | None = None,
    estimator: str = "residual",
    cv: int = 2,
    max_samples: int = 6000,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> BandwidthSensitivity:
    r"""Repeat a probe with and without its feature under several rules for the bandwidth.

    Each row of the table is one rule, the same for the confidence-only and the feature probe;
    differences are **feature minus confidence only, so negative means that the feature helps**.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Outcome of the event, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Confidence, the probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,)
        Routing feature; strings are levels without order.
    multiples : sequence of float, default=(0.25, 0.5, 1, 2, 4)
        Multiples of Scott's rule, positive and different; one at least from 1 to 4.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent: they stay in one fold and are resampled together.
    estimator : {"residual", "published"}, default="residual"
        "residual" can leave the feature out under every rule, so that each row of the table is a
        fair comparison. "published", plain kernel regression of the outcome [1]_, cannot.
    cv : int, default=2
        Number of folds, at least 2; each is predicted from the others.
    max_samples : int, default=6000
        Rows used; more are thinned at random, because the cost grows with their square.
    n_resamples : int, default=200
        Bootstrap samples behind the intervals of calibration errors, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, the thinning and the resamples.
    n_jobs : int, default=None
        Number of joblib jobs over the folds; the result does not depend on it.

    Returns
    -------
    sensitivity : BandwidthSensitivity
        One row per rule, and whether a gain survives them.

    Raises
    ------
    ValueError
        If lengths differ, a value is missing or not finite, a multiple is not positive or
        repeats, none lies from 1 to 4, there are fewer rows or groups than folds, or an option
        is out of range.
    TypeError
        If a value is of the wrong kind.

    See Also
    --------
    matched_probes : More features and controls, under one rule.
    routing_probe : The residual probe against its shuffled twins.

    Notes
    -----
    *What a rule decides.* Scott's rule is :math:`h_d = k \sigma_d n^{-1/(D + 4)}` on D axes. "Scott
    x k" dictates k. The leave-one-out and the cross-validated rule (five parts, groups whole)
    pick it in each fold by the log loss of the rows fitted, first for the confidence, then for
    the kernel with the feature. The oracle takes, for each of the two probes, the row of the
    table with the smallest global ECE on the evaluated rows.

    *Which rules are fair.* A product kernel of dictated width pays for its second axis even if
    the feature is useless: it has more cells to fill with the same rows. Under the published
    estimator "Scott x k" therefore compares a cheap kernel with a dear one: a feature that wins
    says something, one that loses may only have been too dear, and picking k does not cure it,
    because no k drops the axis. The residual estimator pays that price only if it wants to. Under
    every rule its pseudo-counts, up to infinitely many (no correction), and whether the effect
    may change with the confidence, are picked by leave-one-out log loss; the rule dictates
    nothing but how local the kernel is. A useless feature then costs no more than the luck of
    that choice, and the signs of the rows can be read together. The oracle is unfair on purpose:
    it shows what could be claimed by choosing the bandwidth after the fact.

    *How much it takes.* In simulation (``tests/statistical/test_probe_differences.py``) the gain
    of a step of four points either way survives in 8 of 8 data sets of 10 000 rows, and that of a
    feature without a say in none of 40 of 2 500.

    A feature without variation gives the confidence-only probe, under every rule. The kernels of
    a feature whose levels have no order connect equal levels only, whatever k.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. Bandwidth sensitivity of AR-CondCal.
    .. [2] D. W. Scott. "Multivariate Density Estimation". Wiley, 1992. Equation 6.42.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import bandwidth_sensitivity
    >>> data = make_routing_data(600, effect="step", strength=0.2, random_state=0)
    >>> table = bandwidth_sensitivity(data.y, data.confidence, data.routing[:, 0], random_state=0)
    >>> table.gain_survives
    True
    >>> [rule.rule for rule in table.rules if rule.leaks]
    ['oracle: global ECE']
    """
    check_option("estimator", estimator, ESTIMATORS)
    scotts = _check_multiples(multiples)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    rng = as_generator(random_state)
    rows = read_rows(y_true, y_prob, groups, cv=cv, max_samples=max_samples, rng=rng)
    feature = read_routing(routing, "routing", "auto", rows.n_given)
    values = feature.numbers[rows.kept]
    strata = feature_strata(feature, rows.kept, rng)
    if estimator == "residual":
        values = feature_axis(feature, values, rows.confidence, rng).values
    settings = ProbeSettings(estimator, scotts, feature.kind == "nominal")
    folds = [_fold_rows(rows, *fold, rng) for fold in rows.folds()]
    pairs = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(probe_pairs)(settings, rows.confidence, values, fold) for fold in folds
    )
    scorer = Scorer(rows, strata, n_resamples, rng)
    alone, added = (
        {name: _collect(scorer, folds, [pair[side][name] for pair in pairs]) for name in names}
        for side, names in ((0, settings.rules), (1, settings.rules))
    )
    known = {scott_rule(k): float(k) for k in scotts}
    table = [
        _rule(scorer, name, known.get(name, np.nan), alone[name], added[name], leaks=False)
        for name in settings.rules
    ]
    best = (min(side.values(), key=lambda probe: probe.scored.ece) for side in (alone, added))
    table.append(_rule(scorer, ORACLE, np.nan, *best, leaks=True))
    return BandwidthSensitivity(tuple(table), estimator, len(rows.event))


def _check_multiples(multiples: Sequence[float]) -> FloatArray:
    values = check_vector(multiples, "multiples")
    if (values <= 0).any() or len(np.unique(values)) < len(values):
        raise ValueError(f"`multiples` must be positive and different; got {list(multiples)}.")
    if not ((values >= 1) & (values <= 4)).any():
        raise ValueError(
            "`multiples` needs a value from 1 to 4, where a gain has to hold; got "
            f"{list(multiples)}."
        )
    return values


def _fold_rows(
    rows: ProbeRows, fit: IntArray, test: IntArray, rng: np.random.Generator
) -> FoldRows:
    cluster = rows.cluster[fit]
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2:
        # One group alone cannot be cross-validated but by its rows.
        cluster, n_clusters = np.arange(len(fit)), len(fit)
    part = deal_folds(cluster, min(_N_PARTS, n_clusters), rng)
    return FoldRows(rows.event, fit, test, part)


@dataclass(frozen=True, eq=False)
class _Probe:
    """A probe under one rule: the multiple of each fold, and the scores of all rows."""

    multiples: tuple[float, ...]
    scored: Scored


def _collect(scorer: Scorer, folds: list[FoldRows], chosen: list[Chosen]) -> _Probe:
    prediction = np.empty(len(scorer.event))
    for fold, part in zip(folds, chosen, strict=True):
        prediction[fold.test] = part.prediction[fold.test]
    return _Probe(tuple(part.multiple for part in chosen), scorer.score(prediction))


def _rule(
    scorer: Scorer, name: str, scott: float, alone: _Probe, added: _Probe, *, leaks: bool
) -> BandwidthRule:
    differences = scorer.differences(added.scored, alone.scored)
    del differences["brier_difference"]
    return BandwidthRule(
        rule=name,
        leaks=leaks,
        scott=scott,
        confidence_multiples=alone.multiples,
        feature_multiples=added.multiples,
        confidence_log_loss=float(alone.scored.log_loss.mean()),
        feature_log_loss=float(added.scored.log_loss.mean()),
        confidence_ece=alone.scored.ece,
        feature_ece=added.scored.ece,
        confidence_worst_ece=alone.scored.worst_ece.value,
        feature_worst_ece=added.scored.worst_ece.value,
        **differences,
    )
