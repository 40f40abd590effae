"""Confidences of every calibrated alternative, each row predicted by a fit that did not see it.

With a split, calibrators are fitted on its first part and predict the second; without one, five
folds (of whole groups) take turns. The alternatives share folds and settings and differ in one
thing only: nothing, one temperature, a kernel on the confidence, the same kernel with the routing
columns, and with those columns shuffled, whole rows at a time, among rows of like confidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.calibration import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.diagnostics import shuffle_within_bins

RAW, TEMPERATURE = "raw", "temperature"
CONFIDENCE_KERNEL, ROUTING_KERNEL = "confidence kernel", "routing kernel"
SHUFFLED_KERNEL = "shuffled routing"

# A kernel on several columns may have to be summed term by term, so that its cost grows with the
# product of the rows fitted and predicted.
_MOST_ROWS_OF_MANY_COLUMNS = 20_000
_SMALLEST = 1e-12

IndexArray = NDArray[np.intp]
Fold = tuple[IndexArray, IndexArray]


@dataclass(frozen=True)
class Alternative:
    """One set of confidences on the evaluated rows.

    Attributes
    ----------
    name : str
        What was fitted.
    confidence : ndarray of shape (n_evaluated,)
        Probability of the event.
    class_log_loss : float or None
        Mean log loss over all classes, nats, where class scores are known.
    """

    name: str
    confidence: FloatArray
    class_log_loss: float | None


def alternatives(
    table: PredictionTable,
    routing: FloatArray,
    *,
    cv: int,
    rng: np.random.Generator,
    n_jobs: int | None,
    progress: Callable[[str], None],
) -> tuple[list[Alternative], list[Fold]]:
    """Return the raw confidences and every alternative, out of sample, and the folds.

    Parameters
    ----------
    table : PredictionTable
        The data.
    routing : ndarray of shape (n_samples, n_routing)
        Numeric routing columns; none leaves the two routing kernels out.
    cv : int
        Number of folds where the table has no split.
    rng : Generator
        Draws the folds, the thinning and the shuffle.
    n_jobs : int or None
        joblib jobs over folds.
    progress : callable
        Told the name of each alternative when it is done.

    Returns
    -------
    found : list of Alternative
        Raw first.
    folds : list of tuple of ndarray
        Rows to fit on and rows to predict.
    """
    design = _Design.of(table, routing, rng)
    folds = _folds(table, cv, rng)
    found = [design.raw(folds)]
    for name, estimator, features in design.candidates():
        seeds = rng.integers(2**31, size=len(folds))
        uses_many = name in {ROUTING_KERNEL, SHUFFLED_KERNEL} and routing.shape[1] > 1
        most_rows = _MOST_ROWS_OF_MANY_COLUMNS if uses_many else None
        predicted = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_fit_predict)(estimator, features, design.y, fold, int(seed), most_rows)
            for fold, seed in zip(folds, seeds, strict=True)
        )
        found.append(design.collect(name, folds, predicted))
        progress(name)
    return found, folds


@dataclass(frozen=True)
class _Design:
    """The table as estimators see it."""

    scores: FloatArray
    y: IndexArray
    n_columns: int
    top: IndexArray
    routing: FloatArray
    shuffled: FloatArray

    @classmethod
    def of(cls, table: PredictionTable, routing: FloatArray, rng: np.random.Generator) -> "_Design":
        shuffled = shuffle_within_bins(routing, table.confidence, random_state=rng)
        if table.logits is None or table.labels is None or table.logits.shape[1] < 3:
            scores = table.confidence[:, None]
            y, top = table.event.astype(np.intp), np.ones(len(scores), dtype=np.intp)
        else:
            scores = np.asarray(table.logits, dtype=np.float64)
            y, top = table.labels, scores.argmax(axis=1)
        return cls(scores, y, scores.shape[1], top, routing, shuffled)

    @property
    def _multiclass(self) -> bool:
        return self.n_columns > 1

    def candidates(self) -> list[tuple[str, Any, FloatArray]]:
        """Return (name, estimator, X) of every alternative."""
        shared: dict[str, Any] = {
            "confidence_columns": list(range(self.n_columns)),
            "confidence_kind": "logit" if self._multiclass else "probability",
            "classes": np.arange(max(self.n_columns, 2)),
        }
        plain = np.column_stack([self.scores, self.routing])
        found = [
            (TEMPERATURE, TemperatureScaler(**shared), plain),
            (CONFIDENCE_KERNEL, NWConditionalCalibrator(**shared, routing_columns=[]), plain),
        ]
        if self.routing.shape[1]:
            with_routing = NWConditionalCalibrator(**shared)
            shuffled = np.column_stack([self.scores, self.shuffled])
            found += [
                (ROUTING_KERNEL, with_routing, plain),
                (SHUFFLED_KERNEL, with_routing, shuffled),
            ]
        return found

    def raw(self, folds: list[Fold]) -> Alternative:
        """Return the confidences as they came."""
        if self._multiclass:
            proba = np.exp(log_softmax(self.scores, axis=1))
        else:
            proba = np.column_stack([1 - self.scores[:, 0], self.scores[:, 0]])
        return self.collect(RAW, folds, [proba[test] for _, test in folds])

    def collect(self, name: str, folds: list[Fold], predicted: list[FloatArray]) -> Alternative:
        """Put the predictions of all folds back in the order of the rows."""
        rows = np.concatenate([test for _, test in folds])
        order = np.argsort(rows)
        rows, proba = rows[order], np.concatenate(predicted)[order]
        at = np.arange(len(rows))
        own = np.maximum(proba[at, self.y[rows]], _SMALLEST)
        loss = float(-np.log(own).mean()) if self._multiclass else None
        return Alternative(name, proba[at, self.top[rows]], loss)


def _folds(table: PredictionTable, cv: int, rng: np.random.Generator) -> list[Fold]:
    if table.evaluate is not None:
        return [(np.flatnonzero(~table.evaluate), np.flatnonzero(table.evaluate))]
    seed = int(rng.integers(2**31))
    rows = np.zeros(len(table.event))
    if table.groups is not None:
        n_groups = len(np.unique(table.groups))
        if n_groups < 2:
            raise ValueError("All rows are in one group, so no part can be held out.")
        splitter = GroupKFold(min(cv, n_groups), shuffle=True, random_state=seed)
        return list(splitter.split(rows, groups=table.groups))
    return list(KFold(min(cv, len(rows)), shuffle=True, random_state=seed).split(rows))


def _fit_predict(
    estimator: Any, X: FloatArray, y: IndexArray, fold: Fold, seed: int, most_rows: int | None
) -> FloatArray:
    fit, test = fold
    estimator = clone(estimator)
    if isinstance(estimator, NWConditionalCalibrator):
        estimator.set_params(random_state=seed)
        if most_rows is not None and len(fit) > most_rows:
            fit = np.random.default_rng(seed).choice(fit, most_rows, replace=False)
    return estimator.fit(X[fit], y[fit]).predict_proba(X[test])
