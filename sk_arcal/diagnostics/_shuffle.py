"""Shuffle a routing feature among rows of like confidence: the control for every gain."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import as_generator, check_length, check_probabilities
from sk_arcal.diagnostics._confidence_bins import IntArray, confidence_bins


def shuffle_within_bins(
    values: Any,
    y_prob: ArrayLike,
    *,
    n_bins: int | None = None,
    random_state: object = None,
) -> Any:
    """Permute rows of `values` inside quantile bins of confidence.

    The shuffled feature keeps its distribution and its relation to confidence, and loses any
    relation to the outcome beyond that. What a calibrator gains from it, it gains from
    confidence, from capacity, or by chance.

    Parameters
    ----------
    values : array-like of shape (n_samples,) or (n_samples, n_routing), or a data frame
        Routing features. Rows move as a whole, so dependence between columns is kept.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    n_bins : int, default=None
        Bins of equal count, at least 1; equal confidences share a bin, so fewer may result.
        None means 1.5 times the cube root of the number of rows, kept in 5 to 60.
    random_state : int, RandomState, Generator or None, default=None
        Source of the permutation.

    Returns
    -------
    shuffled : ndarray or data frame
        A copy of `values` with permuted rows; a data frame keeps its index.

    Raises
    ------
    ValueError
        If `y_prob` is empty or leaves [0, 1], the lengths differ, `values` is a single number,
        or `n_bins` is below 1.
    TypeError
        If `y_prob` does not hold numbers, `n_bins` is not an integer, or `random_state` cannot
        seed a generator.

    See Also
    --------
    routing_permutation_test : Compares a gap with its values under such shuffles.

    Notes
    -----
    Within a bin the confidence still varies a little, so the shuffled feature follows it a
    little less than the original did: with the default bins, a feature that *is* the confidence
    keeps a rank correlation of 0.99 with it at 500 rows and of 0.999 at 10 000.

    References
    ----------
    .. [1] H. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". 2026. Shuffled-profile control.

    Examples
    --------
    >>> from sk_arcal.diagnostics import shuffle_within_bins
    >>> confidence = [0.6] * 40 + [0.9] * 40
    >>> expert = [1, 2] * 20 + [3, 4] * 20
    >>> shuffle_within_bins(expert, confidence, random_state=0)[:8]
    array([2, 2, 1, 2, 1, 2, 1, 2])
    """
    confidence = check_probabilities(y_prob)
    frame = values if hasattr(values, "columns") else np.asarray(values)
    if np.ndim(frame) == 0:
        raise ValueError("`values` must have shape (n_samples,) or (n_samples, n_routing).")
    check_length("values", frame, len(confidence))
    codes, _ = confidence_bins(confidence, n_bins)
    return _take_rows(frame, _order_within(codes, as_generator(random_state)))


def _order_within(codes: IntArray, rng: np.random.Generator) -> IntArray:
    """Return for each row the row of the same bin that takes its place, uniformly drawn."""
    home = np.argsort(codes, kind="stable")
    drawn = np.lexsort((rng.random(len(codes)), codes))
    order = np.empty_like(home)
    order[home] = drawn
    return order


def _take_rows(values: Any, order: IntArray) -> Any:
    if not hasattr(values, "iloc"):
        return values[order]
    shuffled = values.iloc[order]
    shuffled.index = values.index
    return shuffled
