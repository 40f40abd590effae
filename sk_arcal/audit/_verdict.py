"""From a test and its control to three words.

``signal``
    The test rejects after adjustment for the number of features, *and* the routing probe beats
    its shuffled twins.
``no signal``
    None larger than delta: the 90 % interval of the matched gap lies inside (-delta, delta) and,
    where the test rejects, so does the interval of the part it found.
``cannot tell``
    Neither, or the question has no answer.
"""

from sk_arcal.diagnostics import ConditionalCalibrationResult, RoutingProbe

SIGNAL, NO_SIGNAL, CANNOT_TELL = "signal", "no signal", "cannot tell"
VERDICTS = (SIGNAL, NO_SIGNAL, CANNOT_TELL)


def decide(
    test: ConditionalCalibrationResult, adjusted: float, probe: RoutingProbe | None, alpha: float
) -> tuple[str, str]:
    """Return the verdict and one sentence that says why.

    Parameters
    ----------
    test : ConditionalCalibrationResult
        The conditional calibration test of one feature.
    adjusted : float
        Its p-value, adjusted for the number of features.
    probe : RoutingProbe or None
        The routing probe; None where the test could not be run.
    alpha : float
        Level.

    Returns
    -------
    verdict, reason : str
        One of `VERDICTS`, and a sentence.
    """
    if not test.identifiable or probe is None:
        return CANNOT_TELL, " ".join(test.notes) or "The feature is a function of the confidence."
    limit = f"{test.delta:.1%}"
    smallest = f"a gap of {test.min_detectable_gap:.1%} would have shown (80 % power)"
    if adjusted > alpha:
        if test.equivalent:
            low, high = test.equivalence_interval
            return NO_SIGNAL, (
                f"The test does not reject (adjusted {_p(adjusted)}), and the 90 % interval of the "
                f"gap, {low:+.1%} to {high:+.1%}, lies inside ±{limit}."
            )
        return CANNOT_TELL, (
            f"The test does not reject (adjusted {_p(adjusted)}), but a gap of {limit} is not "
            f"excluded; {smallest}."
        )
    if probe.pvalue <= alpha:
        return SIGNAL, (
            f"The test rejects (adjusted {_p(adjusted)}), most clearly the "
            f"{test.leading.partition(': ')[2]}, and a kernel with the feature beats its shuffled "
            f"twins ({probe.gain:.2g} nats a row)."
        )
    if test.equivalent and _inside(test.leading_interval, test.delta):
        return NO_SIGNAL, (
            f"The test rejects (adjusted {_p(adjusted)}), so there is some effect, but it is "
            f"smaller than {limit} and no probe gains from it."
        )
    return CANNOT_TELL, (
        f"The test rejects (adjusted {_p(adjusted)}), but a kernel with the feature does not beat "
        f"its shuffled twins; {smallest}."
    )


def _inside(interval: tuple[float, float], delta: float) -> bool:
    return -delta < interval[0] and interval[1] < delta


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
