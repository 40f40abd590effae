"""The noise floor: what a perfectly calibrated model of the same confidences would score."""

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
    check_probabilities,
    check_probability_matrix,
)
from sk_arcal.metrics._binning import error_from_gaps
from sk_arcal.metrics._blocks import Ruler, cell_ruler
from sk_arcal.metrics._calibration_error import expected_calibration_error
from sk_arcal.metrics._counts import MANY_ROWS, CellMetric, draw_outcomes, metric_of_cells
from sk_arcal.metrics._resampling import metric_value, resample
from sk_arcal.metrics._results import short_repr
from sk_arcal.metrics._sums import OutcomeSums, outcome_sums, sums_of_bins


@dataclass(frozen=True, eq=False, repr=False)
class NoiseFloor:
    """Distribution of a metric over outcomes drawn from the probabilities themselves.

    Returned by :func:`noise_floor`.

    Parameters
    ----------
    mean : float
        Mean of the metric for a calibrated model.
    std : float
        Its standard deviation from one test set to the next.
    quantile_95 : float
        The value a calibrated model stays below in 95 % of test sets.
    values : ndarray of shape (n_resamples,)
        The metric of every simulated test set.

    See Also
    --------
    noise_floor : Computes it.

    Examples
    --------
    >>> from sk_arcal.metrics import noise_floor
    >>> noise_floor([0.5] * 100, n_resamples=50, random_state=0)
    NoiseFloor(mean=0.0426, std=0.03269, quantile_95=0.1055)
    """

    mean: float
    std: float
    quantile_95: float
    values: FloatArray = field(repr=False)

    def __repr__(self) -> str:
        return short_repr("NoiseFloor", mean=self.mean, std=self.std, quantile_95=self.quantile_95)


def noise_floor(
    y_prob: ArrayLike,
    *,
    metric: Callable[..., float] = expected_calibration_error,
    groups: ArrayLike | None = None,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
    **metric_params: Any,
) -> NoiseFloor:
    r"""Simulate what a perfectly calibrated model would score.

    Outcomes are drawn from the given probabilities and the metric is computed as on real ones,
    with the same number of rows, confidences and groups. A calibration error near its floor is
    noise; a difference between two models smaller than `std` is too.

    Parameters
    ----------
    y_prob : array-like of shape (n_samples,) or (n_samples, n_classes)
        Probability of the event, in [0, 1], or class probabilities.
    metric : callable, default=expected_calibration_error
        Called as ``metric(y_true, y_prob, **metric_params)``, with `groups` as a third argument
        where given; returns a number.
    groups : array-like of shape (n_samples,), default=None
        Groups for a metric such as :func:`worst_group_calibration_error`. The metric gets them
        as codes, 0 for the first of the sorted names.
    n_resamples : int, default=200
        Number of simulated test sets, at least 2.
    random_state : None, int, RandomState or Generator, default=None
        Source of the outcomes.
    n_jobs : int, default=None
        Number of joblib workers; the result does not depend on it.
    **metric_params : dict
        Passed to the metric. With class probabilities, outcomes are column numbers and
        ``labels=range(n_classes)`` is added.

    Returns
    -------
    floor : NoiseFloor
        Mean, standard deviation and 95 % quantile, with all values.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, or
        `n_resamples` is below 2.
    TypeError
        If an input does not hold numbers, or the metric does not return a number.

    See Also
    --------
    expected_calibration_error : The metric whose floor is asked for by default.
    calibration_error_interval : Takes the bias off an error and gives an interval.

    Notes
    -----
    :math:`y_i \sim \mathrm{Bernoulli}(c_i)` independently, so the floor assumes independent
    rows. A row is drawn once whatever its weight. With more than 50 000 rows, outcomes of the
    expected, maximum, worst-group and SmoothECE in bins of equal width are drawn as counts in a
    thousand cells of confidence or more: the variance of a count is too large by at most 0.2 %,
    and a resample costs the same for any number of rows. A floor under another null, "not
    calibrated, but equally so in all groups", comes from shuffling outcomes within bins of
    confidence instead.

    References
    ----------
    .. [1] J. Bröcker and L. A. Smith. "Increasing the reliability of reliability diagrams".
       Weather and Forecasting 22, 2007. Section 3 (consistency resampling).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.metrics import noise_floor, worst_group_calibration_error
    >>> y_prob = np.linspace(0.5, 1, 600)
    >>> groups = np.arange(600) % 3
    >>> floor = noise_floor(
    ...     y_prob, metric=worst_group_calibration_error, groups=groups, random_state=0
    ... )
    >>> floor.mean > noise_floor(y_prob, random_state=0).mean
    True
    """
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    if np.ndim(y_prob) == 2 and np.shape(y_prob)[1] > 1:
        probability = check_probability_matrix(y_prob)
        metric_params = {"labels": np.arange(probability.shape[1]), **metric_params}
        draw = _draw_labels
    else:
        probability = check_probabilities(y_prob)
        draw = _draw_events
    codes = () if groups is None else (check_groups(groups, len(probability))[1],)

    def one(rng: np.random.Generator) -> float:
        outcome = draw(probability, rng)
        return metric_value(metric, outcome, probability, *codes, **metric_params)

    counted = None
    if len(probability) > MANY_ROWS and probability.ndim == 1:
        counted = metric_of_cells(metric, metric_params, grouped=groups is not None)
    rng = as_generator(random_state)
    if counted is not None:
        n_cells, of_cells = counted
        ruler = cell_ruler(n_cells)
        cells, _ = outcome_sums(
            np.zeros(len(probability), dtype=bool),
            probability,
            None,
            ruler,
            *((codes[0], int(codes[0].max()) + 1) if codes else ()),
        )
        return _floor(cells, of_cells(ruler), n_resamples, rng, n_jobs)
    return _summary(resample(one, n_resamples, rng, n_jobs))


def floor_of_cells(
    cells: OutcomeSums, ruler: Ruler, n_bins: int, n_resamples: int, rng: np.random.Generator
) -> NoiseFloor:
    """Return the floor of the expected calibration error of rows known by their cells."""
    if not (cells.mass == np.rint(cells.mass)).all():
        raise ValueError(
            "A noise floor needs numbers of rows; the weights in some cells add up to fractions."
        )

    def value(drawn: OutcomeSums) -> float:
        bins = sums_of_bins(drawn, ruler, n_bins)
        return float(error_from_gaps(bins.gap[0], bins.mass[0], "l1"))

    return _floor(cells, value, n_resamples, rng, None)


def _floor(
    cells: OutcomeSums,
    value: CellMetric,
    n_resamples: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> NoiseFloor:
    values = resample(lambda child: value(draw_outcomes(cells, child)), n_resamples, rng, n_jobs)
    return _summary(values)


def _summary(values: FloatArray) -> NoiseFloor:
    return NoiseFloor(
        float(values.mean()), float(values.std(ddof=1)), float(np.quantile(values, 0.95)), values
    )


def _draw_events(probability: FloatArray, rng: np.random.Generator) -> FloatArray:
    return (rng.random(len(probability)) < probability).astype(np.float64)


def _draw_labels(probability: FloatArray, rng: np.random.Generator) -> Any:
    passed = np.cumsum(probability, axis=1)[:, :-1] <= rng.random((len(probability), 1))
    return passed.sum(axis=1)
