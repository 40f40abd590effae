"""The temperature of a stream: that of all its rows, from sums that add up.

Where the confidence is that of one event, rows at exactly 0 or 1 are only counted. What such a
confidence is read as, half the smallest distance from 0 or from 1 of all others, is known at the
end, as it is to :class:`~sk_arcal.TemperatureScaler` on all rows at once.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._rows import UnderstoodRows
from sk_arcal.calibration._temper_passes import Rows
from sk_arcal.calibration._temperature_sums import TemperatureSums

_BOUNDS = (1e-3, 1e3)
_EPS = float(np.finfo(np.float64).eps)


class StreamedHeat:
    """Sums over rows around the temperature of the first ones."""

    def __init__(self, head: UnderstoodRows) -> None:
        inside = _unsaturated(head)
        if not len(inside):
            # Any temperature may follow: look around 1.
            inside = UnderstoodRows(np.ones(1), np.full(1, 0.75), np.zeros(1, dtype=np.intp))
        self._sums = TemperatureSums.around(_rows(inside), _BOUNDS).empty()
        # Outcomes of rows with a confidence of exactly 0 and 1.
        self._saturated: FloatArray = np.zeros((2, 2))
        self._smallest = np.ones(2)

    def empty(self) -> "StreamedHeat":
        """Return sums of no rows around the same temperature."""
        other = object.__new__(StreamedHeat)
        other._sums, other._saturated = self._sums.empty(), np.zeros((2, 2))
        other._smallest = np.ones(2)
        return other

    def add(self, rows: UnderstoodRows) -> None:
        """Add rows."""
        inside = rows
        if not _has_classes(rows):
            inside = _unsaturated(rows)
            if len(inside) < len(rows):
                for end in (0, 1):
                    events = rows.event[rows.confidence == end].astype(np.intp)
                    self._saturated[end] += np.bincount(events, minlength=2)
            if len(inside):
                ends = inside.confidence.min(), (1 - inside.confidence).min()
                self._smallest = np.minimum(self._smallest, ends)
        if len(inside):
            self._sums = self._sums.plus_rows(_rows(inside))

    def merge(self, other: Self) -> None:
        """Add the rows of another."""
        self._sums = self._sums.plus(other._sums)
        self._saturated = self._saturated + other._saturated
        self._smallest = np.minimum(self._smallest, other._smallest)

    def temperature(self) -> float:
        """Return the temperature of all rows; NaN if it is too far from that of the first."""
        sums = self._sums
        if self._saturated.any():
            sums = sums.plus_rows(self._at_the_ends())
        fit = sums.minimum(_BOUNDS)
        return fit.temperature if fit.converged else float("nan")

    def _at_the_ends(self) -> Rows:
        """Return the rows at exactly 0 and 1, each kind once, with how many there are."""
        tiny = float(np.finfo(np.float64).tiny)
        zero, rest = (_EPS if end == 1 else max(end / 2, tiny) for end in self._smallest)
        rest = max(rest, _EPS / 4)
        logits = np.array([np.log(zero), np.log(zero), -np.log(rest), -np.log(rest)])
        labels = np.array([0.0, 1.0, 0.0, 1.0])
        kept = self._saturated.ravel() > 0
        weight = self._saturated.ravel()[kept]
        return Rows.of(logits[kept], labels[kept], weight, may_be_single=False)


def _has_classes(rows: UnderstoodRows) -> bool:
    return rows.logits is not None and rows.labels is not None and rows.logits.shape[1] > 2


def _unsaturated(rows: UnderstoodRows) -> UnderstoodRows:
    if _has_classes(rows):
        return rows
    inside = (rows.confidence > 0) & (rows.confidence < 1)
    if inside.all():
        return rows
    kept = np.flatnonzero(inside)
    return UnderstoodRows(rows.event[kept], rows.confidence[kept], rows.place[kept])


def _rows(rows: UnderstoodRows) -> Rows:
    """Return log-odds of the event, or logits of several classes, as they are summed over."""
    weight = np.ones(len(rows))
    if rows.logits is not None and rows.labels is not None and _has_classes(rows):
        logits: NDArray[np.floating] = rows.logits
        return Rows.of(logits, rows.labels.astype(np.float64), weight, may_be_single=False)
    odds = np.log(rows.confidence) - np.log(1 - rows.confidence)
    return Rows.of(odds, rows.event, weight, may_be_single=False)
