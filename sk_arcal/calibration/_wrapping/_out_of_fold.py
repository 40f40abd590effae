"""Fitting parts on some rows and predicting others.

A calibrator has to see confidences as they will be on new rows, so the classifier that produced
them must not have been trained on these rows. Each fold trains a copy of classifier and
transformer on its training part and produces the calibrator's columns for the part left out.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._wrapping._score_columns import (
    CalibratedPair,
    assemble,
    raw_scores,
    response_of,
    routing_features,
    scale_of,
)

IndexArray = NDArray[np.intp]


def take_rows(values: Any, rows: IndexArray) -> Any:
    """Return some rows of an array, a table, a sparse matrix or a list."""
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if hasattr(values, "shape"):
        return values[rows]
    return [values[row] for row in rows]


def _n_rows(values: Any) -> int | None:
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__getitem__"):
        return None
    shape = getattr(values, "shape", None)
    return len(values) if shape is None else (shape[0] if len(shape) else None)


@dataclass(frozen=True)
class FoldData:
    """All that travels with the rows.

    Attributes
    ----------
    X : array-like of shape (n_samples, ...)
        What classifier and transformer take.
    y : ndarray of shape (n_samples,)
        Labels.
    params : dict of str to dict
        Arguments of `fit` for "estimator", "routing_transformer" and "calibrator".
    pairwise : bool
        Whether X holds similarities, with a column for every row of `fit`.
    """

    X: Any
    y: NDArray[Any]
    params: dict[str, dict[str, Any]]
    pairwise: bool = False

    def inputs(self, rows: IndexArray, trained: IndexArray) -> Any:
        """Return some rows of X, compared with the rows that were trained on."""
        return self.X[np.ix_(rows, trained)] if self.pairwise else take_rows(self.X, rows)

    def arguments(self, name: str, rows: IndexArray) -> dict[str, Any]:
        """Return the arguments of one part's `fit`, cut to `rows` where they have one per row."""
        return {
            key: take_rows(value, rows) if _n_rows(value) == len(self.y) else value
            for key, value in self.params.get(name, {}).items()
        }


def split_rows(
    cv: Any, data: FoldData, present: IndexArray, splitting: dict[str, Any]
) -> list[tuple[IndexArray, IndexArray]]:
    """Return training and calibration rows of every fold, without the absent rows.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        As in scikit-learn. Folds are drawn among the rows present; an iterable of splits counts
        all rows.
    data : FoldData
        All rows.
    present : ndarray of shape (n_present,)
        Positions of the rows that count.
    splitting : dict
        Arguments of `split`, one entry per row.

    Returns
    -------
    folds : list of tuple of ndarray
        Positions in the data.
    """
    if cv is None or isinstance(cv, Integral) or hasattr(cv, "split"):
        X, y = take_rows(data.X, present), data.y[present]
        per_row = {name: take_rows(value, present) for name, value in splitting.items()}
        folds = check_cv(cv, y, classifier=True).split(X, y, **per_row)
        return [(present[train], present[test]) for train, test in folds]
    everyone = np.arange(len(data.y))
    folds = ((everyone[train], everyone[test]) for train, test in check_cv(cv).split())
    return [(train[np.isin(train, present)], test[np.isin(test, present)]) for train, test in folds]


@dataclass(frozen=True)
class Predicted:
    """What a classifier and a transformer say about rows they were not trained on.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Positions in the data.
    scores : ndarray of shape (n_rows, n_classes)
        As the classifier gives them.
    response : str
        Its method that gave them.
    routing : ndarray of shape (n_rows, n_routing) or None
        From the transformer.
    names : list of str
        Names of the routing columns.
    known : ndarray of bool of shape (n_rows,)
        False where the classifier was trained without a row of the label's class.
    """

    rows: IndexArray
    scores: FloatArray
    response: str
    routing: FloatArray | None
    names: list[str]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class CrossFitting:
    """What is fitted, whatever the folds.

    Attributes
    ----------
    estimator, routing_transformer, calibrator : object
        Cloned before every fit; a frozen one stays as it is. The transformer may be None.
    classes : ndarray of shape (n_classes,)
        All classes, sorted.
    response_method : str
        "auto" or a method of the classifier.
    """

    estimator: Any
    routing_transformer: Any
    calibrator: Any
    classes: NDArray[Any]
    response_method: str

    def parts(self, data: FoldData, rows: IndexArray) -> tuple[Any, Any]:
        """Return copies of classifier and routing transformer, fitted on some rows."""
        X, y = data.inputs(rows, rows), data.y[rows]
        if not isinstance(self.estimator, FrozenEstimator) and len(np.unique(y)) < 2:
            raise ValueError(
                f"A fold trains on {len(y)} rows of one class only. Use fewer folds, a stratified "
                "`cv`, or a fitted classifier in a FrozenEstimator."
            )
        estimator = clone(self.estimator).fit(X, y, **data.arguments("estimator", rows))
        if self.routing_transformer is None:
            return estimator, None
        arguments = data.arguments("routing_transformer", rows)
        return estimator, clone(self.routing_transformer).fit(X, y, **arguments)

    def predicted(
        self, parts: tuple[Any, Any], data: FoldData, train: IndexArray, test: IndexArray
    ) -> Predicted:
        """Return what parts that were trained on `train` say about `test`."""
        estimator, transformer = parts
        X, response = data.inputs(test, train), response_of(estimator, self.response_method)
        scores = raw_scores(estimator, X, self.classes, response)
        routing, names = routing_features(transformer, X)
        known = np.isin(data.y[test], estimator.classes_)
        return Predicted(test, scores, response, routing, names, known)

    def out_of_fold(self, data: FoldData, train: IndexArray, test: IndexArray) -> Predicted:
        """Train on `train`, predict `test` and forget what was trained."""
        return self.predicted(self.parts(data, train), data, train, test)

    def fit_pair(self, data: FoldData, train: IndexArray, test: IndexArray) -> CalibratedPair:
        """Train classifier and transformer on `train`, and the calibrator on `test`."""
        parts = self.parts(data, train)
        return self.calibrated(parts, data, [self.predicted(parts, data, train, test)])

    def calibrated(
        self, parts: tuple[Any, Any], data: FoldData, folds: list[Predicted]
    ) -> CalibratedPair:
        """Fit a calibrator on out-of-fold rows, and pair it with the parts that will predict."""
        pooled = pool(folds)
        if not pooled.known.any():
            raise ValueError(
                "No calibration row has a class that its classifier was trained on, so there is "
                "nothing to calibrate. Use a `cv` whose folds share classes."
            )
        # Rows of a class that is new to their classifier say nothing about its confidence.
        rows, scores = pooled.rows[pooled.known], pooled.scores[pooled.known]
        routing = None if pooled.routing is None else pooled.routing[pooled.known]
        scale = scale_of(scores, pooled.response)
        columns = assemble(scale.to_logits(scores), routing, self.classes, pooled.names)
        calibrator = clone(self.calibrator)
        if "classes" in calibrator.get_params(deep=False):
            calibrator.set_params(classes=self.classes)
        calibrator.fit(columns, data.y[rows], **data.arguments("calibrator", rows))
        return CalibratedPair(*parts, calibrator, self.classes, pooled.response, scale)


def pool(folds: list[Predicted]) -> Predicted:
    """Put the predictions of several folds below each other.

    Parameters
    ----------
    folds : list of Predicted
        One per fold.

    Returns
    -------
    pooled : Predicted
        All rows.

    Raises
    ------
    ValueError
        If a row was predicted twice, or the routing columns differ between folds.
    """
    if len(folds) == 1:
        return folds[0]
    first, rows = folds[0], np.concatenate([fold.rows for fold in folds])
    if len(np.unique(rows)) < len(rows):
        raise ValueError(
            "With ensemble=False every row may be predicted once, but the folds of `cv` overlap. "
            "Use a splitter whose test sets do not, or ensemble=True."
        )
    for fold in folds:
        if fold.names != first.names:
            raise ValueError(
                f"The routing transformer made the columns {first.names} in one fold and "
                f"{fold.names} in another. Use ensemble=True, or a fitted transformer in a "
                "FrozenEstimator."
            )
    routing = [fold.routing for fold in folds if fold.routing is not None]
    return Predicted(
        rows,
        np.concatenate([fold.scores for fold in folds]),
        first.response,
        np.concatenate(routing) if routing else None,
        first.names,
        np.concatenate([fold.known for fold in folds]),
    )
