import pickle

import numpy as np
import pytest

from sk_arcal.diagnostics._betting import BettingTest
from sk_arcal.diagnostics._conditional._past_rows import PastRows

SIZES = (0.025, 0.06, 0.14, 0.32)


def _plain_wealth(events, confidence, routing):
    """Wealth after each row: one row, direction and stake at a time."""
    wealth = {(j, s * size): 1.0 for j in range(3) for size in SIZES for s in (1, -1)}
    path, next_fit, past = [], 100, None
    none = np.full(1, -1)
    for i in range(len(events)):
        if past is not None:
            rate = past.rate(confidence[i : i + 1])[0]
            stakes = past.stakes(confidence[i : i + 1], routing[i : i + 1], none)[0]
            for (j, theta), value in wealth.items():
                risk = abs(theta * stakes[j]) * max(rate, 1 - rate)
                size = theta * min(1, 0.9 / risk)
                wealth[j, theta] = value * (1 + size * stakes[j] * (events[i] - rate))
        path.append(np.mean(list(wealth.values())))
        if i + 1 == next_fit:
            seen = slice(0, i + 1)
            levels = np.full(i + 1, -1)
            past = PastRows(
                confidence[seen], events[seen], routing[seen], levels, n_levels=0, ordered=True
            )
            next_fit += max(25, (i + 1) // 10)
    return np.array(path)


def _final(rows, **options):
    return BettingTest(**options).update(*rows)


def test_wealth_by_a_plain_loop(make_rows):
    rows = make_rows(320, effect=1.0)
    path = _plain_wealth(*rows)
    test = _final(rows)
    assert test.wealth == pytest.approx(path[-1])
    assert test.pvalue == pytest.approx(1 / path.max())
    assert test.n_samples == 320


def test_one_block_gives_what_single_rows_give(make_rows):
    rows = make_rows(300, effect=1.0)
    test = BettingTest()
    for i in range(300):
        test.update(*(column[i : i + 1] for column in rows))
    whole = _final(rows)
    assert test.wealth == pytest.approx(whole.wealth)
    assert test.pvalue == pytest.approx(whole.pvalue)


def test_outcomes_ahead_do_not_matter(make_rows):
    """Wealth after 200 rows is the same whatever comes later, and bets are made before."""
    events, confidence, routing = make_rows(300)
    first = _final((events[:200], confidence[:200], routing[:200]))
    before = first.wealth, first.pvalue
    second = _final((events[:200], confidence[:200], routing[:200]))
    second.update(1 - events[200:], confidence[200:], routing[200:])
    again = _final((events[:200], confidence[:200], routing[:200]))
    assert (again.wealth, again.pvalue) == before
    assert second.pvalue <= before[1]


def test_mean_wealth_is_at_most_one_without_a_signal(make_rows):
    wealth = np.array([_final(make_rows(300, seed=k)).wealth for k in range(40)])
    assert wealth.mean() <= 1 + 3 * wealth.std() / np.sqrt(40)
    assert wealth.std() > 0.05  # bets were made


def test_signal_makes_rich_and_the_pvalue_never_grows(make_rows):
    events, confidence, routing = make_rows(3000, effect=1.0)
    test, pvalues = BettingTest(), []
    for rows in np.array_split(np.arange(3000), 20):
        pvalues.append(test.update(events[rows], confidence[rows], routing[rows]).pvalue)
    assert pvalues[-1] <= 0.001
    assert (np.diff(pvalues) <= 0).all()


def test_order_of_the_rows_counts(make_rows):
    rows = make_rows(500, effect=1.0)
    turned = [column[::-1] for column in rows]
    assert _final(rows).wealth != pytest.approx(_final(turned).wealth)


def test_names_are_bet_on_by_level():
    rng = np.random.default_rng(0)
    confidence, expert = rng.uniform(0.5, 1, 2000), rng.integers(0, 5, 2000)
    events = rng.random(2000) < confidence - 0.25 * (expert == 3)
    names = np.array(list("abcde"))[expert]
    test = _final((events, confidence, names), levels=list("abcde"), ordered=False)
    assert test.pvalue <= 0.01
    blind = _final((events, confidence, names), levels=["x"], ordered=False)
    assert blind.wealth == pytest.approx(1)


def test_dependent_rows_are_one_bet(make_rows):
    """The stake on 500 copies of a row is bounded as a whole, so wealth stays positive."""
    events, confidence, routing = make_rows(400, effect=1.0)
    test = _final((events, confidence, routing))
    before = test.wealth
    test.update(
        np.repeat(1 - events[:1], 500), np.repeat(0.9, 500), np.repeat(3, 500), together=True
    )
    assert test.n_samples == 900
    # no bet loses more than 90 %, none more than doubles
    assert 0.1 * before - 1e-12 <= test.wealth <= 12 * before


def test_memory_does_not_grow(make_rows):
    rows = make_rows(900)
    test = _final(rows, window=200)
    size = len(pickle.dumps(test))
    for _ in range(3):
        test.update(*rows)
    assert len(pickle.dumps(test)) <= 1.1 * size
    assert test.n_samples == 3600


def test_window_holds_the_latest_rows(make_rows):
    """Whatever came before the window no longer says anything about the next bets."""
    late = make_rows(400, seed=1)
    gains = []
    for seed in (2, 3):
        test = _final(make_rows(500, seed=seed), window=200)
        test.update(*(column[:300] for column in late))
        before = test._log_wealth.copy()
        test.update(*(column[300:] for column in late))
        gains.append(test._log_wealth - before)
    np.testing.assert_allclose(*gains)


def test_test_goes_on_after_a_pickle(make_rows):
    rows = make_rows(600, effect=1.0)
    half = [column[:300] for column in rows]
    rest = [column[300:] for column in rows]
    test = _final(half)
    copy = pickle.loads(pickle.dumps(test))
    assert copy.update(*rest).wealth == test.update(*rest).wealth


def test_nothing_is_bet_at_first():
    test = BettingTest()
    assert (test.wealth, test.pvalue, test.n_samples) == (1, 1, 0)
    test.update([1, 0], [0.5, 0.6], [1.0, 2.0])
    assert (test.wealth, test.pvalue, test.n_samples) == (1, 1, 2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"levels": ["a", "a"]}, ValueError, "differ"),
        ({"ordered": False}, ValueError, "levels"),
        ({"window": 50}, ValueError, "window"),
        ({"window": 500.5}, TypeError, "window"),
    ],
)
def test_bad_options_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        BettingTest(**options)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (([2], [0.5], [1.0]), ValueError, "y_true"),
        (([1], [1.5], [1.0]), ValueError, "y_prob"),
        (([1, 0], [0.5, 0.5], [1.0]), ValueError, "routing"),
        (([1], [0.5], [np.nan]), ValueError, "routing"),
        (([1], [0.5], ["a"]), TypeError, "routing"),
    ],
)
def test_bad_rows_are_refused(rows, error, words):
    test = BettingTest()
    with pytest.raises(error, match=words):
        test.update(*rows)
    assert test.n_samples == 0
