r"""One kernel under several rules for its bandwidth.

A stage predicts, from an offset o and the rows of `fit`,

.. math:: q(x) = o(x) + \frac{\sum_j K(x, x_j) (y_j - o_j)}{\sum_j K(x, x_j) + \lambda},

and takes a fallback where the denominator is too small. Each setting of it is a bandwidth, known
by the multiple k of Scott's rule it comes from, and pseudo-counts lambda. A rule either dictates
k, and leaves the rest to the leave-one-out log loss of the rows of `fit`, or picks k as well, by
leave-one-out or by cross-validated log loss. All rules share one pass over the kernels.
"""

from dataclasses import dataclass

import numpy as np

from sk_arcal._smoothing import kernel_sums, leave_one_out_sums
from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._probe_kernel import row_log_loss, smallest_probability

CROSS_VALIDATED = "cross-validated log loss"
LEAVE_ONE_OUT = "leave-one-out log loss"


@dataclass(frozen=True, eq=False)
class Stage:
    """A kernel and its settings.

    `axes`, of shape (n_samples, n_axes), are the positions of all rows; `bandwidths`, of shape
    (n_settings, n_axes), and `multiples` belong together.
    """

    axes: FloatArray
    bandwidths: FloatArray
    multiples: FloatArray
    shrinkages: FloatArray
    smallest_mass: float


@dataclass(frozen=True, eq=False)
class Start:
    """What a rule's kernel is added to, and what stands in for it, for all rows."""

    offset: FloatArray
    fallback: FloatArray


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a rule predicts: without the row itself on the rows of `fit`, on all of them elsewhere.

    `multiple` is infinite if the kernel adds nothing.
    """

    prediction: FloatArray
    multiple: float


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Rows to fit on and to predict, and the part of cross-validation each fitted row is in."""

    event: FloatArray
    fit: IntArray
    test: IntArray
    part: IntArray


def scott_rule(multiple: float) -> str:
    """Return the name of the rule that takes so many times Scott's bandwidth."""
    return f"Scott x {multiple:g}"


def apply_rules(stage: Stage, rows: FoldRows, starts: dict[str, Start]) -> dict[str, Chosen]:
    """Return what every rule in `starts` predicts."""
    names, fit = list(starts), rows.fit
    offsets = np.column_stack([starts[name].offset for name in names])
    residuals = rows.event[fit, None] - offsets[fit]
    inside = (rows.part[:, None] == np.arange(rows.part.max() + 1)).astype(np.float64)
    cross = residuals[:, [names.index(CROSS_VALIDATED)]] * inside
    values = np.hstack([residuals, cross, inside])
    sums, mass = leave_one_out_sums(stage.axes[fit], stage.bandwidths, values)
    cuts = [len(names), len(names) + inside.shape[1]]
    by_rule, cross_sums, cross_mass = np.split(sums, cuts, axis=2)
    outside = 1 - inside
    chosen = {}
    for k, name in enumerate(names):
        left_out = (by_rule[:, :, k], mass)
        judged = left_out
        if name == CROSS_VALIDATED:
            judged = ((cross_sums * outside).sum(axis=2), (cross_mass * outside).sum(axis=2))
        setting = _best(stage, rows, starts[name], name, judged)
        chosen[name] = _predict(stage, rows, starts[name], setting, left_out, residuals[:, k])
    return chosen


def _best(
    stage: Stage,
    rows: FoldRows,
    start: Start,
    name: str,
    judged: tuple[FloatArray, FloatArray],
) -> tuple[int, int]:
    """Return bandwidth and pseudo-counts with the smallest loss among those the rule allows."""
    allowed = [
        i
        for i, multiple in enumerate(stage.multiples)
        if name in {CROSS_VALIDATED, LEAVE_ONE_OUT, scott_rule(multiple)}
    ]
    sums, mass = judged[0][allowed, :, None], judged[1][allowed, :, None]
    offset, fallback = start.offset[rows.fit, None], start.fallback[rows.fit, None]
    estimates = _estimate(stage, sums, mass, stage.shrinkages, offset, fallback)
    event = rows.event[rows.fit]
    loss = row_log_loss(event[:, None], estimates, len(event)).mean(axis=1)
    bandwidth, level = np.unravel_index(np.argmin(loss), loss.shape)
    return allowed[bandwidth], int(level)


def _predict(
    stage: Stage,
    rows: FoldRows,
    start: Start,
    setting: tuple[int, int],
    left_out: tuple[FloatArray, FloatArray],
    residual: FloatArray,
) -> Chosen:
    bandwidth, shrinkage = stage.bandwidths[setting[0]], stage.shrinkages[setting[1]]
    prediction = start.offset.copy()
    at_fit = left_out[0][setting[0]], left_out[1][setting[0]]
    at_test = kernel_sums(stage.axes[rows.test], stage.axes[rows.fit], bandwidth, residual[:, None])
    for at, (sums, mass) in ((rows.fit, at_fit), (rows.test, (at_test[0][:, 0], at_test[1]))):
        start_at = start.offset[at], start.fallback[at]
        prediction[at] = _estimate(stage, sums, mass, shrinkage, *start_at)
    margin = smallest_probability(len(rows.fit))
    multiple = float(stage.multiples[setting[0]]) if np.isfinite(shrinkage) else np.inf
    return Chosen(np.clip(prediction, margin, 1 - margin), multiple)


def _estimate(
    stage: Stage,
    sums: FloatArray,
    mass: FloatArray,
    shrinkage: FloatArray | float,
    offset: FloatArray,
    fallback: FloatArray,
) -> FloatArray:
    total = mass + shrinkage
    known = total > stage.smallest_mass
    return np.where(known, offset + sums / np.where(known, total, 1.0), fallback)
