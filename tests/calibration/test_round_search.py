"""How many rounds: held-out losses by hand, the standard-error rule, and too few rows."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from sk_arcal.calibration._adversary._dealt_folds import deal
from sk_arcal.calibration._groups._patching import PatchedRows, Patching, boost
from sk_arcal.calibration._groups._round_search import RoundLosses, cross_validate

PATCHING = Patching(n_bins=3, learning_rate=0.5, shrinkage=5.0, max_iter=6)


def two_groups(n=300, shift=0.8, seed=0):
    rng = np.random.default_rng(seed)
    log_odds, group = np.sort(rng.normal(0, 1, n)), rng.integers(0, 2, n)
    event = (rng.random(n) < expit(log_odds + shift * (2 * group - 1))).astype(float)
    codes = np.column_stack([np.zeros(n, int), 1 + group])
    return PatchedRows(log_odds, codes, event, rng.integers(1, 4, n).astype(float))


def test_losses_are_those_of_folds_left_out_by_hand():
    rows = two_groups()
    sums = np.zeros(7)
    for part in deal(rows.weight, 4):
        rest = rows.weight - part
        train = PatchedRows(*(v[rest > 0] for v in (rows.log_odds, rows.codes, rows.event, rest)))
        log_odds, k = rows.log_odds, 0
        sums[0] += part.sum() * log_loss(rows.event, expit(log_odds), sample_weight=part)
        for k, patch in enumerate(boost(train, PATCHING), start=1):
            log_odds = patch.apply(log_odds, rows.codes)
            sums[k] += part.sum() * log_loss(rows.event, expit(log_odds), sample_weight=part)
        assert k == 6
    found = cross_validate(rows, PATCHING, 4)
    np.testing.assert_allclose(found.losses, sums / rows.weight.sum(), rtol=1e-10)
    np.testing.assert_allclose(found.gains, found.losses[0] - found.losses, atol=1e-15)
    assert found.choose(1.0) > 0


def test_the_standard_error_is_that_of_a_mean():
    rows = two_groups()
    found = cross_validate(rows, Patching(3, 0.5, 5.0, 1), 2)
    gains = []
    for part in deal(rows.weight, 2):
        rest = rows.weight - part
        kept = np.flatnonzero(rest)
        patch = next(boost(rows.take(kept, rest[kept]), PATCHING))
        moved = patch.apply(rows.log_odds, rows.codes)
        signed = 2 * rows.event - 1
        gain = np.logaddexp(0, -signed * rows.log_odds) - np.logaddexp(0, -signed * moved)
        gains.append(np.repeat(gain, part.astype(int)))
    gains = np.concatenate(gains)
    assert found.errors[1] == pytest.approx(gains.std() / len(gains) ** 0.5)


def test_rounds_that_run_out_leave_the_loss_where_it_is():
    rows = two_groups()
    few = cross_validate(rows, Patching(3, 1.0, 0.0, 400), 2)
    assert len(few.losses) == 401
    assert np.isfinite(few.losses).all()


@pytest.mark.parametrize(
    ("gains", "errors", "n_standard_errors", "expected"),
    [
        ([0, 1, 3, 2], [0, 1, 1, 1], 1.0, 2),
        ([0, 1, 3, 2], [0, 1, 3, 1], 1.0, 0),
        ([0, 1, 3, 2], [0, 1, 3, 1], 0.0, 2),
        ([0, -1, -3, -2], [0, 1, 1, 1], 0.0, 0),
        ([0, 1, 2.9999, 3], [0, 1, 1, 1], 1.0, 2),
    ],
    ids=["lowest", "guarded", "unguarded", "harmful", "negligible"],
)
def test_choice(gains, errors, n_standard_errors, expected):
    found = RoundLosses(np.zeros(4), np.array(gains), np.array(errors))
    assert found.choose(n_standard_errors) == expected


def test_fewer_rows_than_folds_are_not_searched():
    rows = two_groups(3)
    one_each = rows.take(np.arange(3), np.ones(3))
    found = cross_validate(one_each, PATCHING, 5)
    assert np.isnan(found.losses).all()
    assert found.choose(0.0) == 0


def test_log_odds_without_bound_give_losses_without_warnings():
    rows = two_groups(60)
    far = PatchedRows(rows.log_odds * 1e300, rows.codes, rows.event, rows.weight)
    assert np.isfinite(cross_validate(far, PATCHING, 3).losses).all()
