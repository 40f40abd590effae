"""The two estimators a probe suite can be made of, behind the same three calls.

Each holds what all its probes share (folds, temperature, the confidence-only predictions) and
predicts out of fold from the confidence alone, or with the feature on an axis it has made.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._probing._probe_kernel import (
    FeatureAxis,
    base_predictions,
    feature_axis,
    feature_predictions,
    prepare_fold,
)
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows
from sk_arcal.diagnostics._probing._published_kernel import published_predictions


class Estimator(Protocol):
    """What a suite of probes asks of an estimator."""

    def axis(self, feature: RoutingValues, values: FloatArray, rng: np.random.Generator) -> Any:
        """Return the feature of the rows used as a dataclass with the field `values`."""

    def alone(self) -> FloatArray:
        """Predict out of fold from the confidence."""

    def with_feature(self, axis: Any) -> FloatArray:
        """Predict out of fold from the confidence and the feature."""


class ResidualEstimator:
    """A kernel on the residual of one temperature; see :func:`routing_probe`."""

    def __init__(self, rows: ProbeRows) -> None:
        self._confidence = rows.confidence
        self._folds = [prepare_fold(rows.event, rows.confidence, *fold) for fold in rows.folds()]

    def axis(
        self, feature: RoutingValues, values: FloatArray, rng: np.random.Generator
    ) -> FeatureAxis:
        """Return the rank of the feature among rows of like confidence, or its levels."""
        return feature_axis(feature, values, self._confidence, rng)

    def alone(self) -> FloatArray:
        """Predict out of fold from the confidence."""
        return base_predictions(self._folds)

    def with_feature(self, axis: FeatureAxis) -> FloatArray:
        """Predict out of fold from the confidence and the feature."""
        return feature_predictions(self._folds, axis, nested=True)


@dataclass(frozen=True, eq=False)
class PlainAxis:
    """A feature as it comes; distances between its values mean nothing if it is nominal."""

    values: FloatArray
    nominal: bool


class PublishedEstimator:
    """Kernel regression of the outcome under Scott's rule."""

    def __init__(self, rows: ProbeRows) -> None:
        self._rows, self._folds = rows, rows.folds()

    def axis(
        self, feature: RoutingValues, values: FloatArray, rng: np.random.Generator
    ) -> PlainAxis:
        """Return the feature unchanged."""
        return PlainAxis(values, feature.kind == "nominal")

    def alone(self) -> FloatArray:
        """Predict out of fold from the confidence."""
        return published_predictions(self._rows.event, self._rows.confidence, None, self._folds)

    def with_feature(self, axis: PlainAxis) -> FloatArray:
        """Predict out of fold from the confidence and the feature."""
        return published_predictions(
            self._rows.event,
            self._rows.confidence,
            axis.values,
            self._folds,
            nominal=axis.nominal,
        )


ESTIMATORS: dict[str, type[ResidualEstimator] | type[PublishedEstimator]] = {
    "residual": ResidualEstimator,
    "published": PublishedEstimator,
}
