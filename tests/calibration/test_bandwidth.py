"""The bandwidth parameter, and the search behind "loo"."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from sk_arcal.calibration._kernel._bandwidth import check_bandwidth, select_setting
from sk_arcal.calibration._kernel._bandwidth_search import SHRINKAGES, BandwidthSearch
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel._residual_kernel import corrected_probability, log_loss


def problem_with(effect, n=600, n_columns=1, seed=0, min_mass=5.0):
    """Log-odds and ranks as axes; the event rate is the anchor plus effect(anchor, columns)."""
    rng = np.random.default_rng(seed)
    log_odds, columns = rng.normal(1, 1, n), rng.random((n, n_columns))
    anchor = expit(log_odds)
    truth = np.clip(anchor + effect(anchor, columns), 0, 1)
    return LeaveOneOut(
        axes=np.column_stack([log_odds, columns]),
        anchor=anchor,
        y=(rng.random(n) < truth).astype(float),
        sample_weight=np.ones(n),
        min_mass=min_mass,
        anchored=True,
        shrinkages=SHRINKAGES,
        algorithm="auto",
    )


def no_effect(anchor, columns):
    return 0.0


def step(anchor, columns):
    return np.where(columns[:, 0] < 0.5, -0.2, 0.2)


def sign_flips_with_confidence(anchor, columns):
    return 0.3 * np.sign(columns[:, 0] - 0.5) * np.sign(anchor - np.median(anchor))


def exclusive_or(anchor, columns):
    return 0.3 * np.sign(columns[:, 0] - 0.5) * np.sign(columns[:, 1] - 0.5)


def select(problem, bandwidth="loo", **settings):
    options = {"scale": 1.0, "n_standard_errors": 1.0, "max_samples": 5000, "random_state": 0}
    alternatives = {"identity": problem.anchor, "temperature": problem.anchor}
    return select_setting(problem, alternatives, bandwidth, **(options | settings))


# --- the parameter ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["loo", "scott"])
def test_words_pass(word):
    assert check_bandwidth(word, 3) == word


@pytest.mark.parametrize("number", [0.5, 1, np.float32(0.25), np.inf])
def test_a_number_is_for_all_axes(number):
    np.testing.assert_array_equal(check_bandwidth(number, 3), np.full(3, number))


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_a_sequence_is_one_per_axis(kind):
    np.testing.assert_array_equal(check_bandwidth(kind([0.5, np.inf]), 2), [0.5, np.inf])


def test_wrong_length_says_what_the_axes_are():
    with pytest.raises(ValueError, match=r"has 2 entries but there are 3 axes.*2 routing column"):
        check_bandwidth([0.1, 0.2], 3)


@pytest.mark.parametrize("number", [-1.0, np.nan, 0, 0.0, [0.1, -0.2], [np.nan, 1], [0.0, 1]])
def test_bandwidths_that_are_not_positive_are_refused(number):
    with pytest.raises(ValueError, match=r"`bandwidth(\[\d\])?` must"):
        check_bandwidth(number, 2)


@pytest.mark.parametrize("wrong", [None, True, [[0.1, 0.2]], {"a": 1}, ["a", "b"]])
def test_other_kinds_are_refused(wrong):
    with pytest.raises(TypeError, match=r"`bandwidth(\[\d\])?` must be"):
        check_bandwidth(wrong, 2)


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match=r"'loo', 'scott'.*got 'silverman'"):
        check_bandwidth("silverman", 2)


# --- leave-one-out loss -------------------------------------------------------------------------


def test_loss_of_a_trial_is_the_loss_without_each_row():
    problem = problem_with(step, n=40, min_mass=2.0)
    bandwidth = np.array([0.7, 0.2])
    trial = next(t for t in problem.trials(bandwidth[None]) if t.shrinkage == 3)
    for i in range(40):
        kernel = np.exp(-0.5 * (((problem.axes - problem.axes[i]) / bandwidth) ** 2).sum(axis=1))
        kernel[i] = 0
        mass, residual = kernel.sum(), kernel @ (problem.y - problem.anchor)
        correction = residual / (mass + 3) if mass >= 2 else 0.0
        margin = min(0.5 / (mass + 1), problem.anchor[i], 1 - problem.anchor[i])
        expected = np.clip(problem.anchor[i] + correction, margin, 1 - margin)
        likelihood = expected if problem.y[i] else 1 - expected
        np.testing.assert_allclose(trial.losses[i], -np.log(likelihood), rtol=1e-10)


def test_complexity_counts_rows_in_their_own_prediction():
    # Everything off: each of n rows has the share 1 / (n + shrinkage) in every prediction.
    problem = problem_with(no_effect, n=50)
    trials = problem.trials(np.full((1, 2), np.inf))
    for trial in trials:
        np.testing.assert_allclose(trial.complexity, 50 / (50 + trial.shrinkage))


def test_standard_error_is_that_of_a_paired_mean():
    problem = problem_with(step)
    first, second = problem.trials(np.array([[0.5, 0.1]]))[:2]
    difference = first.losses - second.losses
    expected = difference.std() / np.sqrt(len(difference))
    np.testing.assert_allclose(problem.standard_error(first, second), expected)


def test_loss_is_finite_where_a_sure_probability_is_wrong():
    assert np.isfinite(log_loss(np.array([0.0, 1.0]), np.array([1.0, 0.0]))).all()


def test_correction_stays_half_a_row_away_from_certainty():
    anchor, sums = np.array([0.9, 0.9999]), np.array([9.0, 9.0])
    found = corrected_probability(anchor, sums, np.full(2, 9.0), shrinkage=0.0, min_mass=5.0)
    np.testing.assert_allclose(found, [1 - 0.5 / 10, 0.9999])


# --- search -------------------------------------------------------------------------------------


def test_without_slack_one_column_gets_the_lowest_loss_of_the_grid():
    problem = problem_with(step, n=300)
    chosen = select(problem, n_standard_errors=0.0)
    table = chosen.table
    lowest = table["loss"].argmin()
    np.testing.assert_array_equal(chosen.bandwidth, table["bandwidth"][lowest])
    assert chosen.shrinkage == table["shrinkage"][lowest]
    # Seven widths and off on each axis, less what leaves too many rows alone.
    tried = np.unique(table["bandwidth"][2:], axis=0)
    assert 40 <= len(tried) <= 63


def test_a_useless_column_is_left_out():
    chosen = select(problem_with(no_effect))
    assert chosen.word in {"identity", "temperature"}
    assert np.isinf(chosen.bandwidth).all()
    assert chosen.shrinkage == np.inf


def test_a_step_is_found():
    chosen = select(problem_with(step))
    assert chosen.word == "routing"
    assert chosen.bandwidth[1] < 0.3


def test_an_effect_that_flips_with_confidence_is_found():
    chosen = select(problem_with(sign_flips_with_confidence))
    assert chosen.word == "routing"
    assert np.isfinite(chosen.bandwidth).all()


def test_an_effect_of_two_columns_together_is_found():
    chosen = select(problem_with(exclusive_or, n_columns=3))
    assert chosen.word == "routing"
    np.testing.assert_array_equal(np.isfinite(chosen.bandwidth[1:]), [True, True, False])


def test_useless_columns_beside_a_useful_one_are_switched_off():
    chosen = select(problem_with(step, n_columns=3))
    np.testing.assert_array_equal(np.isfinite(chosen.bandwidth[1:]), [True, False, False])


@pytest.mark.parametrize("effect", [step, exclusive_or])
def test_order_of_columns_does_not_matter(effect):
    problem = problem_with(effect, n=300, n_columns=3)
    chosen = select(problem)
    order = [0, 3, 1, 2]
    permuted = LeaveOneOut(
        problem.axes[:, order], problem.anchor, problem.y, problem.sample_weight, 5.0, True,
        SHRINKAGES,
    )  # fmt: skip
    other = select(permuted)
    np.testing.assert_allclose(other.bandwidth, chosen.bandwidth[order], rtol=1e-12)
    assert other.shrinkage == chosen.shrinkage


def test_a_constant_column_is_never_searched():
    problem = problem_with(step, n_columns=2)
    problem.axes[:, 2] = 0.5
    table = select(problem).table
    assert np.isinf(table["bandwidth"][:, 2]).all()


def test_the_rule_takes_the_simplest_arm_within_its_slack():
    problem = problem_with(step, n=400)
    search = BandwidthSearch(problem, fixed_arms(problem), 1.0)
    search.run()
    arms = search._arms()
    lowest = min((trial for _, trial in arms), key=lambda trial: trial.loss)
    gain = arms[0][1].loss - lowest.loss
    error = problem.standard_error(arms[0][1], lowest)
    below, above = 0.99 * gain / error, 1.01 * gain / error
    assert select(problem, n_standard_errors=below).word == "routing"
    assert select(problem, n_standard_errors=above).word != "routing"


def fixed_arms(problem):
    off = np.full(problem.axes.shape[1], np.inf)
    loss = log_loss(problem.anchor, problem.y)
    return {"identity": problem.trial(off, np.inf, 0.0, loss)}


def test_more_columns_need_a_larger_gain():
    # The same useful column, alone and beside columns that are searched too.
    problem = problem_with(lambda p, r: np.where(r[:, 0] < 0.5, -0.08, 0.08), n=400, n_columns=6)
    alone = LeaveOneOut(
        problem.axes[:, :2], problem.anchor, problem.y, problem.sample_weight, 5.0, True, SHRINKAGES
    )
    search = BandwidthSearch(alone, fixed_arms(alone), 1.0)
    search.run()
    arms = search._arms()
    gain = arms[0][1].loss - arms[-1][1].loss
    error = alone.standard_error(arms[0][1], arms[-1][1])
    just_enough = 0.95 * gain / error
    assert select(alone, n_standard_errors=just_enough).word == "routing"
    assert select(problem, n_standard_errors=just_enough).word != "routing"


def test_a_stated_bandwidth_is_scaled_and_only_shrinkage_is_searched():
    chosen = select(problem_with(step), np.array([1.0, 0.1]), scale=2.0)
    np.testing.assert_array_equal(chosen.bandwidth, [2.0, 0.2])
    assert chosen.shrinkage in SHRINKAGES
    assert len(chosen.table["loss"]) == 2 + len(SHRINKAGES)


def test_search_on_fewer_rows_is_scaled_to_all():
    problem = replace(problem_with(step, n=2000), algorithm="exact")
    rows = np.sort(np.random.default_rng(3).choice(2000, 500, replace=False))
    chosen = select(problem, max_samples=500, random_state=3)
    part = select(problem.subset(rows))
    used = np.isfinite(part.bandwidth).sum()
    np.testing.assert_allclose(chosen.bandwidth, part.bandwidth * 4 ** (-1 / (used + 4)))
    assert chosen.word == part.word


def test_random_state_has_no_effect_on_few_rows():
    problem = problem_with(step, n=300)
    first, second = select(problem, random_state=1), select(problem, random_state=None)
    np.testing.assert_array_equal(first.bandwidth, second.bandwidth)


def test_table_has_a_line_for_everything_tried():
    table = select(problem_with(step, n=200)).table
    lengths = {len(column) for column in table.values()}
    assert lengths == {len(table["loss"])}
    assert table["candidate"][:2].tolist() == ["identity", "temperature"]
    assert table["standard_error"][0] == 0
    assert set(table["candidate"]) == {"identity", "temperature", "confidence", "routing"}


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_few_rows_leave_the_confidence_alone(n):
    chosen = select(problem_with(no_effect, n=n))
    assert chosen.word in {"identity", "temperature"}
