"""The objective against finite differences and its map against its transpose."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from sk_arcal.calibration._structure._penalised_loss import PenalisedLoss
from sk_arcal.calibration._structure._score_map import STRUCTURES, ScoredRows, ScoreMap, Strengths

every_structure = pytest.mark.parametrize("structure", STRUCTURES)


def problem(structure, n_classes=4, n=60):
    rng = np.random.default_rng(0)
    rows = ScoredRows.at_temperature(
        2 * rng.normal(size=(n, n_classes)), 1.3, rng.normal(size=(n, 2))
    )
    score_map = ScoreMap(structure, n_classes, 2)
    y, weight = rng.integers(0, n_classes, n), rng.integers(1, 4, n).astype(float)
    loss = PenalisedLoss(score_map, rows, y, weight)
    penalties = score_map.penalties(Strengths(2.0, 3.0, 0.5, 0.7), loss.total)
    at = 0.2 * rng.normal(size=score_map.n_parameters)
    return loss, penalties, at, 0.2 * rng.normal(size=score_map.n_parameters)


@every_structure
def test_gradient_is_that_of_the_value(structure):
    loss, penalties, at, _ = problem(structure)
    numeric = approx_fprime(at, lambda p: loss.value_and_gradient(p, penalties)[0], 1e-7)
    np.testing.assert_allclose(loss.value_and_gradient(at, penalties)[1], numeric, atol=1e-6)


@every_structure
def test_curvature_is_the_change_of_the_gradient(structure):
    loss, penalties, at, along = problem(structure)
    step = 1e-5
    ahead = loss.value_and_gradient(at + step * along, penalties)[1]
    behind = loss.value_and_gradient(at - step * along, penalties)[1]
    product = loss.curvature(at, along, penalties)
    np.testing.assert_allclose(product, (ahead - behind) / (2 * step), atol=1e-8)


@every_structure
def test_pull_back_is_the_transpose_of_the_change(structure):
    loss, _, at, _ = problem(structure)
    residual = np.random.default_rng(1).normal(size=loss.rows.scores.shape)
    there = (loss.score_map.change(at, loss.rows) * residual).sum()
    np.testing.assert_allclose(loss.score_map.pull_back(residual, loss.rows) @ at, there)


@every_structure
def test_blocks_are_those_of_the_hessian_at_zero(structure):
    loss, _, at, _ = problem(structure)
    score_map, zero = loss.score_map, np.zeros_like(at)
    hessian = np.array([loss.curvature(zero, e, zero) for e in np.eye(len(at))])
    slopes, lines = loss.blocks
    size = score_map.n_slopes
    np.testing.assert_allclose(slopes[0], hessian[:size, :size], atol=1e-12)
    for k, block in enumerate(lines if score_map.n_scales else []):
        own = slice(size + k * score_map.n_coefficients, size + (k + 1) * score_map.n_coefficients)
        np.testing.assert_allclose(block, hessian[own, own], atol=1e-12)


@every_structure
def test_minimum_has_no_gradient_from_any_start(structure):
    loss, penalties, at, other = problem(structure)
    found = [
        loss.minimise(penalties, start, tolerance=1e-8, max_iter=100)[0] for start in (at, other)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(loss.value_and_gradient(found[0], penalties)[1]).max() < 1e-7


@every_structure
def test_losses_of_rows_average_to_the_value(structure):
    loss, penalties, at, _ = problem(structure)
    value, _ = loss.value_and_gradient(at, np.zeros_like(penalties))
    rng = np.random.default_rng(0)
    rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    y, weight = rng.integers(0, 4, 60), rng.integers(1, 4, 60)
    losses = loss.score_map.losses(at, loss.rows, y)
    np.testing.assert_allclose(np.average(losses, weights=weight), value)


def test_penalties_are_those_of_the_strengths():
    score_map = ScoreMap("matrix", 3, 1)
    slopes, lines = score_map.split(score_map.penalties(Strengths(2.0, 3.0, 5.0, 7.0), 100.0))
    np.testing.assert_allclose(slopes, [0, 4 * 7 / 100])
    unit = 2 * 3 / 100
    np.testing.assert_allclose(np.diagonal(lines), 2 * unit)
    np.testing.assert_allclose(lines[0, 1:3], 2 * 5 * unit)
    np.testing.assert_allclose(lines[:, 3], 3 * unit)
    np.testing.assert_allclose(lines[:, 4], 7 * unit)
