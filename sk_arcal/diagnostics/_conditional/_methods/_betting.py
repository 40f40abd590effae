"""Bets on the rows in the order they came; the game is `sk_arcal.diagnostics._betting`.

Groups of dependent rows make one bet each, in the order of their first rows.

Measured at level 5 %, n = 2500 (A7: 5000), scenarios as in `benchmarks.scenarios`, with
``python -m benchmarks.conditional_test_level_and_power --tests betting --n-jobs 2`` and ``--parts
level --replicates 200`` (+/- 3 points), ``--parts power --replicates 100`` (+/- 10 points):

    true nulls rejected, %  N1 1.0 N2 2.5 N3 4.5 N4 1.5 N5 2.5 N6 1.0 N7 1.0 N8 2.5
                            N9 1.5 N10 0.5 N11 0.5 N12 2.5 N13 3.0 N14 1.5 N15 2.0
    effects found, %        A1 76 A2 72 A3 57 A4 2 A5 32 A6 29 A7 9 A8 15 A9 10
                            A10 5 A11 38

The bound of Ville's inequality is not reached, which is room for what the rates of past rows miss.
Looking at any time costs power, most where the effect is small or in few rows.
"""

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._betting import BettingTest
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues

IntArray = NDArray[np.intp]


def betting(table: Table) -> list[Finding]:
    """Test each feature by the largest wealth that bets on it reach."""
    return [
        _test_one(table.outcomes, values, feature)
        for values, feature in zip(table.values, table.features, strict=True)
    ]


def _test_one(outcomes: BinnedOutcomes, values: RoutingValues, feature: RoutingFeature) -> Finding:
    arrival = np.argsort(outcomes.order)
    events, confidence = outcomes.events[arrival], outcomes.confidence[arrival]
    number_of = {name: k for k, name in enumerate(values.levels)}
    levels = [values.numbers[values.codes == number_of[name]][0] for name in feature.level_names]
    test = BettingTest(levels=levels, ordered=feature.is_ranked)
    if outcomes.groups is None:
        test.update(events, confidence, values.numbers)
    else:
        for rows in _blocks(outcomes.groups[arrival]):
            test.update(events[rows], confidence[rows], values.numbers[rows], together=True)
    return Finding(
        statistic=1 / test.pvalue,
        pvalue=test.pvalue,
        leading=f"betting: largest wealth {1 / test.pvalue:.3g}, at the end {test.wealth:.3g}",
    )


def _blocks(groups: IntArray) -> list[IntArray]:
    """Rows of each group, groups in order of their first row."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    rows = np.argsort(codes, kind="stable")
    parts = np.split(rows, np.cumsum(np.bincount(codes))[:-1])
    return [parts[k] for k in np.argsort(first)]
