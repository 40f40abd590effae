"""Layers as columns: their names, and one column of log-odds a layer for two classes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._extraction._scores import labels_of_scores
from sk_arcal.feature_extraction._lens._layout import LayerReadout


def layer_columns(readout: LayerReadout, classes: ArrayLike | None) -> tuple[FloatArray, list[str]]:
    """Return the columns of all layers, one layer after the other, and their names.

    Parameters
    ----------
    readout : LayerReadout
        What the network said or held.
    classes : array-like of shape (n_scores,) or None
        What the scores stand for; two for a single score, (no event, event).

    Returns
    -------
    values : ndarray of shape (n_samples, n_columns)
        One column per score and layer, with two scores the second less the first; or one per
        number of a state.
    names : list of str
        ``layer__<layer>__logit__<class>``, or ``layer__<layer>__hidden__<number>``.

    Raises
    ------
    ValueError
        If there are not as many classes as scores.
    """
    labels: list[Any]
    if readout.scores is not None:
        scores = readout.scores.astype(np.float64)
        labels = labels_of_scores(classes, max(scores.shape[2], 2))
        if scores.shape[2] == 2:
            scores = scores[:, :, 1:] - scores[:, :, :1]
        labels = labels[-scores.shape[2] :]
        names = [f"layer__{layer}__logit__{label}" for layer in readout.layers for label in labels]
        return scores.reshape(len(scores), -1), names
    values, sizes = readout.values, list(zip(readout.layers, readout.widths, strict=True))
    parts = [values[:, i, :width] for i, (_, width) in enumerate(sizes)]
    names = [f"layer__{layer}__hidden__{j}" for layer, width in sizes for j in range(width)]
    return np.concatenate(parts, axis=1).astype(np.float64), names
