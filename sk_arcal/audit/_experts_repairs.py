"""Repairs of a mixture, each row predicted by a fit that did not see it, on the scorecard's folds.

All repairs see the same rows. The temperature sees the class scores, MoCaE (one temperature per
expert) the experts and the gates, and so does the adversarial map; multicalibration patches
groups of gates and of the experts' probabilities of the event.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.base import clone

from sk_arcal._validation import FloatArray
from sk_arcal.audit._alternatives import RAW, TEMPERATURE, Fold
from sk_arcal.audit._experts_rows import ExpertRows
from sk_arcal.calibration import (
    AdversarialReweightCalibrator,
    ExpertTemperatureScaler,
    MulticalibrationCalibrator,
    TemperatureScaler,
)

EXPERT_TEMPERATURES, BOTH_TEMPERATURES = "MoCaE", "MoCaE + temperature"
ADVERSARIAL, MULTICALIBRATION = "adversarial", "multicalibration"
REPAIRS = (TEMPERATURE, EXPERT_TEMPERATURES, BOTH_TEMPERATURES, ADVERSARIAL, MULTICALIBRATION)


@dataclass(frozen=True)
class Repaired:
    """Confidences after one repair, on the evaluated rows.

    Attributes
    ----------
    name : str
        The repair.
    confidence : ndarray of shape (n_evaluated,)
        Probability of the event.
    losses : ndarray of shape (n_evaluated,)
        Log loss of every row, nats.
    """

    name: str
    confidence: FloatArray
    losses: FloatArray


def repairs(
    rows: ExpertRows, folds: list[Fold], *, n_jobs: int | None, progress: Callable[[str], None]
) -> list[Repaired]:
    """Return the raw confidences and every repair.

    Parameters
    ----------
    rows : ExpertRows
        The data.
    folds : list of tuple of ndarray
        Rows to fit on and rows to predict; every evaluated row is predicted once.
    n_jobs : int or None
        joblib jobs over folds.
    progress : callable
        Told the name of each repair when it is done.

    Returns
    -------
    found : list of Repaired
        Raw first.
    """
    X, layout = _matrix(rows)
    evaluated = np.sort(np.concatenate([test for _, test in folds]))
    found = [_collect(rows, RAW, evaluated, _raw(rows)[evaluated])]
    for name, estimator in _estimators(rows, layout).items():
        predicted = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_fit_predict)(estimator, X, rows.y, fold) for fold in folds
        )
        order = np.argsort(np.concatenate([test for _, test in folds]))
        found.append(_collect(rows, name, evaluated, np.concatenate(predicted)[order]))
        progress(name)
    return found


@dataclass(frozen=True)
class _Layout:
    """Positions of the columns of X."""

    scores: list[int]
    experts: list[list[int]]
    gates: list[int]
    routing: list[int]


def _matrix(rows: ExpertRows) -> tuple[FloatArray, _Layout]:
    """Return class scores, experts, gates and the experts' probabilities of the event."""
    logs, n_experts = rows.log_experts, len(rows.names)
    if rows.n_classes == 2:
        logs = logs[:, :, 1:] - logs[:, :, :1]
    width, n_scores = logs.shape[2], rows.scores.shape[1]
    experts = [
        list(range(n_scores + m * width, n_scores + (m + 1) * width)) for m in range(n_experts)
    ]
    first = n_scores + n_experts * width
    gates = list(range(first, first + n_experts))
    # Two gates say the same twice.
    told = gates[:1] if n_experts == 2 else gates
    own = list(range(first + n_experts, first + 2 * n_experts))
    X = np.column_stack([rows.scores, logs.reshape(len(logs), -1), rows.gates, rows.own])
    return X, _Layout(list(range(n_scores)), experts, gates, [*told, *own])


def _estimators(rows: ExpertRows, layout: _Layout) -> dict[str, Any]:
    classes = np.arange(rows.n_classes)
    confidence: dict[str, Any] = {
        "confidence_columns": layout.scores,
        "confidence_kind": "logit",
        "classes": classes,
    }
    mixture: dict[str, Any] = {
        "expert_columns": layout.experts,
        "gate_columns": layout.gates,
        "expert_kind": "logit",
        "gate_kind": "probability",
        "routing_columns": [],
        "classes": classes,
    }
    how = "hard" if rows.confidence_of == "top expert" else "soft"
    return {
        TEMPERATURE: TemperatureScaler(**confidence, routing_columns=[]),
        EXPERT_TEMPERATURES: ExpertTemperatureScaler(**mixture, routing=how),
        BOTH_TEMPERATURES: ExpertTemperatureScaler(
            **mixture, routing=how, mixture_temperature=True
        ),
        ADVERSARIAL: AdversarialReweightCalibrator(**mixture),
        MULTICALIBRATION: MulticalibrationCalibrator(**confidence, routing_columns=layout.routing),
    }


def _raw(rows: ExpertRows) -> FloatArray:
    if rows.n_classes > 2:
        return softmax(rows.scores, axis=1)
    second = expit(rows.scores[:, 0])
    return np.column_stack([1 - second, second])


def _collect(
    rows: ExpertRows, name: str, evaluated: NDArray[np.intp], proba: FloatArray
) -> Repaired:
    return Repaired(name, rows.event_probability(proba, evaluated), rows.losses(proba, evaluated))


def _fit_predict(estimator: Any, X: FloatArray, y: NDArray[np.intp], fold: Fold) -> FloatArray:
    fit, test = fold
    return clone(estimator).fit(X[fit], y[fit]).predict_proba(X[test])
