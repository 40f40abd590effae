"""Rows once each: where a weight is a repetition, and no result may hang on the order of rows.

Rows that agree in scores, routing and label become one row of summed weight. The order they are
returned in does not depend on the names of the classes, nor, ties apart, on the routing columns:
it goes by how far the second and the third best class are behind the best.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray


def distinct_rows(
    logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.intp], FloatArray]:
    """Return each distinct row once, with the weight of all its repetitions, in a fixed order.

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
    table, code = np.unique(np.column_stack([scores, routing, y]), axis=0, return_inverse=True)
    weight = np.bincount(code.ravel(), sample_weight).astype(np.float64)
    scores, columns = np.split(table[:, :-1], [scores.shape[1]], axis=1)
    ranked = np.abs(scores) if event else np.partition(scores, (-3, -2, -1), axis=1)[:, -3:]
    behind = ranked.T if event else ranked[:, -1] - ranked[:, -2::-1].T
    order = np.lexsort(behind[::-1])
    scores = scores[order, 0] if event else scores[order]
    codes = table[order, -1].astype(np.intp)
    return scores, columns[order], codes, weight[order]
