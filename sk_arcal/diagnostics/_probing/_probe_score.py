"""The score of one probe, and the table of all."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._paired import Difference


@dataclass(frozen=True)
class ProbeScore:
    """How good one probe is, alone and against the confidence-only one.

    Part of :class:`MatchedProbes`. Calibration errors have 15 bins of equal width; a floor is
    what a calibrated probe with the same predictions reads on average. For the shuffled twins of
    a feature, errors and differences are means over the twins.

    Attributes
    ----------
    name : str
        Name of the probe.
    role : {"baseline", "confidence", "feature", "shuffled", "noise"}
        What it is for.
    log_loss : float
        Mean log loss of the event, nats.
    brier : float
        Mean squared error of the probability.
    ece, ece_floor : float
        Expected calibration error and its floor.
    ece_low, ece_high : float
        95 % interval of the error without its bias.
    smooth_ece, smooth_ece_floor : float
        SmoothECE and its floor.
    worst_ece, worst_ece_floor : float
        Largest expected calibration error of a stratum, and its floor.
    log_loss_difference : Difference
        Paired difference to the confidence-only probe, as (estimate, low, high) with a 95 %
        interval; negative is better than the confidence alone.
    brier_difference : Difference
        The same for the Brier score.
    ece_difference : Difference
        The same for the expected calibration error, bias taken off both.
    worst_ece_difference : Difference
        The same for the worst stratum.

    See Also
    --------
    matched_probes : Computes it.
    """

    name: str
    role: str
    log_loss: float
    brier: float
    ece: float
    ece_floor: float
    ece_low: float
    ece_high: float
    smooth_ece: float
    smooth_ece_floor: float
    worst_ece: float
    worst_ece_floor: float
    log_loss_difference: Difference
    brier_difference: Difference
    ece_difference: Difference
    worst_ece_difference: Difference


@dataclass(frozen=True, eq=False, repr=False)
class MatchedProbes:
    """Probes that differ in their feature only, and the textbook maps of the confidence.

    Returned by :func:`matched_probes`. Printing it shows one line per probe.

    Attributes
    ----------
    scores : tuple of ProbeScore
        Baselines, the confidence-only probe, each feature followed by its shuffled twins, and
        the probe of pure noise.
    predictions : dict of str to ndarray of shape (n_samples,)
        Out-of-fold probability of the event by name of the probe; of the shuffled twins the first.
    event : ndarray of shape (n_samples,)
        Outcome of the rows used.
    rows : ndarray of shape (n_samples,)
        Positions of the rows used in the input.
    strata_name : str
        Feature whose strata the worst-stratum error is about.
    n_samples : int
        Rows used.
    settings : dict of str to object
        Estimator, number of folds, shuffles and resamples.

    See Also
    --------
    matched_probes : Computes it.
    """

    scores: tuple[ProbeScore, ...]
    predictions: Mapping[str, FloatArray]
    event: FloatArray
    rows: IntArray
    strata_name: str
    n_samples: int
    settings: Mapping[str, object]

    def to_frame(self) -> Any:
        """Return one row per probe.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_probes, n_fields)
            Differences as three columns each: the estimate, `_low` and `_high`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="MatchedProbes.to_frame")
        return pandas.DataFrame([flat_record(score) for score in self.scores])

    def __repr__(self) -> str:
        width = max(len(score.name) for score in self.scores)
        titles = ("log loss", "Brier", "ECE", "floor", "worst", "floor")
        head = f"{'':{width}}  {'  '.join(f'{title:>8}' for title in titles)}  log loss change"
        lines = [f"{score.name:{width}}  {_line(score)}" for score in self.scores]
        what = f"{self.n_samples} rows, strata of {self.strata_name}; negative is better"
        return "\n".join([f"MatchedProbes: {what}", head, *lines])


def flat_record(score: object) -> dict[str, object]:
    """Return the fields of a dataclass, each difference as estimate, low and high."""
    record: dict[str, object] = {}
    # Any of the two score classes; `fields` wants to be told that it is a dataclass.
    for field in fields(score):  # type: ignore[arg-type]
        value = getattr(score, field.name)
        if isinstance(value, Difference):
            low, high = f"{field.name}_low", f"{field.name}_high"
            record |= {field.name: value.estimate, low: value.low, high: value.high}
        else:
            record[field.name] = value
    return record


def _line(score: ProbeScore) -> str:
    losses = (score.log_loss, score.brier)
    errors = (score.ece, score.ece_floor, score.worst_ece, score.worst_ece_floor)
    cells = "  ".join(f"{number:8.4f}" for number in losses + errors)
    return f"{cells}  {difference_text(score.log_loss_difference)}"


def difference_text(difference: Difference) -> str:
    """Return a difference and its interval as text."""
    return f"{difference.estimate:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
