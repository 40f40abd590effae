"""A table with experts, as the diagnostics and the calibrators of a mixture see it.

With two classes, or with one event, everything is told by the log-odds of one of them; with more
there is a column per class. The event is that of the whole audit: the class with the largest score
is the true one, or the binary event happened.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._numeric import clipped_logit
from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._reading._experts import confidence_of
from sk_arcal.diagnostics._experts._mixture_rows import steady

_SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class ExpertRows:
    """All rows of a table with experts.

    Attributes
    ----------
    y : ndarray of int of shape (n_samples,)
        True class; of an event 0 or 1.
    top : ndarray of int of shape (n_samples,)
        The class that the confidence is about.
    scores : ndarray of shape (n_samples, n_scores)
        The model's class scores, or one column of log-odds.
    log_experts : ndarray of shape (n_samples, n_experts, n_classes)
        Log-probabilities.
    gates : ndarray of shape (n_samples, n_experts)
        Rows sum to one.
    event, confidence : ndarray of shape (n_samples,)
        As in the table.
    evaluate : ndarray of bool of shape (n_samples,) or None
        Rows to evaluate; None takes all.
    groups : ndarray of shape (n_samples,) or None
        Rows that depend on each other.
    names : tuple of str
        The experts.
    """

    y: NDArray[np.intp]
    top: NDArray[np.intp]
    scores: FloatArray
    log_experts: FloatArray
    gates: FloatArray
    event: FloatArray
    confidence: FloatArray
    evaluate: NDArray[np.bool_] | None
    groups: NDArray[Any] | None
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: PredictionTable) -> "ExpertRows":
        """Return the rows of a table.

        Raises
        ------
        ValueError
            If the table has no experts.
        """
        if table.experts is None or table.gates is None:
            raise ValueError(
                "`experts=True` needs the experts of a mixture, and the table has none: it lacks "
                "`expert__<m>__<class>` (`expert__<m>` for an event) and `gate__<m>`, or was read "
                "without `experts=True`; from arrays give `experts` and `gates` to "
                "`PredictionTable.from_arrays`."
            )
        if table.logits is None or table.labels is None:
            y, top = table.event.astype(np.intp), np.ones(len(table.event), dtype=np.intp)
            scores = clipped_logit(table.confidence, _SMALLEST)[:, None]
        else:
            scores = np.asarray(table.logits, dtype=np.float64)
            y, top = table.labels, scores.argmax(axis=1)
            scores = scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores
        return cls(
            y,
            top,
            scores,
            table.experts,
            table.gates,
            table.event,
            steady(table.confidence),
            table.evaluate,
            table.groups,
            table.expert_names,
        )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.log_experts.shape[2]

    @cached_property
    def own(self) -> FloatArray:
        """Probability of the event by every expert."""
        top = self.top[:, None, None]
        return np.exp(np.take_along_axis(self.log_experts, top, axis=2)[:, :, 0])

    @property
    def confidence_of(self) -> str:
        """Whose the confidence is, see `confidence_of`."""
        return confidence_of(self.confidence, self.own, self.gates)

    @property
    def evaluated(self) -> NDArray[np.intp]:
        """Positions of the rows to evaluate."""
        if self.evaluate is None:
            return np.arange(len(self.y))
        return np.flatnonzero(self.evaluate)

    def mixture_input(self) -> tuple[NDArray[Any], FloatArray, FloatArray, NDArray[Any] | None]:
        """Return outcomes, experts, gates and labels as the diagnostics read them, evaluated rows.

        With two classes the outcome is the audit's event, so that errors here are those of the
        scorecard.
        """
        rows = self.evaluated
        if self.n_classes == 2:
            return self.event[rows], self.own[rows], self.gates[rows], None
        labels = np.arange(self.n_classes)
        return self.y[rows], np.exp(self.log_experts[rows]), self.gates[rows], labels

    def event_probability(self, proba: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Return the probability of the event from those of the classes."""
        return steady(proba[np.arange(len(rows)), self.top[rows]])

    def losses(self, proba: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Return the log loss of every row over all classes, nats."""
        return -np.log(np.maximum(proba[np.arange(len(rows)), self.y[rows]], _SMALLEST))
