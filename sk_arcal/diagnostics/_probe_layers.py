"""Linear probes: what the hidden states of every layer say about the class."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_arcal._validation import as_generator, check_finite, check_groups, check_integer
from sk_arcal.metrics._inputs import as_labels

# As in scikit-learn's log loss.
_EPS = float(np.finfo(np.float64).eps)
# Penalty of the default probe; states have many columns, and a probe is fitted on few rows.
_DEFAULT_C = 0.1

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


def probe_layers(
    hidden: Any,
    y: ArrayLike,
    *,
    cv: Any = 5,
    groups: ArrayLike | None = None,
    estimator: Any = None,
    random_state: object = None,
    n_jobs: int | None = None,
) -> NDArray[np.float32]:
    """Read class scores out of the hidden states of every layer by cross-fitted linear probes.

    Where a network has no head that fits its inner layers, a classifier fitted on the states of a
    layer says what could be read there. Each row is scored by a probe that has not seen it.

    Parameters
    ----------
    hidden : array-like of shape (n_samples, n_layers, n_features), mapping or sequence
        Hidden states, or one array of shape (n_samples, n_features of the layer) per layer; or a
        reading with `hidden`.
    y : array-like of shape (n_samples,)
        Class labels, at least two different ones.
    cv : int, splitter or iterable of (train, test), default=5
        Folds; every row has to be tested once. A number makes stratified, shuffled folds, with
        `groups` kept together.
    groups : array-like of shape (n_samples,), default=None
        Rows that depend on each other, never split between fitting and testing.
    estimator : classifier with `predict_proba`, default=None
        Cloned for every layer and fold. None standardises and fits logistic regression with
        ``C=0.1``.
    random_state : int, RandomState, Generator or None, default=None
        Shuffles the folds.
    n_jobs : int, default=None
        Number of joblib workers over layers and folds; the result does not depend on it.

    Returns
    -------
    layer_scores : ndarray of float32 of shape (n_samples, n_layers, n_classes)
        Out-of-fold log-probabilities of the sorted classes, for :func:`layerwise_calibration` and
        :func:`layer_features`. A probability of zero is taken for 2.2e-16.

    Raises
    ------
    ValueError
        If a class is missing from the rows that a fold is fitted on, folds do not test every row
        once, shapes do not fit each other, or a value is not finite.
    TypeError
        If `estimator` has no `predict_proba`, or an array does not hold numbers.

    See Also
    --------
    layerwise_calibration : What accuracy and calibration the layers then have.

    Notes
    -----
    A probe says where the class *can* be read, not where the network reads it. It also brings a
    calibration of its own: too weak a penalty makes it overconfident, too strong a one
    underconfident. Where that matters pass an `estimator` that chooses the penalty on inner folds,
    such as ``LogisticRegressionCV``.

    References
    ----------
    .. [1] G. Alain and Y. Bengio. "Understanding intermediate layers using linear classifier
       probes". ICLR 2017 workshop.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import probe_layers
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> states = np.stack([rng.normal(size=(200, 3)) + shift * y[:, None] for shift in (0, 2)], 1)
    >>> layer_scores = probe_layers(states, y, random_state=0)
    >>> (layer_scores.argmax(axis=2) == y[:, None]).mean(axis=0).round(1)
    array([0.6, 0.9])
    """
    states = _states(hidden)
    classes, codes = np.unique(as_labels(y, "y"), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"`y` holds the class {classes[0].item()!r} alone; a probe needs two classes."
        )
    for layer, one in enumerate(states):
        if len(one) != len(codes):
            raise ValueError(f"Layer {layer} of `hidden` has {len(one)} rows and `y` {len(codes)}.")
    folds = _folds(codes, cv, groups, as_generator(random_state))
    _check_folds(folds, codes, classes)
    probe = _probe(estimator)
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_score)(probe, one, codes, train, test) for one in states for train, test in folds
    )
    scores = np.empty((len(codes), len(states), len(classes)), dtype=np.float32)
    for number, part in enumerate(parts):
        layer, fold = divmod(number, len(folds))
        scores[folds[fold][1], layer] = part
    return scores


def _states(hidden: Any) -> list[NDArray[Any]]:
    """Return the states of each layer, checked."""
    hidden = getattr(hidden, "hidden", hidden)
    if isinstance(hidden, Mapping):
        layers = list(hidden.values())
    elif hasattr(hidden, "shape"):
        array = np.asarray(hidden)
        if array.ndim != 3:
            raise ValueError(
                "`hidden` must have shape (n_samples, n_layers, n_features), or be one array per "
                f"layer; got shape {array.shape}."
            )
        layers = [array[:, layer] for layer in range(array.shape[1])]
    elif isinstance(hidden, Iterable) and not isinstance(hidden, (str, bytes)):
        layers = list(hidden)
    else:
        raise TypeError(
            "`hidden` must be an array, or a mapping or sequence with one array per layer; got "
            f"{type(hidden).__name__}."
        )
    if not layers:
        raise ValueError("`hidden` holds no layer.")
    return [_checked(np.asarray(one), layer) for layer, one in enumerate(layers)]


def _checked(states: NDArray[Any], layer: int) -> NDArray[Any]:
    if states.dtype.kind not in "fiub":
        raise TypeError(f"Layer {layer} of `hidden` must hold numbers; got {states.dtype}.")
    if states.ndim != 2 or 0 in states.shape:
        raise ValueError(
            f"Layer {layer} of `hidden` must have shape (n_samples, n_features); got shape "
            f"{states.shape}."
        )
    check_finite(states, f"hidden[{layer}]")
    return states


def _folds(
    codes: NDArray[np.intp], cv: Any, groups: ArrayLike | None, rng: np.random.Generator
) -> list[Fold]:
    together = None if groups is None else check_groups(groups, len(codes))[1]
    if isinstance(cv, (int, np.integer)):
        count = check_integer("cv", cv, low=2)
        fewest = int(np.bincount(codes).min())
        if fewest < count:
            raise ValueError(
                f"`cv` is {count}, but a class of `y` has {fewest} rows, fewer than one per fold. "
                "Lower `cv`, or leave rare classes out."
            )
        kind = StratifiedKFold if together is None else StratifiedGroupKFold
        seed = int(rng.integers(2**31 - 1))
        cv = kind(count, shuffle=True, random_state=seed)
    splitter = check_cv(cv, codes, classifier=True)
    rows = np.zeros((len(codes), 1))
    return [(train, test) for train, test in splitter.split(rows, codes, together)]


def _check_folds(folds: list[Fold], codes: NDArray[np.intp], classes: NDArray[Any]) -> None:
    tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(codes))
    if (tested != 1).any():
        row = int(np.flatnonzero(tested != 1)[0])
        raise ValueError(
            f"`cv` must test every row once; row {row} is tested {int(tested[row])} times."
        )
    for number, (train, _) in enumerate(folds):
        missing = np.bincount(codes[train], minlength=len(classes)) == 0
        if missing.any():
            raise ValueError(
                f"Fold {number} of `cv` is fitted on rows without the class "
                f"{classes[missing][0].item()!r}. Use fewer or stratified folds, or leave rare "
                "classes out."
            )


def _probe(estimator: Any) -> Any:
    if estimator is None:
        return make_pipeline(StandardScaler(), LogisticRegression(C=_DEFAULT_C, max_iter=2000))
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"`estimator` must have `predict_proba`; {type(estimator).__name__} does not."
        )
    return estimator


def _score(
    probe: Any,
    states: NDArray[Any],
    codes: NDArray[np.intp],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Return log-probabilities (n_test, n_classes) of a clone fitted on the other rows."""
    fitted = clone(probe).fit(states[train], codes[train])
    probability = np.asarray(fitted.predict_proba(states[test]), dtype=np.float64)
    # Labels are codes 0 to K - 1, and all of them are in every fold.
    ordered = probability[:, np.argsort(fitted.classes_)]
    return np.log(np.maximum(ordered, _EPS)).astype(np.float32)
