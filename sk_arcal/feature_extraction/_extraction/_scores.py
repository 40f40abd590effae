"""Scores as columns: their names, and one column of log-odds for two classes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._extraction._record import Extraction


def score_columns(
    extraction: Extraction, outputs: str | None, classes: ArrayLike | None
) -> tuple[FloatArray, list[str]]:
    """Return the columns of scores and their names.

    Parameters
    ----------
    extraction : Extraction
        What the network said.
    outputs : {"logits", "options", "confidence"} or None
        What the scores are.
    classes : array-like of shape (n_scores,) or None
        What they stand for; two for a single score, (no event, event).

    Returns
    -------
    values : ndarray of shape (n_samples, n_columns)
        One column per score; with two, the second less the first.
    names : list of str
        ``logit__<class>``, or ``logit__correct`` for a confidence.

    Raises
    ------
    ValueError
        If there are not as many classes as scores.
    """
    scores = extraction.scores.astype(np.float64)
    if outputs is None or not scores.shape[1]:
        return scores[:, :0], []
    if outputs == "confidence":
        return scores, ["logit__correct"]
    labels = labels_of_scores(classes, max(scores.shape[1], 2))
    if scores.shape[1] == 2:
        scores = scores[:, 1:] - scores[:, :1]
    return scores, [f"logit__{label}" for label in labels[-scores.shape[1] :]]


def labels_of_scores(classes: ArrayLike | None, n_classes: int) -> list[Any]:
    """Return the names of some scores: 0, 1, ... or the classes given."""
    labels = list(range(n_classes)) if classes is None else np.asarray(classes).tolist()
    if len(labels) != n_classes or len({str(label) for label in labels}) != n_classes:
        raise ValueError(
            f"`classes` must name {n_classes} different classes, one per score of the network; "
            f"got {labels}."
        )
    return labels
