"""Test whether routing knows what the confidence does not."""

from sk_arcal.diagnostics._bandwidth_sensitivity import bandwidth_sensitivity
from sk_arcal.diagnostics._betting import BettingTest
from sk_arcal.diagnostics._capacity_control import CapacityControl, capacity_control
from sk_arcal.diagnostics._checkpoints import (
    CheckpointEnsemble,
    CheckpointProfile,
    checkpoint_profile,
)
from sk_arcal.diagnostics._conditional_cells import ConditionalCells
from sk_arcal.diagnostics._conditional_test import (
    conditional_calibration_test,
    conditional_calibration_tests,
)
from sk_arcal.diagnostics._grouping_loss import GroupingLoss, grouping_loss
from sk_arcal.diagnostics._matched_gaps import MatchedGaps, matched_confidence_gaps
from sk_arcal.diagnostics._matched_probes import matched_probes
from sk_arcal.diagnostics._permutation_test import PermutationResult, routing_permutation_test
from sk_arcal.diagnostics._power import detection_power, required_rows
from sk_arcal.diagnostics._probing._bandwidth_table import BandwidthRule, BandwidthSensitivity
from sk_arcal.diagnostics._probing._paired import Difference
from sk_arcal.diagnostics._probing._probe_score import MatchedProbes, ProbeScore
from sk_arcal.diagnostics._profile_result import RoutingProfileResult
from sk_arcal.diagnostics._profile_test import routing_profile_test
from sk_arcal.diagnostics._result import ConditionalCalibrationResult, ConditionalCalibrationTests
from sk_arcal.diagnostics._routing_probe import RoutingProbe, routing_probe
from sk_arcal.diagnostics._runs_result import ConditionalCalibrationRuns, RunsFeatureResult
from sk_arcal.diagnostics._runs_test import conditional_calibration_runs
from sk_arcal.diagnostics._shuffle import shuffle_within_bins
from sk_arcal.diagnostics._worst_tertile import WorstGroupResult, worst_tertile_error

__all__ = [
    "BandwidthRule",
    "BandwidthSensitivity",
    "BettingTest",
    "CapacityControl",
    "CheckpointEnsemble",
    "CheckpointProfile",
    "ConditionalCalibrationResult",
    "ConditionalCalibrationRuns",
    "ConditionalCalibrationTests",
    "ConditionalCells",
    "Difference",
    "GroupingLoss",
    "MatchedGaps",
    "MatchedProbes",
    "PermutationResult",
    "ProbeScore",
    "RoutingProbe",
    "RoutingProfileResult",
    "RunsFeatureResult",
    "WorstGroupResult",
    "bandwidth_sensitivity",
    "capacity_control",
    "checkpoint_profile",
    "conditional_calibration_runs",
    "conditional_calibration_test",
    "conditional_calibration_tests",
    "detection_power",
    "grouping_loss",
    "matched_confidence_gaps",
    "matched_probes",
    "required_rows",
    "routing_permutation_test",
    "routing_probe",
    "routing_profile_test",
    "shuffle_within_bins",
    "worst_tertile_error",
]
