r"""Kernel probes that share everything but the feature.

Does a probe that may use the feature predict better than its twins that may not? All start from
one confidence-only probe, a kernel on the residual of one temperature,

.. math:: p(x) = \sigma(\mathrm{logit}(c) / \hat T), \qquad
    q_0(x) = p(x) + \frac{\sum_j K_0(x, x_j) (y_j - p_j)}{\sum_j K_0(x, x_j) + \lambda_0},

and add a kernel on what that leaves, over the confidence and a second axis:

.. math:: q(x) = q_0(x) + \frac{\sum_j K(x, x_j) (y_j - q_{0j})}{\sum_j K(x, x_j) + \lambda}.

The second axis is the rank of the feature among rows of like confidence, or that rank shuffled
among such rows. The gain over q0 is read against the gains of the shuffled twins, because a probe
with one more axis may gain or lose by that alone.

Such a comparison sees less than :func:`conditional_calibration_test` (it has to learn the shape
of the effect before it can gain from it); it is the control that keeps a small p-value honest.
"""

from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, as_generator, check_integer
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._paired import clustered_difference
from sk_arcal.diagnostics._probing._probe_kernel import (
    FeatureAxis,
    ProbeFold,
    feature_axis,
    gains_over_base,
    prepare_fold,
)
from sk_arcal.diagnostics._probing._probe_rows import read_rows
from sk_arcal.diagnostics._shuffle import shuffle_within_bins

# Once so many shuffled twins do as well the answer is no, and the rest need not be run.
_ENOUGH = 3
_BATCH = 4


@dataclass(frozen=True)
class RoutingProbe:
    """Out-of-sample gain of a routing kernel over its twins.

    Returned by :func:`routing_probe`.

    Attributes
    ----------
    gain : float
        Mean fall in log loss of the event against the confidence-only twin, nats per row;
        positive is better.
    gain_low, gain_high : float
        95 % interval of the gain, paired by row, or by group where groups are given.
    shuffled_gains : ndarray of shape (n_run,)
        The same gain with the feature shuffled among rows of like confidence.
    pvalue : float
        Rank of the gain among the shuffled ones, (1 + #{shuffled >= gain}) / (1 + n_shuffles);
        3 / L where the third shuffled twin that does as well is the L-th.
    n_samples : int
        Rows compared.
    """

    gain: float
    gain_low: float
    gain_high: float
    shuffled_gains: FloatArray
    pvalue: float
    n_samples: int


def routing_probe(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_shuffles: int = 20,
    max_samples: int = 6000,
    random_state: object = None,
    n_jobs: int | None = None,
) -> RoutingProbe:
    """Compare a kernel on (confidence, routing) with its confidence-only and shuffled twins.

    Two-fold cross-fitting: each half is predicted by probes fitted on the other. Folds keep
    groups together.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Outcome of the event, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Confidence, the probability of the event, in [0, 1].
    routing : array-like of shape (n_samples,)
        Routing feature; strings are levels without order.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent and stay in one fold.
    n_shuffles : int, default=20
        Largest number of shuffled twins; shuffling stops early once three do as well as the
        feature [1]_.
    max_samples : int, default=6000
        Rows used; more are thinned at random, because the cost grows with their square.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, the thinning and the shuffles.
    n_jobs : int, default=None
        Number of joblib jobs over the shuffled twins; the result does not depend on it.

    Returns
    -------
    probe : RoutingProbe
        Gain, its interval, and its rank among the shuffled twins.

    Raises
    ------
    ValueError
        If lengths differ, a value is missing or not finite, there are fewer than two rows or
        groups, or `n_shuffles` is below 1.
    TypeError
        If `routing` holds neither numbers nor names, or `n_shuffles` or `max_samples` is not an
        integer.

    See Also
    --------
    matched_probes : Several features, with baselines and calibration errors of every probe.
    bandwidth_sensitivity : Whether a gain survives other bandwidths.

    Notes
    -----
    Under the null that the feature says nothing beyond the confidence, the real and the shuffled
    columns are exchangeable up to the width of the bins, so the rank is a p-value. With groups
    the interval is clustered; the shuffles move single rows.

    References
    ----------
    .. [1] J. Besag and P. Clifford. "Sequential Monte Carlo p-values". Biometrika 78, 1991.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import routing_probe
    >>> rng = np.random.default_rng(0)
    >>> confidence, feature = rng.beta(6, 2, 1000), rng.random(1000)
    >>> y = rng.random(1000) < np.clip(confidence + 0.3 * (feature - 0.5), 0, 1)
    >>> probe = routing_probe(y, confidence, feature, random_state=0)
    >>> bool(probe.gain > max(probe.shuffled_gains))
    True
    """
    n_shuffles = check_integer("n_shuffles", n_shuffles, low=1)
    rng = as_generator(random_state)
    rows = read_rows(y_true, y_prob, groups, cv=2, max_samples=max_samples, rng=rng)
    feature = read_routing(routing, "routing", "auto", rows.n_given)
    folds = [prepare_fold(rows.event, rows.confidence, *fold) for fold in rows.folds()]
    axis = feature_axis(feature, feature.numbers[rows.kept], rows.confidence, rng)
    gains = gains_over_base(folds, axis)
    children = rng.spawn(n_shuffles)
    shuffled = np.empty(0)
    with Parallel(n_jobs=n_jobs, prefer="threads") as parallel:
        while len(shuffled) < n_shuffles and (shuffled >= gains.mean()).sum() < _ENOUGH:
            batch = children[len(shuffled) : len(shuffled) + _BATCH]
            twins = parallel(
                delayed(_shuffled_gain)(folds, axis, rows.confidence, child) for child in batch
            )
            shuffled = np.append(shuffled, twins)
    return _summarise(gains, shuffled, n_shuffles, rows.cluster)


def _shuffled_gain(
    folds: list[ProbeFold],
    feature: FeatureAxis,
    confidence: FloatArray,
    rng: np.random.Generator,
) -> float:
    values = shuffle_within_bins(feature.values, confidence, random_state=rng)
    return float(gains_over_base(folds, replace(feature, values=values)).mean())


def _summarise(
    gains: FloatArray, shuffled: FloatArray, n_shuffles: int, cluster: IntArray
) -> RoutingProbe:
    gain, low, high = clustered_difference(gains, cluster)
    beaten = shuffled >= gain
    if beaten.sum() >= _ENOUGH:
        pvalue = _ENOUGH / (1 + int(np.flatnonzero(beaten)[_ENOUGH - 1]))
    else:
        pvalue = (1 + int(beaten.sum())) / (1 + n_shuffles)
    return RoutingProbe(gain, low, high, shuffled, pvalue, len(gains))
