"""What is added up over the rows that are evaluated, or over those that fit a calibrator."""

from typing import Self

from sk_arcal.audit._reading._rows import Coded, UnderstoodRows
from sk_arcal.audit._stream_records import StreamedGap
from sk_arcal.audit._streaming._cells import (
    ROUTING_CELLS,
    ConfidenceCells,
    LevelCells,
    NumericCells,
    confidence_edges,
    quantile_edges,
)
from sk_arcal.audit._streaming._gap import streamed_gap
from sk_arcal.audit._streaming._temperature import StreamedHeat
from sk_arcal.metrics import CalibrationHistogram


class PartSums:
    """Histogram, temperature and tables of all features, empty at first.

    Parameters
    ----------
    head : UnderstoodRows
        The first rows of the stream, which set cells and range.
    """

    def __init__(self, head: UnderstoodRows) -> None:
        edges = confidence_edges(head.confidence)
        self.histogram = CalibrationHistogram()
        self.heat = StreamedHeat(head)
        self.cells = ConfidenceCells(edges)
        self.features: dict[str, NumericCells | LevelCells] = {
            name: LevelCells(len(edges))
            if isinstance(values, Coded)
            else NumericCells(len(edges), quantile_edges(values, ROUTING_CELLS))
            for name, values in head.routing.items()
        }

    def empty(self) -> "PartSums":
        """Return the same without rows."""
        other = object.__new__(PartSums)
        other.histogram = CalibrationHistogram()
        other.heat = self.heat.empty()
        other.cells = ConfidenceCells(self.cells.edges)
        other.features = {name: feature.empty() for name, feature in self.features.items()}
        return other

    def add(self, rows: UnderstoodRows) -> None:
        """Add rows."""
        if not len(rows):
            return
        self.histogram.update(rows.event, rows.confidence)
        self.heat.add(rows)
        cells, excess = self.cells.add(rows.event, rows.confidence)
        for name, feature in self.features.items():
            # Which of the two kinds a feature is was decided for cells and values alike.
            feature.add(rows.event, cells, excess, rows.routing[name])  # type: ignore[arg-type]

    def merge(self, other: Self) -> None:
        """Add the rows of another."""
        self.histogram.merge(other.histogram)
        self.heat.merge(other.heat)
        self.cells.merge(other.cells)
        for name, feature in self.features.items():
            # Of one kind, since both come from the same first rows.
            feature.merge(other.features[name])  # type: ignore[arg-type]

    def gaps(self, *, independent: bool) -> dict[str, StreamedGap]:
        """Return the gap of every feature."""
        return {
            name: streamed_gap(name, self.cells, feature, independent=independent)
            for name, feature in self.features.items()
        }
