"""What an audit says about one calibrator, one feature, and what to use: frozen records."""

from dataclasses import dataclass
from typing import Any

from sk_arcal.diagnostics import (
    BandwidthSensitivity,
    CapacityControl,
    ConditionalCalibrationResult,
    GroupingLoss,
    MatchedGaps,
    RoutingProbe,
    WorstGroupResult,
)


@dataclass(frozen=True)
class ScorecardRow:
    """Scores of one set of confidences on the evaluated rows.

    One row of ``RoutingAudit.scorecard``, returned by :func:`routing_audit`.

    Attributes
    ----------
    name : str
        "raw", "temperature", "confidence kernel", "routing kernel: <feature>" or
        "shuffled: <feature>".
    ece : float
        Expected calibration error of the event, 15 equal-width bins.
    ece_floor, ece_floor_95 : float
        Mean and 95th percentile of what perfectly calibrated confidences of the same values
        would score.
    ece_corrected, ece_low, ece_high : float
        Estimate less its bias, with the 95 % interval.
    smooth_ece : float
        Calibration error without bins.
    brier, log_loss : float
        Proper scores of the event; log loss in nats.
    miscalibration, refinement : float
        Parts of the Brier score: what recalibration could win, and what remains.
    class_log_loss : float or None
        Log loss over all classes in nats, where class scores are known.
    """

    name: str
    ece: float
    ece_floor: float
    ece_floor_95: float
    ece_corrected: float
    ece_low: float
    ece_high: float
    smooth_ece: float
    brier: float
    log_loss: float
    miscalibration: float
    refinement: float
    class_log_loss: float | None = None


@dataclass(frozen=True)
class Control:
    """One control that an effect has to survive before it counts as a signal.

    One entry of ``FeatureAudit.controls``, in what :func:`routing_audit` returns.

    Attributes
    ----------
    name : str
        "matched confidence", "shuffled twins", "bandwidth" or "capacity".
    survived : bool or None
        Whether the effect survived; None where the control was not run.
    finding : str
        The numbers behind it, or why it was not run.
    """

    name: str
    survived: bool | None
    finding: str


@dataclass(frozen=True)
class FeatureAudit:
    """Everything the audit found about one feature.

    One entry of ``RoutingAudit.features``, returned by :func:`routing_audit`.

    Attributes
    ----------
    name : str
        Column name, or "predictive entropy" or "margin" for the built-in controls.
    role : str
        "routing" or "control" (computed from the class scores).
    verdict : str
        "signal", "no signal" (none larger than `delta`) or "cannot tell".
    reason : str
        One sentence that says why.
    pvalue, pvalue_adjusted : float
        Of the conditional calibration test, alone and adjusted for the number of features of
        the same role.
    gap, gap_low, gap_high : float
        Event rate of the top less the bottom tertile of the feature at equal confidence, with
        its 95 % interval.
    min_detectable_gap : float
        Smallest such gap the data would have shown with 80 % power.
    delta : float
        Size from which a gap would matter.
    excess_gap : float
        Weighted matched-confidence gap less its mean under shuffled routing.
    test : ConditionalCalibrationResult
        The whole test.
    matched : MatchedGaps
        The table of gaps by confidence bin and stratum.
    worst_tertile : WorstGroupResult
        Calibration error of the worst tertile beside its null mean.
    probe : RoutingProbe
        The routing kernel against its confidence-only and shuffled twins.
    grouping_loss : GroupingLoss
        Brier score that a calibrator could win with the feature.
    controls : tuple of Control
        What the verdict rests on, in order.
    bandwidth : BandwidthSensitivity or None
        The kernel under several bandwidth rules; None where the control was not run.
    capacity : CapacityControl or None
        The network and its twins; None where the control was not run.
    """

    name: str
    role: str
    verdict: str
    reason: str
    pvalue: float
    pvalue_adjusted: float
    gap: float
    gap_low: float
    gap_high: float
    min_detectable_gap: float
    delta: float
    excess_gap: float
    test: ConditionalCalibrationResult
    matched: MatchedGaps
    worst_tertile: WorstGroupResult
    probe: RoutingProbe
    grouping_loss: GroupingLoss
    controls: tuple[Control, ...] = ()
    bandwidth: BandwidthSensitivity | None = None
    capacity: CapacityControl | None = None


@dataclass(frozen=True)
class Recommendation:
    """The calibrator to use.

    Part of what :func:`routing_audit` returns.

    Attributes
    ----------
    calibrator : str
        Name of the scorecard row that is recommended.
    reason : str
        One sentence that says why.
    code : str
        The Python lines that build it.
    """

    calibrator: str
    reason: str
    code: str


def feature_numbers(feature: FeatureAudit) -> dict[str, Any]:
    """Return the numbers of one feature, flat where they are one and a dict where they are more."""
    test, worst, probe = feature.test, feature.worst_tertile, feature.probe
    return {
        "role": feature.role,
        "verdict": feature.verdict,
        "reason": feature.reason,
        "pvalue": feature.pvalue,
        "pvalue_adjusted": feature.pvalue_adjusted,
        "gap": feature.gap,
        "gap_low": feature.gap_low,
        "gap_high": feature.gap_high,
        "min_detectable_gap": feature.min_detectable_gap,
        "delta": feature.delta,
        "equivalent": test.equivalent,
        "excess_gap": feature.excess_gap,
        "weighted_gap": feature.matched.weighted_gap,
        "component_pvalues": dict(test.component_pvalues),
        "leading": test.leading,
        "identifiable": test.identifiable,
        "share_left_open": test.share_left_open,
        "worst_tertile_error": worst.error,
        "worst_tertile_null_mean": worst.null_mean,
        "worst_tertile_pvalue": worst.pvalue,
        "probe_gain": probe.gain,
        "probe_gain_low": probe.gain_low,
        "probe_gain_high": probe.gain_high,
        "probe_pvalue": probe.pvalue,
        "grouping_loss": feature.grouping_loss.estimate,
        "grouping_loss_low": feature.grouping_loss.low,
        "grouping_loss_high": feature.grouping_loss.high,
        "rms_gap_bound": test.rms_gap_bound,
        "controls": {control.name: control.survived for control in feature.controls},
    }
