"""scikit-learn's own checks on every calibrator, none exempted."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_arcal.calibration import NWConditionalCalibrator, TemperatureScaler

ESTIMATORS = [
    TemperatureScaler(confidence_columns=0),
    NWConditionalCalibrator(confidence_columns=0),
]


# The suite's random labels do make confidences that rank backwards or separate perfectly.
@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
