"""Audit of a mixture of experts: what its confidence hides, what a shift uncovers, what helps."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sk_arcal._validation import FloatArray
from sk_arcal.audit._alternatives import TEMPERATURE, Fold
from sk_arcal.audit._experts_records import (
    RADIUS,
    ConfigurationRow,
    ExpertsAudit,
    RepairRow,
    worst_configuration,
)
from sk_arcal.audit._experts_repairs import Repaired, repairs
from sk_arcal.audit._experts_rows import ExpertRows
from sk_arcal.audit._experts_verdict import decide_experts
from sk_arcal.audit._experts_words import configuration_words, letter
from sk_arcal.audit._features import Plan
from sk_arcal.diagnostics import (
    ConfigurationCollapse,
    WorstCaseCalibrationError,
    configuration_collapse,
    expert_calibration,
    routing_configurations,
    worst_case_calibration_error,
)
from sk_arcal.diagnostics._probing._paired import clustered_mean
from sk_arcal.metrics import expected_calibration_error, noise_floor

_N_CONFIGURATIONS = 8
_MOST_RESAMPLES, _FEWEST_RESAMPLES = 200, 2
_LEVEL = 0.95

Codes = NDArray[np.intp]


def audit_experts(
    rows: ExpertRows,
    folds: list[Fold],
    plan: Plan,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> ExpertsAudit:
    """Audit the experts of a mixture.

    Configurations are cells of like gates and expert outputs; outcomes play no part in finding
    them. They are found on the rows that fit calibrators where there is a split, else on all rows.
    The worst shift is chosen on one half of the rows and measured on the other, whatever the
    split, and every repair is judged on the same configurations.

    Parameters
    ----------
    rows : ExpertRows
        The data.
    folds : list of tuple of ndarray
        Those of the scorecard.
    plan : Plan
        Settings of the audit.
    rng : Generator
        Source of all draws.
    progress : callable
        Told what is done.

    Returns
    -------
    audit : ExpertsAudit
        Tables and verdict.
    """
    n_resamples = min(plan.n_resamples, _MOST_RESAMPLES)
    for_experts, for_cells, for_collapse, for_scores = rng.spawn(4)
    y, experts, gates, labels = rows.mixture_input()
    calibration = expert_calibration(
        y,
        experts,
        gates,
        labels=labels,
        level=_LEVEL,
        n_resamples=n_resamples,
        random_state=for_experts,
        n_jobs=plan.n_jobs,
    )
    progress("experts")
    codes, found_on = _configurations(rows, for_cells)
    at = rows.evaluated
    collapse = configuration_collapse(
        rows.event[at],
        rows.confidence[at],
        codes,
        groups=None if rows.groups is None else rows.groups[at],
        level=_LEVEL,
        random_state=for_collapse,
    )
    scorer = _Scorer(rows.event[at], codes, n_resamples, plan.n_jobs, _seed(for_scores))
    repaired = repairs(rows, folds, n_jobs=plan.n_jobs, progress=progress)
    shifts = [scorer.shift(repair.confidence) for repair in repaired]
    scored = _repair_rows(rows, repaired, shifts, n_resamples, for_scores)
    table = _configuration_rows(rows, codes, collapse, shifts[0])
    excess = _excess(shifts[0], scorer.shift(repaired[0].confidence, radius=0.0))
    progress("worst case")
    return ExpertsAudit(
        names=rows.names,
        confidence_of=rows.confidence_of,
        calibration=calibration,
        configurations=table,
        found_on=found_on,
        codes=codes,
        collapse=collapse,
        shift=shifts[0],
        excess=excess[0],
        excess_low=excess[1],
        excess_high=excess[2],
        repairs=scored,
        verdict=decide_experts(scored, collapse, excess, worst_configuration(table), plan.delta),
    )


def _configurations(rows: ExpertRows, rng: np.random.Generator) -> tuple[Codes, str]:
    """Return codes 0, 1, ... of the evaluated rows, and which rows gave the cells."""
    codes = routing_configurations(
        rows.own,
        rows.gates,
        n_configurations=_N_CONFIGURATIONS,
        fit_rows=None if rows.evaluate is None else ~rows.evaluate,
        random_state=rng,
    )
    found_on = "all rows, without their outcomes"
    if rows.evaluate is not None:
        found_on = "the rows that fit the calibrators"
    # A cell may have no row that is evaluated.
    return np.unique(codes[rows.evaluated], return_inverse=True)[1], found_on


class _Scorer:
    """Worst-case errors of several confidences: same configurations, halvings and bins."""

    def __init__(
        self, event: FloatArray, codes: Codes, n_resamples: int, n_jobs: int | None, seed: int
    ) -> None:
        self.event, self.codes, self.seed = event, codes, seed
        self.n_resamples, self.n_jobs = n_resamples, n_jobs

    def shift(self, confidence: FloatArray, radius: float = RADIUS) -> WorstCaseCalibrationError:
        # Without a shift the floor is of no use, only the cross-fitted error.
        return worst_case_calibration_error(
            self.event,
            confidence,
            self.codes,
            radius=radius,
            level=_LEVEL,
            n_resamples=self.n_resamples if radius else _FEWEST_RESAMPLES,
            random_state=self.seed,
            n_jobs=self.n_jobs,
        )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _excess(
    shift: WorstCaseCalibrationError, plain: WorstCaseCalibrationError
) -> tuple[float, float, float]:
    """Return what the shift adds to the error, with an interval that is rather too wide.

    Both errors are measured on the same rows and rise and fall together, so that the sum of their
    variances is more than that of the difference.
    """
    added = shift.error - plain.error
    error = np.hypot(shift.standard_error, plain.standard_error)
    margin = float(ndtri((1 + _LEVEL) / 2) * error)
    return added, added - margin, added + margin


def _configuration_rows(
    rows: ExpertRows,
    codes: Codes,
    collapse: ConfigurationCollapse,
    shift: WorstCaseCalibrationError,
) -> tuple[ConfigurationRow, ...]:
    at, table = rows.evaluated, collapse.table
    found = []
    for code, n_rows in enumerate(np.bincount(codes)):
        cell = at[codes == code]
        words = configuration_words(
            rows.gates[cell].mean(axis=0), rows.own[cell].mean(axis=0), rows.names
        )
        found.append(
            ConfigurationRow(
                label=letter(code),
                words=words,
                n_rows=int(n_rows),
                share=float(shift.shares[code]),
                confidence=float(table["mean_confidence"][code]),
                rate=float(table["event_rate"][code]),
                gap=float(table["gap"][code]),
                low=float(table["low"][code]),
                high=float(table["high"][code]),
                shifted_share=float(shift.shifted_shares[code]),
            )
        )
    return tuple(found)


def _repair_rows(
    rows: ExpertRows,
    repaired: Sequence[Repaired],
    shifts: Sequence[WorstCaseCalibrationError],
    n_resamples: int,
    rng: np.random.Generator,
) -> tuple[RepairRow, ...]:
    at = rows.evaluated
    clusters = np.arange(len(at))
    if rows.groups is not None:
        clusters = np.unique(rows.groups[at], return_inverse=True)[1]
    losses = {repair.name: repair.losses for repair in repaired}
    best = min(losses.values(), key=lambda loss: float(loss.mean()))
    found = []
    for repair, shift in zip(repaired, shifts, strict=True):
        floor = noise_floor(repair.confidence, n_resamples=n_resamples, random_state=rng)
        difference, error = clustered_mean(repair.losses - losses[TEMPERATURE], clusters)
        above, above_error = clustered_mean(repair.losses - best, clusters)
        found.append(
            RepairRow(
                name=repair.name,
                ece=expected_calibration_error(rows.event[at], repair.confidence),
                ece_floor=floor.mean,
                ece_floor_95=floor.quantile_95,
                log_loss=float(repair.losses.mean()),
                log_loss_difference=difference,
                standard_error=error,
                worst=shift.error,
                worst_low=shift.low,
                worst_high=shift.high,
                worst_in_sample=shift.in_sample,
                worst_floor=shift.floor,
                within_one_error=above <= above_error,
            )
        )
    return tuple(found)
