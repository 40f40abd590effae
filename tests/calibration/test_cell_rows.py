"""A search on cells against the same search on rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from sk_arcal import NWConditionalCalibrator
from sk_arcal.calibration._axes import RankAxis
from sk_arcal.calibration._kernel._bandwidth import select_setting
from sk_arcal.calibration._kernel._bandwidth_search import SHRINKAGES
from sk_arcal.calibration._kernel._cell_rows import CellRows
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel._residual_kernel import log_loss


def problem_with(strength, n=3000, n_columns=1, seed=0):
    rng = np.random.default_rng(seed)
    log_odds, columns = rng.normal(1, 1, n), rng.random((n, n_columns))
    anchor = expit(log_odds)
    effect = strength * np.sign(columns[:, 0] - 0.5) if n_columns else 0.0
    truth = np.clip(anchor + effect, 0, 1)
    return LeaveOneOut(
        axes=np.column_stack([log_odds, columns]),
        anchor=anchor,
        y=(rng.random(n) < truth).astype(float),
        sample_weight=rng.integers(1, 3, n).astype(float),
        min_mass=5.0,
        anchored=True,
        shrinkages=SHRINKAGES,
        algorithm="exact",
    )


def test_rows_are_counted_by_cell_and_outcome():
    problem = problem_with(0.1)
    counted = CellRows.of(problem)
    pairs = np.column_stack([counted.code[counted.kind], problem.y])
    assert len(np.unique(pairs, axis=0)) == len(counted.y)
    np.testing.assert_array_equal(counted.y[counted.kind], problem.y)
    assert counted.sample_weight.sum() == problem.sample_weight.sum()
    weight = problem.sample_weight
    assert counted.sample_weight @ counted.anchor == pytest.approx(weight @ problem.anchor)
    values = np.random.default_rng(1).normal(size=len(problem.y))
    assert counted.sample_weight @ counted.means(values) == pytest.approx(weight @ values)
    apart = np.abs(counted.anchor[counted.kind] - problem.anchor)
    assert apart.max() < 0.01


@pytest.mark.parametrize("n_columns", [0, 1])
def test_losses_are_those_of_the_rows(n_columns):
    problem = problem_with(0.15, n_columns=n_columns)
    bandwidths = np.array([[0.2, 0.1], [0.5, np.inf], [1.0, 0.4]])[:, : 1 + n_columns]
    by_row = problem.trials(bandwidths)
    by_cell = CellRows.of(problem).trials(bandwidths)
    for row, cell in zip(by_row, by_cell, strict=True):
        assert cell.loss == pytest.approx(row.loss, abs=2e-4)
        assert cell.complexity == pytest.approx(row.complexity, rel=0.02)
        assert (cell.shrinkage, cell.n_routing) == (row.shrinkage, row.n_routing)


@pytest.mark.parametrize("strength", [0.0, 0.15])
def test_the_search_ends_where_that_on_rows_does(strength):
    problem = problem_with(strength)
    alternatives = {"identity": problem.anchor, "temperature": problem.anchor}
    options = {"scale": 1.0, "n_standard_errors": 1.5, "random_state": 0}
    by_row = select_setting(problem, alternatives, "loo", max_samples=3000, **options)
    on_cells = replace(problem, algorithm="auto")
    by_cell = select_setting(on_cells, alternatives, "loo", max_samples=100, **options)
    assert by_cell.word == by_row.word
    np.testing.assert_allclose(np.log2(by_cell.bandwidth / by_row.bandwidth), 0, atol=1.01)
    standard_error = log_loss(problem.anchor, problem.y).std() / np.sqrt(3000)
    lowest = [selection.table["loss"].min() for selection in (by_row, by_cell)]
    assert abs(lowest[0] - lowest[1]) < 0.05 * standard_error


def test_bandwidths_below_the_cells_are_not_tried():
    problem = replace(problem_with(0.1), algorithm="auto")
    alternatives = {"identity": problem.anchor}
    found = select_setting(
        problem, alternatives, "loo", scale=1.0, n_standard_errors=1.5, max_samples=100,
        random_state=0,
    )  # fmt: skip
    smallest = 1.25 * CellRows.of(problem).cells.width
    assert (found.table["bandwidth"] >= smallest).all()


@pytest.mark.parametrize("anchor", ["temperature", "none"])
def test_the_calibrator_predicts_as_with_exact_sums(anchor):
    rng = np.random.default_rng(2)
    confidence, routing = rng.beta(6, 2, 3000), rng.random(3000)
    y = rng.random(3000) < np.clip(confidence + 0.15 * np.sign(routing - 0.5), 0, 1)
    X = np.column_stack([confidence, routing])
    options = {"bandwidth": [0.3, 0.1], "shrinkage": 3.0, "anchor": anchor}
    exact = NWConditionalCalibrator(**options, algorithm="exact").fit(X, y)
    binned = NWConditionalCalibrator(**options, algorithm="binned").fit(X, y)
    difference = np.abs(exact.predict_proba(X) - binned.predict_proba(X))
    assert 0 < difference.max() < 1e-4
    np.testing.assert_allclose(binned.kernel_mass(X), exact.kernel_mass(X), rtol=1e-4, atol=1e-3)
    assert abs(exact.n_fallback_ - binned.n_fallback_) <= 2
    # No row is kept.
    assert len(binned._kernel.rows.y) == 1


def test_ranks_of_very_many_values_are_kept_at_some_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    # One value has a fifth of the rows; no knot may miss it.
    column = np.where(rng.random(20_000) < 0.2, 0.3, rng.random(20_000))
    weight = rng.integers(1, 4, 20_000).astype(float)
    whole = RankAxis.fit(column, weight)
    monkeypatch.setattr("sk_arcal.calibration._axes._MOST_RANKS", 1000)
    some = RankAxis.fit(column, weight)
    assert len(some.values) < 1010 < len(whole.values)
    assert some(np.array([0.3])) == whole(np.array([0.3]))
    assert 0 < np.abs(some(column) - whole(column)).max() < 3 / 1000
    np.testing.assert_array_equal(some(column.max() + np.ones(1)), whole(column.max() + np.ones(1)))
