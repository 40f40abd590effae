"""What the model said: a confidence for every row, and class scores where there are several."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sk_arcal._numeric import row_blocks, top_probability
from sk_arcal._validation import FloatArray, check_probability_matrix
from sk_arcal.audit._reading._cells import (
    NOT_A_PROBABILITY,
    as_matrix,
    as_numbers,
    as_probabilities,
    refuse,
)
from sk_arcal.audit._reading._score_columns import MADE, Scores
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source

_ARTICLE = {"logit": "logits", "probability": "probabilities"}


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Confidence and class scores.

    Attributes
    ----------
    confidence : ndarray of shape (n_samples,)
        Probability of the event, in [0, 1].
    logits : ndarray of shape (n_samples, n_classes) or None
        Class scores; for probabilities their logarithms.
    top : ndarray of shape (n_samples,) or None
        Position of the predicted class.
    words : str
        Where the confidence comes from.
    notes : tuple of str
        Remarks.
    """

    confidence: FloatArray
    logits: NDArray[Any] | None = None
    top: NDArray[np.intp] | None = None
    words: str = ""
    notes: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of score columns; 1 for a single confidence."""
        return 1 if self.logits is None else self.logits.shape[1]


def read_scores(source: Source, scores: Scores, *, zero: float | None = None) -> ModelScores:
    """Turn the score columns into a confidence and, with several classes, logits.

    Parameters
    ----------
    source : Source
        The columns.
    scores : Scores
        Which of them hold scores.
    zero : float, default=None
        What a class probability of 0 is read as; None takes it from the rows.
    """
    values = source[scores.names[0]]
    if len(scores.names) == 1 and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if len(scores.names) > 1 or values.ndim > 1 or _is_list(values):
        return _several_classes(source, scores, zero)
    return _one_score(values, scores, source)


def _is_list(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "O" and isinstance(values[0], (list, tuple, np.ndarray))


def _one_score(values: NDArray[Any], scores: Scores, source: Source) -> ModelScores:
    name = scores.names[0]
    if scores.kind == "logit":
        confidence = expit(as_numbers(values, name, source.where(name)))
        words = f"the {MADE[name]}" if name in MADE else f"sigmoid of `{name}`"
        return ModelScores(confidence, words=words)
    return ModelScores(as_probabilities(values, name, source.where(name)), words=f"`{name}`")


def _several_classes(source: Source, scores: Scores, zero: float | None) -> ModelScores:
    matrix = _matrix(source, scores)
    name = _shown_names(scores)
    words = f"of the {matrix.shape[1]} {_ARTICLE[scores.kind]} {name}"
    if scores.names[0] in MADE:
        words = f"of the {matrix.shape[1]} classes by the {MADE[scores.names[0]]}"
    if scores.kind == "logit":
        confidence = np.empty(len(matrix))
        for rows in row_blocks(*matrix.shape):
            confidence[rows] = top_probability(matrix[rows].astype(np.float64, copy=False))
        return ModelScores(confidence, matrix, matrix.argmax(axis=1), f"largest softmax {words}")
    probability = _normalised(matrix.astype(np.float64, copy=False), name, source)
    logits, notes = log_probabilities(probability, zero)
    top = probability.argmax(axis=1)
    return ModelScores(probability.max(axis=1), logits, top, f"largest {words}", notes)


def _matrix(source: Source, scores: Scores) -> NDArray[Any]:
    if len(scores.names) > 1:
        read = as_numbers if scores.kind == "logit" else as_probabilities
        return np.column_stack(
            [read(source[name], name, source.where(name)) for name in scores.names]
        )
    name = scores.names[0]
    return as_matrix(source[name], name, source.where(name))


def _shown_names(scores: Scores) -> str:
    return quoted(scores.names[:1]) + (f" to `{scores.names[-1]}`" if scores.names[1:] else "")


def _normalised(matrix: FloatArray, name: str, source: Source) -> FloatArray:
    """Check the probabilities and rescale the rows to one."""
    outside = (matrix < 0) | (matrix > 1)
    first = matrix[np.arange(len(matrix)), outside.argmax(axis=1)]
    refuse(
        np.logical_or.reduce(outside, axis=1),
        first,
        name.strip("`"),
        source.locate,
        NOT_A_PROBABILITY,
    )
    try:
        return check_probability_matrix(matrix)
    except ValueError as error:
        total = matrix.sum(axis=1)
        row = int(np.argmax(np.abs(total - 1)))
        raise ValueError(
            f"The class probabilities {name} must sum to one; in {source.locate(row)} the "
            f"{matrix.shape[1]} columns sum to {total[row]:.4g}. Select other columns with "
            "`confidence`, or write more digits."
        ) from error


def log_probabilities(
    probability: FloatArray, floor: float | None = None
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return log-probabilities; a zero is a number below the resolution of the table."""
    zero = probability == 0
    if not zero.any():
        return np.log(probability), ()
    floor = probability[~zero].min() / 2 if floor is None else floor
    note = (
        f"Class probabilities of exactly 0 ({int(zero.sum())}) get the logit of {floor:.2g}, half "
        "the smallest positive one of the table."
    )
    return np.log(np.where(zero, max(floor, np.finfo(np.float64).tiny), probability)), (note,)
