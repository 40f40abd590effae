"""The arms of the matched suite: who is in it, what each predicts, how each scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues, read_routing
from sk_arcal.diagnostics._probing._baselines import BASELINES, baseline_predictions
from sk_arcal.diagnostics._probing._estimators import Estimator
from sk_arcal.diagnostics._probing._paired import Difference
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows
from sk_arcal.diagnostics._probing._probe_score import ProbeScore
from sk_arcal.diagnostics._probing._scoring import Scored, Scorer
from sk_arcal.diagnostics._shuffle import shuffle_within_bins
from sk_arcal.metrics import (
    calibration_error_interval,
    noise_floor,
    smooth_calibration_error,
    worst_group_calibration_error,
)

CONFIDENCE_ONLY = "confidence only"
PURE_NOISE = "pure noise"
# One SmoothECE costs as much as several binned errors, and its mean is known from few draws.
_SMOOTH_DRAWS = 50


@dataclass(frozen=True, eq=False)
class Arm:
    """One line of the table; `members` predict when called, several if they are to be averaged."""

    name: str
    role: str
    members: Sequence[Callable[[], FloatArray]]


def baseline_arms(rows: ProbeRows) -> list[Arm]:
    """Return the textbook maps of the confidence."""
    folds = rows.folds()
    return [
        Arm(
            name,
            "baseline",
            [partial(baseline_predictions, name, rows.event, rows.confidence, folds)],
        )
        for name in BASELINES
    ]


def probe_arms(
    estimator: Estimator,
    rows: ProbeRows,
    features: Mapping[str, RoutingValues],
    n_shuffles: int,
    rng: np.random.Generator,
) -> list[Arm]:
    """Return the confidence-only probe, the features with their shuffled twins, and pure noise."""
    arms = [Arm(CONFIDENCE_ONLY, "confidence", [estimator.alone])]
    noise = read_routing(rng.random(rows.n_given), PURE_NOISE, "continuous", rows.n_given)
    for name, feature in [*features.items(), (PURE_NOISE, noise)]:
        axis = estimator.axis(feature, feature.numbers[rows.kept], rng)
        role = "noise" if feature is noise else "feature"
        arms.append(Arm(name, role, [partial(estimator.with_feature, axis)]))
        if feature is noise:
            continue
        twins = [
            replace(axis, values=shuffle_within_bins(axis.values, rows.confidence, random_state=r))
            for r in rng.spawn(n_shuffles)
        ]
        members = [partial(estimator.with_feature, twin) for twin in twins]
        arms.append(Arm(f"{name}, shuffled", "shuffled", members))
    return arms


def score_arm(
    arm: Arm,
    predictions: list[FloatArray],
    reference: Scored,
    scorer: Scorer,
    n_resamples: int,
    seed: int,
) -> ProbeScore:
    """Score an arm; floors and interval are those of its first member.

    With the seed in common, probes that predict the same have the same floors.
    """
    references = _references(predictions[0], scorer, n_resamples, seed)
    scores = []
    for prediction in predictions:
        scored = scorer.score(prediction)
        score = ProbeScore(
            name=arm.name,
            role=arm.role,
            log_loss=float(scored.log_loss.mean()),
            brier=float(scored.brier.mean()),
            ece=scored.ece,
            smooth_ece=smooth_calibration_error(scorer.event, prediction),
            worst_ece=scored.worst_ece.value,
            **references,
            **scorer.differences(scored, reference),
        )
        scores.append(score)
    return _mean_score(scores)


def _references(
    prediction: FloatArray, scorer: Scorer, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Floors of the three calibration errors, and the interval of the first."""
    settings: dict[str, Any] = {"n_resamples": n_resamples, "random_state": seed}
    few: dict[str, Any] = settings | {"n_resamples": min(n_resamples, _SMOOTH_DRAWS)}
    worst = {"metric": worst_group_calibration_error, "groups": scorer.strata}
    interval = calibration_error_interval(scorer.event, prediction, **settings)
    return {
        "ece_floor": noise_floor(prediction, **settings).mean,
        "ece_low": interval.low,
        "ece_high": interval.high,
        "smooth_ece_floor": noise_floor(prediction, metric=smooth_calibration_error, **few).mean,
        "worst_ece_floor": noise_floor(prediction, **settings | worst).mean,
    }


def _mean_score(scores: list[ProbeScore]) -> ProbeScore:
    """Return the mean of every number; the mean of intervals is one for the mean, if a wide one."""
    if len(scores) == 1:
        return scores[0]
    means: dict[str, Any] = {}
    for field in fields(ProbeScore):
        values = [getattr(score, field.name) for score in scores]
        if isinstance(values[0], Difference):
            means[field.name] = Difference(*np.mean(values, axis=0).tolist())
        elif isinstance(values[0], float):
            means[field.name] = float(np.mean(values))
    return replace(scores[0], **means)
