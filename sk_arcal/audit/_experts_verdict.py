"""The rule from numbers to answers: calibrated now, fragile, what helps."""

from collections.abc import Sequence

from scipy.special import ndtri

from sk_arcal.audit._alternatives import TEMPERATURE
from sk_arcal.audit._experts_records import ConfigurationRow, ExpertsVerdict, RepairRow
from sk_arcal.audit._experts_repairs import (
    ADVERSARIAL,
    BOTH_TEMPERATURES,
    EXPERT_TEMPERATURES,
    MULTICALIBRATION,
)
from sk_arcal.diagnostics import ConfigurationCollapse

FRAGILE, NOT_FRAGILE, CANNOT_TELL = "fragile", "not fragile", "cannot tell"
NO_REPAIR = "none"

_MIXTURE = "the columns expert__<m>__<class> (expert__<m> for an event) and gate__<m>"
_CONFIDENCE = "the class scores logit__<class>, or a confidence first; then routing columns"
_PARTS = "a confidence first, then the gates and the experts' probabilities of the event"


def _lines(call: str, holds: str) -> str:
    return (
        f"from sk_arcal import {call[: call.index('(')]}\n\n# X: {holds}\n"
        f"calibrator = {call}.fit(X, y)\nproba = calibrator.predict_proba(X_new)"
    )


_CODE = {
    TEMPERATURE: _lines("TemperatureScaler()", _CONFIDENCE),
    EXPERT_TEMPERATURES: _lines("ExpertTemperatureScaler()", _MIXTURE),
    BOTH_TEMPERATURES: _lines("ExpertTemperatureScaler(mixture_temperature=True)", _MIXTURE),
    ADVERSARIAL: _lines("AdversarialReweightCalibrator(routing_columns=[])", _MIXTURE),
    MULTICALIBRATION: _lines("MulticalibrationCalibrator()", _PARTS),
}

Excess = tuple[float, float, float]


def decide_experts(
    repairs: Sequence[RepairRow],
    collapse: ConfigurationCollapse,
    excess: Excess,
    worst: ConfigurationRow,
    delta: float,
) -> ExpertsVerdict:
    """Answer the three questions about a mixture of experts.

    Parameters
    ----------
    repairs : sequence of RepairRow
        Raw first.
    collapse : ConfigurationCollapse
        What the confidence hides.
    excess : tuple of float
        Cross-fitted error under the worst shift less that without a shift, and its interval.
    worst : ConfigurationRow
        The configuration whose gap is most surely large.
    delta : float
        Error from which it would matter, in probability.

    Returns
    -------
    verdict : ExpertsVerdict
        Answers and sentences.

    Notes
    -----
    **Calibrated now**: the expected calibration error of the raw confidence is not above the 95 %
    quantile of that of calibrated confidences with the same values.

    **Fragile**: the interval of the collapse score, or that of the excess, lies above zero. Each
    misses on that side half as often as on both, so that the two together call a mixture fragile
    by chance no more often than one interval misses. **Not fragile**: neither lies above zero,
    and the interval of the excess ends below `delta`. Shifts that could not be found, those inside
    a configuration among them, may do more. **Cannot tell**: the rest.

    **Repair**: of the repairs, raw among them, whose log loss is not more than one standard error
    of the paired difference above the lowest, the one of the lowest worst-case error. "none" if
    raw is one of them and its worst-case error is not more than one of its standard errors above
    the lowest.
    """
    calibrated = repairs[0].ece <= repairs[0].ece_floor_95
    if collapse.low > 0 or excess[1] > 0:
        stability = FRAGILE
    else:
        stability = NOT_FRAGILE if excess[2] < delta else CANNOT_TELL
    chosen = _repair(repairs, collapse.level)
    return ExpertsVerdict(
        calibrated,
        stability,
        NO_REPAIR if chosen is repairs[0] else chosen.name,
        (
            _calibrated_sentence(repairs[0], calibrated),
            _stability_sentence(stability, collapse, excess, worst, delta),
            _repair_sentence(repairs[0], chosen),
        ),
        _CODE.get(chosen.name, ""),
    )


def _repair(repairs: Sequence[RepairRow], level: float) -> RepairRow:
    standing = [row for row in repairs if row.within_one_error]
    best = min(standing, key=lambda row: row.worst)
    raw = repairs[0]
    error = (raw.worst_high - raw.worst) / float(ndtri((1 + level) / 2))
    return raw if raw.within_one_error and raw.worst - best.worst <= error else best


def _calibrated_sentence(raw: RepairRow, calibrated: bool) -> str:
    error = f"its calibration error of {raw.ece:.1%}"
    limit = f"{raw.ece_floor_95:.1%}, which 95% of calibrated models stay below on these rows"
    if calibrated:
        return f"Calibrated as it is: {error} is not above {limit}."
    return f"Not calibrated as it is: {error} is above {limit}."


def _stability_sentence(
    stability: str,
    collapse: ConfigurationCollapse,
    excess: Excess,
    worst: ConfigurationRow,
    delta: float,
) -> str:
    added = f"{_points(excess[0])} points [{_points(excess[1])}, {_points(excess[2])}]"
    if stability == FRAGILE:
        where = "above" if worst.gap > 0 else "below"
        return (
            "Fragile: event rates differ between configurations of like confidence (standard "
            f"deviation {max(collapse.estimate, 0) ** 0.5:.1%}), and a shift of nothing but their "
            f"shares adds {added} to the calibration error. Worst is {worst.label}, {worst.words}: "
            f"its rate lies {abs(100 * worst.gap):.1f} points {where} its confidence."
        )
    opening = f"a shift of the shares of configurations adds {added} to the error"
    if stability == NOT_FRAGILE:
        return f"Not fragile: {opening}, less than the {100 * delta:.3g} that would matter."
    return (
        f"Cannot tell whether it is fragile: {opening}; neither clear of zero nor surely less than "
        f"the {100 * delta:.3g} that would matter."
    )


def _repair_sentence(raw: RepairRow, chosen: RepairRow) -> str:
    if chosen is raw:
        return (
            "No repair is needed: none has a lower log loss or a lower error under the worst shift "
            "than the model as it is, by more than a standard error."
        )
    return (
        f"Repair: {chosen.name}. It takes the error under the worst shift from {raw.worst:.1%} to "
        f"{max(chosen.worst, 0):.1%}, and the log loss from {raw.log_loss:.4f} to "
        f"{chosen.log_loss:.4f}."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
