"""Scores of the alternatives, each beside what chance alone would give, and the one to use."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._alternatives import (
    CONFIDENCE_KERNEL,
    RAW,
    ROUTING_KERNEL,
    TEMPERATURE,
    Alternative,
)
from sk_arcal.audit._records import Recommendation, ScorecardRow
from sk_arcal.diagnostics._probing._paired import clustered_mean
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    score_decomposition,
    smooth_calibration_error,
)

_SMALLEST = 1e-12
_REASONS = {
    RAW: "no calibrator lowers the log loss by more than one standard error",
    TEMPERATURE: "no kernel lowers its log loss by more than one standard error",
    CONFIDENCE_KERNEL: "it beats one temperature by more than a standard error",
    ROUTING_KERNEL: "it beats every calibrator without routing by more than a standard error",
}
_LINES = {
    RAW: "# keep the confidences as they are",
    TEMPERATURE: "calibrator = TemperatureScaler({columns}).fit(X, y)",
    CONFIDENCE_KERNEL: (
        "calibrator = NWConditionalCalibrator({columns}, routing_columns=[]).fit(X, y)"
    ),
    ROUTING_KERNEL: "calibrator = NWConditionalCalibrator({columns}).fit(X, y)",
}
_CLASS_OF = {
    TEMPERATURE: "TemperatureScaler",
    CONFIDENCE_KERNEL: "NWConditionalCalibrator",
    ROUTING_KERNEL: "NWConditionalCalibrator",
}


def score(
    event: FloatArray, alternative: Alternative, n_resamples: int, rng: np.random.Generator
) -> ScorecardRow:
    """Return the scorecard row of one alternative.

    Parameters
    ----------
    event : ndarray of shape (n_evaluated,)
        Outcome, 0 or 1.
    alternative : Alternative
        Its confidences.
    n_resamples : int
        Draws behind the noise floor and the interval.
    rng : Generator
        Makes the draws.

    Returns
    -------
    row : ScorecardRow
        ECE with floor and interval, SmoothECE, proper scores and their split.
    """
    confidence = alternative.confidence
    floor = noise_floor(confidence, n_resamples=n_resamples, random_state=rng)
    interval = calibration_error_interval(
        event, confidence, n_resamples=n_resamples, random_state=rng
    )
    split = score_decomposition(event, confidence, score="brier")
    return ScorecardRow(
        name=alternative.name,
        ece=expected_calibration_error(event, confidence),
        ece_floor=floor.mean,
        ece_floor_95=floor.quantile_95,
        ece_corrected=interval.corrected,
        ece_low=interval.low,
        ece_high=interval.high,
        smooth_ece=smooth_calibration_error(event, confidence),
        brier=split.score,
        log_loss=float(_log_losses(event, confidence).mean()),
        miscalibration=split.miscalibration,
        refinement=split.refinement,
        class_log_loss=alternative.class_log_loss,
    )


def recommend(
    event: FloatArray,
    found: Sequence[Alternative],
    *,
    routing_helps: bool,
    n_columns: int,
    clusters: NDArray[np.intp],
) -> Recommendation:
    """Return the simplest alternative within one standard error of the best.

    Parameters
    ----------
    event : ndarray of shape (n_evaluated,)
        Outcome, 0 or 1.
    found : sequence of Alternative
        Simplest first.
    routing_helps : bool
        Whether a routing feature is a signal; without one the routing kernel does not stand.
    n_columns : int
        Number of confidence columns, for the code.
    clusters : ndarray of shape (n_evaluated,)
        Rows that depend on each other share a number.

    Returns
    -------
    recommendation : Recommendation
        Name, reason and code.

    Notes
    -----
    Losses are compared as log loss of the event, paired by row and clustered by group.
    """
    if event.min() == event.max():
        return Recommendation(
            RAW, "Only one outcome occurs, so nothing can be compared.", _LINES[RAW]
        )
    standing = [
        a for a in found if a.name in _REASONS and (routing_helps or a.name != ROUTING_KERNEL)
    ]
    losses = [_log_losses(event, a.confidence) for a in standing]
    best = int(np.argmin([loss.mean() for loss in losses]))
    for alternative, loss in zip(standing, losses, strict=True):
        difference = loss - losses[best]
        mean, error = clustered_mean(difference, clusters)
        if mean <= error:
            return Recommendation(
                alternative.name,
                _reason(alternative.name, found),
                _code(alternative.name, n_columns),
            )
    raise AssertionError("the best alternative is within one standard error of itself")


def _reason(name: str, found: Sequence[Alternative]) -> str:
    sentence = _REASONS[name]
    held_back = name != ROUTING_KERNEL and any(a.name == ROUTING_KERNEL for a in found)
    ending = ", and routing does not earn its place" if held_back else ""
    return f"{sentence[0].upper()}{sentence[1:]}{ending}."


def _code(name: str, n_columns: int) -> str:
    if name == RAW:
        return _LINES[RAW]
    if n_columns == 1:
        what, columns = "the confidence", "0"
        y = "1 where the prediction was right"
    else:
        what, columns = f"{n_columns} columns of class scores", f"list(range({n_columns}))"
        y = "the true labels"
    line = _LINES[name].format(columns=f"confidence_columns={columns}")
    return (
        f"from sk_arcal import {_CLASS_OF[name]}\n\n"
        f"# X: {what}, then the routing columns; y: {y}\n"
        f"{line}\nproba = calibrator.predict_proba(X_new)"
    )


def _log_losses(event: FloatArray, confidence: FloatArray) -> FloatArray:
    own = np.where(event == 1, confidence, 1 - confidence)
    return -np.log(np.maximum(own, _SMALLEST))
