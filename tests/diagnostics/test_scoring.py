"""Scores and their paired differences, against the public metrics and plain resampling."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from sk_arcal.diagnostics._probing._paired import clustered_difference
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows
from sk_arcal.diagnostics._probing._scoring import Scorer
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    worst_group_calibration_error,
)
from sk_arcal.metrics._difference import calibration_error_difference


def rows(n=600, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.15, 0.95, n)
    y = (rng.random(n) < confidence).astype(float)
    cluster = np.arange(n) if groups is None else groups
    return ProbeRows(y, confidence, cluster, np.arange(n) % 2, np.arange(n), n)


def scorer_of(data, strata=None, n_resamples=200):
    strata = np.arange(len(data.event)) % 3 if strata is None else strata
    return Scorer(data, strata, n_resamples, np.random.default_rng(0))


def test_scores_are_the_public_metrics():
    data = rows()
    scored = scorer_of(data).score(data.confidence)
    y, q = data.event, data.confidence
    np.testing.assert_allclose(scored.log_loss.mean(), log_loss(y, q))
    np.testing.assert_allclose(scored.brier.mean(), brier_score_loss(y, q))
    np.testing.assert_allclose(scored.ece, expected_calibration_error(y, q))
    worst = worst_group_calibration_error(y, q, np.arange(600) % 3)
    np.testing.assert_allclose(scored.worst_ece.value, worst)


def test_resampled_errors_are_those_of_resampled_groups():
    group = np.arange(600) // 5
    data = rows(groups=group)
    strata = np.random.default_rng(1).integers(3, size=600)
    scored = scorer_of(data, strata, n_resamples=3).score(data.confidence)
    drawn = np.random.default_rng(0).integers(120, size=(3, 120))
    for k, groups in enumerate(drawn):
        i = (5 * groups[:, None] + np.arange(5)).ravel()
        y, q = data.event[i], data.confidence[i]
        worst = worst_group_calibration_error(y, q, strata[i])
        np.testing.assert_allclose(scored.worst_ece.draws[k], worst)


def test_correction_of_a_single_stratum_is_that_of_the_public_interval():
    data = rows(2000)
    q = np.clip(data.confidence + 0.05, 0, 1)
    scorer = scorer_of(data, np.zeros(2000, dtype=int), n_resamples=1000)
    far, near = scorer.score(q), scorer.score(data.confidence)
    settings = {"n_resamples": 1000, "random_state": 1}
    public, other = (
        calibration_error_interval(data.event, one, **settings) for one in (q, data.confidence)
    )
    error = far.worst_ece
    np.testing.assert_allclose((error.above + error.below) / 2, public.corrected, atol=5e-4)
    assert error.below < error.above < error.value == pytest.approx(far.ece)
    found = scorer.differences(far, near)["worst_ece_difference"].estimate
    np.testing.assert_allclose(found, public.corrected - other.corrected, atol=1e-3)
    assert abs(found - error.value + near.worst_ece.value) > 3e-3


@pytest.mark.parametrize("groups", [None, np.arange(600) // 4])
def test_difference_over_all_rows_is_the_public_one(groups):
    data = rows(groups=groups)
    q = np.clip(data.confidence + 0.05, 0, 1)
    scorer = scorer_of(data, n_resamples=400)
    found = scorer.differences(scorer.score(q), scorer.score(data.confidence))["ece_difference"]
    public = calibration_error_difference(
        data.event, q, data.confidence, groups=groups, n_resamples=4000, random_state=1
    )
    expected = (public.corrected, public.low, public.high)
    np.testing.assert_allclose(found, expected, atol=0.3 * (public.high - public.low))


def test_probe_differs_from_itself_by_nothing():
    data = rows()
    scorer = scorer_of(data)
    same = scorer.score(data.confidence)
    assert set(scorer.differences(same, same).values()) == {(0.0, 0.0, 0.0)}


def test_differences_change_sign_with_their_members():
    data = rows()
    scorer = scorer_of(data)
    a, b = scorer.score(data.confidence), scorer.score(np.clip(data.confidence - 0.1, 0.01, 1))
    forth, back = scorer.differences(a, b), scorer.differences(b, a)
    for name in forth:
        np.testing.assert_allclose(forth[name], [-x for x in (back[name][i] for i in (0, 2, 1))])
    assert forth["ece_difference"].high < 0
    assert forth["log_loss_difference"].high < 0


def test_repeated_rows_leave_the_interval_of_the_groups_alone():
    values = np.random.default_rng(0).normal(size=50)
    once = clustered_difference(values, np.arange(50))
    often = clustered_difference(np.repeat(values, 4), np.repeat(np.arange(50), 4))
    np.testing.assert_allclose(often, once)
    half_width = 1.96 * values.std() / np.sqrt(50)
    np.testing.assert_allclose(once.high - once.estimate, half_width)


def test_paired_interval_is_narrower_than_the_members_apart():
    data = rows(3000)
    scorer = scorer_of(data)
    q = data.confidence
    near = np.clip(q + 0.002 * np.sin(20 * q), 0, 1)
    difference = scorer.differences(scorer.score(near), scorer.score(q))["ece_difference"]
    single = calibration_error_interval(data.event, q, random_state=0)
    assert difference.high - difference.low < 3 * single.standard_error


@pytest.mark.parametrize("name", ["ece_difference", "worst_ece_difference"])
def test_interval_holds_a_difference_that_is_known(name):
    covered = 0
    for seed in range(40):
        data = rows(2000, seed)
        scorer = scorer_of(data, n_resamples=100)
        # Both miss by a constant, so that the errors are 0.12 and 0.06 in all strata.
        far, near = (scorer.score(np.clip(data.confidence - d, 0, 1)) for d in (0.12, 0.06))
        low, high = scorer.differences(far, near)[name][1:]
        covered += low < 0.06 < high
    assert covered >= 34
