"""Which rows fit a calibrator, which are evaluated, and which are left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal.audit._reading._cells import counted, distinct_labels
from sk_arcal.audit._reading._source import Source

_FIT = {"0", "fit", "cal", "calib", "calibrate", "calibration", "val", "valid", "validation", "dev"}
_EVALUATE = {"1", "eval", "evaluate", "evaluation", "test"}


@dataclass(frozen=True, slots=True)
class Split:
    """The rows that are used and what for.

    Attributes
    ----------
    source : Source
        The rows that are used.
    evaluate : ndarray of bool of shape (n_samples,), or None
        True where a row is evaluated, False where it fits the calibrator; None if not stated.
    words : str or None
        The same for a person.
    notes : tuple of str
        What was left out.
    """

    source: Source
    evaluate: NDArray[np.bool_] | None = None
    words: str | None = None
    notes: tuple[str, ...] = ()


def apply_split(source: Source, name: str | None) -> Split:
    """Read the column that splits the rows: 0 fits the calibrator, 1 is evaluated.

    Words such as "calibration", "validation" and "test" are read the same way. Rows with any
    other value are left out, and may hold anything.
    """
    if name is None:
        return Split(source)
    texts, codes = distinct_labels(source[name], name, source.where(name))
    fits, evaluated = (part[codes] for part in parts_of(texts))
    kept = np.flatnonzero(fits | evaluated)
    if not kept.size:
        listed = ", ".join(texts[:10])
        raise ValueError(
            f"`{name}` must hold 0 (fit the calibrator here) or 1 (evaluate here) in some rows; "
            f"it holds {listed}."
        )
    notes = _left_out(name, texts, codes, fits | evaluated)
    used = source.take(kept) if len(kept) < source.n_rows else source
    if not fits.any() or not evaluated.any():
        lacking = "fit the calibrator" if not fits.any() else "evaluate"
        return Split(used, notes=(*notes, f"`{name}` leaves no row to {lacking}; it is ignored."))
    fitting, evaluating = counted(int(fits.sum()), "row"), int(evaluated.sum())
    words = f"`{name}`: {fitting} to fit the calibrator, {evaluating} to evaluate"
    return Split(used, evaluated[kept], words, notes)


def parts_of(texts: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which values of the column mean "fit" and which "evaluate"."""
    words = [text.casefold() for text in texts]
    return np.isin(words, list(_FIT)), np.isin(words, list(_EVALUATE))


def _left_out(
    name: str, texts: list[str], codes: NDArray[np.intp], kept: NDArray[np.bool_]
) -> tuple[str, ...]:
    if kept.all():
        return ()
    values = ", ".join(texts[code] for code in np.unique(codes[~kept])[:10])
    return (f"{counted(int((~kept).sum()), 'row')} left out, where `{name}` is {values}.",)
