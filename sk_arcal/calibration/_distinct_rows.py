"""Rows once each: where a weight is a repetition, and no result may hang on the order of rows.

Rows that agree in everything become one row of summed weight, in an order of their own. So folds,
mini-batches and rounding errors are the same for all ways to write down the same sample.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray

_FIRST_KEYS = 6


def merge_equal_rows(table: FloatArray, weight: FloatArray) -> tuple:
    """Merge equal rows and sort them.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_columns)
        Everything that tells rows apart; earlier columns sort first.
    weight : ndarray of shape (n_samples,)
        Weights.

    Returns
    -------
    first : ndarray of shape (n_distinct,)
        Position of one row of each kind, in sorted order.
    merged : ndarray of shape (n_distinct,)
        Summed weights.
    kind : ndarray of shape (n_samples,)
        Which of the distinct rows each row is.
    """
    order, starts = _sorted_rows(table[:, :_FIRST_KEYS])
    # Rows that tie there are rare, and a thousand sort keys are slow.
    if not starts.all() and table.shape[1] > _FIRST_KEYS:
        order, starts = _sorted_rows(table)
    kind = np.empty(len(table), dtype=np.intp)
    kind[order] = np.cumsum(starts) - 1
    return order[starts], np.bincount(kind, weights=weight), kind


def _sorted_rows(table: FloatArray) -> tuple:
    """Return the sorting order and where a new kind of row starts in it."""
    order = np.lexsort(table.T[::-1])
    ordered = table[order]
    return order, np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]


def distinct_rows(
    logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.intp], FloatArray]:
    """Return each distinct row once, with the weight of all its repetitions, in a fixed order.

    The order depends neither on the names of the classes nor, ties apart, on the routing: it goes
    by how far the second and the third best class are behind the best.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Log-odds of the event, or one score per class.
    routing : ndarray of shape (n_samples, n_routing)
        Routing columns.
    y : ndarray of shape (n_samples,)
        0/1 or class codes.
    sample_weight : ndarray of shape (n_samples,)
        Repetitions.

    Returns
    -------
    logits, routing, y, sample_weight : tuple of ndarray
        The same for the distinct rows; y as integers.
    """
    event = logits.ndim == 1
    scores = logits[:, None] if event else logits
    first, weight, _ = merge_equal_rows(np.column_stack([scores, routing, y]), sample_weight)
    scores = scores[first]
    ranked = np.abs(scores) if event else np.partition(scores, (-3, -2, -1), axis=1)[:, -3:]
    behind = ranked.T if event else ranked[:, -1] - ranked[:, -2::-1].T
    order = np.lexsort(behind[::-1])
    scores, first = scores[order], first[order]
    codes = y[first].astype(np.intp)
    return scores[:, 0] if event else scores, routing[first], codes, weight[order]
