"""From confidence columns to logits.

Whether confidences are logits or probabilities is decided once, in ``fit``. A probability of
exactly 0 is a rounded one, and has no logarithm: it is read as half the smallest positive
probability of ``fit``, which is what it was rounded from, be that 1e-45 (float32) or 1e-4 (a
table with four digits).
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import ROUNDING
from sk_arcal.calibration._warning import CalibrationWarning

KINDS = ("auto", "logit", "probability")

_ROW_SUM_TOLERANCE = 5e-3
# Share of confidences at exactly 0 or 1 from which a temperature is driven by the rounding.
_SATURATED_SHARE = 0.01
# A probability below both this and all of `fit` counts as this.
_SMALLEST_UNSEEN = float(np.finfo(np.float32).tiny)
# Larger logits say the same, and their squares would overflow.
_LARGEST_LOGIT = 1e100


@dataclass(frozen=True, slots=True)
class ConfidenceScale:
    """Whether confidences are logits or probabilities, and what a rounded one stands for.

    Attributes
    ----------
    kind : {"logit", "probability"}
        Scale of the columns.
    smallest : float
        What a probability of 0 is read as.
    smallest_rest : float
        What 1 - p is read as where the probability p of an event is 1.
    role : {"confidence", "expert"}
        Whose columns these are; errors name the parameter ``<role>_kind``.
    """

    kind: str
    smallest: float
    smallest_rest: float
    role: str = "confidence"

    @classmethod
    def decide(
        cls,
        confidence: NDArray[Any],
        stated: str,
        *,
        role: str = "confidence",
        stacklevel: int = 5,
    ) -> Self:
        """Decide from the rows of `fit`.

        Parameters
        ----------
        confidence : ndarray of shape (n_samples, n_confidence)
            Confidence columns.
        stated : {"auto", "logit", "probability"}
            What parameters or column names say.
        role : {"confidence", "expert"}, default="confidence"
            Whose columns these are.
        stacklevel : int, default=5
            Whom warnings blame; the default is right two calls below a user's.

        Returns
        -------
        scale : ConfidenceScale
            Stays the same for all predictions.

        Raises
        ------
        ValueError
            If probabilities leave [0, 1] or do not sum to one.
        """
        kind = _apparent_kind(confidence, role, stacklevel) if stated == "auto" else stated
        if kind == "logit":
            return cls(kind, 0.0, 0.0, role)
        confidence = checked_probabilities(confidence, role)
        _warn_if_saturated(confidence, stacklevel)
        rest = 0.0
        if confidence.shape[1] == 1:
            resolution = float(np.finfo(confidence.dtype).eps) / 4
            rest = max(_read_zero_as(1 - confidence), resolution)
        return cls(kind, _read_zero_as(confidence), rest, role)

    def to_logits(self, confidence: NDArray[Any], *, copy: bool = True) -> NDArray[Any]:
        """Return log-odds of a single column, or one logit per column.

        Parameters
        ----------
        confidence : ndarray of shape (n_samples, n_confidence)
            Confidence columns.
        copy : bool, default=True
            If False, logits that need no change come back as they are, in their precision.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_confidence)
            Finite; float64 and new unless `copy` is False.

        Raises
        ------
        ValueError
            If probabilities leave [0, 1] or do not sum to one.
        """
        if self.kind == "logit":
            if not copy and not _has_huge(confidence):
                return confidence
            return np.clip(confidence, -_LARGEST_LOGIT, _LARGEST_LOGIT, dtype=np.float64)
        probability = checked_probabilities(confidence, self.role).astype(np.float64, copy=False)
        if confidence.shape[1] == 1:
            rest = np.log(np.maximum(1 - probability, self.smallest_rest))
            return np.log(np.maximum(probability, self.smallest)) - rest
        np.maximum(probability, self.smallest, out=probability)
        return np.log(probability, out=probability)


def _has_huge(logits: NDArray[Any]) -> bool:
    """Tell whether a logit may be beyond the largest; one reading where that is possible."""
    if logits.dtype == np.float32:
        return False
    if logits.flags.c_contiguous:
        with np.errstate(over="ignore"):
            flat = logits.ravel()
            return not np.dot(flat, flat) < _LARGEST_LOGIT**2
    return bool(logits.max(initial=0) > _LARGEST_LOGIT or logits.min(initial=0) < -_LARGEST_LOGIT)


def _apparent_kind(confidence: NDArray[Any], role: str, stacklevel: int) -> str:
    # Logits show themselves in the first rows.
    if _any_outside(confidence[:64]) or _any_outside(confidence):
        return "logit"
    total = confidence.sum(axis=1, dtype=np.float64)
    off = np.abs(total - 1) > _ROW_SUM_TOLERANCE
    if confidence.shape[1] > 1 and off.any():
        row = int(np.flatnonzero(off)[0])
        warnings.warn(
            f"The {confidence.shape[1]} {role} columns lie in [0, 1], but row {row} sums to "
            f"{total[row]:.4g}. They are taken for logits; say {role}_kind='logit' if they "
            "are. If they are probabilities and y lacks a class of the model, name all: "
            "classes=[...]. Probabilities that need not sum to one have to be turned into logits.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )
        return "logit"
    return "probability"


def _is_outside(confidence: NDArray[Any]) -> NDArray[np.bool_]:
    return (confidence < -ROUNDING) | (confidence > 1 + ROUNDING)


def _any_outside(confidence: NDArray[Any]) -> bool:
    return bool(confidence.min(initial=0) < -ROUNDING or confidence.max(initial=1) > 1 + ROUNDING)


def checked_probabilities(confidence: NDArray[Any], role: str = "confidence") -> NDArray[Any]:
    """Return entries in [0, 1]; raise if they are not, or rows of several do not sum to one."""
    if _any_outside(confidence):
        row, column = np.argwhere(_is_outside(confidence))[0]
        raise ValueError(
            f"{role.capitalize()}s are probabilities here, but row {row} holds "
            f"{confidence[row, column]}. For logits set {role}_kind='logit' before `fit`."
        )
    if confidence.shape[1] > 1:
        total = confidence.sum(axis=1, dtype=np.float64)
        off = np.abs(total - 1) > _ROW_SUM_TOLERANCE
        if off.any():
            row = int(np.flatnonzero(off)[0])
            raise ValueError(
                f"Class probabilities must sum to one; row {row} sums to {total[row]:.4g}. "
                f"For logits set {role}_kind='logit'."
            )
    return np.clip(confidence, 0, 1)


def _read_zero_as(probability: NDArray[Any]) -> float:
    inside = (probability > 0) & (probability < 1)
    smallest = float(probability.min(where=inside, initial=1.0))
    if smallest == 1:
        return float(np.finfo(probability.dtype).eps)
    half = max(smallest / 2, float(np.finfo(np.float64).tiny))
    return half if (probability == 0).any() else min(half, _SMALLEST_UNSEEN)


def _warn_if_saturated(confidence: NDArray[Any], stacklevel: int) -> None:
    rounded = confidence == 0
    if confidence.shape[1] == 1:
        # With several columns the others still say how near to 1 a probability was.
        rounded |= confidence == 1
    share = rounded.any(axis=1).mean()
    if share > _SATURATED_SHARE:
        words = "0 or 1" if confidence.shape[1] == 1 else "0"
        warnings.warn(
            f"{share:.0%} of the rows hold a probability of exactly {words}, so how sure the "
            "model was there is lost to rounding. Pass logits, or probabilities in float64.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )


def refuse_hidden_classes(X: NDArray[Any], n_confidence: int) -> None:
    """Refuse unnamed columns if more than the first `n_confidence` are one model's classes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        All columns, confidence first.
    n_confidence : int
        How many of them would be taken for confidence.

    Raises
    ------
    ValueError
        If the first two columns are logits of opposite sign, or the first columns sum to one in
        every row and are more than `n_confidence`.
    """
    if X.shape[1] < 2 or len(X) < 2:
        return
    n_classes = _length_of_simplex(X)
    opposite = n_confidence == 1 and (X[:, 0] == -X[:, 1]).all() and X[:, 0].any()
    if opposite or (n_confidence == 1 and n_classes == 2):
        raise ValueError(
            "Columns 0 and 1 complement each other in every row, so they look like the two "
            "classes of one model, not like a confidence and a routing feature. Write "
            "confidence_columns=[0, 1] to use both, or drop the first."
        )
    if n_classes > n_confidence:
        raise ValueError(
            f"Columns 0 to {n_classes - 1} sum to one in every row, so they look like the "
            f"{n_classes} classes of one model, some of which y lacks. Name all of them, in the "
            "order of the columns: classes=[...]."
        )


def _length_of_simplex(X: NDArray[Any]) -> int:
    """Return how many of the first columns sum to one in every row; 0 if there is no such lot."""
    total = np.zeros(len(X))
    for n_columns, column in enumerate(X.T, start=1):
        total += column
        if (column < -ROUNDING).any() or (total > 1 + _ROW_SUM_TOLERANCE).any():
            return 0
        if n_columns > 1 and (total >= 1 - _ROW_SUM_TOLERANCE).all():
            return n_columns
    return 0
