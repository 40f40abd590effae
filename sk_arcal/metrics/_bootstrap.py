"""Percentile bootstrap intervals for any metric."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_groups,
    check_integer,
    check_length,
    check_number,
    check_weights,
)
from sk_arcal.metrics._blocks import cell_ruler
from sk_arcal.metrics._counts import MANY_ROWS, draw_rows, metric_of_cells
from sk_arcal.metrics._resampling import metric_value, resample
from sk_arcal.metrics._results import short_repr
from sk_arcal.metrics._sums import outcome_sums


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapInterval:
    """A metric with a percentile interval.

    Returned by :func:`bootstrap_interval`.

    Parameters
    ----------
    estimate : float
        The metric on the data.
    low : float
        Lower end of the interval.
    high : float
        Upper end of the interval.
    level : float
        Coverage asked for.
    values : ndarray of shape (n_resamples,)
        The metric of every bootstrap sample.

    See Also
    --------
    bootstrap_interval : Computes it.

    Examples
    --------
    >>> from sklearn.metrics import brier_score_loss
    >>> from sk_arcal.metrics import bootstrap_interval
    >>> bootstrap_interval(brier_score_loss, [0, 1] * 50, [0.3, 0.7] * 50, random_state=0)
    BootstrapInterval(estimate=0.09, low=0.09, high=0.09)
    """

    estimate: float
    low: float
    high: float
    level: float
    values: FloatArray = field(repr=False)

    def __repr__(self) -> str:
        return short_repr("BootstrapInterval", estimate=self.estimate, low=self.low, high=self.high)


def bootstrap_interval(
    metric: Callable[..., float],
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: object = None,
    n_jobs: int | None = None,
    **metric_params: Any,
) -> BootstrapInterval:
    """Compute a percentile bootstrap interval of any metric.

    Meant for means over rows, such as Brier score, log loss or accuracy. Do not use it for a
    binned calibration error: that is biased upwards, its bootstrap is biased upwards once more,
    and the percentile interval counts the bias twice. Use
    :func:`calibration_error_interval` there.

    Parameters
    ----------
    metric : callable
        Called as ``metric(y_true, y_prob, **metric_params)``, with `groups` as a third argument
        and `sample_weight` by name where given; returns a number.
    y_true : array-like of shape (n_samples,)
        Observed events or class labels.
    y_prob : array-like of shape (n_samples,) or (n_samples, n_classes)
        Probability of the event, or class probabilities.
    groups : array-like of shape (n_samples,), default=None
        Groups for a metric such as :func:`worst_group_calibration_error`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights that travel with the rows. A row is drawn with equal chance whatever its weight.
    level : float, default=0.95
        Coverage, in (0, 1).
    n_resamples : int, default=1000
        Number of bootstrap samples, at least 2.
    random_state : None, int, RandomState or Generator, default=None
        Source of the bootstrap samples.
    n_jobs : int, default=None
        Number of joblib workers; the result does not depend on it.
    **metric_params : dict
        Passed to the metric. A metric of class labels needs its `labels` here, as a bootstrap
        sample may lack a class.

    Returns
    -------
    interval : BootstrapInterval
        Estimate, both ends, and the metric of every sample.

    Raises
    ------
    ValueError
        If lengths differ, a weight is negative, `level` is not in (0, 1) or `n_resamples` is
        below 2; and what the metric raises.
    TypeError
        If the metric is not callable or does not return a number.

    See Also
    --------
    calibration_error_interval : For the expected calibration error.

    Notes
    -----
    The ends are the (1 ± level) / 2 quantiles of the metric over samples of n rows drawn with
    replacement. Rows have to be independent. With more than 50 000 rows and no weights, samples
    for a calibration error of this package in bins of equal width, or SmoothECE, are drawn as
    counts of cells of confidence narrower than 0.001, which takes as long for any number of rows.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani. "An introduction to the bootstrap". Chapman and Hall,
       1993. Section 13.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import log_loss
    >>> from sk_arcal.metrics import bootstrap_interval
    >>> y_true, y_prob = np.arange(200) % 2, np.linspace(0.2, 0.8, 200)
    >>> interval = bootstrap_interval(
    ...     log_loss, y_true, y_prob, n_resamples=100, random_state=0, labels=[0, 1]
    ... )
    >>> interval.low < interval.estimate < interval.high
    True
    """
    level = check_number("level", level, low=0, high=1, strict=True)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    rows = _row_arrays(y_true, y_prob, groups)
    n_samples = len(rows[0])
    weight = None if sample_weight is None else check_weights(sample_weight, n_samples)

    def value(chosen: Any) -> float:
        weights = {} if weight is None else {"sample_weight": weight[chosen]}
        return metric_value(metric, *(array[chosen] for array in rows), **weights, **metric_params)

    def one(rng: np.random.Generator) -> float:
        return value(rng.integers(n_samples, size=n_samples))

    estimate = value(slice(None))
    counted = None
    if n_samples > MANY_ROWS and weight is None:
        counted = metric_of_cells(metric, metric_params, grouped=groups is not None)
    draw = one if counted is None else _by_cell(counted, rows)
    values = resample(draw, n_resamples, as_generator(random_state), n_jobs)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(estimate, float(low), float(high), level, values)


def _by_cell(counted: tuple[int, Any], rows: list[Any]) -> Callable[[np.random.Generator], float]:
    """Return the metric of a bootstrap sample that is drawn as counts of cells."""
    ruler, n_samples = cell_ruler(counted[0]), len(rows[0])
    value = counted[1](ruler)
    names, codes = check_groups(rows[2], n_samples) if len(rows) > 2 else ([0], None)
    cells, _ = outcome_sums(rows[0], rows[1], None, ruler, codes, len(names))
    return lambda rng: value(draw_rows(cells, n_samples, rng))


def _row_arrays(y_true: ArrayLike, y_prob: ArrayLike, groups: ArrayLike | None) -> list[Any]:
    """Return the arrays whose rows are drawn together."""
    given = {"y_true": y_true, "y_prob": y_prob, "groups": groups}
    arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
    if arrays["y_true"].ndim == 0 or arrays["y_true"].size == 0:
        raise ValueError("`y_true` is empty or a single value; at least one row is needed.")
    for name, array in arrays.items():
        check_length(name, array, len(arrays["y_true"]))
    return list(arrays.values())
