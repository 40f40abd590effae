"""scikit-learn's own checks on every calibrator, none exempted."""

import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from sk_arcal.calibration import (
    AdversarialReweightCalibrator,
    CapacityMatchedMLP,
    ExpertTemperatureScaler,
    MulticalibrationCalibrator,
    NWConditionalCalibrator,
    RoutingCalibratedClassifierCV,
    StructuredScaler,
    TemperatureScaler,
)

ESTIMATORS = [
    TemperatureScaler(confidence_columns=0),
    NWConditionalCalibrator(confidence_columns=0),
    StructuredScaler(confidence_columns=0),
    ExpertTemperatureScaler(confidence_columns=0),
    AdversarialReweightCalibrator(confidence_columns=0),
    MulticalibrationCalibrator(confidence_columns=0),
    CapacityMatchedMLP(confidence_columns=0, random_state=0),
    RoutingCalibratedClassifierCV(),
    RoutingCalibratedClassifierCV(
        routing_transformer=StandardScaler(),
        calibrator=NWConditionalCalibrator(bandwidth="scott"),
        cv=3,
        ensemble=False,
    ),
]
# What scikit-learn 1.7 has for a classifier of dense data; later versions have more.
FEWEST_CHECKS = 61


# The suite's random labels do make confidences that rank backwards or separate perfectly.
@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
# Some of its data sets have fewer rows of a class than there are folds.
@pytest.mark.filterwarnings("ignore:The least populated class in y:UserWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_the_whole_suite_is_run(estimator):
    assert len(list(estimator_checks_generator(estimator))) >= FEWEST_CHECKS
