"""Audit of the layers of a network: calibration over depth, and what depth knows beyond it."""

from collections.abc import Mapping

import numpy as np

from sk_arcal.audit._features import Plan
from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.audit._layers_rows import LayerRows
from sk_arcal.audit._records import FeatureAudit
from sk_arcal.diagnostics import (
    CalibrationPhases,
    LayerwiseCalibration,
    calibration_phases,
    layerwise_calibration,
)

_MOST_RESAMPLES = 200
_FEWEST_GROUPS = 20


def audit_layers(
    depth: LayerRows,
    features: Mapping[str, FeatureAudit],
    plan: Plan,
    rng: np.random.Generator,
) -> LayersAudit:
    """Audit the layers of a network.

    Every layer is judged by its own prediction on the evaluated rows. The features of depth were
    audited with all others; here their verdicts are only collected.

    Parameters
    ----------
    depth : LayerRows
        The data.
    features : dict of str to FeatureAudit
        All features, those of depth among them.
    plan : Plan
        Settings of the audit.
    rng : Generator
        Source of all draws.

    Returns
    -------
    audit : LayersAudit
        Table, phases, and verdicts on the features of depth.
    """
    measure_rng, phase_rng = rng.spawn(2)
    y, scores, labels = depth.measured()
    layerwise = layerwise_calibration(
        y,
        scores,
        score_kind="logit",
        labels=labels,
        layers=depth.layers,
        n_resamples=min(plan.n_resamples, _MOST_RESAMPLES),
        random_state=measure_rng,
        n_jobs=plan.n_jobs,
    )
    names = tuple(depth.features)
    verdicts: dict[str, tuple[str, ...]] = {}
    for name in names:
        verdict = features[name].verdict
        verdicts[verdict] = (*verdicts.get(verdict, ()), name)
    return LayersAudit(
        names=layerwise.layers,
        layerwise=layerwise,
        phases=_phases(layerwise, depth, phase_rng),
        features=names,
        constant=depth.constant,
        verdicts=verdicts,
    )


def _phases(
    layerwise: LayerwiseCalibration, depth: LayerRows, rng: np.random.Generator
) -> CalibrationPhases | None:
    groups = None if depth.groups is None else depth.groups[depth.rows]
    if groups is not None and len(np.unique(groups)) < _FEWEST_GROUPS:
        return None
    return calibration_phases(layerwise, groups=groups, random_state=rng)
