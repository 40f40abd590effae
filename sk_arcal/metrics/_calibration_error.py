"""Binned calibration errors of one event: expected, maximum, and the debiased square."""

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, check_number
from sk_arcal.metrics._binning import (
    bin_codes,
    bin_edges,
    bin_sums,
    check_binning,
    error_from_gaps,
    event_gaps,
)
from sk_arcal.metrics._blocks import bin_ruler
from sk_arcal.metrics._inputs import event_inputs
from sk_arcal.metrics._sums import outcome_sums, uniform_gaps


def expected_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    norm: str = "l1",
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute the expected calibration error (ECE) of one event.

    The mean over bins of the distance of the event rate from the mean confidence. It is biased
    upwards: a perfectly calibrated model of 2 500 rows reads about 0.017 with 15 bins. Print it
    beside :func:`noise_floor`, or use :func:`calibration_error_interval`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1. For top-label confidence the event is "the prediction was
        right".
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, as in [1]_, or of equal weight. Equal values always share a bin,
        so heavy ties leave fewer than `n_bins` quantile bins, never an empty one.
    norm : {"l1", "l2"}, default="l1"
        Mean of the absolute gaps, or root of the mean of the squared gaps.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each. A row of weight zero counts
        as absent.

    Returns
    -------
    error : float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, a weight is
        negative, or an option is not among those allowed.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    top_label_calibration_error : The same for a matrix of class probabilities.
    smooth_calibration_error : The same question without bins.
    squared_calibration_error : The squared error without the upward bias.

    Notes
    -----
    With bins :math:`B_b` of total weight :math:`n_b`, :math:`n=\sum_b n_b`, event rate
    :math:`\bar y_b` and mean confidence :math:`\bar c_b`,

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\bar y_b - \bar c_b| ,
        \qquad \mathrm{ECE}_2
        = \Big(\sum_b \frac{n_b}{n} (\bar y_b - \bar c_b)^2\Big)^{1/2} .

    Bins are intervals (lower, upper]; 0 is in the first. For a calibrated model the
    expectation is about :math:`\sqrt{2/\pi} \sum_b \sqrt{n_b v_b} / n` with :math:`v_b` the
    mean of :math:`c (1 - c)` in the bin.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger. "On calibration of modern neural
       networks". ICML 2017. Equation 3.

    Examples
    --------
    >>> from sk_arcal.metrics import expected_calibration_error
    >>> y_true, y_prob = [0, 1, 0, 1], [0.2, 0.3, 0.8, 0.9]
    >>> round(expected_calibration_error(y_true, y_prob, n_bins=2), 6)
    0.3
    """
    n_bins, strategy, norm = check_binning(n_bins, strategy, norm)
    if strategy == "uniform":
        gap, mass = uniform_gaps(y_true, y_prob, sample_weight, n_bins, with_mass=norm == "l2")
    else:
        inputs = event_inputs(y_true, y_prob, sample_weight)
        gap, mass = event_gaps(*inputs, n_bins=n_bins, strategy=strategy)
    return float(error_from_gaps(gap, mass, norm))


def maximum_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    min_count: float = 5,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute the largest gap between event rate and confidence over bins.

    A stress figure, not a headline: it is the noisiest of the calibration errors, because the
    bin that decides it is usually a small one. Bins lighter than `min_count` are left out.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width or of equal weight.
    min_count : float, default=5
        Smallest total weight of a bin that counts; without weights, its number of rows. As
        weights are repetitions, weights normalised to sum to one need a `min_count` on the
        same scale.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each.

    Returns
    -------
    error : float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        If no bin weighs `min_count`; if an input is empty, not finite, out of range or of the
        wrong length, a weight is negative, or an option is not among those allowed.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    expected_calibration_error : The mean gap instead of the largest.

    Notes
    -----
    :math:`\max_{b:\, n_b \ge m} |\bar y_b - \bar c_b|` with `min_count` :math:`m`; symbols
    and bins as in :func:`expected_calibration_error`.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper and M. Hauskrecht. "Obtaining well calibrated
       probabilities using Bayesian binning". AAAI 2015.

    Examples
    --------
    >>> from sk_arcal.metrics import maximum_calibration_error
    >>> y_true, y_prob = [0, 1, 0, 1], [0.2, 0.3, 0.8, 0.9]
    >>> round(maximum_calibration_error(y_true, y_prob, n_bins=2, min_count=2), 6)
    0.35
    """
    n_bins, strategy, _ = check_binning(n_bins, strategy)
    min_count = check_number("min_count", min_count, low=0)
    if strategy == "uniform":
        gap, mass = uniform_gaps(y_true, y_prob, sample_weight, n_bins)
    else:
        inputs = event_inputs(y_true, y_prob, sample_weight)
        gap, mass = event_gaps(*inputs, n_bins=n_bins, strategy=strategy)
    return largest_gap(gap, mass, min_count)


def largest_gap(gap: FloatArray, mass: FloatArray, min_count: float) -> float:
    """Return the largest gap of a bin that is heavy enough."""
    counted = (mass > 0) & (mass >= min_count)
    if not counted.any():
        raise ValueError(
            f"No bin reaches `min_count`={min_count:g} (the heaviest has {mass.max():g}); "
            "lower `min_count` or `n_bins`."
        )
    return float(np.max(np.abs(gap[counted]) / mass[counted]))


def squared_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "quantile",
    debias: bool = True,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute the squared calibration error, debiased unless told otherwise.

    The debiased value has the right mean at any number of rows, so values of models of
    different test sets can be compared. It is therefore **signed**: for a calibrated model
    it scatters around zero. Never cut it at zero, which would put a bias back in; print
    the square itself, or its signed root.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="quantile"
        Bins of equal weight, as in [1]_, or of equal width.
    debias : bool, default=True
        Whether to subtract the variance of the event rates. False gives the square of
        ``expected_calibration_error(norm="l2")``.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each.

    Returns
    -------
    squared_error : float
        At most 1; 0 is perfect, and slightly negative values mean "no error seen".

    Raises
    ------
    ValueError
        If `debias` and no bin holds two rows; if an input is empty, not finite, out of range
        or of the wrong length, a weight is negative, or an option is not among those allowed.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    expected_calibration_error : The plain error, biased upwards.
    calibration_error_interval : The l1 error without bias, with an interval.

    Notes
    -----
    .. math:: \sum_b \frac{n_b}{n} \Big[ (\bar y_b - \bar c_b)^2
        - \frac{\bar y_b (1 - \bar y_b)}{n_b - 1} \Big]

    with symbols as in :func:`expected_calibration_error`. The bracket is an unbiased estimate
    of the squared gap given the confidences of the bin when their event probabilities are
    equal, and very nearly so in narrow bins. A bin of a single row says nothing about its
    variance and adds nothing.

    References
    ----------
    .. [1] A. Kumar, P. Liang and T. Ma. "Verified uncertainty calibration". NeurIPS 2019.
       Section 5.

    Examples
    --------
    >>> from sk_arcal.metrics import squared_calibration_error
    >>> y_true, y_prob = [0, 1, 0, 1], [0.4, 0.5, 0.5, 0.6]
    >>> round(squared_calibration_error(y_true, y_prob, n_bins=1), 6)
    -0.083333
    """
    n_bins, strategy, _ = check_binning(n_bins, strategy)
    if strategy == "uniform":
        sums, _ = outcome_sums(y_true, y_prob, sample_weight, bin_ruler(n_bins))
        return squared_error(sums.gap[0], sums.mass[0], sums.hits[0], debias=debias)
    events, probability, weight = event_inputs(y_true, y_prob, sample_weight)
    edges = bin_edges(probability, weight, n_bins=n_bins, strategy=strategy)
    codes = bin_codes(probability, edges)
    mass = bin_sums(codes, weight)
    gap = bin_sums(codes, weight * (probability - events))
    return squared_error(gap, mass, bin_sums(codes, weight * events), debias=debias)


def squared_error(gap: FloatArray, mass: FloatArray, hits: FloatArray, *, debias: bool) -> float:
    """Return the squared error of bins, with or without its bias."""
    if not debias:
        return float(error_from_gaps(gap, mass, "l2") ** 2)
    known = mass >= 2
    if not known.any():
        raise ValueError(
            "The debiased error needs a bin with two rows; lower `n_bins`, or pass debias=False."
        )
    count, rate = mass[known], hits[known] / mass[known]
    squares = (gap[known] / count) ** 2 - rate * (1 - rate) / (count - 1)
    return float(count @ squares / mass.sum())
