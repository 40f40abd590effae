r"""Resampling by counts: what a metric of cells needs to know of drawn rows.

Rows of one outcome in one of a thousand cells of confidence differ by less than the width h of
a cell. So a resample is a number of rows for each cell and outcome, whatever the number of rows.
Outcomes that would be drawn with the chances :math:`c_i` of a cell are drawn with their mean
:math:`\bar c`: the count is binomial with a variance :math:`n \bar c (1 - \bar c)` that is too
large by :math:`n \, \mathrm{var}(c)`, at most the share 2h of it, because on an interval of
width h inside [0, 1] :math:`\mathrm{var}(c) \le h \min(\bar c, 1 - \bar c)`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray, check_number
from sk_arcal.metrics._binning import check_binning, error_from_gaps
from sk_arcal.metrics._blocks import Ruler
from sk_arcal.metrics._calibration_error import (
    expected_calibration_error,
    largest_gap,
    maximum_calibration_error,
)
from sk_arcal.metrics._groups import worst_group_calibration_error
from sk_arcal.metrics._smooth import (
    check_bandwidth,
    smooth_calibration_error,
    smooth_error_of_cells,
)
from sk_arcal.metrics._sums import OutcomeSums, sums_of_bins, sums_of_groups

# With fewer rows the rows themselves are drawn: it takes as long, and nothing is approximate.
MANY_ROWS = 50_000
# Cells of SmoothECE, and at least so many of the binned errors: chances that are binomial to
# 0.2 % of the variance are as good as exact among a few hundred resamples.
_N_SMOOTH_CELLS = 7680
N_CELLS = 1024
_BINNING = ("n_bins", "strategy", "norm")

CellMetric = Callable[[OutcomeSums], float]


def draw_outcomes(sums: OutcomeSums, rng: np.random.Generator) -> OutcomeSums:
    """Return sums of as many rows with outcomes drawn from their confidence."""
    count, mean = _means(sums.mass, sums.total_confidence)
    filled = count > 0
    hits = np.zeros_like(count)
    hits[filled] = rng.binomial(count[filled].astype(np.int64), mean[filled])
    weight = np.stack([count - hits, hits], axis=-2)
    return OutcomeSums(weight, weight * mean[..., None, :])


def draw_rows(sums: OutcomeSums, size: int, rng: np.random.Generator) -> OutcomeSums:
    """Return sums of `size` rows drawn with replacement."""
    weight, mean = _means(sums.weight, sums.confidence)
    filled = weight > 0
    drawn = np.zeros_like(weight)
    drawn[filled] = rng.multinomial(size, weight[filled] / weight.sum())
    return OutcomeSums(drawn, drawn * mean)


def _means(weight: FloatArray, total: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = np.divide(total, weight, out=np.zeros_like(weight), where=weight > 0)
    # A mean of ones may round to more than one.
    return weight, np.minimum(mean, 1)


def metric_of_cells(
    metric: Callable[..., Any], params: dict[str, Any], *, grouped: bool
) -> tuple[int, Callable[[Ruler], CellMetric]] | None:
    """Return how many cells a metric of ours needs, and the metric of their sums.

    None stands for a metric, or a use of it, that has to see the rows.
    """
    options: dict[str, Any] = {
        "n_bins": 15,
        "norm": "l1",
        "strategy": "uniform",
        "min_count": 5.0,
    } | params
    grouped_metric = metric is worst_group_calibration_error
    known = {
        expected_calibration_error: {"n_bins", "norm", "strategy"},
        worst_group_calibration_error: {"n_bins", "norm", "strategy"},
        maximum_calibration_error: {"n_bins", "min_count", "strategy"},
        smooth_calibration_error: {"bandwidth"},
    }
    try:
        allowed = known.get(metric)
    except TypeError:
        return None
    if allowed is None or grouped != grouped_metric or not set(params) <= allowed:
        return None
    if metric is smooth_calibration_error:
        width = check_bandwidth(params.get("bandwidth"))
        return _N_SMOOTH_CELLS, lambda ruler: lambda sums: _smooth(sums, ruler, width)
    n_bins, strategy, norm = check_binning(*(options[name] for name in _BINNING))
    least = check_number("min_count", options["min_count"], low=0)
    if strategy != "uniform":
        return None
    n_cells = n_bins * -(-N_CELLS // n_bins)
    kind = None if metric is maximum_calibration_error else norm
    return n_cells, lambda ruler: lambda sums: _binned(sums, ruler, n_bins, kind, least)


def _smooth(sums: OutcomeSums, ruler: Ruler, bandwidth: float | None) -> float:
    cells = sums_of_bins(sums_of_groups(sums), ruler, ruler.n_cells)
    return smooth_error_of_cells(cells.weight, cells.confidence, bandwidth)


def _binned(
    sums: OutcomeSums, ruler: Ruler, n_bins: int, norm: str | None, min_count: float
) -> float:
    """Return the largest error of a group, or its largest gap where there is no norm."""
    bins = sums_of_bins(sums, ruler, n_bins)
    if norm is None:
        return largest_gap(bins.gap[0], bins.mass[0], min_count)
    present = bins.mass.any(axis=-1)
    return float(error_from_gaps(bins.gap[present], bins.mass[present], norm).max())
