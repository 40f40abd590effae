"""The controls that an effect has to survive before it counts as a signal.

======================  =========================================================================
matched confidence      the conditional test rejects, adjusted for the number of features
shuffled twins          a kernel with the feature predicts better than with the feature shuffled
bandwidth               it predicts better than without, whatever rule sets the bandwidth
capacity                a network with the feature beats the same network without it, and with
                        the feature shuffled
======================  =========================================================================

The rule is that of the published audit [1]_. A feature that fails an early control cannot be a
signal, so the later and dearer ones are run for the others only, unless all are asked for.

References
----------
.. [1] Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual Transformers".
   arXiv:2605.09850, 2026. Matched-confidence, bandwidth, capacity and permutation controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._records import Control
from sk_arcal.diagnostics import (
    BandwidthSensitivity,
    CapacityControl,
    ConditionalCalibrationResult,
    RoutingProbe,
    bandwidth_sensitivity,
    capacity_control,
)

CONTROL_NAMES = ("matched confidence", "shuffled twins", "bandwidth", "capacity")
EXTENTS = ("candidates", "all")
_NOT_NEEDED = "not run: an earlier control has failed"
_NO_ANSWER = "not run: the question has no answer"


@dataclass(frozen=True)
class Controls:
    """Controls of one feature, and what they rest on.

    Attributes
    ----------
    found : tuple of Control
        In the order of `CONTROL_NAMES`.
    bandwidth : BandwidthSensitivity or None
        None where it was not run.
    capacity : CapacityControl or None
        None where it was not run.
    """

    found: tuple[Control, ...]
    bandwidth: BandwidthSensitivity | None
    capacity: CapacityControl | None


def run_controls(
    event: FloatArray,
    confidence: FloatArray,
    values: NDArray[Any],
    groups: NDArray[Any] | None,
    test: ConditionalCalibrationResult,
    adjusted: float,
    probe: RoutingProbe,
    *,
    alpha: float,
    extent: str,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> Controls:
    """Run the controls of one feature in order.

    Parameters
    ----------
    event, confidence : ndarray of shape (n_samples,)
        Outcome and raw confidence.
    values : ndarray of shape (n_samples,)
        The feature.
    groups : ndarray of shape (n_samples,) or None
        Dependent rows share a value.
    test : ConditionalCalibrationResult
        Its test.
    adjusted : float
        p-value adjusted for the number of features.
    probe : RoutingProbe
        Its kernel probe.
    alpha : float
        Level.
    extent : {"candidates", "all"}
        Whether to go on after a control has failed.
    rng : Generator
        Source of folds and shuffles.
    n_jobs : int or None
        joblib jobs.
    """
    bandwidth_rng, capacity_rng = rng.spawn(2)
    shared: dict[str, Any] = {"groups": groups, "n_jobs": n_jobs}
    why_not = _NOT_NEEDED if test.identifiable else _NO_ANSWER
    found = [_matched(test, adjusted, alpha), _shuffled(probe, alpha)]
    bandwidth = capacity = None
    if test.identifiable and _goes_on(found, extent):
        bandwidth = bandwidth_sensitivity(
            event, confidence, values, random_state=bandwidth_rng, **shared
        )
    found.append(_bandwidth(bandwidth, why_not))
    if test.identifiable and _goes_on(found, extent):
        if _has_torch():
            capacity = capacity_control(
                event, confidence, values, random_state=capacity_rng, **shared
            )
        else:
            why_not = "not run: it needs torch"
    found.append(_capacity(capacity, why_not))
    return Controls(tuple(found), bandwidth, capacity)


def _has_torch() -> bool:
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:
        return False


def _goes_on(found: Sequence[Control], extent: str) -> bool:
    return extent == "all" or all(control.survived is not False for control in found)


def _matched(test: ConditionalCalibrationResult, adjusted: float, alpha: float) -> Control:
    if not test.identifiable:
        return Control(CONTROL_NAMES[0], None, " ".join(test.notes))
    finding = f"p = {test.pvalue:.2g}, adjusted {adjusted:.2g}"
    return Control(CONTROL_NAMES[0], bool(adjusted <= alpha), finding)


def _shuffled(probe: RoutingProbe, alpha: float) -> Control:
    best = float(probe.shuffled_gains.max()) if len(probe.shuffled_gains) else np.nan
    finding = (
        f"gain {1000 * probe.gain:+.2f} nats per 1000 rows, best shuffled {1000 * best:+.2f}, "
        f"p = {probe.pvalue:.2g}"
    )
    return Control(CONTROL_NAMES[1], bool(probe.pvalue <= alpha), finding)


def _bandwidth(found: BandwidthSensitivity | None, why_not: str) -> Control:
    if found is None:
        return Control(CONTROL_NAMES[2], None, why_not)
    changes = [1000 * rule.log_loss_difference.estimate for rule in found.rules if not rule.leaks]
    finding = (
        f"change in log loss {min(changes):+.2f} to {max(changes):+.2f} nats per 1000 rows over "
        f"{len(changes)} rules"
    )
    return Control(CONTROL_NAMES[2], found.gain_survives, finding)


def _capacity(found: CapacityControl | None, why_not: str) -> Control:
    if found is None:
        return Control(CONTROL_NAMES[3], None, why_not)
    finding = (
        f"gain {1000 * found.gain['confidence only'].estimate:+.2f} nats per 1000 rows over the "
        f"network without it, {1000 * found.gain['shuffled profile'].estimate:+.2f} over the "
        "shuffled one"
    )
    return Control(CONTROL_NAMES[3], found.survives, finding)
