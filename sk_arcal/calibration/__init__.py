"""Calibrate: one method per file over one base class.

X holds confidence columns and routing columns; every calibrator reads them the same way, and
with ``routing_columns=[]`` each is a classical method.
"""

from sk_arcal._columns import columns
from sk_arcal.calibration._nadaraya_watson import NWConditionalCalibrator
from sk_arcal.calibration._temperature import TemperatureScaler
from sk_arcal.calibration._warning import CalibrationWarning

__all__ = ["CalibrationWarning", "NWConditionalCalibrator", "TemperatureScaler", "columns"]
