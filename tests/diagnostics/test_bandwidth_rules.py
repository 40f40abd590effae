"""Bandwidth rules, against kernel sums written out for every setting."""

import numpy as np
import pytest

from sk_arcal.diagnostics._probing._bandwidth_rules import (
    CROSS_VALIDATED,
    LEAVE_ONE_OUT,
    FoldRows,
    Stage,
    Start,
    apply_rules,
    scott_rule,
)

N, FIT, TEST = 90, np.arange(0, 90, 2), np.arange(1, 90, 2)
MULTIPLES = np.array([0.5, 1.0, 2.0])
RULES = [*map(scott_rule, MULTIPLES), CROSS_VALIDATED, LEAVE_ONE_OUT]


def problem(seed, shrinkages=(0.0, 4.0, np.inf), smallest_mass=0.0):
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(N, 2))
    truth = 1 / (1 + np.exp(-axes[:, 0]))
    y = (rng.random(N) < truth).astype(float)
    base = np.clip(truth + 0.1 * rng.normal(size=N), 0.05, 0.95)
    bandwidths = np.vstack([np.outer(MULTIPLES, [0.5, 0.4]), np.outer(MULTIPLES, [0.5, np.inf])])
    stage = Stage(axes, bandwidths, np.tile(MULTIPLES, 2), np.array(shrinkages), smallest_mass)
    return stage, FoldRows(y, FIT, TEST, rng.integers(5, size=len(FIT))), base


def estimate(stage, y, start, h, shrinkage, query, neighbours):
    """Prediction at each query row from the neighbours given for it, one kernel sum at a time."""
    out = np.empty(len(query))
    for k, (i, rows) in enumerate(zip(query, neighbours, strict=True)):
        kernel = np.exp(-0.5 * (((stage.axes[i] - stage.axes[rows]) / h) ** 2).sum(axis=1))
        total = kernel.sum() + shrinkage
        change = kernel @ (y - start.offset)[rows] / total if np.isfinite(total) else 0.0
        out[k] = start.offset[i] + change if total > stage.smallest_mass else start.fallback[i]
    return np.clip(out, 1 / (len(FIT) + 2), 1 - 1 / (len(FIT) + 2))


def best_setting(stage, rows, start, rule):
    """Setting of smallest loss, each fitted row predicted from the others, or other parts."""
    if rule == CROSS_VALIDATED:
        others = [FIT[rows.part != part] for part in rows.part]
    else:
        others = [FIT[i != FIT] for i in FIT]
    best, chosen = np.inf, None
    for h, k in zip(stage.bandwidths, stage.multiples, strict=True):
        if rule.startswith("Scott") and rule != scott_rule(k):
            continue
        for shrinkage in stage.shrinkages:
            q = estimate(stage, rows.event, start, h, shrinkage, FIT, others)
            loss = -np.log(np.where(rows.event[FIT] == 1, q, 1 - q)).mean()
            if loss < best - 1e-12:
                best, chosen = loss, (h, shrinkage, k)
    return chosen


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_rule_predicts_by_the_setting_it_should_pick(rule, seed):
    stage, rows, base = problem(seed)
    start = Start(base, base)
    chosen = apply_rules(stage, rows, dict.fromkeys(RULES, start))[rule]
    h, shrinkage, k = best_setting(stage, rows, start, rule)
    assert chosen.multiple == (k if np.isfinite(shrinkage) else np.inf)
    at_test = estimate(stage, rows.event, start, h, shrinkage, TEST, [FIT] * len(TEST))
    np.testing.assert_allclose(chosen.prediction[TEST], at_test, rtol=1e-9)
    others = [FIT[i != FIT] for i in FIT]
    at_fit = estimate(stage, rows.event, start, h, shrinkage, FIT, others)
    np.testing.assert_allclose(chosen.prediction[FIT], at_fit, rtol=1e-9)


def test_each_rule_starts_from_its_own_offset():
    stage, rows, base = problem(0)
    starts = {rule: Start(base, base) for rule in RULES}
    starts[LEAVE_ONE_OUT] = Start(base[::-1].copy(), base)
    together = apply_rules(stage, rows, starts)
    alone = apply_rules(stage, rows, dict.fromkeys(RULES, starts[LEAVE_ONE_OUT]))
    np.testing.assert_allclose(
        together[LEAVE_ONE_OUT].prediction, alone[LEAVE_ONE_OUT].prediction, rtol=1e-12
    )
    assert not np.allclose(together[scott_rule(1)].prediction, alone[scott_rule(1)].prediction)


def test_fallback_stands_in_where_neighbours_are_missing():
    stage, rows, base = problem(0, shrinkages=(0.0,), smallest_mass=1e-6)
    stage.axes[TEST[0]] = 1e3
    starts = dict.fromkeys(RULES, Start(np.zeros(N), base))
    for chosen in apply_rules(stage, rows, starts).values():
        assert chosen.prediction[TEST[0]] == base[TEST[0]]
