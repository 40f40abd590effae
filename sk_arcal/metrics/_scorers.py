"""Scorers for model selection that know their estimator's classes.

A scorer made from a function of ``(y_true, y_prob)`` does not know which classes the columns of
``predict_proba`` stand for, and fails or misreads a fold that lacks one. These read them from
the fitted estimator.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    check_length,
    check_probability_matrix,
    check_weights,
)
from sk_arcal.metrics._calibration_error import expected_calibration_error
from sk_arcal.metrics._inputs import Codes, as_labels, encode_labels
from sk_arcal.metrics._multiclass import top_label_calibration_error

_Loss = Callable[[Codes, FloatArray, FloatArray], float]

# Probabilities keep this distance from 0 and 1 in the log, as in scikit-learn's log_loss.
_EPS = float(np.finfo(np.float64).eps)


class ProbabilityScorer:
    """Scorer of class probabilities, bound to the classes of the estimator it scores.

    An object to pass as `scoring`, such as :data:`neg_log_loss_scorer`. It is called as
    ``scorer(estimator, X, y, sample_weight=None)`` and returns the negative of a loss, so that
    greater is better. `y` may lack some of the classes the estimator was fitted on.

    Parameters
    ----------
    name : str
        What it prints as.
    loss : callable
        Called with class codes (n_samples,), probabilities (n_samples, n_classes) and weights
        (n_samples,).

    See Also
    --------
    expected_calibration_error : Behind `neg_calibration_error_scorer`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sk_arcal.metrics import neg_log_loss_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> bool(neg_log_loss_scorer(model, X[:50], y[:50]) > -0.1)
    True
    """

    def __init__(self, name: str, loss: _Loss) -> None:
        self.name = name
        self.loss = loss
        self.request: bool | str | None = None

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Score an estimator; greater is better.

        Parameters
        ----------
        estimator : object
            Fitted classifier with `predict_proba` and `classes_`.
        X : array-like of shape (n_samples, n_features)
            Input of the estimator.
        y : array-like of shape (n_samples,)
            Class labels, all among the classes of the estimator.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative repetitions of the rows; None means one each.

        Returns
        -------
        score : float
            The negative loss.

        Raises
        ------
        TypeError
            If the estimator lacks `predict_proba` or `classes_`.
        ValueError
            If `y` holds a class the estimator has not seen in `fit`.
        """
        labels = as_labels(y, "y")
        classes = _fitted_classes(estimator, self.name)
        codes = encode_labels(labels, classes, "y")
        probability = check_probability_matrix(
            estimator.predict_proba(X), "predict_proba(X)", n_samples=len(codes)
        )
        check_length("classes_", classes, probability.shape[1])
        return -self.loss(codes, probability, check_weights(sample_weight, len(codes)))

    def set_score_request(self, *, sample_weight: bool | str | None) -> "ProbabilityScorer":
        """Return a copy that asks metadata routing for weights.

        Parameters
        ----------
        sample_weight : bool, str or None
            True to receive `sample_weight`, False not to, a str to receive it under that name.

        Returns
        -------
        scorer : ProbabilityScorer
            The copy; the original is unchanged, as it is shared by everybody who imports it.

        See Also
        --------
        sklearn.utils.metadata_routing : Explains requests.

        Examples
        --------
        >>> from sk_arcal.metrics import neg_log_loss_scorer
        >>> neg_log_loss_scorer.set_score_request(sample_weight=True)
        neg_log_loss_scorer
        """
        copy = ProbabilityScorer(self.name, self.loss)
        copy.request = sample_weight
        return copy

    def get_metadata_routing(self) -> Any:
        """Return the metadata request scikit-learn reads.

        Returns
        -------
        request : sklearn.utils.metadata_routing.MetadataRequest
            Says whether `sample_weight` is wanted.

        Examples
        --------
        >>> from sk_arcal.metrics import neg_log_loss_scorer
        >>> scorer = neg_log_loss_scorer.set_score_request(sample_weight=True)
        >>> scorer.get_metadata_routing()
        {'score': {'sample_weight': True}}
        """
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self.name)
        request.score.add_request(param="sample_weight", alias=self.request)
        return request

    def __repr__(self) -> str:
        return self.name


def _fitted_classes(estimator: Any, scorer: str) -> NDArray[Any]:
    for attribute in ("predict_proba", "classes_"):
        if not hasattr(estimator, attribute):
            raise TypeError(
                f"{scorer} needs a fitted classifier with `{attribute}`; "
                f"{type(estimator).__name__} has none."
            )
    return as_labels(estimator.classes_, "classes_")


def _log_loss(codes: Codes, probability: FloatArray, weight: FloatArray) -> float:
    chosen = probability[np.arange(len(codes)), codes]
    return float(np.average(-np.log(np.clip(chosen, _EPS, 1 - _EPS)), weights=weight))


def _brier(codes: Codes, probability: FloatArray, weight: FloatArray) -> float:
    squares = (probability**2).sum(axis=1)
    squares += 1 - 2 * probability[np.arange(len(codes)), codes]
    scale = 2 if probability.shape[1] == 2 else 1
    return float(np.average(squares, weights=weight)) / scale


def _calibration_error(codes: Codes, probability: FloatArray, weight: FloatArray) -> float:
    n_classes = probability.shape[1]
    if n_classes == 2:
        return expected_calibration_error(codes, probability[:, 1], sample_weight=weight)
    return top_label_calibration_error(
        codes, probability, labels=np.arange(n_classes), sample_weight=weight
    )


#: Negative log loss in nats; probabilities are kept 2.2e-16 away from 0 and 1.
neg_log_loss_scorer = ProbabilityScorer("neg_log_loss_scorer", _log_loss)
#: Negative Brier score: with two classes the squared error of one probability, in [0, 1]; with
#: more the sum over classes, in [0, 2]. The convention of scikit-learn's brier_score_loss.
neg_brier_scorer = ProbabilityScorer("neg_brier_scorer", _brier)
#: Negative expected calibration error, 15 bins of equal width: of the second class with two
#: classes, of the top label with more. Not proper: it can be won by predicting the base rate.
neg_calibration_error_scorer = ProbabilityScorer("neg_calibration_error_scorer", _calibration_error)
