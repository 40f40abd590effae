"""What is kept of every row and layer: event, confidence, log loss and Brier score.

Four numbers a row and layer, in 13 bytes, whatever the number of classes, so that layers or chunks
of rows can be read one after the other and forgotten.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal.diagnostics._depth._layer_scores import (
    LayerProbabilities,
    read_layer,
    resolve_kind,
    split_layers,
)
from sk_arcal.metrics._inputs import Codes, as_labels, encode_labels

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class LayerRows(NamedTuple):
    """Arrays of shape (n_samples,) for one layer, or (n_samples, n_layers) for all."""

    event: BoolArray
    confidence: Float32Array
    log_loss: Float32Array
    brier: Float32Array


@dataclass(frozen=True, eq=False)
class DepthRows:
    """Rows of all layers, the names of the layers, and whether the event is one of the data."""

    layers: tuple[Any, ...]
    rows: LayerRows
    one_event: bool


def read_rows(
    y_true: ArrayLike | None, layer_scores: Any, score_kind: object, labels: Any, layers: Any
) -> DepthRows:
    """Read scores of all layers at once, or chunks of (labels, scores) where `y_true` is None."""
    if y_true is not None:
        return _Reader(score_kind, labels, layers).read(y_true, layer_scores)
    if not isinstance(layer_scores, Iterator):
        raise TypeError(
            "Without `y_true`, `layer_scores` must be an iterator of chunks (y_true, "
            f"layer_scores); got {type(layer_scores).__name__}."
        )
    reader = _Reader(score_kind, labels, layers)
    parts = [reader.read(*_pair(chunk, number)) for number, chunk in enumerate(layer_scores)]
    if not parts:
        raise ValueError("`layer_scores` yields no chunk.")
    for number, part in enumerate(parts):
        if part.layers != parts[0].layers:
            raise ValueError(
                f"Chunk {number} of `layer_scores` has the layers {list(part.layers)} where the "
                f"first has {list(parts[0].layers)}."
            )
    rows = LayerRows(*(np.concatenate(same) for same in zip(*(p.rows for p in parts), strict=True)))
    return DepthRows(parts[0].layers, rows, parts[0].one_event)


def _pair(chunk: Any, number: int) -> tuple[Any, Any]:
    if not isinstance(chunk, (tuple, list)) or len(chunk) != 2:
        raise TypeError(
            f"Chunk {number} of `layer_scores` must be a pair (y_true, layer_scores); got "
            f"{type(chunk).__name__}. If the iterator yields layers, pass `y_true` too."
        )
    return chunk[0], chunk[1]


class _Reader:
    """Keeps from chunk to chunk what the first one decided: scale and classes."""

    def __init__(self, score_kind: object, labels: Any, layers: Any) -> None:
        self.kind, self.labels, self.layers = score_kind, labels, layers
        self.classes: NDArray[Any] | None = None
        self.n_classes: int | None = None

    def read(self, y_true: ArrayLike, layer_scores: Any) -> DepthRows:
        names, scores = split_layers(layer_scores, self.layers)
        self.kind = resolve_kind(self.kind, scores)
        y = as_labels(y_true, "y_true")
        codes, kept = None, []
        for name, one in zip(names, scores, strict=True):
            layer = read_layer(
                one, str(self.kind), f"layer_scores[{name!r}]",
                n_samples=len(y), n_classes=self.n_classes,
            )  # fmt: skip
            self.n_classes = layer.probability.shape[1]
            codes = self._codes(y) if codes is None else codes
            kept.append(_rows_of(layer, codes))
        rows = LayerRows(*(np.stack(same, axis=1) for same in zip(*kept, strict=True)))
        return DepthRows(names, rows, self.n_classes == 2)

    def _codes(self, y: NDArray[Any]) -> Codes:
        if self.classes is None:
            self.classes = _classes(y, self.labels, int(self.n_classes or 0))
        return encode_labels(y, self.classes, "y_true")


def _classes(y: NDArray[Any], labels: Any, n_classes: int) -> NDArray[Any]:
    if labels is not None:
        classes = as_labels(labels, "labels")
        if len(classes) != n_classes or len(np.unique(classes)) != n_classes:
            raise ValueError(
                f"`labels` must name each of the {n_classes} classes once; got {classes.tolist()}."
            )
        return classes
    found = np.unique(y)
    if n_classes == 2 and found.dtype.kind in "biuf" and np.isin(found, (0, 1)).all():
        return np.array([0, 1])
    if len(found) != n_classes:
        raise ValueError(
            f"`y_true` holds {len(found)} different labels and `layer_scores` has {n_classes} "
            "classes, so which column belongs to which class is not known. Pass `labels`, the "
            "class of every column in order (for a classifier: `classes_`)."
        )
    return found


def _rows_of(layer: LayerProbabilities, codes: Codes) -> LayerRows:
    probability, own = layer.probability, np.arange(len(codes))
    squares = (probability**2).sum(axis=1) + 1 - 2 * probability[own, codes]
    if probability.shape[1] == 2:
        # Two classes: one of the two equal squares, as scikit-learn has it.
        event, confidence, squares = codes == 1, probability[:, 1], squares / 2
    else:
        event = probability.argmax(axis=1) == codes
        confidence = probability.max(axis=1)
    return LayerRows(
        event,
        confidence.astype(np.float32),
        (-layer.log_probability[own, codes]).astype(np.float32),
        squares.astype(np.float32),
    )
