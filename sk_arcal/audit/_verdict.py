"""From a test and its controls to three words.

``signal``
    Every control that was run has been survived: the test rejects after adjustment for the number
    of features, a kernel gains from the feature and not from its shuffled twins, whatever rule sets
    its bandwidth, and a network gains from it beyond its own capacity.
``no signal``
    None larger than delta: the 90 % interval of the matched gap lies inside (-delta, delta) and,
    where the test rejects, so does the interval of the part it found.
``cannot tell``
    Neither, or the question has no answer.
"""

from collections.abc import Sequence

from sk_arcal.audit._records import Control
from sk_arcal.diagnostics import ConditionalCalibrationResult

SIGNAL, NO_SIGNAL, CANNOT_TELL = "signal", "no signal", "cannot tell"
VERDICTS = (SIGNAL, NO_SIGNAL, CANNOT_TELL)


def decide(
    test: ConditionalCalibrationResult, adjusted: float, controls: Sequence[Control]
) -> tuple[str, str]:
    """Return the verdict and one sentence that says why.

    Parameters
    ----------
    test : ConditionalCalibrationResult
        The conditional calibration test of one feature.
    adjusted : float
        Its p-value, adjusted for the number of features.
    controls : sequence of Control
        The controls, the matched confidence first.

    Returns
    -------
    verdict, reason : str
        One of `VERDICTS`, and a sentence.
    """
    if not test.identifiable:
        return CANNOT_TELL, " ".join(test.notes) or "The feature is a function of the confidence."
    if not controls[0].survived:
        return _without_rejection(test, adjusted)
    failed = next((control for control in controls if control.survived is False), None)
    rejects = f"The test rejects (adjusted {_p(adjusted)})"
    if failed is None:
        survived = [control.name for control in controls if control.survived]
        return SIGNAL, (
            f"{rejects}, most clearly the {test.leading.partition(': ')[2]}, and the effect "
            f"survives every control ({', '.join(survived)})."
        )
    objection = f"does not survive the control of {failed.name} ({failed.finding})"
    if test.equivalent and _inside(test.leading_interval, test.delta):
        return NO_SIGNAL, (
            f"{rejects}, so there is some effect, but it is smaller than {test.delta:.1%} and "
            f"{objection}."
        )
    return CANNOT_TELL, f"{rejects}, but the effect {objection}; {_smallest(test)}."


def _without_rejection(test: ConditionalCalibrationResult, adjusted: float) -> tuple[str, str]:
    limit = f"{test.delta:.1%}"
    if test.equivalent:
        low, high = test.equivalence_interval
        return NO_SIGNAL, (
            f"The test does not reject (adjusted {_p(adjusted)}), and the 90 % interval of the "
            f"gap, {low:+.1%} to {high:+.1%}, lies inside ±{limit}."
        )
    return CANNOT_TELL, (
        f"The test does not reject (adjusted {_p(adjusted)}), but a gap of {limit} is not "
        f"excluded; {_smallest(test)}."
    )


def _smallest(test: ConditionalCalibrationResult) -> str:
    return f"a gap of {test.min_detectable_gap:.1%} would have shown (80 % power)"


def _inside(interval: tuple[float, float], delta: float) -> bool:
    return -delta < interval[0] and interval[1] < delta


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
