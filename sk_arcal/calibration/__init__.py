"""Calibrate: one method per file over one base class.

X holds confidence columns and routing columns; every calibrator reads them the same way, and
with ``routing_columns=[]`` each is a classical method.
"""

from sk_arcal._columns import columns
from sk_arcal.calibration._adversarial_reweight import AdversarialReweightCalibrator
from sk_arcal.calibration._calibration_direction import CalibrationDirection
from sk_arcal.calibration._cross_fitted import RoutingCalibratedClassifierCV
from sk_arcal.calibration._expert_temperature import ExpertTemperatureScaler
from sk_arcal.calibration._linear_readout import LinearReadout
from sk_arcal.calibration._mlp import CapacityMatchedMLP
from sk_arcal.calibration._multicalibration import MulticalibrationCalibrator
from sk_arcal.calibration._nadaraya_watson import NWConditionalCalibrator
from sk_arcal.calibration._saving._persistence import calibrator_from_dict
from sk_arcal.calibration._structured import StructuredScaler
from sk_arcal.calibration._temperature import TemperatureScaler
from sk_arcal.calibration._warning import CalibrationWarning

__all__ = [
    "AdversarialReweightCalibrator",
    "CalibrationDirection",
    "CalibrationWarning",
    "CapacityMatchedMLP",
    "ExpertTemperatureScaler",
    "LinearReadout",
    "MulticalibrationCalibrator",
    "NWConditionalCalibrator",
    "RoutingCalibratedClassifierCV",
    "StructuredScaler",
    "TemperatureScaler",
    "calibrator_from_dict",
    "columns",
]
