import numpy as np
import pytest
from scipy import stats

from sk_arcal.diagnostics._conditional._combination import (
    cauchy_combination,
    holm,
    partial_conjunction,
)

# --- Cauchy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pvalues", [[0.3], [0.01, 0.9, 0.4], [1e-12, 0.5], [0.98, 0.02, 0.6]])
def test_cauchy_is_the_tail_of_the_mean_of_cauchy_scores(pvalues):
    expected = stats.cauchy.sf(np.mean(stats.cauchy.isf(pvalues)))
    assert cauchy_combination(pvalues) == pytest.approx(expected, rel=1e-9)


def test_one_pvalue_is_its_own_combination_however_small():
    for p in (1e-300, 1e-20, 1e-3, 0.5, 0.97):
        assert cauchy_combination([p]) == pytest.approx(p, rel=1e-12)


def test_copies_change_nothing():
    assert cauchy_combination([0.03] * 5) == pytest.approx(0.03, rel=1e-12)


def test_cauchy_of_two_by_hand():
    """cot(pi / 6) = sqrt 3 and cot(pi / 2) = 0: their mean is cot of atan(2 / sqrt 3)."""
    expected = np.arctan(2 / np.sqrt(3)) / np.pi
    assert cauchy_combination([1 / 6, 1 / 2]) == pytest.approx(expected, rel=1e-12)


def test_cauchy_at_the_ends():
    assert cauchy_combination([0, 0.5]) == 0
    assert cauchy_combination([0, 1]) == 0
    assert cauchy_combination([1]) == pytest.approx(0.99)
    assert cauchy_combination([1, 0.5], largest=1) == pytest.approx(1)
    assert np.isnan(cauchy_combination([]))


def test_one_run_does_not_undo_another():
    """cot is odd about 1/2: untruncated, 0.005 and 0.995 make 0.5."""
    assert cauchy_combination([0.005, 0.995], largest=1) == pytest.approx(0.5)
    by_hand = stats.cauchy.sf((stats.cauchy.isf(0.005) + stats.cauchy.isf(0.99)) / 2)
    assert cauchy_combination([0.005, 0.995]) == pytest.approx(by_hand)
    assert cauchy_combination([0.005, 1]) == pytest.approx(by_hand)
    assert by_hand < 0.02


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_cauchy_keeps_its_level_whatever_the_dependence(correlation):
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(8000, 1)), rng.normal(size=(8000, 5))
    scores = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    pvalues = 2 * stats.norm.sf(np.abs(scores))
    rate = np.mean([cauchy_combination(row) <= 0.01 for row in pvalues])
    assert 0.005 < rate < 0.0135


# --- partial conjunction --------------------------------------------------------------------


def test_partial_conjunction_by_hand():
    pvalues = [0.5, 0.01, 0.2, 0.04, 0.03]
    assert partial_conjunction(pvalues, 1) == pytest.approx(5 * 0.01)
    assert partial_conjunction(pvalues, 3) == pytest.approx(3 * 0.04)
    assert partial_conjunction(pvalues, 5) == pytest.approx(0.5)
    assert partial_conjunction([0.4, 0.9], 1) == pytest.approx(0.8)
    assert partial_conjunction([0.6, 0.9], 1) == 1
    assert partial_conjunction([0, 0, 1], 2) == 0


def test_partial_conjunction_holds_with_one_signal_too_few():
    """Two of five runs with a sure signal: "three or more" is rejected in at most 5 %."""
    rng = np.random.default_rng(0)
    pvalues = np.hstack([np.zeros((20_000, 2)), rng.random((20_000, 3))])
    rate = np.mean([partial_conjunction(row, 3) <= 0.05 for row in pvalues])
    assert 0.045 < rate < 0.0525


# --- Holm -----------------------------------------------------------------------------------


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.02, 0.5, 0.01, 0.3]), [0.06, 0.6, 0.04, 0.6])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


def test_holm_does_not_count_what_has_no_answer():
    np.testing.assert_allclose(holm([np.nan, 0.02, 0.01]), [np.nan, 0.02, 0.02])
    assert np.isnan(holm([np.nan])).all()


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(0)
    for pvalues in rng.random((200, 5)) ** 3:
        order, rejected = np.argsort(pvalues), set()
        for k, feature in enumerate(order):
            if pvalues[feature] > 0.05 / (5 - k):
                break
            rejected.add(int(feature))
        assert set(np.flatnonzero(holm(pvalues) <= 0.05).tolist()) == rejected
