"""Test whether routing knows what the confidence does not."""

from sk_arcal.diagnostics._bandwidth_sensitivity import bandwidth_sensitivity
from sk_arcal.diagnostics._betting import BettingTest
from sk_arcal.diagnostics._calibration_phases import CalibrationPhases, calibration_phases
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
from sk_arcal.diagnostics._configuration_collapse import (
    ConfigurationCollapse,
    configuration_collapse,
)
from sk_arcal.diagnostics._configurations import routing_configurations
from sk_arcal.diagnostics._direction_controls import DirectionControls, direction_controls
from sk_arcal.diagnostics._disagreement import expert_disagreement, mixture_regret
from sk_arcal.diagnostics._domains import LeaveOneDomainOut, agreement_subsets
from sk_arcal.diagnostics._entropy_neurons import EntropyNeurons, entropy_neurons
from sk_arcal.diagnostics._expert_calibration import ExpertCalibration, expert_calibration
from sk_arcal.diagnostics._expert_slices import expert_confidence_slices
from sk_arcal.diagnostics._experts._views import ExpertView
from sk_arcal.diagnostics._grouping_loss import GroupingLoss, grouping_loss
from sk_arcal.diagnostics._layer_features import layer_features
from sk_arcal.diagnostics._layerwise import LayerwiseCalibration, layerwise_calibration
from sk_arcal.diagnostics._matched_gaps import MatchedGaps, matched_confidence_gaps
from sk_arcal.diagnostics._matched_probes import matched_probes
from sk_arcal.diagnostics._permutation_test import PermutationResult, routing_permutation_test
from sk_arcal.diagnostics._power import detection_power, required_rows
from sk_arcal.diagnostics._probe_layers import probe_layers
from sk_arcal.diagnostics._probing._bandwidth_table import BandwidthRule, BandwidthSensitivity
from sk_arcal.diagnostics._probing._paired import Difference
from sk_arcal.diagnostics._probing._probe_score import MatchedProbes, ProbeScore
from sk_arcal.diagnostics._profile_result import RoutingProfileResult
from sk_arcal.diagnostics._profile_test import routing_profile_test
from sk_arcal.diagnostics._result import ConditionalCalibrationResult, ConditionalCalibrationTests
from sk_arcal.diagnostics._routing_entropy import SubsetEntropy, routing_entropy_by_subset
from sk_arcal.diagnostics._routing_probe import RoutingProbe, routing_probe
from sk_arcal.diagnostics._runs_result import ConditionalCalibrationRuns, RunsFeatureResult
from sk_arcal.diagnostics._runs_test import conditional_calibration_runs
from sk_arcal.diagnostics._shift_sweep import ShiftSweep, ShiftSweepRow, shift_sweep
from sk_arcal.diagnostics._shift_weights import gate_share_weights, share_weights, tilt_weights
from sk_arcal.diagnostics._shuffle import shuffle_within_bins
from sk_arcal.diagnostics._unembedding import UnembeddingProfile, unembedding_profile
from sk_arcal.diagnostics._worst_case_error import worst_case_calibration_error
from sk_arcal.diagnostics._worst_case_result import WorstCaseCalibrationError
from sk_arcal.diagnostics._worst_case_weights import worst_case_weights
from sk_arcal.diagnostics._worst_tertile import WorstGroupResult, worst_tertile_error

__all__ = [
    "BandwidthRule",
    "BandwidthSensitivity",
    "BettingTest",
    "CalibrationPhases",
    "CapacityControl",
    "CheckpointEnsemble",
    "CheckpointProfile",
    "ConditionalCalibrationResult",
    "ConditionalCalibrationRuns",
    "ConditionalCalibrationTests",
    "ConditionalCells",
    "ConfigurationCollapse",
    "Difference",
    "DirectionControls",
    "EntropyNeurons",
    "ExpertCalibration",
    "ExpertView",
    "GroupingLoss",
    "LayerwiseCalibration",
    "LeaveOneDomainOut",
    "MatchedGaps",
    "MatchedProbes",
    "PermutationResult",
    "ProbeScore",
    "RoutingProbe",
    "RoutingProfileResult",
    "RunsFeatureResult",
    "ShiftSweep",
    "ShiftSweepRow",
    "SubsetEntropy",
    "UnembeddingProfile",
    "WorstCaseCalibrationError",
    "WorstGroupResult",
    "agreement_subsets",
    "bandwidth_sensitivity",
    "calibration_phases",
    "capacity_control",
    "checkpoint_profile",
    "conditional_calibration_runs",
    "conditional_calibration_test",
    "conditional_calibration_tests",
    "configuration_collapse",
    "detection_power",
    "direction_controls",
    "entropy_neurons",
    "expert_calibration",
    "expert_confidence_slices",
    "expert_disagreement",
    "gate_share_weights",
    "grouping_loss",
    "layer_features",
    "layerwise_calibration",
    "matched_confidence_gaps",
    "matched_probes",
    "mixture_regret",
    "probe_layers",
    "required_rows",
    "routing_configurations",
    "routing_entropy_by_subset",
    "routing_permutation_test",
    "routing_probe",
    "routing_profile_test",
    "share_weights",
    "shift_sweep",
    "shuffle_within_bins",
    "tilt_weights",
    "unembedding_profile",
    "worst_case_calibration_error",
    "worst_case_weights",
    "worst_tertile_error",
]
