"""The confidence-only and the feature probe of one fold, under every bandwidth rule."""

from dataclasses import dataclass

import numpy as np

from sk_arcal._smoothing import scott_bandwidth
from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._probing._bandwidth_rules import (
    CROSS_VALIDATED,
    LEAVE_ONE_OUT,
    Chosen,
    FoldRows,
    Stage,
    Start,
    apply_rules,
    scott_rule,
)
from sk_arcal.diagnostics._probing._probe_kernel import (
    NESTED_SHRINKAGES,
    SHRINKAGES,
    anchor_fold,
)
from sk_arcal.diagnostics._probing._published_kernel import SMALLEST_MASS, scott_bandwidths

ESTIMATORS = ("residual", "published")
_NO_SHRINKAGE = np.zeros(1)


@dataclass(frozen=True, eq=False)
class ProbeSettings:
    """Estimator, the multiples of Scott's rule, and whether the feature has no order."""

    estimator: str
    multiples: FloatArray
    nominal: bool

    @property
    def rules(self) -> list[str]:
        """Names of the rules that do not look at the rows they are evaluated on."""
        return [*map(scott_rule, self.multiples), CROSS_VALIDATED, LEAVE_ONE_OUT]


def probe_pairs(
    settings: ProbeSettings, confidence: FloatArray, feature: FloatArray, rows: FoldRows
) -> tuple[dict[str, Chosen], dict[str, Chosen]]:
    """Return what every rule predicts from the confidence alone, and with the feature."""
    pair = _published if settings.estimator == "published" else _residual
    alone, added = pair(settings, confidence, feature, rows)
    if np.ptp(feature[rows.fit]) == 0:
        added = {name: Chosen(it.prediction, np.inf) for name, it in alone.items()}
    return alone, added


def _residual(
    settings: ProbeSettings, confidence: FloatArray, feature: FloatArray, rows: FoldRows
) -> tuple[dict[str, Chosen], dict[str, Chosen]]:
    """Kernel on the residual of one temperature, and one with the feature on what that leaves."""
    fold = anchor_fold(rows.event, confidence, rows.fit, rows.test)
    stage = _confidence_stage(settings, fold.axis, rows, SHRINKAGES, 0.0)
    alone = apply_rules(stage, rows, dict.fromkeys(settings.rules, Start(fold.base, fold.base)))
    axes = np.column_stack([fold.axis, feature])
    scott = scott_bandwidths(axes[rows.fit], settings.nominal)
    # The same effect at every confidence, or one that changes with it.
    both = _multiplied(scott, settings)
    everywhere = both.copy()
    everywhere[:, 0] = np.inf
    stage = Stage(
        axes,
        np.vstack([everywhere, both]),
        np.tile(settings.multiples, 2),
        NESTED_SHRINKAGES,
        0.0,
    )
    starts = {name: Start(it.prediction, it.prediction) for name, it in alone.items()}
    return alone, apply_rules(stage, rows, starts)


def _published(
    settings: ProbeSettings, confidence: FloatArray, feature: FloatArray, rows: FoldRows
) -> tuple[dict[str, Chosen], dict[str, Chosen]]:
    """Kernel regression of the outcome; without neighbours the coarser estimate stands in."""
    nothing = np.zeros(len(confidence))
    rate = np.full(len(confidence), rows.event[rows.fit].mean())
    stage = _confidence_stage(settings, confidence, rows, _NO_SHRINKAGE, SMALLEST_MASS)
    alone = apply_rules(stage, rows, dict.fromkeys(settings.rules, Start(nothing, rate)))
    axes = np.column_stack([confidence, feature])
    scott = scott_bandwidths(axes[rows.fit], settings.nominal)
    bandwidths = _multiplied(scott, settings)
    stage = Stage(axes, bandwidths, settings.multiples, _NO_SHRINKAGE, SMALLEST_MASS)
    starts = {name: Start(nothing, it.prediction) for name, it in alone.items()}
    return alone, apply_rules(stage, rows, starts)


def _confidence_stage(
    settings: ProbeSettings,
    axis: FloatArray,
    rows: FoldRows,
    shrinkages: FloatArray,
    smallest_mass: float,
) -> Stage:
    scott = scott_bandwidth(axis[rows.fit, None])
    bandwidths = settings.multiples[:, None] * scott
    return Stage(axis[:, None], bandwidths, settings.multiples, shrinkages, smallest_mass)


def _multiplied(scott: FloatArray, settings: ProbeSettings) -> FloatArray:
    """Multiples of Scott's rule; levels without order keep theirs, which makes no neighbours."""
    bandwidths = settings.multiples[:, None] * scott
    if settings.nominal:
        bandwidths[:, 1] = scott[1]
    return bandwidths
