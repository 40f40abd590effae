"""Calibration errors of class probabilities: of the top label, and of every class."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    ROW_SUM_TOLERANCE,
    FloatArray,
    check_option,
    probability_rows,
)
from sk_arcal.metrics._binning import check_binning, error_from_gaps, event_gaps
from sk_arcal.metrics._blocks import BLOCK, bin_ruler
from sk_arcal.metrics._calibration_error import expected_calibration_error
from sk_arcal.metrics._inputs import Codes, class_inputs, class_rows

# Event, probability and weight, each of shape (n_rows,).
_Events = tuple[FloatArray, FloatArray, FloatArray]


def top_label_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    n_bins: int = 15,
    strategy: str = "uniform",
    norm: str = "l1",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the expected calibration error of the top label.

    What most papers call the ECE of a network: confidence is the largest class probability and
    the event is that its class was right. Biased upwards like
    :func:`expected_calibration_error`, of which it is a special case.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class labels, strings or numbers.
    y_prob : array-like of shape (n_samples, n_classes)
        Class probabilities; rows sum to one.
    labels : array-like of shape (n_classes,), default=None
        The class of every column, in the order of the columns (for a classifier:
        `classes_`). None means the sorted labels of `y_true`, which then has to hold every
        class.
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width or of equal weight.
    norm : {"l1", "l2"}, default="l1"
        Mean of the absolute gaps, or root of the mean of the squared gaps.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each.

    Returns
    -------
    error : float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        If `y_true` lacks a class and `labels` is None, or holds a label not among them; if the
        rows do not sum to one; if an input is empty, not finite, out of range or of the wrong
        shape, a weight is negative, or an option is not among those allowed.
    TypeError
        If labels are neither all strings nor all numbers, or probabilities are not numbers.

    See Also
    --------
    classwise_calibration_error : All columns count, not the largest only.
    expected_calibration_error : The same for one event.

    Notes
    -----
    If several classes share the largest probability, the first of them is the prediction.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger. "On calibration of modern neural
       networks". ICML 2017. Equation 3.

    Examples
    --------
    >>> from sk_arcal.metrics import top_label_calibration_error
    >>> y_prob = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]
    >>> error = top_label_calibration_error(
    ...     ["ant", "bee", "bee"], y_prob, labels=["ant", "bee", "cat"]
    ... )
    >>> round(error, 6)
    0.3
    """
    n_bins, strategy, norm = check_binning(n_bins, strategy, norm)
    codes, given, weight = class_rows(y_true, y_prob, labels, sample_weight)
    predicted, confidence = _top_labels(given)
    return expected_calibration_error(
        predicted == codes,
        confidence,
        n_bins=n_bins,
        strategy=strategy,
        norm=norm,
        sample_weight=weight,
    )


def _top_labels(given: FloatArray) -> tuple[Codes, FloatArray]:
    """Return the first of the most probable classes of every row, and its probability."""
    predicted, confidence = np.empty(len(given), dtype=np.intp), np.empty(len(given))
    for start, block, total in probability_rows(given):
        rows = slice(start, start + len(block))
        block.argmax(axis=1, out=predicted[rows])
        np.divide(block[np.arange(len(block)), predicted[rows]], total, out=confidence[rows])
    return predicted, confidence


def classwise_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    n_bins: int = 15,
    strategy: str = "uniform",
    norm: str = "l1",
    variant: str = "all",
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute the mean over classes of their calibration errors.

    With many classes most probabilities are near zero, and so is this error: compare it only
    between models of the same number of classes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class labels, strings or numbers.
    y_prob : array-like of shape (n_samples, n_classes)
        Class probabilities; rows sum to one.
    labels : array-like of shape (n_classes,), default=None
        The class of every column, in the order of the columns. None means the sorted labels of
        `y_true`, which then has to hold every class.
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equal weight for each class.
    norm : {"l1", "l2"}, default="l1"
        Mean over classes of the l1 errors, or root of the mean of the squared l2 errors.
    variant : {"all", "predicted"}, default="all"
        "all" bins the probability of a class over all rows, as in [1]_. "predicted" takes the
        rows predicted to be of a class with their largest probability, and the mean over the
        classes predicted at least once.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each.

    Returns
    -------
    error : float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        If `y_true` lacks a class and `labels` is None, or holds a label not among them; if the
        rows do not sum to one; if an input is empty, not finite, out of range or of the wrong
        shape, a weight is negative, or an option is not among those allowed.
    TypeError
        If labels are neither all strings nor all numbers, or probabilities are not numbers.

    See Also
    --------
    top_label_calibration_error : Only the largest probability of a row counts.

    Notes
    -----
    .. math:: \frac{1}{K} \sum_{k=1}^{K} \sum_b \frac{n_{bk}}{n}
        \, |\bar y_{bk} - \bar p_{bk}|

    with :math:`\bar p_{bk}` the mean probability of class k and :math:`\bar y_{bk}` its
    share in bin b of that probability. Memory and time grow with the number of entries
    above the first edge, of which a row has fewer than `n_bins`.

    References
    ----------
    .. [1] M. Kull, M. Perello-Nieto, M. Kängsepp, T. Silva Filho, H. Song and P. Flach.
       "Beyond temperature scaling: obtaining well-calibrated multiclass probabilities with
       Dirichlet calibration". NeurIPS 2019. Section 2.

    Examples
    --------
    >>> from sk_arcal.metrics import classwise_calibration_error
    >>> y_prob = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]
    >>> round(classwise_calibration_error([0, 1, 2], y_prob), 6)
    0.244444
    """
    n_bins, strategy, norm = check_binning(n_bins, strategy, norm)
    check_option("variant", variant, ("all", "predicted"))
    if variant == "all" and strategy == "uniform":
        gap, mass = _uniform_gaps(*class_rows(y_true, y_prob, labels, sample_weight), n_bins)
        errors = error_from_gaps(gap, mass, norm)
    else:
        events = _class_events if variant == "all" else _predicted_events
        parts = events(*class_inputs(y_true, y_prob, labels, sample_weight))
        gaps = [event_gaps(*part, n_bins=n_bins, strategy=strategy) for part in parts]
        errors = np.array([error_from_gaps(gap, mass, norm) for gap, mass in gaps])
    return float(errors.mean() if norm == "l1" else np.sqrt(np.mean(errors**2)))


def _uniform_gaps(
    codes: Codes, given: FloatArray, weight: FloatArray | None, n_bins: int
) -> tuple[FloatArray, FloatArray]:
    """Return gaps and weights of shape (n_classes, n_bins), binning only the large entries.

    A row sums to one, so few of its entries lie above the first edge. The first bin of a class
    is its column total less what those few hold.
    """
    n_classes, ruler = given.shape[1], bin_ruler(n_bins)
    size = n_classes * n_bins
    gap, mass, column = np.zeros(size), np.zeros(size), np.zeros(n_classes)
    for at_row, at_class, large in _large_entries(given, weight, ruler.edges[1], column):
        code = ruler.codes(large, ruler.scratch(len(large))) + n_bins * at_class
        cells = code.astype(np.intp)
        part = None if weight is None else weight[at_row]
        residual = large - (codes[at_row] == at_class)
        gap += np.bincount(cells, residual if part is None else part * residual, size)
        mass += np.bincount(cells, part, size)
    gap, mass = gap.reshape(n_classes, n_bins), mass.reshape(n_classes, n_bins)
    observed = np.bincount(codes, weight, n_classes)
    gap[:, 0] += column - observed - gap.sum(axis=1)
    mass[:, 0] += observed.sum() - mass.sum(axis=1)
    return gap, mass


def _large_entries(
    given: FloatArray, weight: FloatArray | None, edge: float, column: FloatArray
) -> Iterator[tuple[Codes, Codes, FloatArray]]:
    """Yield rows, classes and probabilities of entries above an edge; add all to the columns.

    Some entries below the edge come along: rows sum to one only once they are rescaled.
    """
    least, found, n_found = edge * (1 - 2 * ROW_SUM_TOLERANCE), [], 0
    for start, block, total in probability_rows(given):
        scale = 1 / total
        if weight is not None:
            scale *= weight[start : start + len(block)]
        column += scale @ block
        flat = block.ravel()
        entries = np.flatnonzero(flat > least)
        rows, classes = np.divmod(entries, block.shape[1])
        found.append((rows + start, classes, flat[entries] / total[rows]))
        n_found += len(entries)
        # As many as make it worth to add sums over all bins of all classes.
        if n_found > max(BLOCK, len(column)):
            yield _joined(found)
            found, n_found = [], 0
    if found:
        yield _joined(found)


def _joined(parts: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _class_events(codes: Codes, probability: FloatArray, weight: FloatArray) -> Iterator[_Events]:
    """Yield, for every class, its event over all rows, its probability and the weights."""
    for k, column in enumerate(probability.T):
        yield (codes == k).astype(np.float64), column, weight


def _predicted_events(
    codes: Codes, probability: FloatArray, weight: FloatArray
) -> Iterator[_Events]:
    """Yield the top-label event, confidence and weights of the rows predicted of each class."""
    predicted = probability.argmax(axis=1)
    confidence = probability[np.arange(len(codes)), predicted]
    right = (predicted == codes).astype(np.float64)
    for k in np.unique(predicted):
        rows = predicted == k
        yield right[rows], confidence[rows], weight[rows]
