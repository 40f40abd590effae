"""Training rows in an order of their own: distinct, with their weights summed.

A row of weight two and the same row twice become the same entry, and neither the order of the
rows nor that of the columns can be seen any more. So mini-batches, and with them every rounding
error of the training, are the same for all ways to write down the same sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._distinct_rows import merge_equal_rows

# The training loss takes log-odds beyond for these; it is a straight line there.
LARGEST_OFFSET = 100.0


@dataclass(frozen=True, slots=True)
class DistinctRows:
    """Distinct rows, sorted.

    Attributes
    ----------
    log_odds : ndarray of shape (n_distinct,)
        Incoming log-odds.
    routing : ndarray of shape (n_distinct, n_routing)
        All routing columns, as they came.
    event : ndarray of shape (n_distinct,)
        0 or 1.
    weight : ndarray of shape (n_distinct,)
        Summed over the rows that are the same.
    varying : ndarray of int
        Routing columns that are not constant, in an order that depends on their content only.
    """

    log_odds: FloatArray
    routing: FloatArray
    event: FloatArray
    weight: FloatArray
    varying: NDArray[np.intp]

    @classmethod
    def collect(
        cls, log_odds: FloatArray, routing: FloatArray, event: FloatArray, weight: FloatArray
    ) -> "DistinctRows":
        """Sort by log-odds, then event, then routing, and merge rows that agree in all."""
        varying = columns_by_content(log_odds, event, routing)
        table = np.column_stack([log_odds, event, routing[:, varying]])
        kept, weight, _ = merge_equal_rows(table, weight)
        return cls(
            log_odds[kept],
            routing[kept],
            event[kept],
            weight,
            varying,
        )


def columns_by_content(
    log_odds: FloatArray, event: FloatArray, routing: FloatArray
) -> NDArray[np.intp]:
    """Return the columns that vary, sorted by their values along growing log-odds."""
    varying, ones = np.flatnonzero((routing != routing[:1]).any(axis=0)), np.ones(len(routing))

    def content(column: int) -> bytes:
        values = routing[:, column]
        kept, _, _ = merge_equal_rows(np.column_stack([log_odds, event, values]), ones)
        # Zero has two signs, and so two sequences of bytes.
        return (values[kept] + 0.0).tobytes()

    return np.array(sorted(varying.tolist(), key=content), dtype=np.intp)


def event_log_odds(logits: FloatArray) -> FloatArray:
    """Return the log-odds of the event: as they are, or that the most probable class is right."""
    if logits.ndim == 1:
        return logits
    # Sorted and side by side, so that the order of the classes does not show in the last bit.
    below = np.sort(logits - logits.max(axis=1, keepdims=True), axis=1)
    return -logsumexp(np.ascontiguousarray(below[:, :-1]), axis=1)


def orientation(log_odds: FloatArray, event: FloatArray, sample_weight: FloatArray) -> int:
    """Return -1 if the event is the rarer outcome, so that nothing depends on which is named."""
    excess = sample_weight @ (2 * event - 1)
    if excess == 0:
        excess = sample_weight @ np.clip(log_odds, -LARGEST_OFFSET, LARGEST_OFFSET)
    return -1 if excess < 0 else 1
