"""The table of bandwidth rules: what each row is, and what the table says."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics._bandwidth_sensitivity import bandwidth_sensitivity
from sk_arcal.diagnostics._probing._probe_rows import read_rows
from sk_arcal.diagnostics._probing._published_kernel import published_predictions
from sk_arcal.metrics import (
    expected_calibration_error,
    rank_groups,
    worst_group_calibration_error,
)

RULES = [
    *(f"Scott x {k}" for k in ("0.25", "0.5", "1", "2", "4")),
    "cross-validated log loss",
    "leave-one-out log loss",
    "oracle: global ECE",
]
ESTIMATORS = ("residual", "published")


def simulate(effect="none", strength=0.2, n=400, seed=0):
    return make_routing_data(n, effect=effect, strength=strength, random_state=seed)


def table(data, routing=None, **settings):
    routing = data.routing[:, 0] if routing is None else routing
    settings = {"n_resamples": 20, "random_state": 0} | settings
    return bandwidth_sensitivity(data.y, data.confidence, routing, **settings)


# --- the rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rules_are_listed_and_only_the_oracle_leaks(estimator):
    result = table(simulate(), estimator=estimator, cv=3)
    assert [rule.rule for rule in result.rules] == RULES
    assert [rule.leaks for rule in result.rules] == [False] * 7 + [True]
    for rule, k in zip(result.rules, (0.25, 0.5, 1, 2, 4), strict=False):
        assert rule.scott == k
        assert set(rule.confidence_multiples) == {k}
        assert set(rule.feature_multiples) <= {k, np.inf}
    for rule in result.rules:
        assert len(rule.confidence_multiples) == len(rule.feature_multiples) == 3


def test_scott_once_is_the_published_probe_of_the_matched_suite():
    data = simulate("step")
    # In one fold this row is without neighbours, in the other the only one far off.
    data.routing[3, 0] = 1e6
    rule = table(data, estimator="published", multiples=[1]).rules[0]
    rows = read_rows(
        data.y, data.confidence, None, cv=2, max_samples=400, rng=np.random.default_rng(0)
    )
    alone, added = (
        published_predictions(rows.event, rows.confidence, feature, rows.folds())
        for feature in (None, data.routing[:, 0])
    )
    margin = 1 / 202
    strata = rank_groups(data.routing[:, 0], 3)
    for prediction, found in ((alone, "confidence"), (added, "feature")):
        q = prediction.clip(margin, 1 - margin)
        expected = (
            log_loss(data.y, q),
            expected_calibration_error(data.y, q),
            worst_group_calibration_error(data.y, q, strata),
        )
        got = [getattr(rule, f"{found}_{name}") for name in ("log_loss", "ece", "worst_ece")]
        np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_feature_changes_nothing_under_any_rule(estimator):
    result = table(simulate(), np.ones(400), estimator=estimator)
    for rule in result.rules:
        assert rule.log_loss_difference == rule.worst_ece_difference == (0, 0, 0)
        assert set(rule.feature_multiples) == {np.inf}
    assert not result.robust
    assert not result.gain_survives


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("seed", range(3))
def test_oracle_is_never_worse_in_global_error(estimator, seed):
    rules = table(simulate("step", seed=seed), estimator=estimator).rules
    oracle = rules[-1]
    assert oracle.confidence_ece == min(rule.confidence_ece for rule in rules[:-1])
    assert oracle.feature_ece == min(rule.feature_ece for rule in rules[:-1])


def test_rule_without_a_multiple_picks_one_of_those_allowed():
    result = table(simulate("step"), multiples=[0.7, 3])
    assert [rule.rule for rule in result.rules[:2]] == ["Scott x 0.7", "Scott x 3"]
    for rule in result.rules:
        assert set(rule.confidence_multiples) <= {0.7, 3.0}


def test_differences_are_feature_minus_confidence_only():
    for rule in table(simulate("step")).rules:
        np.testing.assert_allclose(
            rule.log_loss_difference.estimate, rule.feature_log_loss - rule.confidence_log_loss
        )


def test_levels_without_order_are_told_apart():
    data = simulate(n=800)
    rng = np.random.default_rng(1)
    names = np.array(["red", "green", "blue"])[rng.integers(3, size=800)]
    truth = np.clip(data.confidence + np.where(names == "green", -0.4, 0.1), 0, 1)
    data.y = (rng.random(800) < truth).astype(int)
    assert table(data, names).gain_survives
    assert table(data, names, estimator="published").gain_survives


# --- the answer ----------------------------------------------------------------------------------


def test_gain_of_a_planted_step_survives():
    result = table(simulate("step", n=1200))
    assert result.robust
    assert result.gain_survives


@pytest.mark.parametrize("seed", range(5))
def test_no_gain_survives_where_there_is_none(seed):
    assert not table(simulate(seed=seed), random_state=seed).gain_survives


def test_published_kernel_pays_for_a_useless_axis_and_the_residual_one_does_not():
    data = simulate(n=1000)
    published, residual = (
        table(data, estimator=name).rules[2] for name in ("published", "residual")
    )
    assert published.rule == "Scott x 1"
    assert published.log_loss_difference.estimate > 0.005
    assert abs(residual.log_loss_difference.estimate) < 0.005


# --- groups, size, jobs --------------------------------------------------------------------------


def test_groups_stay_in_one_fold():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 10)
    y = np.repeat(rng.random(40) < 0.5, 10).astype(int)
    names, half = np.array([f"g{g}" for g in group]), np.full(400, 0.5)
    settings = {"n_resamples": 10, "random_state": 0}
    assert bandwidth_sensitivity(y, half, names, **settings).gain_survives
    assert not bandwidth_sensitivity(y, half, names, groups=group, **settings).gain_survives


@pytest.mark.parametrize("n_groups", [2, 3])
def test_few_groups(n_groups):
    result = table(simulate(), groups=np.arange(400) % n_groups)
    assert np.isfinite([rule.feature_log_loss for rule in result.rules]).all()


def test_result_does_not_depend_on_the_number_of_jobs():
    data = simulate("step", n=200)
    alone, together = (table(data, n_jobs=n_jobs, cv=3) for n_jobs in (1, 2))
    # The multiples nobody dictates are NaN, which equals nothing.
    assert repr(alone.rules) == repr(together.rules)


def test_more_rows_than_asked_for_are_thinned():
    assert table(simulate(), max_samples=150).n_samples == 150


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"multiples": [1, -1]}, ValueError, "`multiples` must be positive"),
        ({"multiples": [1, 1.0]}, ValueError, "`multiples` must be positive and different"),
        ({"multiples": [0.1, 8]}, ValueError, "`multiples` needs a value from 1 to 4"),
        ({"multiples": []}, ValueError, "`multiples` is empty"),
        ({"multiples": ["a"]}, TypeError, "`multiples` must hold numbers"),
        ({"routing": np.ones(99)}, ValueError, "`routing` has 99 rows where 100"),
        ({"groups": np.zeros(100)}, ValueError, "at least two rows, or two groups"),
        ({"estimator": "mlp"}, ValueError, "`estimator` must be one of"),
        ({"cv": 1}, ValueError, "`cv` must be at least 2"),
        ({"n_resamples": 1}, ValueError, "`n_resamples` must be at least 2"),
        ({"max_samples": "all"}, TypeError, "`max_samples` must be an integer"),
        ({"random_state": "seed"}, TypeError, "`random_state` must be"),
    ],
)
def test_bad_input_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        table(simulate(n=100), **settings)
