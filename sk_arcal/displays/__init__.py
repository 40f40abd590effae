"""Pictures of calibration and of what routing adds; they compute nothing themselves."""

from sk_arcal.displays._bandwidth import BandwidthSensitivityDisplay
from sk_arcal.displays._checkpoint import CheckpointDisplay
from sk_arcal.displays._direction_scale import DirectionScaleDisplay
from sk_arcal.displays._layerwise import LayerwiseCalibrationDisplay
from sk_arcal.displays._null_distribution import NullDistributionDisplay
from sk_arcal.displays._power_curve import PowerCurveDisplay
from sk_arcal.displays._probe_comparison import ProbeComparisonDisplay
from sk_arcal.displays._reliability import ReliabilityDisplay
from sk_arcal.displays._routing_gap import RoutingGapDisplay
from sk_arcal.displays._runs_gap import RunsGapDisplay
from sk_arcal.displays._shift_sweep import ShiftSweepDisplay

__all__ = [
    "BandwidthSensitivityDisplay",
    "CheckpointDisplay",
    "DirectionScaleDisplay",
    "LayerwiseCalibrationDisplay",
    "NullDistributionDisplay",
    "PowerCurveDisplay",
    "ProbeComparisonDisplay",
    "ReliabilityDisplay",
    "RoutingGapDisplay",
    "RunsGapDisplay",
    "ShiftSweepDisplay",
]
