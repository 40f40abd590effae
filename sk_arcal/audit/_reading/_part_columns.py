"""Experts and layers of a table as the columns that a file would hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX
from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._score_columns import LAYER_PREFIX


def columns_of_experts(
    experts: FloatArray, gates: FloatArray, names: Sequence[str], classes: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    """Return experts, log-probabilities (n_samples, n_experts, n_classes), and their gates."""
    columns: dict[str, NDArray[Any]] = {}
    for name, logs in zip(names, experts.swapaxes(0, 1), strict=True):
        if classes is None:
            # Probabilities: small log-odds could be taken for them.
            columns[EXPERT_PREFIX + name] = np.exp(logs[:, 1])
            continue
        scores = zip(classes, logs.T, strict=True)
        columns |= {f"{EXPERT_PREFIX}{name}__{label}": score for label, score in scores}
    return columns | {GATE_PREFIX + n: gate for n, gate in zip(names, gates.T, strict=True)}


def columns_of_layers(
    layers: FloatArray, names: Sequence[str], classes: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return layers, log-probabilities (n_samples, n_layers, n_classes)."""
    columns: dict[str, NDArray[Any]] = {}
    for name, logs in zip(names, layers.swapaxes(0, 1), strict=True):
        stem = f"{LAYER_PREFIX}{name}__logit"
        if len(classes) > 1:
            scores = zip(classes, logs.T, strict=True)
            columns |= {f"{stem}__{label}": score for label, score in scores}
        else:
            columns["__".join([stem, *classes])] = logs[:, 1] - logs[:, 0]
    return columns
