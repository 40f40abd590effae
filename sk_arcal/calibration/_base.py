"""What all calibrators share: validation, classes, weights, column roles, scale, prediction."""

import warnings
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sk_arcal._columns import ColumnRoles, Selector, resolve_columns
from sk_arcal._numeric import clipped_logit
from sk_arcal._validation import FloatArray, check_option, check_weights
from sk_arcal.calibration._classes import align_classes
from sk_arcal.calibration._warning import CalibrationWarning

_KINDS = ("auto", "logit", "probability")
_ROW_SUM_TOLERANCE = 5e-3
# Share of confidences at exactly 0 or 1 from which a temperature is driven by the clipping.
_SATURATED_SHARE = 0.01


class BaseCalibrator(ClassifierMixin, BaseEstimator):
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
        check_option("confidence_kind", self.confidence_kind, _KINDS)
        values, labels, weight = self._validated(X, y, sample_weight)
        self._set_roles(X, values, labels)
        codes, self.classes_, self._order = align_classes(
            labels,
            self.classes,
            self.column_roles_.named_classes,
            len(self.column_roles_.confidence),
        )
        self._set_scale(values[:, self.column_roles_.confidence])
        self._fit(*self._split(values), codes, weight)
        return self

    def _validated(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        values: Any
        labels: Any
        values, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        weight = check_weights(sample_weight, len(labels))
        present = weight > 0
        return values[present], column_or_1d(labels)[present], weight[present]

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
        check_is_fitted(self)
        values: Any = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self._calibrated_logits(*self._split(values))

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Columns as in `fit`.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`, or a probability leaves [0, 1].
        """
        logits = self.decision_function(X)
        if logits.ndim == 1:
            event = expit(logits)
            return np.column_stack([1 - event, event])
        return softmax(logits, axis=1)

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

    def _set_roles(self, given: Any, X: NDArray[Any], y: NDArray[Any]) -> None:
        stated = y if self.classes is None else np.asarray(self.classes)
        self.column_roles_: ColumnRoles = resolve_columns(
            given,
            self.n_features_in_,
            getattr(self, "feature_names_in_", None),
            confidence_columns=self.confidence_columns,
            routing_columns=self.routing_columns,
            n_classes=len(np.unique(stated)),
        )
        if self.confidence_columns is None and self.column_roles_.confidence.tolist() == [0]:
            _refuse_complementary(X)

    def _set_scale(self, confidence: NDArray[Any]) -> None:
        """Decide once whether confidences are logits or probabilities."""
        stated = self.column_roles_.named_kind or self.confidence_kind
        if self.confidence_kind not in ("auto", stated):
            raise ValueError(
                f"`confidence_kind` is {self.confidence_kind!r}, but the confidence columns are "
                f"named as {stated}s."
            )
        looks = "probability" if _looks_like_probabilities(confidence) else "logit"
        self.confidence_kind_ = looks if stated == "auto" else stated
        # Probabilities nearer to 0 or 1 than the input's precision say no more than that.
        self._margin = float(np.finfo(confidence.dtype).eps)
        if self.confidence_kind_ == "probability":
            _check_probabilities(confidence)
            _warn_if_saturated(confidence)

    def _split(self, X: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        confidence = X[:, self.column_roles_.confidence]
        routing = X[:, self.column_roles_.routing].astype(np.float64)
        if self.confidence_kind_ == "probability":
            _check_probabilities(confidence)
        return self._to_logits(confidence.astype(np.float64)), routing

    def _to_logits(self, confidence: FloatArray) -> FloatArray:
        """Return log-odds (n_samples,) or class logits (n_samples, n_classes), classes sorted."""
        is_probability = self.confidence_kind_ == "probability"
        if confidence.shape[1] == 1:
            column = confidence[:, 0]
            logits = clipped_logit(column, self._margin) if is_probability else column
            return logits if self._order[-1] == 1 else -logits
        if is_probability:
            confidence = np.log(np.clip(confidence, self._margin, None))
        confidence = confidence[:, self._order]
        return confidence[:, 1] - confidence[:, 0] if confidence.shape[1] == 2 else confidence


def _looks_like_probabilities(confidence: NDArray[Any]) -> bool:
    inside = bool(((confidence >= 0) & (confidence <= 1)).all())
    if confidence.shape[1] == 1 or not inside:
        return inside
    return bool((np.abs(confidence.sum(axis=1) - 1) <= _ROW_SUM_TOLERANCE).all())


def _refuse_complementary(X: NDArray[Any]) -> None:
    """Refuse both columns of `predict_proba` output: the second is no routing feature."""
    if X.shape[1] < 2 or len(X) < 2:
        return
    first, second = X[:, 0], X[:, 1]
    as_probabilities = np.abs(first + second - 1) <= _ROW_SUM_TOLERANCE
    inside = (first >= 0) & (first <= 1)
    if (as_probabilities & inside).all() or ((first == -second).all() and first.any()):
        raise ValueError(
            "Columns 0 and 1 complement each other in every row, so they look like the two "
            "classes of one model, not like a confidence and a routing feature. Write "
            "confidence_columns=[0, 1] to use both, or drop the first."
        )


def _check_probabilities(confidence: NDArray[Any]) -> None:
    outside = (confidence < 0) | (confidence > 1)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"Confidences are probabilities here, but row {row} holds {confidence[row, column]:g}. "
            "For logits set confidence_kind='logit' before `fit`."
        )
    if confidence.shape[1] > 1:
        total = confidence.sum(axis=1, dtype=np.float64)
        off = np.abs(total - 1) > _ROW_SUM_TOLERANCE
        if off.any():
            row = int(np.flatnonzero(off)[0])
            raise ValueError(
                f"Class probabilities must sum to one; row {row} sums to {total[row]:.4g}. "
                "For logits set confidence_kind='logit'."
            )


def _warn_if_saturated(confidence: NDArray[Any]) -> None:
    saturated = ((confidence <= 0) | (confidence >= 1)).any(axis=1).mean()
    if saturated > _SATURATED_SHARE:
        warnings.warn(
            f"{saturated:.0%} of the rows hold a probability of exactly 0 or 1, so how sure the "
            "model was there is lost to rounding. Pass logits, or probabilities in float64.",
            CalibrationWarning,
            stacklevel=4,
        )
