"""Scores of the layers of a network, read as class probabilities, one layer at a time.

A layer speaks of K classes, shape (n_samples, n_classes), or of one event, shape (n_samples,). The
second is read as two classes, the event being the latter, so that what follows knows one form.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax

from sk_arcal._validation import (
    ROW_SUM_TOLERANCE,
    FloatArray,
    check_option,
    check_probabilities,
    check_probability_matrix,
)

KINDS = ("auto", "logit", "probability")
# As in scikit-learn's log loss: a probability of zero costs 36 nats, not infinity.
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class LayerProbabilities:
    """Class probabilities of a layer and their logarithms, both (n_samples, n_classes)."""

    probability: FloatArray
    log_probability: FloatArray


def split_layers(layer_scores: Any, layers: Any = None) -> tuple[tuple[Any, ...], list[Any]]:
    """Return the names of the layers and the scores of each.

    Parameters
    ----------
    layer_scores : array-like, mapping, sequence or iterable
        An array of shape (n_samples, n_layers, n_classes) or (n_samples, n_layers), a mapping of
        names to the arrays of the layers, a sequence of such arrays, or what holds such an array
        in `scores` and the names in `layers`.
    layers : sequence, default=None
        Names that replace those found.

    Returns
    -------
    names : tuple
        One for every layer.
    scores : list
        One entry per layer, not yet checked.
    """
    if hasattr(layer_scores, "scores") and hasattr(layer_scores, "layers"):
        layers = layer_scores.layers if layers is None else layers
        layer_scores = layer_scores.scores
    if isinstance(layer_scores, Mapping):
        names, scores = tuple(layer_scores), list(layer_scores.values())
    elif _is_array(layer_scores):
        array = np.asarray(layer_scores)
        if array.ndim not in (2, 3):
            raise ValueError(
                "`layer_scores` must have shape (n_samples, n_layers, n_classes), or (n_samples, "
                f"n_layers) for one event; got shape {array.shape}."
            )
        scores = [array[:, layer] for layer in range(array.shape[1])]
        names = tuple(range(len(scores)))
    elif isinstance(layer_scores, Iterable) and not isinstance(layer_scores, (str, bytes)):
        scores = list(layer_scores)
        names = tuple(range(len(scores)))
    else:
        raise TypeError(
            "`layer_scores` must be an array, or a mapping or sequence with one array per layer; "
            f"got {type(layer_scores).__name__}."
        )
    if not scores:
        raise ValueError("`layer_scores` holds no layer.")
    return _named(names, layers), scores


def _is_array(values: Any) -> bool:
    return hasattr(values, "__array__") and hasattr(values, "shape")


def _named(found: tuple[Any, ...], layers: Sequence[Any] | None) -> tuple[Any, ...]:
    if layers is None:
        return found
    names = tuple(layers)
    if len(names) != len(found):
        raise ValueError(
            f"`layers` must name every layer; got {len(names)} names for {len(found)} layers."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"`layers` must name every layer once; got {list(names)}.")
    return names


def resolve_kind(score_kind: object, scores: Sequence[Any]) -> str:
    """Return "logit" or "probability"; "auto" looks at every layer.

    All layers are on one scale: it is that of probabilities if all numbers lie in [0, 1] and, with
    classes, all rows sum to one.
    """
    kind = check_option("score_kind", score_kind, KINDS)
    if kind != "auto":
        return kind
    return "probability" if all(_look_probable(np.asarray(one)) for one in scores) else "logit"


def _look_probable(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "fiub" or not array.size or array.min() < 0 or array.max() > 1:
        return False
    if array.ndim < 2 or array.shape[1] == 1:
        return True
    return bool(np.abs(array.sum(axis=1, dtype=np.float64) - 1).max() <= ROW_SUM_TOLERANCE)


def read_layer(
    scores: Any, kind: str, name: str, *, n_samples: int | None, n_classes: int | None
) -> LayerProbabilities:
    """Check the scores of one layer and return its class probabilities.

    Parameters
    ----------
    scores : array-like of shape (n_samples, n_classes) or (n_samples,)
        Logits or probabilities of the classes, or of one event.
    kind : {"logit", "probability"}
        Their scale.
    name : str
        Stands in errors.
    n_samples, n_classes : int or None
        What the other layers have.

    Returns
    -------
    layer : LayerProbabilities
        Of two classes where the scores are of one event.
    """
    array = _checked(scores, kind, name, n_samples)
    width = 2 if array.ndim == 1 else array.shape[1]
    if n_classes is not None and width != n_classes:
        raise ValueError(f"`{name}` has {width} classes where the first layer has {n_classes}.")
    if kind == "probability":
        both = np.column_stack([1 - array, array]) if array.ndim == 1 else array
        return LayerProbabilities(both, np.log(np.maximum(both, _EPS)))
    if array.ndim == 1:
        logs = np.column_stack([log_expit(-array), log_expit(array)])
    else:
        logs = np.asarray(log_softmax(array, axis=1))
    return LayerProbabilities(np.exp(logs), logs)


def _checked(scores: Any, kind: str, name: str, n_samples: int | None) -> FloatArray:
    array = np.asarray(scores)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"`{name}` must have shape (n_samples, n_classes), or (n_samples,) for one event; got "
            f"shape {array.shape}."
        )
    if n_samples is not None and len(array) != n_samples:
        raise ValueError(f"`{name}` has {len(array)} rows where {n_samples} were expected.")
    if kind == "probability":
        check = check_probabilities if array.ndim == 1 else check_probability_matrix
        return check(array, name)
    return _finite(array, name)


def _finite(array: NDArray[Any], name: str) -> FloatArray:
    if array.dtype.kind not in "fiub":
        raise TypeError(f"`{name}` must hold numbers; got values of type {array.dtype}.")
    numbers = array.astype(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(
            f"`{name}` must be finite; row {row} is not ({int(bad.sum())} such values). Give a "
            "class that was masked out a large negative logit, or drop it."
        )
    return numbers
