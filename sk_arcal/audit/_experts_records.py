"""What the audit says about a mixture of experts: frozen records."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics import (
    ConfigurationCollapse,
    ExpertCalibration,
    WorstCaseCalibrationError,
)

# Of the Kullback-Leibler ball that shares within a bin of confidence may move in, in nats.
RADIUS = 0.5
# Shares that rise by less are not spoken of.
_VISIBLE = 0.005


@dataclass(frozen=True)
class ConfigurationRow:
    """One configuration: a cell of like gates and like expert outputs.

    One entry of ``ExpertsAudit.configurations``, in what :func:`routing_audit` returns.

    Attributes
    ----------
    label : str
        Short name, a letter.
    words : str
        Mean gates and what the experts say there.
    n_rows : int
        Evaluated rows.
    share : float
        Their share.
    confidence, rate : float
        Mean confidence and event rate.
    gap, low, high : float
        Rate less confidence, with its interval.
    shifted_share : float
        Share under the worst shift.
    """

    label: str
    words: str
    n_rows: int
    share: float
    confidence: float
    rate: float
    gap: float
    low: float
    high: float
    shifted_share: float


def worst_configuration(configurations: Sequence[ConfigurationRow]) -> ConfigurationRow:
    """Return the configuration whose gap is largest at the near end of its interval."""
    return max(configurations, key=lambda row: max(row.low, -row.high))


@dataclass(frozen=True)
class RepairRow:
    """One repair of the mixture, out of sample.

    One entry of ``ExpertsAudit.repairs``, in what :func:`routing_audit` returns.

    Attributes
    ----------
    name : str
        "raw", "temperature", "MoCaE", "MoCaE + temperature", "adversarial" or "multicalibration".
    ece, ece_floor, ece_floor_95 : float
        Expected calibration error of the event, and its mean and 95 % quantile for calibrated
        confidences of the same values.
    log_loss : float
        Mean log loss, nats; over all classes where the experts have more than two.
    log_loss_difference, standard_error : float
        Less that of the temperature, row by row; and the standard error of the difference.
    worst, worst_low, worst_high : float
        Cross-fitted calibration error under the worst shift of the configurations, with interval.
    worst_in_sample, worst_floor : float
        Largest error on these rows, and what chance gives a calibrated model.
    within_one_error : bool
        Whether the log loss is at most one standard error above the lowest.
    """

    name: str
    ece: float
    ece_floor: float
    ece_floor_95: float
    log_loss: float
    log_loss_difference: float
    standard_error: float
    worst: float
    worst_low: float
    worst_high: float
    worst_in_sample: float
    worst_floor: float
    within_one_error: bool


@dataclass(frozen=True)
class ExpertsVerdict:
    """The three answers about a mixture of experts.

    Part of :class:`ExpertsAudit`.

    Attributes
    ----------
    calibrated : bool
        Whether the error of the confidence as it is cannot be told from chance.
    stability : str
        "fragile", "not fragile" or "cannot tell".
    repair : str
        Name of the repair, or "none".
    sentences : tuple of str
        One sentence for each answer.
    code : str
        Lines that make the repair; empty without one.
    """

    calibrated: bool
    stability: str
    repair: str
    sentences: tuple[str, str, str]
    code: str


@dataclass(frozen=True, eq=False)
class ExpertsAudit:
    """What the audit found about the experts of a mixture.

    Part of what :func:`routing_audit` returns where ``experts=True``.

    Attributes
    ----------
    names : tuple of str
        The experts.
    confidence_of : str
        Whose the audited confidence is: "mixture", "top expert" (hard routing) or "other".
    calibration : ExpertCalibration
        Every expert on its own rows, the mixture, the expert on top, and the bound.
    configurations : tuple of ConfigurationRow
        Cells of like gates and like expert outputs.
    found_on : str
        Which rows the configurations were found on.
    codes : ndarray of shape (n_evaluated,)
        Configuration of every evaluated row, a position in `configurations`.
    collapse : ConfigurationCollapse
        Variance of the event rate between configurations at fixed confidence.
    shift : WorstCaseCalibrationError
        The error of the confidence under the worst shift of the configurations.
    excess, excess_low, excess_high : float
        `shift.error` less the cross-fitted error without a shift, with its interval.
    repairs : tuple of RepairRow
        Raw first.
    verdict : ExpertsVerdict
        Calibrated now, fragile, and what helps.

    See Also
    --------
    routing_audit : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.audit import PredictionTable, routing_audit
    >>> gates = np.tile([[0.2, 0.8], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]], (100, 1))
    >>> y = np.random.default_rng(0).random(400) < np.tile([0.7, 0.9, 0.9, 0.7], 100)
    >>> table = PredictionTable.from_arrays(y, experts=np.full((400, 2), 0.8), gates=gates)
    >>> audit = routing_audit(table, experts=True, n_resamples=19, random_state=0)
    >>> [row.words for row in audit.experts.configurations][1]
    'experts 0 and 1 (50:50), agreed on 80%'
    """

    names: tuple[str, ...]
    confidence_of: str
    calibration: ExpertCalibration
    configurations: tuple[ConfigurationRow, ...]
    found_on: str
    codes: NDArray[np.intp]
    collapse: ConfigurationCollapse
    shift: WorstCaseCalibrationError
    excess: float
    excess_low: float
    excess_high: float
    repairs: tuple[RepairRow, ...]
    verdict: ExpertsVerdict

    @property
    def worst_configuration(self) -> ConfigurationRow:
        """The configuration whose gap is largest at the near end of its interval."""
        return worst_configuration(self.configurations)

    @property
    def raised(self) -> tuple[ConfigurationRow, ...]:
        """Configurations that the worst shift makes more frequent, those by most first."""
        more = [row for row in self.configurations if row.shifted_share > row.share + _VISIBLE]
        return tuple(sorted(more, key=lambda row: row.share - row.shifted_share))

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but those of single rows.

        Returns
        -------
        experts : dict
            Keys `verdict`, `names`, `confidence_of`, `experts`, `bound`, `notes`,
            `configurations`, `found_on`, `collapse`, `shift`, `repairs`.
        """
        table, collapse, shift = self.calibration.table, self.collapse, self.shift
        rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
        length = ("estimate", "low", "high", "floor_95", "share", "level")
        error = ("ball", "plain", "error", "low", "high", "in_sample", "floor", "floor_95", "level")
        return {
            "verdict": asdict(self.verdict),
            "names": self.names,
            "confidence_of": self.confidence_of,
            "experts": rows,
            "bound": self.calibration.bound,
            "notes": self.calibration.notes,
            "configurations": [asdict(row) for row in self.configurations],
            "found_on": self.found_on,
            "collapse": {name: getattr(collapse, name) for name in length},
            "shift": {
                **{name: getattr(shift, name) for name in error},
                "excess": self.excess,
                "excess_low": self.excess_low,
                "excess_high": self.excess_high,
                "raised": [row.label for row in self.raised],
            },
            "worst_configuration": self.worst_configuration.label,
            "repairs": [asdict(row) for row in self.repairs],
        }
