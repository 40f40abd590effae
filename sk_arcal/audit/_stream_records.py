"""What an audit of a stream says about all rows of the file: frozen records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sk_arcal._validation import import_optional


@dataclass(frozen=True)
class StreamedGap:
    """Gap of one feature at equal confidence, among all rows of a stream.

    One entry of ``StreamedRows.gaps``, in what :func:`stream_audit` returns.

    Attributes
    ----------
    name : str
        The feature.
    gap, gap_low, gap_high : float
        Event rate of the top less the bottom tertile at equal confidence, with its 95 % interval;
        of levels, that of the one that stands out most less the rest, its interval widened for
        the number of levels. Intervals are NaN where rows belong to groups.
    gap_se : float
        Its standard error.
    contrast : str
        What is compared.
    largest_cell : float
        Share of the rows in the fullest of the routing cells that rows are counted in. Where it
        is large although the feature has many values, the first rows, which set the cells, were
        not like the rest, and the gap is a coarse one.
    """

    name: str
    gap: float
    gap_low: float
    gap_high: float
    gap_se: float
    contrast: str
    largest_cell: float


@dataclass(frozen=True, repr=False)
class StreamedRows:
    """Figures of all rows of a stream, of which the verdicts rest on a sample.

    Part of what :func:`stream_audit` returns.

    Attributes
    ----------
    n_rows : int
        Rows read.
    n_used : int
        Rows among them that take part: to evaluate, or to fit the calibrators.
    n_evaluated : int
        Rows to evaluate; all figures but the temperature are about them.
    n_sampled : int
        Rows in the sample.
    accuracy, mean_confidence : float
        Rate of the event and mean confidence.
    ece, ece_floor, ece_floor_95 : float
        Expected calibration error, 15 equal-width bins; mean and 95th percentile of what
        calibrated confidences would score.
    ece_corrected, ece_low, ece_high : float
        Estimate less its bias, with the 95 % interval; the interval is NaN where rows belong to
        groups.
    smooth_ece : float
        Calibration error without bins.
    temperature : float
        Temperature of the rows to fit, or of all; NaN if one pass could not tell.
    gaps : dict of str to StreamedGap
        Gap of every routing feature.
    has_groups : bool
        Whether rows belong to groups, so that no interval of all rows is given.
    """

    n_rows: int
    n_used: int
    n_evaluated: int
    n_sampled: int
    accuracy: float
    mean_confidence: float
    ece: float
    ece_floor: float
    ece_floor_95: float
    ece_corrected: float
    ece_low: float
    ece_high: float
    smooth_ece: float
    temperature: float
    gaps: Mapping[str, StreamedGap] = field(default_factory=dict)
    has_groups: bool = False

    def to_frame(self) -> Any:
        """Return the gaps as a pandas DataFrame.

        Returns
        -------
        frame : DataFrame of shape (n_features, 7)
            One row per routing feature.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="StreamedRows.to_frame")
        return pandas.DataFrame([asdict(gap) for gap in self.gaps.values()])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers by name.

        Returns
        -------
        numbers : dict
            The attributes.
        """
        return asdict(self)

    def sentences(self) -> tuple[str, ...]:
        """Say what the figures are of, and what they are.

        Returns
        -------
        sentences : tuple of str
            What the verdicts rest on, calibration, temperature, one sentence a feature.
        """
        left = self.n_rows - self.n_used
        basis = (
            f"Verdicts rest on a uniform sample of {self.n_sampled:,} of {self.n_used:,} rows; "
            "figures in this block are of all rows"
            + (f", without {left:,} that the split leaves out." if left else ".")
        )
        calibration = (
            f"The event happened in {self.accuracy:.2%} of {self.n_evaluated:,} rows at a mean "
            f"confidence of {self.mean_confidence:.2%}; ECE {self.ece:.2%}, noise floor "
            f"{self.ece_floor:.2%}, bias-corrected {self.ece_corrected:.2%}"
            f"{_interval(self.ece_low, self.ece_high, '.2%')}, SmoothECE {self.smooth_ece:.2%}."
        )
        groups = "Rows belong to groups, so no intervals are given here."
        return (
            basis,
            calibration,
            self._heat(),
            *(_gap_sentence(gap) for gap in self.gaps.values()),
            *((groups,) if self.has_groups else ()),
        )

    def _heat(self) -> str:
        if np.isnan(self.temperature):
            return "The temperature of all rows is far from that of the first and not known."
        return f"Temperature {self.temperature:.4f}."

    def __repr__(self) -> str:
        return "\n".join(self.sentences())


def _gap_sentence(gap: StreamedGap) -> str:
    if np.isnan(gap.gap):
        return f"{gap.name}: no gap can be told ({gap.contrast})."
    interval = _interval(gap.gap_low, gap.gap_high, "+.2%")
    return f"{gap.name}: gap {gap.gap:+.2%}{interval} ({gap.contrast})."


def _interval(low: float, high: float, form: str) -> str:
    return f" [{low:{form}}, {high:{form}}]" if np.isfinite(low) else ""
