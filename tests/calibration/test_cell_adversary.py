"""Adversaries of cells: what they see, what they weigh, and that noise leaves them cold."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit, log_expit

from sk_arcal.calibration._adversary._adversaries import Adversary
from sk_arcal.calibration._adversary._cell_adversary import CellAdversary, RowAdversary, grow_cells
from sk_arcal.calibration._mixture._mixture import event_scores

TILT = Adversary("tilted", eta=50.0)


def rows(n, effect, seed=0):
    """Calibrated log-odds, but where routing is below 0.3 the truth has `effect` times as many."""
    rng = np.random.default_rng(seed)
    z, routing = rng.normal(0, 2, n), rng.random(n)
    y = (rng.random(n) < expit(np.where(routing < 0.3, effect, 1.0) * z)).astype(float)
    # Neighbours in the table go to different halves.
    order = np.argsort(z)
    return z[order], np.column_stack([expit(z), routing])[order], y[order]


def grown(n, effect, adversary=TILT, seed=0, n_cells=8):
    z, features, y = rows(n, effect, seed)
    cells = grow_cells(adversary, features, event_scores(z), y, np.ones(n), n_cells)
    return cells, -log_expit(np.where(y == 1, z, -z)), features[:, 1]


def test_every_half_is_cut_and_every_row_has_its_mass():
    cells, _, _ = grown(1000, 0.3)
    assert isinstance(cells, CellAdversary)
    np.testing.assert_array_equal(cells.mass.sum(axis=0), 1)
    assert len(cells.reference) <= 16


def test_miscalibrated_rows_get_the_weight():
    cells, losses, routing = grown(4000, 0.3)
    weights = cells.respond(losses).weights
    assert weights[routing < 0.28].mean() > 2 * weights[routing > 0.32].mean()
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_on_a_calibrated_model_the_excess_is_next_to_nothing(seed):
    ball = Adversary("chi2", radius=1.0)
    cells, losses, _ = grown(4000, 1.0, ball, seed)
    rows_see = RowAdversary(ball, np.ones(4000)).respond(losses).value - losses.mean()
    assert rows_see > 0.3
    assert cells.respond(losses).value < 0.01


def test_a_hard_cell_is_no_bad_one():
    rng = np.random.default_rng(0)
    routing = rng.random(4000)
    z = np.sort(np.where(routing < 0.5, 0.1, 4.0) * rng.choice([-1, 1], 4000))
    y = (rng.random(4000) < expit(z)).astype(float)
    features = np.column_stack([expit(z), np.abs(z) > 1])
    cells = grow_cells(TILT, features, event_scores(z), y, np.ones(4000), 8)
    losses = -log_expit(np.where(y == 1, z, -z))
    assert losses[np.abs(z) < 1].mean() > 5 * losses[np.abs(z) > 1].mean()
    np.testing.assert_allclose(cells.respond(losses).weights, 1, atol=0.3)


def test_weights_do_not_see_the_label_within_a_cell():
    cells, losses, _ = grown(1000, 0.3)
    weights = cells.respond(losses).weights
    for code in zip(*cells.cells, strict=True):
        inside = (cells.cells[0] == code[0]) & (cells.cells[1] == code[1]) & (cells.mass[0] > 0)
        if inside.any():
            assert np.ptp(weights[inside]) == 0


@pytest.mark.parametrize("name", ["tilted", "softmax", "chi2", "kl", "none"])
def test_slope_is_the_derivative(name):
    cells, losses, _ = grown(200, 0.1, Adversary(name, eta=5.0, radius=0.2), n_cells=3)
    slope = cells.respond(losses).slope if name != "none" else np.full(200, 1 / 200)
    expected = approx_fprime(losses, lambda x: cells.respond(x).value, 1e-6)
    np.testing.assert_allclose(slope, expected, atol=1e-6)


def test_one_row_leaves_the_plain_mean():
    found = grow_cells(TILT, np.ones((1, 1)), np.array([[0.0, 1.0]]), np.ones(1), np.ones(1), 8)
    assert isinstance(found, RowAdversary)
    assert found.respond(np.array([0.4])).value == 0.4


def test_weight_of_rows_is_repetition():
    z, features, y = rows(300, 0.3)
    weight = np.random.default_rng(1).integers(1, 4, 300)
    one = grow_cells(TILT, features, event_scores(z), y, weight.astype(float), 4)
    copies = np.repeat(np.arange(300), weight)
    many = grow_cells(
        TILT, features[copies], event_scores(z)[copies], y[copies], np.ones(len(copies)), 4
    )
    losses = -log_expit(np.where(y == 1, z, -z))
    np.testing.assert_allclose(
        one.respond(losses).value, many.respond(losses[copies]).value, atol=1e-9
    )
