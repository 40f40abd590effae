import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._step_down import (
    combined_pvalues,
    combined_scores,
    rank_pvalues,
    step_down,
)


def test_rank_pvalue_is_the_share_at_least_as_large():
    statistics = np.array([[3.0], [1], [3], [5], [0]])
    assert rank_pvalues(statistics)[:, 0].tolist() == [3 / 5, 4 / 5, 3 / 5, 1 / 5, 1]


def test_rank_pvalues_count_rounding_as_a_tie():
    statistics = np.array([[0.1 + 0.2], [0.3], [0.2]])
    assert rank_pvalues(statistics)[:, 0].tolist() == [2 / 3, 2 / 3, 1]


def test_combined_score_by_hand():
    pvalues = np.exp(-np.array([[1.0, 2.0], [0.0, 3.0]]))
    np.testing.assert_allclose(combined_scores(pvalues, np.array([0.5, 2.0])), [16.5, 54.0])


def test_combined_pvalue_is_the_share_with_a_score_at_least_as_large():
    pvalues = np.array([[1, 4], [1, 2], [3, 2], [4, 3]]) / 4
    assert combined_pvalues(pvalues, np.ones(2)).tolist() == [2 / 4, 1 / 4, 3 / 4, 1]


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (0.5, 1.5, 0.5, 1.25)])
def test_combined_pvalue_of_copies_is_the_pvalue_itself(weights):
    one = rank_pvalues(np.random.default_rng(0).normal(size=(100, 1)))
    copies = np.repeat(one, 4, axis=1)
    np.testing.assert_allclose(combined_pvalues(copies, np.array(weights)), one[:, 0])


def test_a_component_without_weight_does_not_count():
    pvalues = rank_pvalues(np.random.default_rng(0).normal(size=(100, 2)))
    np.testing.assert_allclose(combined_pvalues(pvalues, np.array([1.0, 0.0])), pvalues[:, 0])


def test_step_down_by_hand():
    """Feature 1 is compared with the minimum of three, then 0 with two, then 2 with itself.

    Minima over {0, 1, 2}: .2 .4 .2 .4 .6, so 2 of 5 are <= .2; over {0, 2}: .4 .4 .8 .6 .6, so
    2 of 5 are <= .4, and .4 is not below .4; over {2}: .8 .4 1 .6 1, so 3 of 5 are <= .8.
    """
    pvalues = np.array(
        [[0.4, 0.2, 0.8], [0.8, 1.0, 0.4], [0.8, 0.2, 1.0], [0.6, 0.4, 0.6], [0.6, 0.8, 1.0]]
    )
    np.testing.assert_allclose(step_down(pvalues), [0.4, 0.4, 0.6])


def test_step_down_by_the_definition():
    rng = np.random.default_rng(0)
    pvalues = rank_pvalues(rng.normal(size=(200, 5)) + rng.normal(size=(200, 1)))
    order = np.argsort(pvalues[0])
    expected, reached = np.empty(5), 0.0
    for j, feature in enumerate(order):
        rest = order[j:]
        share = sum(row[rest].min() <= pvalues[0, feature] for row in pvalues) / 200
        reached = max(reached, share)
        expected[feature] = reached
    np.testing.assert_allclose(step_down(pvalues), expected)


def test_one_feature_needs_no_adjustment():
    pvalues = rank_pvalues(np.random.default_rng(0).normal(size=(100, 1)))
    assert step_down(pvalues)[0] == pytest.approx(pvalues[0, 0])


def test_copies_of_a_feature_cost_nothing():
    pvalues = rank_pvalues(np.random.default_rng(0).normal(size=(100, 1)))
    np.testing.assert_allclose(step_down(np.repeat(pvalues, 6, axis=1)), pvalues[0, 0])


def test_false_alarms_of_the_family_stay_at_the_level():
    """Eight features, correlation .7, no signal: 5 % of 400 tables, within 3 sigma."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        statistics = 0.7**0.5 * rng.normal(size=(1000, 1)) + 0.3**0.5 * rng.normal(size=(1000, 8))
        alarms += step_down(rank_pvalues(statistics)).min() <= 0.05
    assert abs(alarms / 400 - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)
