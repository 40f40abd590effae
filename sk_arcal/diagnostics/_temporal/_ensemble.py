"""The mean of the last checkpoints against the last one alone, on the same rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.diagnostics._confidence_bins import FloatArray
from sk_arcal.diagnostics._temporal._paired import (
    Interval,
    calibration_error_shares,
    mean_with_interval,
)
from sk_arcal.diagnostics._temporal._trajectory import Rows
from sk_arcal.metrics import noise_floor

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class CheckpointEnsemble:
    """The mean of the probabilities of the last checkpoints against the last one alone.

    Part of what :func:`checkpoint_profile` returns. The keys of each dict are "accuracy",
    "log_loss" (nats), "brier" and "ece" (expected calibration error).

    Attributes
    ----------
    n_averaged : int
        Number of checkpoints in the mean.
    single, averaged : dict of str to float
        Scores of the last checkpoint, and of the mean.
    difference : dict of str to float
        `averaged` minus `single`.
    interval : dict of str to tuple of float
        Paired 95 % interval of each difference over test sets.
    single_floor, averaged_floor : float
        Mean calibration error of a calibrated model of the same confidences.
    """

    n_averaged: int
    single: dict[str, float]
    averaged: dict[str, float]
    difference: dict[str, float]
    interval: dict[str, Interval]
    single_floor: float
    averaged_floor: float

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per score.

        Returns
        -------
        frame : pandas.DataFrame
            Columns `single`, `averaged`, `difference`, `low`, `high`, `single_floor` and
            `averaged_floor`; floors are NaN where a score has none.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "CheckpointEnsemble.to_frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        frame = pandas.DataFrame(
            {"single": self.single, "averaged": self.averaged, "difference": self.difference}
        )
        frame[["low", "high"]] = [self.interval[name] for name in frame.index]
        has_floor = frame.index == "ece"
        frame["single_floor"] = np.where(has_floor, self.single_floor, np.nan)
        frame["averaged_floor"] = np.where(has_floor, self.averaged_floor, np.nan)
        return frame.rename_axis("score")

    def __repr__(self) -> str:
        lines = [f"CheckpointEnsemble: mean of the last {self.n_averaged} against the last"]
        for name, difference in self.difference.items():
            low, high = self.interval[name]
            floors = (
                f"  (floors {self.single_floor:.4f}, {self.averaged_floor:.4f})"
                if name == "ece"
                else ""
            )
            lines.append(
                f"  {name:9} {self.single[name]:.4f} -> {self.averaged[name]:.4f}  "
                f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]{floors}"
            )
        return "\n".join(lines)


def compare_ensemble(
    single: Rows,
    averaged: Rows,
    n_averaged: int,
    rng: np.random.Generator,
    *,
    n_bins: int,
    n_resamples: int,
) -> CheckpointEnsemble:
    """Compare two models of the same rows."""
    before, after = _shares(single, n_bins), _shares(averaged, n_bins)
    changes = {name: mean_with_interval(after[name] - before[name]) for name in before}
    floors = [
        noise_floor(rows.confidence, n_bins=n_bins, n_resamples=n_resamples, random_state=child)
        for rows, child in zip((single, averaged), rng.spawn(2), strict=True)
    ]
    return CheckpointEnsemble(
        n_averaged,
        single={name: float(share.mean()) for name, share in before.items()},
        averaged={name: float(share.mean()) for name, share in after.items()},
        difference={name: change[0] for name, change in changes.items()},
        interval={name: change[1] for name, change in changes.items()},
        single_floor=floors[0].mean,
        averaged_floor=floors[1].mean,
    )


def _shares(rows: Rows, n_bins: int) -> dict[str, FloatArray]:
    return {
        "accuracy": rows.right.astype(np.float64),
        "log_loss": rows.log_loss,
        "brier": rows.brier,
        "ece": calibration_error_shares(rows.confidence, rows.event, n_bins),
    }


def averaging_helps(interval: dict[str, Interval]) -> bool:
    """Whether calibration error and log loss are shown to fall, and accuracy not to."""
    falls = {name: high < 0 for name, (_, high) in interval.items()}
    return falls["ece"] and falls["log_loss"] and not falls["accuracy"]
