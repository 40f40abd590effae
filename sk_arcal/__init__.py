"""Calibration that may use a network's routing, and tests of whether it should.

The packages follow the work: :mod:`sk_arcal.feature_extraction` reads confidence and routing
from networks, :mod:`sk_arcal.models` has small networks that route, :mod:`sk_arcal.calibration`
fits probabilities, :mod:`sk_arcal.metrics` measures them, :mod:`sk_arcal.diagnostics` tests
whether routing says more than confidence, :mod:`sk_arcal.displays` draws, and
:mod:`sk_arcal.audit` answers in one call. Everything is loaded on first use.
"""

import importlib

__version__ = "0.1.0.dev0"

# public name -> the package it lives in
_HOMES = {
    "AdversarialReweightCalibrator": "calibration",
    "Backbone": "feature_extraction",
    "CapacityMatchedMLP": "calibration",
    "ExpertTemperatureScaler": "calibration",
    "MulticalibrationCalibrator": "calibration",
    "NWConditionalCalibrator": "calibration",
    "RoutingCalibratedClassifierCV": "calibration",
    "RoutingFeatureExtractor": "feature_extraction",
    "StructuredScaler": "calibration",
    "TemperatureScaler": "calibration",
    "columns": "calibration",
    "conditional_calibration_test": "diagnostics",
    "routing_audit": "audit",
}
_PACKAGES = (
    "audit",
    "calibration",
    "datasets",
    "diagnostics",
    "displays",
    "feature_extraction",
    "metrics",
    "models",
)

__all__ = [
    "AdversarialReweightCalibrator",
    "Backbone",
    "CapacityMatchedMLP",
    "ExpertTemperatureScaler",
    "MulticalibrationCalibrator",
    "NWConditionalCalibrator",
    "RoutingCalibratedClassifierCV",
    "RoutingFeatureExtractor",
    "StructuredScaler",
    "TemperatureScaler",
    "audit",
    "calibration",
    "columns",
    "conditional_calibration_test",
    "datasets",
    "diagnostics",
    "displays",
    "feature_extraction",
    "metrics",
    "models",
    "routing_audit",
]


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
