"""The layers of a network: columns ``layer__<layer>__logit__<class>``, and their own outcome.

With two classes there may be one column a layer, the log-odds of the class it names. Every layer
is judged by its own prediction, so that the true class is needed where there are more columns.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_expit, log_softmax

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._cells import as_numbers, as_probabilities
from sk_arcal.audit._reading._layer_columns import LayerColumn, parse_layer
from sk_arcal.audit._reading._model_scores import ModelScores, log_probabilities, read_scores
from sk_arcal.audit._reading._outcome import read_outcome
from sk_arcal.audit._reading._roles import Roles
from sk_arcal.audit._reading._score_columns import LAST_LAYER, Scores, part_of
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source

LAYERS_ARE_THERE = "There are columns of layers; `--layers` (`layers=True`) audits them."
_WORDS = {"logit": "logits", "proba": "probabilities"}
# Written with few digits, probabilities of one row sum to one within this much.
_SUM_TOLERANCE = 5e-3
# Confidences further apart are not one number written with fewer digits.
_SAME = 1e-3


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers as read.

    Attributes
    ----------
    log_proba : ndarray of shape (n_samples, n_layers, n_classes)
        Log-probabilities; an event has the classes "no" and "yes".
    names : tuple of str
        The layers, the last one last.
    classes : tuple of str
        Class of every column of a layer; one for log-odds, none for those of an unnamed event.
    columns : tuple of str
        Everything that was read.
    words : str
        The same for a person.
    notes : tuple of str
        Remarks.
    """

    log_proba: FloatArray
    names: tuple[str, ...]
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    words: str
    notes: tuple[str, ...]

    @property
    def last_column(self) -> FloatArray:
        """Class scores of the last layer, or its log-odds of the event."""
        last = self.log_proba[:, -1]
        return last if len(self.classes) > 1 else last[:, 1] - last[:, 0]

    @property
    def last_scores(self) -> Scores:
        """How the scores of the last layer are to be read."""
        return Scores("logit", (LAST_LAYER,), self.classes or None)


def has_layers(names: Any) -> bool:
    """Whether columns of these names hold scores of layers."""
    return any(parse_layer(name) for name in names)


def read_layers(source: Source) -> Layers:
    """Read all columns with scores of layers.

    Raises
    ------
    ValueError
        If there are none, or of one layer only, layers differ in their classes or scale, or a
        cell cannot be used.
    """
    parsed = {name: parse_layer(name) for name in source.columns if part_of(name) == "layers"}
    found = {name: column for name, column in parsed.items() if column is not None}
    if not found:
        hidden = "Those of hidden states need a read-out first; `probe_layers` is one. "
        raise ValueError(
            "The audit of layers needs columns `layer__<l>__logit__<class>`, and there are none. "
            f"{hidden if parsed else ''}The columns are {quoted(list(source.columns))}."
        )
    kind = _only_kind(found)
    layers, labels = _grid(found)
    if len(layers) < 2:
        raise ValueError(
            f"`{next(iter(found))}` is of the only layer; an audit needs at least two."
        )
    table = [[layers[layer][label] for label in labels] for layer in _in_depth(list(layers))]
    log_proba, notes = _log_probabilities(source, table, kind)
    each = f"{_WORDS[kind]} of {len(labels)} classes each"
    if len(labels) == 1:
        each = "log-odds of the event" if kind == "logit" else "probabilities of the event"
    return Layers(
        log_proba,
        tuple(_in_depth(list(layers))),
        tuple(label for label in labels if label is not None),
        tuple(found),
        f"{len(layers)}, {each}: `{table[0][0]}` to `{table[-1][-1]}`",
        notes,
    )


def _only_kind(found: dict[str, LayerColumn]) -> str:
    kinds = {column.kind: name for name, column in found.items()}
    if len(kinds) > 1:
        raise ValueError(
            f"Layers are given as logits and as probabilities: {quoted(list(kinds.values()))}; "
            "keep one kind."
        )
    return next(iter(kinds))


def _grid(
    found: dict[str, LayerColumn],
) -> tuple[dict[str, dict[str | None, str]], list[str | None]]:
    """Return the column of every layer and class, and the classes, which all layers must share."""
    layers: dict[str, dict[str | None, str]] = {}
    for name, column in found.items():
        layers.setdefault(column.layer, {})[column.label] = name
    first, labels = next((layer, list(columns)) for layer, columns in layers.items())
    for layer, columns in layers.items():
        if set(columns) != set(labels):
            raise ValueError(
                f"The layers {first} and {layer} have columns of different classes: "
                f"{quoted(list(layers[first].values()))}, and {quoted(list(columns.values()))}."
            )
    if None in labels and len(labels) > 1:
        raise ValueError(f"`{layers[first][None]}` names no class; the columns beside it do.")
    return layers, labels


def _in_depth(names: list[str]) -> list[str]:
    """Return numbered layers by their number; others as they came."""
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def _log_probabilities(
    source: Source, table: list[list[str]], kind: str
) -> tuple[FloatArray, tuple[str, ...]]:
    read = as_numbers if kind == "logit" else as_probabilities
    values = np.stack(
        [np.column_stack([read(source[n], n, source.where(n)) for n in layer]) for layer in table],
        axis=1,
    ).astype(np.float64, copy=False)
    one = values.shape[2] == 1
    if kind == "logit":
        both = np.concatenate([-values, values], axis=2) if one else values
        return log_expit(both) if one else log_softmax(both, axis=2), ()
    if one:
        return log_probabilities(np.concatenate([1 - values, values], axis=2))
    total = values.sum(axis=2)
    off = np.abs(total - 1) > _SUM_TOLERANCE
    if off.any():
        row, layer = (int(place[0]) for place in np.nonzero(off))
        raise ValueError(
            f"The probabilities `{table[layer][0]}` to `{table[layer][-1]}` sum to "
            f"{total[row, layer]:.4g} in {source.locate(row)}; give those of all classes."
        )
    return log_probabilities(values / total[:, :, None])


def layer_fields(
    layers: Layers, source: Source, roles: Roles, model: ModelScores
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields of a prediction table that begin with `layer`, and remarks.

    `source` has the last layer as a column. True classes are read in the words of the layers,
    whatever the model's confidence is about.
    """
    if len(layers.classes) > 1 and roles.label is None:
        raise ValueError(
            f"The layers have scores of {len(layers.classes)} classes, and each is judged by its "
            "own prediction: the true class is needed (`label`), not only whether the model was "
            "right."
        )
    last = read_scores(source, layers.last_scores)
    own = replace(roles, scores=layers.last_scores, predicted=None)
    outcome = read_outcome(source, own, last)
    labels = outcome.event.astype(np.intp) if outcome.labels is None else outcome.labels
    fields = {
        "layer_scores": layers.log_proba,
        "layer_names": layers.names,
        "layer_classes": layers.classes,
        "layer_labels": labels,
    }
    return fields, (*layers.notes, *_difference_note(last, model))


def _difference_note(last: ModelScores, model: ModelScores) -> tuple[str, ...]:
    """Say so if the confidence of the file is not that of the last layer."""
    said, meant = model.confidence, last.confidence
    if (model.logits is None) != (last.logits is None):
        said, meant = np.maximum(said, 1 - said), np.maximum(meant, 1 - meant)
    apart = float(np.abs(said - meant).max())
    if apart <= _SAME:
        return ()
    note = (
        f"The confidence differs from that of the last layer by up to {apart:.2g}; the layers and "
        "the confidence are each audited as they are."
    )
    return (note,)
