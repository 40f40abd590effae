"""Coverage of the intervals and floors of experts and configurations, by simulation."""

import numpy as np
import pytest

from sk_arcal.diagnostics._configuration_collapse import configuration_collapse
from sk_arcal.diagnostics._experts._views import ViewSettings, measure_view
from sk_arcal.metrics import calibration_error_interval

pytestmark = pytest.mark.slow

N_RUNS, N_ROWS = 100, 1500
SETTINGS = ViewSettings(n_bins=15, level=0.95, n_resamples=60)


def weighted_rows(rng, concentration, shift):
    """Draw an expert that is too sure by `shift` in every row, and its gate among three."""
    gate = rng.dirichlet([concentration] * 3, N_ROWS)[:, 0]
    confidence = rng.uniform(0.2, 0.9, N_ROWS)
    return (rng.random(N_ROWS) < confidence - shift) * 1.0, confidence, gate


@pytest.mark.parametrize("shift", [0.0, 0.05])
@pytest.mark.parametrize("concentration", [0.5, 2.0])
def test_interval_of_a_weighted_view_covers(concentration, shift):
    covered, beyond = [], []
    for rng in np.random.default_rng(0).spawn(N_RUNS):
        view = measure_view(*weighted_rows(rng, concentration, shift), SETTINGS, rng)
        covered.append(view.low <= shift <= view.high)
        beyond.append(view.error > view.floor_95)
    # 95 % less three Monte-Carlo errors
    assert np.mean(covered) >= 0.88
    if shift == 0:
        assert np.mean(beyond) <= 0.12


def test_gates_as_they_are_would_claim_too_much():
    # Scaled to a mean of one the weights count every row whole.
    covered = []
    for rng in np.random.default_rng(0).spawn(N_RUNS):
        y, confidence, gate = weighted_rows(rng, 0.5, 0.0)
        interval = calibration_error_interval(
            y, confidence, sample_weight=gate / gate.mean(), n_resamples=60, random_state=rng
        )
        covered.append(interval.low <= 0)
    assert np.mean(covered) < 0.85


@pytest.mark.parametrize("n_rows", [30, 300])
@pytest.mark.parametrize("confidence", [0.6, 0.95])
def test_interval_of_a_configuration_gap_covers(confidence, n_rows):
    covered = []
    for rng in np.random.default_rng(1).spawn(4 * N_RUNS):
        y = rng.random(n_rows) < confidence - 0.05
        table = configuration_collapse(y, np.full(n_rows, confidence), np.zeros(n_rows)).table
        covered.append(table["low"][0] <= -0.05 <= table["high"][0])
    assert np.mean(covered) >= 0.91


def test_collapse_interval_covers_and_its_floor_holds():
    rates = np.array([0.7, 0.9, 0.7])
    for spread, truth in ((0.0, 0.0), (0.5, 0.0025), (1.0, 0.01)):
        covered, beyond = [], []
        for rng in np.random.default_rng(2).spawn(2 * N_RUNS):
            codes = rng.choice(3, 800, p=[0.25, 0.5, 0.25])
            y = rng.random(800) < 0.8 + spread * (rates[codes] - 0.8)
            collapse = configuration_collapse(y, np.full(800, 0.8), codes)
            covered.append(collapse.low <= truth <= collapse.high)
            beyond.append(collapse.estimate > collapse.floor_95)
        assert np.mean(covered) >= 0.9
        assert np.mean(beyond) <= 0.1 if spread == 0 else np.mean(beyond) >= 0.5
