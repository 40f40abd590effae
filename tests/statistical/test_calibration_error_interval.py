"""Coverage of the interval for the expected calibration error, by simulation.

Confidence is the sigmoid of a normal variable (mean 2, standard deviation 1.5: about 80 % right).
The truth bends it in one direction (overconfident) or in both (wave) until the error of 15 bins
has the size asked for.
"""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from sk_arcal.metrics import (
    bootstrap_interval,
    calibration_error_interval,
    expected_calibration_error,
)

pytestmark = pytest.mark.slow

N_SAMPLES = 2500
SHAPES = {
    "overconfident": lambda logit, bend: expit(logit * (1 - bend)),
    "wave": lambda logit, bend: np.clip(expit(logit) + bend * np.sin(9 * expit(logit)), 0, 1),
}
SCENARIOS = [
    ("overconfident", 0.0),
    ("overconfident", 0.01),
    ("wave", 0.01),
    ("overconfident", 0.04),
    ("wave", 0.04),
    ("overconfident", 0.1),
]


def _truth(shape, error):
    """Return the event probability as a function of the logit, with the given binned error."""
    logit = 2 + 1.5 * norm.ppf((np.arange(200_001) + 0.5) / 200_001)
    bins = np.searchsorted(np.linspace(0, 1, 16)[1:-1], expit(logit))

    def excess(bend):
        gap = np.bincount(bins, weights=SHAPES[shape](logit, bend) - expit(logit))
        return np.abs(gap).sum() / len(logit) - error

    bend = brentq(excess, 0, 0.9) if error > 0 else 0.0
    return lambda values: SHAPES[shape](values, bend)


def _data_sets(shape, error, n_repeats):
    truth, rng = _truth(shape, error), np.random.default_rng(2026)
    for _ in range(n_repeats):
        logit = rng.normal(2, 1.5, N_SAMPLES)
        yield rng.random(N_SAMPLES) < truth(logit), expit(logit)


@pytest.mark.parametrize(("shape", "error"), SCENARIOS)
def test_interval_covers_in_at_least_93_percent_of_test_sets(shape, error):
    covered = [
        interval.low <= error <= interval.high
        for seed, data in enumerate(_data_sets(shape, error, 500))
        for interval in [calibration_error_interval(*data, n_resamples=100, random_state=seed)]
    ]
    assert np.mean(covered) >= 0.93


@pytest.mark.parametrize(("shape", "error"), SCENARIOS)
def test_corrected_error_is_closer_to_the_truth_than_the_plain_one(shape, error):
    intervals = [
        calibration_error_interval(*data, n_resamples=50, random_state=seed)
        for seed, data in enumerate(_data_sets(shape, error, 200))
    ]
    corrected = np.mean([i.corrected for i in intervals]) - error
    plain = np.mean([i.estimate for i in intervals]) - error
    assert abs(corrected) < max(0.4 * abs(plain), 0.0035)


def test_percentile_bootstrap_misses_as_documented():
    covered = []
    for seed, data in enumerate(_data_sets("overconfident", 0.01, 60)):
        interval = bootstrap_interval(
            expected_calibration_error, *data, n_resamples=60, random_state=seed
        )
        covered.append(interval.low <= 0.01 <= interval.high)
    assert np.mean(covered) < 0.1
