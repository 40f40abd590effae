"""What all calibrators share: validation, classes, weights, column roles, scale, prediction."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sk_arcal._columns import ColumnRoles, Selector, resolve_columns, table_names
from sk_arcal._numeric import take_columns, tempered_softmax
from sk_arcal._validation import FloatArray, check_option, check_weights
from sk_arcal.calibration._classes import align_classes, read_classes, refuse_gaps
from sk_arcal.calibration._output import checked_output
from sk_arcal.calibration._saving._persistence import PersistentCalibrator
from sk_arcal.calibration._scale import KINDS, ConfidenceScale, refuse_hidden_classes


class BaseCalibrator(ClassifierMixin, PersistentCalibrator):
    """Base class of the calibrators.

    A method supplies ``_fit(logits, routing, y, sample_weight)`` and
    ``_calibrated_logits(logits, routing)``. It sees arrays only: `logits` of shape (n_samples,)
    for one event, with y in {0, 1}, or (n_samples, n_classes) for three classes and more, with y
    the class code; `routing` of shape (n_samples, n_routing); rows of weight zero are gone.
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
    ) -> None:
        self.confidence_columns = confidence_columns
        self.routing_columns = routing_columns
        self.confidence_kind = confidence_kind
        self.classes = classes

    # -- the two hooks -------------------------------------------------------------------------

    @abstractmethod
    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        """Learn from arrays; set attributes that end in an underscore."""

    @abstractmethod
    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        """Return calibrated logits of the shape of `logits`."""

    # -- scikit-learn's protocol ---------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the calibrator.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Confidence columns and routing columns.
        y : array-like of shape (n_samples,)
            Class labels; with one confidence column, the two values of the event.
        sample_weight : array-like of shape (n_samples,), default=None
            Numbers of repetitions; a row of weight zero is absent.

        Returns
        -------
        self : object
            The fitted calibrator.

        Raises
        ------
        ValueError
            If X or y hold values that cannot be used, a column is unknown, the classes do not
            fit the confidence columns, or a weight is negative.
        TypeError
            If a parameter or X has the wrong kind.
        """
        check_option("confidence_kind", self.confidence_kind, KINDS)
        classes = read_classes(self.classes)
        values, labels, weight = self._validated(X, y, sample_weight)
        self._set_roles(X, values, np.unique(labels) if classes is None else classes)
        codes, self.classes_, self._order = align_classes(
            labels,
            classes,
            self.column_roles_.named_classes,
            self._n_scores(),
        )
        self._set_scale(values)
        self._fit(*self._split(values), codes, weight)
        return self

    def _validated(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        return self._validated_block(X, y, sample_weight, reset=True)

    def _validated_block(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
    ) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        """Check rows, against those of `fit` unless `reset`, and drop those of weight zero."""
        values: Any
        labels: Any
        try:
            values, labels = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32])
        except ValueError as error:
            _blame_text_columns(X, error)
            raise
        check_classification_targets(labels)
        weight = check_weights(sample_weight, len(labels))
        labels, present = column_or_1d(labels), weight > 0
        if present.all():
            return values, labels, weight
        return values[present], labels[present], weight[present]

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return calibrated logits.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Columns as in `fit`.

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of ``classes_[1]`` with two classes, else one score per class.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`, or a probability leaves [0, 1].
        """
        values = self._validated_columns(X)
        return self._calibrated_logits(*self._split(values))

    def predict_proba(
        self, X: ArrayLike, out: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Columns as in `fit`.
        out : ndarray of shape (n_samples, n_classes), default=None
            Array to write to, float64 or float32, and to return; it must not overlap X. By
            default a new one of float64. Writing to one array again and again saves the time in
            which the system hands out new memory.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`, a probability leaves [0, 1], or `out` has
            another shape or precision.
        TypeError
            If `out` is no array.
        """
        values = self._validated_columns(X)
        out = checked_output(out, (len(values), len(self.classes_)), values)
        self._write_probabilities(*self._split(values), out)
        return out

    def _validated_columns(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=[np.float64, np.float32])

    def _write_probabilities(
        self, logits: FloatArray, routing: FloatArray, out: NDArray[np.floating]
    ) -> None:
        scores = self._calibrated_logits(logits, routing)
        if scores.ndim == 1:
            expit(-scores, out=out[:, 0], casting="same_kind")
            expit(scores, out=out[:, 1], casting="same_kind")
        else:
            tempered_softmax(scores, 1.0, out)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Columns as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Entries of ``classes_``.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`, or a probability leaves [0, 1].
        """
        logits = self.decision_function(X)
        codes = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[codes]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        tags.classifier_tags.multi_class = not self._is_binary_by_parameters()
        return tags

    # -- columns, classes and scale ------------------------------------------------------------

    def _is_binary_by_parameters(self) -> bool:
        chosen = self.confidence_columns
        if isinstance(chosen, (int, np.integer, str)):
            return True
        return isinstance(chosen, (list, tuple)) and len(chosen) <= 2

    def _set_roles(self, given: Any, X: NDArray[Any], classes: NDArray[Any]) -> None:
        # scikit-learn 1.7 does not see the names of recent polars tables.
        names = getattr(self, "feature_names_in_", table_names(given))
        self.column_roles_: ColumnRoles = resolve_columns(
            given,
            self.n_features_in_,
            names,
            confidence_columns=self.confidence_columns,
            routing_columns=self.routing_columns,
            n_classes=len(classes),
        )
        by_position = self.confidence_columns is None and self.column_roles_.named_kind is None
        if by_position and self.column_roles_.confidence[0] == 0:
            refuse_hidden_classes(X, len(self.column_roles_.confidence))
            if self.classes is None:
                refuse_gaps(classes, self.n_features_in_)

    def _n_scores(self) -> int:
        """Return how many columns stand for the classes: one for an event, else one each."""
        return len(self.column_roles_.confidence)

    def _set_scale(self, X: NDArray[Any], stacklevel: int = 5) -> None:
        """Decide once whether confidences are logits or probabilities."""
        stated = self.column_roles_.named_kind or self.confidence_kind
        if self.confidence_kind not in ("auto", stated):
            raise ValueError(
                f"`confidence_kind` is {self.confidence_kind!r}, but the confidence columns are "
                f"named as {stated}s."
            )
        confidence = take_columns(X, self.column_roles_.confidence)
        self._scale = ConfidenceScale.decide(confidence, stated, stacklevel=stacklevel)
        self.confidence_kind_ = self._scale.kind

    def _split(self, X: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """Return log-odds (n_samples,) or class logits (n_samples, n_classes), and routing."""
        # Row by row whatever came: the order of columns in memory changes the last digit of sums.
        confidence = np.ascontiguousarray(take_columns(X, self.column_roles_.confidence))
        routing = X[:, self.column_roles_.routing].astype(np.float64, order="C", copy=False)
        return self._by_class(self._scale.to_logits(confidence)), routing

    def _by_class(self, logits: FloatArray) -> FloatArray:
        """Return columns in the order of ``classes_``, and log-odds if there are two of them."""
        if logits.shape[1] == 1:
            return logits[:, 0] if self._order[-1] == 1 else -logits[:, 0]
        if (np.diff(self._order) < 0).any():
            logits = logits[:, self._order]
        if logits.shape[1] > 2:
            return logits
        return np.subtract(logits[:, 1], logits[:, 0], dtype=np.float64)


def _blame_text_columns(X: Any, error: ValueError) -> None:
    """Name the columns that hold text, where a table has some."""
    names = getattr(X, "columns", ())
    text = [name for name in names if any(isinstance(v, str) for v in np.asarray(X[name]).flat)]
    if text:
        raise ValueError(
            f"Columns {text} of X hold text, but confidence and routing have to be numbers. Drop "
            "them, or encode them first, for instance in a ColumnTransformer."
        ) from error
