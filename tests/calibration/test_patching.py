"""Patches: the worst cell by brute force, the closed form of a shift, no step past the target."""

from itertools import islice

import numpy as np
import pytest
from scipy.special import expit, logit, rel_entr

from sk_arcal.calibration._groups._patching import (
    PatchedRows,
    Patching,
    boost,
    largest_gap,
    worst_patch,
)

PLAIN = Patching(n_bins=4, learning_rate=1.0, shrinkage=0.0, max_iter=50)


def some_rows(n=400, seed=0, spread=1.5):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0.3, spread, n)
    codes = np.column_stack(
        [np.zeros(n, int), 1 + rng.integers(0, 3, n), 4 + rng.integers(0, 2, n)]
    )
    event = (rng.random(n) < expit(log_odds - 0.8 * (codes[:, 1] == 2))).astype(float)
    return PatchedRows(log_odds, codes, event, rng.integers(1, 4, n).astype(float))


def brute_force(log_odds, rows, patching):
    """All cells as (violation, group, number of the bin or None, rows, target)."""
    order = np.argsort(log_odds)
    middle = np.empty(len(log_odds))
    middle[order] = np.cumsum(rows.weight[order]) - rows.weight[order] / 2
    bins = np.floor(patching.n_bins * middle / rows.weight.sum())
    cells = []
    for group in range(rows.codes.max() + 1):
        for part in [None, *range(patching.n_bins)]:
            inside = (rows.codes == group).any(axis=1) & ((bins == part) | (part is None))
            w = rows.weight[inside]
            rate = w @ rows.event[inside] / w.sum()
            mean = w @ expit(log_odds[inside]) / w.sum()
            target = (w.sum() * rate + patching.shrinkage * mean) / (w.sum() + patching.shrinkage)
            kl = rel_entr([rate, 1 - rate], [mean, 1 - mean]).sum()
            left = rel_entr([rate, 1 - rate], [target, 1 - target]).sum()
            cells.append((w.sum() * (kl - left), group, part, inside, target, mean, rate))
    return cells


@pytest.mark.parametrize("shrinkage", [0.0, 10.0, 200.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_worst_cell_is_that_of_brute_force(seed, shrinkage):
    rows = some_rows(seed=seed)
    patching = Patching(n_bins=4, learning_rate=0.7, shrinkage=shrinkage, max_iter=1)
    cells = brute_force(rows.log_odds, rows, patching)
    violation, group, _, inside, target, mean, rate = max(cells, key=lambda cell: cell[0])
    found = worst_patch(rows.log_odds, rows, patching)
    assert found.group == group
    assert found.violation == pytest.approx(violation)
    assert found.shift == pytest.approx(0.7 * (logit(target) - logit(mean)))
    assert found.gap == pytest.approx(rate - mean)
    assert found.weight == rows.weight[inside].sum()
    moved = found.apply(rows.log_odds, rows.codes) != rows.log_odds
    np.testing.assert_array_equal(moved, inside)
    largest = max(abs(cell[4] - cell[5]) for cell in cells)
    assert largest_gap(rows.log_odds, rows, patching) == pytest.approx(largest)


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_a_patch_never_leads_past_its_target(spread):
    rows = some_rows(spread=spread)
    log_odds = rows.log_odds
    for patch in islice(boost(rows, PLAIN), 10):
        inside = patch.apply(log_odds, rows.codes) != log_odds
        log_odds = patch.apply(log_odds, rows.codes)
        residual = (rows.event - expit(log_odds))[inside]
        gap = rows.weight[inside] @ residual / rows.weight[inside].sum()
        assert abs(gap) < abs(patch.gap)
        assert gap * patch.gap > -1e-12


def test_a_cell_of_constant_confidence_is_met_in_one_step():
    n = 100
    codes = np.column_stack([np.zeros(n, int), 1 + np.arange(n) % 2])
    event = np.where(np.arange(n) % 2 == 0, np.arange(n) % 10 < 8, np.arange(n) % 10 < 4)
    rows = PatchedRows(np.zeros(n), codes, event.astype(float), np.ones(n))
    log_odds = rows.log_odds
    for patch in islice(boost(rows, PLAIN), 2):
        log_odds = patch.apply(log_odds, codes)
    rates = [event[::2].mean(), event[1::2].mean()]
    assert rates == pytest.approx([0.8, 0.4])
    np.testing.assert_allclose(expit(log_odds[:2]), rates, rtol=1e-12)


def test_bins_are_those_of_the_current_confidence():
    rows = some_rows()
    first, second = islice(boost(rows, PLAIN), 2)
    after = first.apply(rows.log_odds, rows.codes)
    assert second == worst_patch(after, rows, PLAIN)
    assert second != worst_patch(rows.log_odds, rows, PLAIN)


def test_rounds_end_where_nothing_is_off():
    event = np.tile([0.0, 1.0], 50)
    rows = PatchedRows(np.zeros(100), np.zeros((100, 1), int), event, np.ones(100))
    assert list(boost(rows, PLAIN)) == []
    assert len(list(boost(some_rows(), PLAIN))) == 50


def test_more_shrinkage_moves_less():
    rows = some_rows()
    steps = [
        abs(worst_patch(rows.log_odds, rows, Patching(1, 1.0, shrinkage, 1)).shift)
        for shrinkage in (0.0, 10.0, 1e9)
    ]
    assert steps[0] > steps[1] > steps[2]
    assert steps[2] < 1e-5


def test_certainty_that_is_wrong_stays_finite():
    rows = PatchedRows(np.full(20, 1e3), np.zeros((20, 1), int), np.zeros(20), np.ones(20))
    for shrinkage in (0.0, 10.0):
        patch = worst_patch(rows.log_odds, rows, Patching(4, 1.0, shrinkage, 1))
        assert np.isfinite(patch.shift)
        assert patch.shift < 0
        assert patch.gap == pytest.approx(-1)
