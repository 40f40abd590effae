"""Scores of layers as columns with the names that files give them."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._reading._score_columns import LAYER_PREFIX
from sk_arcal.diagnostics._depth._layer_scores import resolve_kind, split_layers

_SHAPE = re.compile(rf"{LAYER_PREFIX}(.+?)__(logit|proba)(?:__(.+))?", re.DOTALL)
_KINDS = {"logit": "logit", "probability": "proba"}


class LayerColumn(NamedTuple):
    """A column of layers: its layer, "logit" or "proba", and its class if the name has one."""

    layer: str
    kind: str
    label: str | None


def parse_layer(name: str) -> LayerColumn | None:
    """Read the name of a column; None if it holds no score of a layer, such as a hidden state."""
    found = _SHAPE.fullmatch(name)
    return None if found is None else LayerColumn(*found.groups())


def layer_columns(
    scores: Any, names: Any, classes: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    """Return scores of layers as columns.

    Parameters
    ----------
    scores : array-like, mapping, sequence or None
        As `layerwise_calibration` takes them.
    names : sequence or None
        Names of the layers; those found, or numbers from 0, if None.
    classes : sequence of str or None
        Class of every column; numbers from 0 if None.
    """
    if scores is None:
        if names is not None:
            raise ValueError("`layer_names` names layers, but there are no `layer_scores`.")
        return {}
    found, layers = split_layers(scores, None if names is None else np.ravel(names).tolist())
    arrays = [np.asarray(layer) for layer in layers]
    kind = _KINDS[resolve_kind("auto", arrays)]
    columns: dict[str, NDArray[Any]] = {}
    for name, array in zip(found, arrays, strict=True):
        columns |= _columns_of_layer(f"{LAYER_PREFIX}{name}__{kind}", array, classes)
    return columns


def _columns_of_layer(
    name: str, scores: NDArray[Any], classes: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim == 1:
        return {name: scores}
    if scores.ndim != 2:
        raise ValueError(
            "`layer_scores` must have shape (n_samples, n_layers, n_classes), or (n_samples, "
            f"n_layers) for one event; one of its layers has shape {scores.shape}."
        )
    named = [str(k) for k in range(scores.shape[1])] if classes is None else classes
    if len(named) != scores.shape[1]:
        raise ValueError(
            f"`layer_scores` has {scores.shape[1]} classes where `classes` names {len(named)}."
        )
    return {f"{name}__{label}": column for label, column in zip(named, scores.T, strict=True)}
