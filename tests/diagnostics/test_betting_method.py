import numpy as np
import pytest

from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.diagnostics._betting import BettingTest
from sk_arcal.diagnostics._conditional._methods._betting import betting


def test_table_is_a_stream_that_came_at_once(make_rows, make_table):
    rows = make_rows(500, effect=1.0)
    finding = betting(make_table(*rows))[0]
    test = BettingTest().update(*rows)
    assert finding.pvalue == test.pvalue
    assert finding.statistic == pytest.approx(1 / test.pvalue)


def test_levels_are_those_that_the_table_has(make_table):
    rng = np.random.default_rng(0)
    confidence, expert = rng.uniform(0.5, 1, 1000), rng.integers(0, 4, 1000)
    events = (rng.random(1000) < confidence - 0.2 * (expert == 3)) * 1.0
    names = np.array(["w", "x", "y", "z"])[expert]
    finding = betting(make_table(events, confidence, names))[0]
    test = BettingTest(levels=["w", "x", "y", "z"], ordered=False)
    assert finding.pvalue == pytest.approx(test.update(events, confidence, names).pvalue)
    numbered = betting(make_table(events, confidence, expert, kind="discrete"))[0]
    test = BettingTest(levels=[0, 1, 2, 3]).update(events, confidence, expert)
    assert numbered.pvalue == pytest.approx(test.pvalue)


def test_groups_bet_in_the_order_of_their_first_rows(make_rows, make_table):
    events, confidence, routing = make_rows(300, effect=1.0)
    groups = np.tile(np.repeat([7, 2, 9], 5), 20) + 10 * np.repeat(np.arange(10), 30)
    finding = betting(make_table(events, confidence, routing, groups=groups))[0]
    test = BettingTest()
    for name in dict.fromkeys(groups.tolist()):
        rows = groups == name
        test.update(events[rows], confidence[rows], routing[rows], together=True)
    assert finding.pvalue == pytest.approx(test.pvalue)
    assert finding.pvalue < 1


def test_words_say_what_the_wealth_was(make_rows):
    result = conditional_calibration_test(*make_rows(400, effect=1.0), method="betting")
    assert result.leading.startswith(f"betting: largest wealth {result.statistic:.3g}")
    assert (result.null, result.n_resamples) == ("martingale", 0)
    assert result.null_statistics == {}
