"""The variance of the truth at fixed confidence."""

import numpy as np
import pytest

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import grouping_loss
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._conditional._routing_patterns import explained, routing_patterns


def rows(n=2000, **settings):
    data = make_routing_data(n, **{"random_state": 0, "effect": "step", "strength": 0.1} | settings)
    return data.y, data.confidence, data.routing[:, 0]


def numbers(loss):
    return np.array([loss.estimate, loss.low, loss.high, loss.share])


def directions(y, confidence, routing, n_slices=4, groups=None):
    rng = np.random.default_rng(0)
    outcomes = BinnedOutcomes.from_rows(np.asarray(y, float), confidence, groups, rng)
    values = read_routing(routing, "routing", "auto", len(y))
    return explained(
        outcomes, routing_patterns(values, outcomes.order, outcomes.rank, rng), n_slices
    )


# --- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[0.0, 1.0], ["early", "late"]])
def test_two_levels_at_one_confidence(names):
    # 100 rows of each level, 60 and 80 hits
    routing = np.repeat(names, 100)
    y = np.r_[np.arange(100) < 60, np.arange(100) < 80]
    loss = grouping_loss(y, np.full(200, 0.7), routing)
    assert loss.estimate == pytest.approx(0.1**2 - 0.7 * 0.3 / 199)
    assert loss.outcome_variance == pytest.approx(0.7 * 0.3 * 200 / 199)
    assert loss.share == pytest.approx(loss.estimate / loss.outcome_variance)
    assert loss.n_patterns == 1


def test_three_levels_at_two_confidences_add_up():
    routing = np.tile(np.repeat(["a", "b", "c"], 100), 2)
    hits = np.array([[60, 70, 80], [90, 95, 88]])
    y = np.concatenate([np.arange(100) < k for k in hits.ravel()])
    confidence = np.repeat([0.7, 0.9], 300)
    loss = grouping_loss(y, confidence, routing, n_slices=2)
    rates = hits / 100
    overall = rates.mean(axis=1)
    between = rates.var(axis=1)
    noise = 2 * overall * (1 - overall) / 299
    assert loss.estimate == pytest.approx((between - noise).mean())
    assert loss.n_patterns == 4


def test_patterns_are_orthonormal_and_their_noise_is_that_of_the_outcomes():
    # With y replaced by noise of variance one, the covariance is close to 1/n times the identity.
    _, confidence, routing = rows(4000)
    y = np.random.default_rng(1).random(4000) < 0.5
    _, covariance = directions(y, np.round(confidence, 2), routing)
    np.testing.assert_allclose(covariance, 0.25 / 4000 * np.eye(len(covariance)), atol=1.5e-5)


def test_constant_routing_explains_exactly_nothing():
    y, confidence, _ = rows(500)
    for constant in (np.zeros(500), np.full(500, "expert 3")):
        loss = grouping_loss(y, confidence, constant)
        assert (loss.estimate, loss.low, loss.high, loss.n_patterns) == (0, 0, 0, 0)


def test_routing_that_is_a_function_of_the_confidence_explains_next_to_nothing():
    y, confidence, _ = rows(3000, effect="none")
    loss = grouping_loss(y, confidence, np.floor(3 * confidence), routing_kind="nominal")
    assert abs(loss.estimate) < 1e-3


# --- invariances ---------------------------------------------------------------------------------


def test_order_of_rows_does_not_matter():
    y, confidence, routing = rows()
    order = np.random.default_rng(1).permutation(len(y))
    shuffled = grouping_loss(y[order], confidence[order], routing[order])
    np.testing.assert_allclose(
        numbers(shuffled), numbers(grouping_loss(y, confidence, routing)), rtol=1e-6
    )


def test_increasing_maps_of_either_variable_do_not_matter():
    y, confidence, routing = rows()
    mapped = grouping_loss(y, confidence**3, np.exp(routing))
    np.testing.assert_allclose(
        numbers(mapped), numbers(grouping_loss(y, confidence, routing)), rtol=1e-6
    )


def test_other_event_and_other_direction_do_not_matter():
    y, confidence, routing = rows()
    other = grouping_loss(1 - y, confidence, -routing)
    np.testing.assert_allclose(
        numbers(other), numbers(grouping_loss(y, confidence, routing)), rtol=1e-6
    )


def test_names_of_levels_do_not_matter():
    y, confidence, routing = rows()
    level = np.digitize(routing, [-0.5, 0.5])
    named = grouping_loss(y, confidence, np.array(["z", "a", "m"])[level])
    np.testing.assert_allclose(
        numbers(named), numbers(grouping_loss(y, confidence, level)), rtol=1e-6
    )


def test_copies_of_rows_change_nothing_if_their_groups_are_given():
    y, confidence, routing = rows()
    # Few confidences, so that copies do not change the bins.
    confidence, level = np.round(confidence, 1), np.digitize(routing, [-0.5, 0.5]).astype(str)
    once = grouping_loss(y, confidence, level, n_slices=3)
    copied = [np.repeat(array, 3) for array in (y, confidence, level)]
    grouped = grouping_loss(*copied, n_slices=3, groups=np.repeat(np.arange(len(y)), 3))
    np.testing.assert_allclose(numbers(grouped)[:3], numbers(once)[:3], rtol=1e-9)
    naive = grouping_loss(*copied, n_slices=3)
    assert naive.high - naive.low < 0.8 * (once.high - once.low)


def test_groups_of_one_row_are_no_groups():
    y, confidence, routing = rows()
    single = grouping_loss(y, confidence, routing, groups=np.arange(len(y)))
    # Groups also see the noise that slices share, which is zero between rows.
    np.testing.assert_allclose(
        numbers(single), numbers(grouping_loss(y, confidence, routing)), rtol=1e-9
    )


# --- truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["none", "step", "linear", "u_shape"])
def test_mean_estimate_is_the_truth_but_for_what_is_blurred(effect):
    found, truth = [], []
    for seed in range(50):
        data = make_routing_data(2500, effect=effect, correlation=0.5, random_state=seed)
        loss = grouping_loss(data.y, data.confidence, data.routing[:, 0])
        found.append(loss.estimate)
        truth.append(((data.probability - data.calibrated) ** 2).mean())
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(np.mean(truth), abs=3 * error + 0.05 * np.mean(truth))
    if effect == "none":
        assert min(found) < 0


def test_interval_holds_a_large_effect_and_leaves_zero_out():
    data = make_routing_data(6000, effect="crossing", strength=0.15, random_state=1)
    loss = grouping_loss(data.y, data.confidence, data.routing[:, 0])
    assert 0 < loss.low < ((data.probability - data.calibrated) ** 2).mean() < loss.high


def test_shared_difficulty_of_a_group_is_not_taken_for_routing():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(150), 20)
    routing = rng.normal(size=150)[groups] + 0.1 * rng.normal(size=3000)
    confidence = rng.uniform(0.5, 0.9, 3000)
    y = rng.random(3000) < np.clip(confidence + 0.25 * rng.choice([-1, 1], 150)[groups], 0, 1)
    naive = grouping_loss(y, confidence, routing)
    grouped = grouping_loss(y, confidence, routing, groups=groups)
    assert grouped.estimate < 0.5 * naive.estimate
    assert naive.low > 0 == grouped.low


# --- settings ------------------------------------------------------------------------------------


def test_higher_level_gives_a_wider_interval():
    narrow, wide = (grouping_loss(*rows(), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"y_true": [0, 2]}, "`y_true` must be 0 or 1"),
        ({"y_prob": [0.2]}, "`y_prob` has 1 rows where 2"),
        ({"routing": [1.0, np.inf]}, "`routing` must be finite"),
        ({"groups": ["a", "a"]}, "`groups` holds one group"),
        ({"level": 1}, r"`level` must lie in \(0, 1\)"),
        ({"n_slices": 0}, "`n_slices` must be at least 1"),
        ({"routing_kind": "ordinal"}, "`routing_kind` must be one of"),
    ],
)
def test_refuses(settings, match):
    good = {"y_true": [0, 1], "y_prob": [0.2, 0.7], "routing": [0.0, 1.0]}
    with pytest.raises(ValueError, match=match):
        grouping_loss(**good | settings)


def test_text_and_frame():
    pytest.importorskip("pandas")
    loss = grouping_loss(*rows())
    assert f"[{loss.low:.3g}, {loss.high:.3g}]" in repr(loss)
    assert "95% interval" in repr(loss)
    assert loss.to_frame()["share"][0] == loss.share
