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
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from sk_arcal._numeric import clipped_logit
from sk_arcal._smoothing import kernel_sums, leave_one_out_sums, scott_bandwidth
from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_events,
    check_groups,
    check_integer,
    check_probabilities,
)
from sk_arcal.calibration._tempering import fit_temperature
from sk_arcal.diagnostics._confidence_bins import tie_midranks
from sk_arcal.diagnostics._residual_rank import ConfidenceSpline, residual_rank
from sk_arcal.diagnostics._routing_input import RoutingValues, read_routing
from sk_arcal.diagnostics._shuffle import shuffle_within_bins

_AXIS_MARGIN = 1e-4
_CONFIDENCE_MULTIPLES = np.array([0.5, 1.0, 2.0, 4.0])
# Standard deviations of the kernel on the rank axis, from nearly flat to a sixteenth of the rows.
_RANK_BANDWIDTHS = (0.48, 0.24, 0.12, 0.06)
# Level codes are integers: this bandwidth makes neighbours of equal levels only.
_LEVEL_BANDWIDTHS = (0.1,)
# The effect of the feature may be the same at all confidences, or change along the axis.
_EFFECT_WIDTHS = (np.inf, 0.5)
_SHRINKAGES = np.array([0.0, 4.0, 16.0, 64.0, 256.0, 1024.0])
# Once so many shuffled twins do as well the answer is no, and the rest need not be run.
_ENOUGH = 3
_BATCH = 4


@dataclass(frozen=True)
class RoutingProbe:
    """Out-of-sample gain of a routing kernel over its twins.

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
    >>> probe.gain > max(probe.shuffled_gains)
    True
    """
    event = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(event))
    feature = read_routing(routing, "routing", "auto", len(event))
    n_shuffles = check_integer("n_shuffles", n_shuffles, low=1)
    max_samples = check_integer("max_samples", max_samples, low=2)
    cluster = np.arange(len(event)) if groups is None else check_groups(groups, len(event))[1]
    rng = as_generator(random_state)
    kept = _thin(len(event), max_samples, rng)
    event, confidence, cluster = event[kept], confidence[kept], cluster[kept]
    halves = _halves(cluster, rng)
    folds = [_prepare_fold(event, confidence, halves == side) for side in (0, 1)]
    axis = _feature_axis(feature, feature.numbers[kept], confidence, rng)
    gains = _gains(folds, axis)
    children = rng.spawn(n_shuffles)
    shuffled = np.empty(0)
    with Parallel(n_jobs=n_jobs, prefer="threads") as parallel:
        while len(shuffled) < n_shuffles and (shuffled >= gains.mean()).sum() < _ENOUGH:
            batch = children[len(shuffled) : len(shuffled) + _BATCH]
            twins = parallel(
                delayed(_shuffled_gain)(folds, axis, confidence, child) for child in batch
            )
            shuffled = np.append(shuffled, twins)
    return _summarise(gains, shuffled, n_shuffles, cluster)


@dataclass(frozen=True)
class _Fold:
    """What all probes of one fold share.

    `base` is the confidence-only probe: fitted without the row itself on the rows of `fit`, and
    on all of these elsewhere.
    """

    fit: NDArray[np.intp]
    test: NDArray[np.intp]
    event: FloatArray
    axis: FloatArray
    base: FloatArray


@dataclass(frozen=True)
class _FeatureAxis:
    values: FloatArray
    bandwidths: tuple[float, ...]


def _thin(n_samples: int, max_samples: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the rows to use; groups lose rows, so that many small ones and few large ones stay."""
    if n_samples <= max_samples:
        return np.arange(n_samples)
    return np.sort(rng.choice(n_samples, max_samples, replace=False))


def _halves(cluster: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    names, codes = np.unique(cluster, return_inverse=True)
    return (rng.permutation(len(names)) % 2)[codes]


def _feature_axis(
    routing: RoutingValues, values: FloatArray, confidence: FloatArray, rng: np.random.Generator
) -> _FeatureAxis:
    """Return the rank of the feature among rows of like confidence, or the codes of its levels."""
    if routing.kind == "nominal":
        return _FeatureAxis(values, _LEVEL_BANDWIDTHS)
    order = np.argsort(confidence, kind="stable")
    spline = ConfidenceSpline(tie_midranks(confidence[order]))
    low, high = residual_rank(values[order], spline, rng)
    rank = np.empty(len(order))
    rank[order] = (low + high + 2) / 4
    return _FeatureAxis(rank, _RANK_BANDWIDTHS)


def _prepare_fold(event: FloatArray, confidence: FloatArray, held_out: NDArray[np.bool_]) -> _Fold:
    fit, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not fit.size or not test.size:
        raise ValueError("`routing_probe` needs at least two rows, or two groups, to cross-fit.")
    logits = clipped_logit(confidence, np.finfo(np.float64).eps)
    temperature = fit_temperature(logits[fit], event[fit], np.ones(len(fit))).temperature
    anchor = expit(logits / temperature)
    axis = clipped_logit(anchor, _AXIS_MARGIN)
    anchored = _Fold(fit, test, event, axis, anchor)
    grid = scott_bandwidth(axis[fit, None])[0] * _CONFIDENCE_MULTIPLES
    return replace(anchored, base=_corrected(anchored, axis[:, None], grid[:, None]))


def _corrected(fold: _Fold, axes: FloatArray, grid: FloatArray) -> FloatArray:
    """Return `fold.base` plus a kernel on its residual.

    Bandwidths and pseudo-counts are picked together by the leave-one-out log loss of the rows
    the kernel is fitted on; those rows get their leave-one-out prediction.
    """
    y, base, train = fold.event[fold.fit], fold.base[fold.fit], axes[fold.fit]
    residual = (y - base)[:, None]
    sums, mass = leave_one_out_sums(train, grid, residual)
    left_out = base[:, None] + _shrunk(sums, mass[:, :, None], _SHRINKAGES)
    loss = _log_loss(y[:, None], left_out, len(y)).mean(axis=1)
    candidate, level = np.unravel_index(np.argmin(loss), loss.shape)
    corrected = fold.base.copy()
    corrected[fold.fit] = left_out[candidate, :, level]
    sums, mass = kernel_sums(axes[fold.test], train, grid[candidate], residual)
    corrected[fold.test] += _shrunk(sums[:, 0], mass, _SHRINKAGES[level])
    margin = _smallest_probability(len(y))
    return np.clip(corrected, margin, 1 - margin)


def _shrunk(sums: FloatArray, mass: FloatArray, pseudo_counts: FloatArray) -> FloatArray:
    total = mass + pseudo_counts
    return np.divide(sums, total, out=np.zeros(np.broadcast(sums, total).shape), where=total > 0)


def _gains(folds: list[_Fold], feature: _FeatureAxis) -> FloatArray:
    """Fall in log loss of every row against the confidence-only probe of its fold."""
    gains = np.empty(len(feature.values))
    for fold in folds:
        grid = _effect_grid(fold, feature)
        test, n_fitted = fold.test, len(fold.fit)
        probe = _corrected(fold, np.column_stack([fold.axis, feature.values]), grid)
        before = _log_loss(fold.event[test], fold.base[test], n_fitted)
        gains[test] = before - _log_loss(fold.event[test], probe[test], n_fitted)
    return gains


def _effect_grid(fold: _Fold, feature: _FeatureAxis) -> FloatArray:
    spread = max(float(fold.axis[fold.fit].std()), 1e-12)
    widths = [width * spread for width in _EFFECT_WIDTHS]
    flat = (np.inf, np.inf)
    return np.array([flat, *((width, h) for width in widths for h in feature.bandwidths)])


def _shuffled_gain(
    folds: list[_Fold],
    feature: _FeatureAxis,
    confidence: FloatArray,
    rng: np.random.Generator,
) -> float:
    values = shuffle_within_bins(feature.values, confidence, random_state=rng)
    return float(_gains(folds, replace(feature, values=values)).mean())


def _log_loss(y: FloatArray, q: FloatArray, n_fitted: int) -> FloatArray:
    margin = _smallest_probability(n_fitted)
    q = np.clip(q, margin, 1 - margin)
    return -(y * np.log(q) + (1 - y) * np.log1p(-q))


def _smallest_probability(n_fitted: int) -> float:
    """Return what a probe of n rows cannot tell from zero."""
    return 1 / (n_fitted + 2)


def _summarise(
    gains: FloatArray, shuffled: FloatArray, n_shuffles: int, cluster: NDArray[np.intp]
) -> RoutingProbe:
    gain = float(gains.mean())
    by_group = np.bincount(cluster, weights=gains - gain)
    error = 1.96 * float(np.sqrt((by_group**2).sum())) / len(gains)
    beaten = shuffled >= gain
    if beaten.sum() >= _ENOUGH:
        pvalue = _ENOUGH / (1 + int(np.flatnonzero(beaten)[_ENOUGH - 1]))
    else:
        pvalue = (1 + int(beaten.sum())) / (1 + n_shuffles)
    return RoutingProbe(gain, gain - error, gain + error, shuffled, pvalue, len(gains))
