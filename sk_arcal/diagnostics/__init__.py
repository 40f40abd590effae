"""Test whether routing knows what the confidence does not."""

from sk_arcal.diagnostics._conditional_test import (
    conditional_calibration_test,
    conditional_calibration_tests,
)
from sk_arcal.diagnostics._matched_gaps import MatchedGaps, matched_confidence_gaps
from sk_arcal.diagnostics._permutation_test import PermutationResult, routing_permutation_test
from sk_arcal.diagnostics._result import ConditionalCalibrationResult, ConditionalCalibrationTests
from sk_arcal.diagnostics._routing_probe import RoutingProbe, routing_probe
from sk_arcal.diagnostics._shuffle import shuffle_within_bins
from sk_arcal.diagnostics._worst_tertile import WorstGroupResult, worst_tertile_error

__all__ = [
    "ConditionalCalibrationResult",
    "ConditionalCalibrationTests",
    "MatchedGaps",
    "PermutationResult",
    "RoutingProbe",
    "WorstGroupResult",
    "conditional_calibration_test",
    "conditional_calibration_tests",
    "matched_confidence_gaps",
    "routing_permutation_test",
    "routing_probe",
    "shuffle_within_bins",
    "worst_tertile_error",
]
