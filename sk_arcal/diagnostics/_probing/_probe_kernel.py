"""The residual probe: one kernel on the confidence, one with the feature on what that leaves."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sk_arcal._numeric import clipped_logit
from sk_arcal._smoothing import kernel_sums, leave_one_out_sums, scott_bandwidth
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._tempering import fit_temperature
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline, residual_rank
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._confidence_bins import tie_midranks

_AXIS_MARGIN = 1e-4
_CONFIDENCE_MULTIPLES = np.array([0.5, 1.0, 2.0, 4.0])
# Standard deviations of the kernel on the rank axis, from nearly flat to a sixteenth of the rows.
_RANK_BANDWIDTHS = (0.48, 0.24, 0.12, 0.06)
# Level codes are integers: this bandwidth makes neighbours of equal levels only.
LEVEL_BANDWIDTH = 0.1
# The effect of the feature may be the same at all confidences, or change along the axis.
_EFFECT_WIDTHS = (np.inf, 0.5)
SHRINKAGES = np.array([0.0, 4.0, 16.0, 64.0, 256.0, 1024.0])
# Infinitely many rows that agree with the base: no correction.
NESTED_SHRINKAGES = np.append(SHRINKAGES, np.inf)


@dataclass(frozen=True)
class ProbeFold:
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
class FeatureAxis:
    """Position of every row on the axis of the feature, and the bandwidths to try on it."""

    values: FloatArray
    bandwidths: tuple[float, ...]


def feature_axis(
    routing: RoutingValues, values: FloatArray, confidence: FloatArray, rng: np.random.Generator
) -> FeatureAxis:
    """Return the rank of the feature among rows of like confidence, or the codes of its levels."""
    if routing.kind == "nominal":
        return FeatureAxis(values, (LEVEL_BANDWIDTH,))
    order = np.argsort(confidence, kind="stable")
    spline = ConfidenceSpline(tie_midranks(confidence[order]))
    low, high = residual_rank(values[order], spline, rng)
    rank = np.empty(len(order))
    rank[order] = (low + high + 2) / 4
    return FeatureAxis(rank, _RANK_BANDWIDTHS)


def anchor_fold(
    event: FloatArray,
    confidence: FloatArray,
    fit: NDArray[np.intp],
    test: NDArray[np.intp],
) -> ProbeFold:
    """Fit one temperature on the rows of `fit`: the base before any kernel."""
    logits = clipped_logit(confidence, np.finfo(np.float64).eps)
    temperature = fit_temperature(logits[fit], event[fit], np.ones(len(fit))).temperature
    anchor = expit(logits / temperature)
    return ProbeFold(fit, test, event, clipped_logit(anchor, _AXIS_MARGIN), anchor)


def prepare_fold(
    event: FloatArray,
    confidence: FloatArray,
    fit: NDArray[np.intp],
    test: NDArray[np.intp],
) -> ProbeFold:
    """Fit the confidence-only probe on the rows of `fit` and predict those of `test`."""
    anchored = anchor_fold(event, confidence, fit, test)
    grid = scott_bandwidth(anchored.axis[fit, None])[0] * _CONFIDENCE_MULTIPLES
    base = _corrected(anchored, anchored.axis[:, None], grid[:, None], SHRINKAGES)
    return replace(anchored, base=base)


def _corrected(
    fold: ProbeFold, axes: FloatArray, grid: FloatArray, shrinkages: FloatArray
) -> FloatArray:
    """Return `fold.base` plus a kernel on its residual.

    Bandwidths and pseudo-counts are picked together by the leave-one-out log loss of the rows
    the kernel is fitted on; those rows get their leave-one-out prediction.
    """
    y, base, train = fold.event[fold.fit], fold.base[fold.fit], axes[fold.fit]
    residual = (y - base)[:, None]
    sums, mass = leave_one_out_sums(train, grid, residual)
    left_out = base[:, None] + _shrunk(sums, mass[:, :, None], shrinkages)
    loss = row_log_loss(y[:, None], left_out, len(y)).mean(axis=1)
    candidate, level = np.unravel_index(np.argmin(loss), loss.shape)
    corrected = fold.base.copy()
    corrected[fold.fit] = left_out[candidate, :, level]
    sums, mass = kernel_sums(axes[fold.test], train, grid[candidate], residual)
    corrected[fold.test] += _shrunk(sums[:, 0], mass, shrinkages[level])
    margin = smallest_probability(len(y))
    return np.clip(corrected, margin, 1 - margin)


def _shrunk(sums: FloatArray, mass: FloatArray, pseudo_counts: FloatArray) -> FloatArray:
    total = mass + pseudo_counts
    return np.divide(sums, total, out=np.zeros(np.broadcast(sums, total).shape), where=total > 0)


def feature_predictions(
    folds: list[ProbeFold], feature: FeatureAxis, *, nested: bool = False
) -> FloatArray:
    """Out-of-fold predictions of the probe that adds the feature to the confidence-only one.

    If `nested`, every correction depends on the feature and none at all is one of the choices:
    a feature that does not vary leaves the confidence-only probe exactly as it is.
    """
    predictions = np.empty(len(feature.values))
    for fold in folds:
        grid, shrinkages = _effect_grid(fold, feature), SHRINKAGES
        if nested:
            grid, shrinkages = grid[1:], NESTED_SHRINKAGES
        if nested and np.ptp(feature.values[fold.fit]) == 0:
            probe = fold.base
        else:
            axes = np.column_stack([fold.axis, feature.values])
            probe = _corrected(fold, axes, grid, shrinkages)
        predictions[fold.test] = probe[fold.test]
    return predictions


def base_predictions(folds: list[ProbeFold]) -> FloatArray:
    """Out-of-fold predictions of the confidence-only probe."""
    predictions = np.empty(len(folds[0].event))
    for fold in folds:
        predictions[fold.test] = fold.base[fold.test]
    return predictions


def gains_over_base(folds: list[ProbeFold], feature: FeatureAxis) -> FloatArray:
    """Fall in log loss of every row against the confidence-only probe of its fold."""
    probe = feature_predictions(folds, feature)
    gains = np.empty(len(probe))
    for fold in folds:
        test, n_fitted = fold.test, len(fold.fit)
        before = row_log_loss(fold.event[test], fold.base[test], n_fitted)
        gains[test] = before - row_log_loss(fold.event[test], probe[test], n_fitted)
    return gains


def _effect_grid(fold: ProbeFold, feature: FeatureAxis) -> FloatArray:
    spread = max(float(fold.axis[fold.fit].std()), 1e-12)
    widths = [width * spread for width in _EFFECT_WIDTHS]
    flat = (np.inf, np.inf)
    return np.array([flat, *((width, h) for width in widths for h in feature.bandwidths)])


def row_log_loss(y: FloatArray, q: FloatArray, n_fitted: int | FloatArray) -> FloatArray:
    """Log loss of every row, nats; q is kept as far from 0 and 1 as `n_fitted` rows can tell."""
    margin = smallest_probability(n_fitted)
    q = np.clip(q, margin, 1 - margin)
    return -(y * np.log(q) + (1 - y) * np.log1p(-q))


def smallest_probability(n_fitted: Any) -> Any:
    """Return what a probe of n rows cannot tell from zero."""
    return 1 / (n_fitted + 2)
