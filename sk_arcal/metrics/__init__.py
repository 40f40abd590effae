"""Measure calibration: binned and bin-free errors, group errors, noise floors, scorers.

Nothing here needs scikit-learn at import. Functions of one event take 0/1 outcomes and the
probability of the event; functions of class probabilities say so in their name.
"""

from sk_arcal.metrics._bootstrap import BootstrapInterval, bootstrap_interval
from sk_arcal.metrics._calibration_error import (
    expected_calibration_error,
    maximum_calibration_error,
    squared_calibration_error,
)
from sk_arcal.metrics._decomposition import ScoreDecomposition, score_decomposition
from sk_arcal.metrics._difference import (
    CalibrationErrorDifference,
    calibration_error_difference,
)
from sk_arcal.metrics._groups import (
    GroupCalibrationError,
    group_calibration_error,
    worst_group_calibration_error,
)
from sk_arcal.metrics._histogram import CalibrationHistogram
from sk_arcal.metrics._interval import CalibrationErrorInterval, calibration_error_interval
from sk_arcal.metrics._multiclass import classwise_calibration_error, top_label_calibration_error
from sk_arcal.metrics._noise_floor import NoiseFloor, noise_floor
from sk_arcal.metrics._ranks import rank_groups
from sk_arcal.metrics._reliability import ReliabilityTable, reliability_table
from sk_arcal.metrics._scorers import (
    ProbabilityScorer,
    neg_brier_scorer,
    neg_calibration_error_scorer,
    neg_log_loss_scorer,
)
from sk_arcal.metrics._smooth import smooth_calibration_error

__all__ = [
    "BootstrapInterval",
    "CalibrationErrorDifference",
    "CalibrationErrorInterval",
    "CalibrationHistogram",
    "GroupCalibrationError",
    "NoiseFloor",
    "ProbabilityScorer",
    "ReliabilityTable",
    "ScoreDecomposition",
    "bootstrap_interval",
    "calibration_error_difference",
    "calibration_error_interval",
    "classwise_calibration_error",
    "expected_calibration_error",
    "group_calibration_error",
    "maximum_calibration_error",
    "neg_brier_scorer",
    "neg_calibration_error_scorer",
    "neg_log_loss_scorer",
    "noise_floor",
    "rank_groups",
    "reliability_table",
    "score_decomposition",
    "smooth_calibration_error",
    "squared_calibration_error",
    "top_label_calibration_error",
    "worst_group_calibration_error",
]
