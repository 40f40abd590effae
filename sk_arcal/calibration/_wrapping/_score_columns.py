"""From a fitted classifier and routing transformer to the columns of a calibrator.

``[logit__<class> ... | routing__<name> ...]``: the scores of the classifier as logits, one
log-odds column with two classes, then whatever the transformer makes of the same rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._classes import label_name
from sk_arcal.calibration._saving._plain_state import register_helper
from sk_arcal.calibration._scale import ConfidenceScale

RESPONSES = ("decision_function", "predict_proba", "predict_log_proba")

# The log-odds of the smallest positive double: as good as impossible, yet finite.
_IMPOSSIBLE = float(np.log(np.finfo(np.float64).smallest_subnormal))


class NamedColumns:
    """A matrix that knows the names of its columns, without needing pandas.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_columns)
        Scores, then routing.
    columns : list of str
        Their names.
    """

    def __init__(self, values: FloatArray, columns: list[str]) -> None:
        self.values = values
        self.columns = columns
        self.shape = values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        """Return a column by its name, or rows."""
        if isinstance(key, str):
            return self.values[:, self.columns.index(key)]
        return NamedColumns(self.values[key], self.columns)


@register_helper
@dataclass(frozen=True)
class CalibratedPair:
    """A fitted classifier, routing transformer and calibrator: one member of the ensemble.

    Attributes
    ----------
    estimator : object
        Fitted classifier.
    routing_transformer : object or None
        Fitted transformer.
    calibrator : object
        Fitted on rows that neither of them was trained on.
    classes : ndarray of shape (n_classes,)
        All classes, also those that this classifier has not seen.
    response : str
        Method of the classifier that gives the scores.
    scale : ConfidenceScale
        Turns these into logits.
    """

    estimator: Any
    routing_transformer: Any
    calibrator: Any
    classes: NDArray[Any]
    response: str
    scale: ConfidenceScale

    def calibration_columns(self, X: Any) -> NamedColumns:
        """Return what the calibrator is given for the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            What classifier and transformer take.

        Returns
        -------
        columns : NamedColumns of shape (n_samples, n_columns)
            ``logit__<class>``, one with two classes, then ``routing__<name>``.
        """
        scores = raw_scores(self.estimator, X, self.classes, self.response)
        routing, names = routing_features(self.routing_transformer, X)
        return assemble(self.scale.to_logits(scores), routing, self.classes, names)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return calibrated probabilities of all classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            What classifier and transformer take.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of `classes`.
        """
        known = self.calibrator.predict_proba(self.calibration_columns(X))
        probability = np.zeros((len(known), len(self.classes)))
        probability[:, np.searchsorted(self.classes, self.calibrator.classes_)] = known
        return probability


def response_of(estimator: Any, response_method: str) -> str:
    """Return the method that gives the scores; "auto" prefers `decision_function`."""
    wanted = RESPONSES[:2] if response_method == "auto" else (response_method,)
    for name in wanted:
        if hasattr(estimator, name):
            return name
    raise TypeError(
        f"{type(estimator).__name__} has no {' or '.join(wanted)}, so there are no scores to "
        "calibrate."
    )


def raw_scores(estimator: Any, X: Any, classes: NDArray[Any], response: str) -> FloatArray:
    """Return one score per class, as the classifier gives them.

    Parameters
    ----------
    estimator : object
        Fitted classifier, which may lack some classes.
    X : array-like of shape (n_samples, ...)
        What it takes.
    classes : ndarray of shape (n_classes,)
        All classes, sorted.
    response : {"decision_function", "predict_proba", "predict_log_proba"}
        Which of its methods.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities for `predict_proba`, logits otherwise. A class that the classifier does not
        know has probability 0, or a logit 744 below the lowest of the row.

    Raises
    ------
    ValueError
        If there is not one score per class.
    """
    given = np.asarray(getattr(estimator, response)(X))
    known = np.asarray(estimator.classes_)
    if given.ndim == 1 and len(known) == 2:
        given = np.column_stack([np.zeros(len(given)), given])
    if given.ndim != 2 or given.shape[1] != len(known):
        raise ValueError(
            f"{response} of {type(estimator).__name__} returns scores of shape {given.shape} for "
            f"{len(known)} classes; one per class is needed. Set its decision_function_shape='ovr' "
            "if it has one, or response_method='predict_proba'."
        )
    if response == "predict_log_proba":
        given = np.maximum(given, _IMPOSSIBLE)
    scores = np.zeros((len(given), len(classes)))
    if response != "predict_proba":
        scores += given.min(axis=1, keepdims=True) + _IMPOSSIBLE
    scores[:, np.searchsorted(classes, known)] = given
    return scores


def scale_of(scores: FloatArray, response: str) -> ConfidenceScale:
    """Decide what a probability of 0 stands for: half the smallest one of the calibration rows."""
    if response != "predict_proba":
        return ConfidenceScale("logit", 0.0, 0.0)
    smallest = float(np.finfo(np.float64).tiny)
    # Without a zero among them, classes unknown to the classifier aside, nothing was rounded.
    if (scores[:, scores.any(axis=0)] == 0).any():
        smallest = max(smallest, float(scores.min(where=scores > 0, initial=1.0)) / 2)
    return ConfidenceScale("probability", smallest, 0.0)


def routing_features(transformer: Any, X: Any) -> tuple[FloatArray | None, list[str]]:
    """Return routing columns and their names.

    Parameters
    ----------
    transformer : object or None
        Fitted transformer.
    X : array-like of shape (n_samples, ...)
        What it takes.

    Returns
    -------
    routing : ndarray of shape (n_samples, n_routing) or None
        Dense; None without a transformer.
    names : list of str
        From the columns of its output, else from `get_feature_names_out`, else numbered; all
        begin with ``routing__``.
    """
    if transformer is None:
        return None, []
    given = transformer.transform(X)
    dense = given.toarray() if hasattr(given, "toarray") else given
    routing = np.asarray(dense, dtype=np.float64)
    routing = routing.reshape(len(routing), -1) if routing.ndim != 2 else routing
    names = list(getattr(given, "columns", ())) or _names_out(transformer)
    if len(names) != routing.shape[1]:
        names = list(range(routing.shape[1]))
    return routing, [ROUTING_PREFIX + str(name).removeprefix(ROUTING_PREFIX) for name in names]


def _names_out(transformer: Any) -> list[Any]:
    try:
        return list(transformer.get_feature_names_out())
    except (AttributeError, ValueError, NotImplementedError):
        # Optional in scikit-learn's protocol, and many a transformer cannot say.
        return []


def assemble(
    logits: FloatArray, routing: FloatArray | None, classes: NDArray[Any], names: list[str]
) -> NamedColumns:
    """Put scores and routing side by side; two classes share one log-odds column."""
    labels = [f"logit__{label_name(label)}" for label in classes.tolist()]
    if len(labels) == 2:
        logits, labels = logits[:, 1:] - logits[:, :1], labels[1:]
    parts = [logits] if routing is None else [logits, routing]
    return NamedColumns(np.column_stack(parts), [*labels, *names])
