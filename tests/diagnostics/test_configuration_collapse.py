"""The variance of the event rate between configurations at fixed confidence."""

import numpy as np
import pytest
from scipy.stats import t as student

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import grouping_loss
from sk_arcal.diagnostics._configuration_collapse import configuration_collapse
from tests.diagnostics.mixture_fixtures import fixture_a, fixture_b

SHARED = ("estimate", "low", "high", "share", "outcome_variance", "n_patterns", "n_samples")


def mixed(table):
    return table.y, (table.gates * table.expert_prob).sum(axis=1), table.codes


def rows(n=2000, **settings):
    data = make_routing_data(n, **{"random_state": 0, "effect": "step", "strength": 0.1} | settings)
    return data.y, data.confidence, np.digitize(data.routing[:, 0], [-0.5, 0.5])


def numbers(collapse):
    return np.array([collapse.estimate, collapse.low, collapse.high, collapse.noise])


# --- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "truth"), [(fixture_a(3), 0.0025), (fixture_b(5), 0.01)], ids=["a", "b"]
)
def test_collapse_of_a_population(table, truth):
    collapse = configuration_collapse(*mixed(table))
    assert collapse.estimate + collapse.noise == pytest.approx(truth, abs=1e-12)
    assert collapse.low < truth < collapse.high


def test_noise_of_fixture_b_by_hand():
    # Two contrasts of three levels; the outcome has variance .16 n / (n - 1) at confidence .8.
    table = fixture_b(5)
    n = len(table.y)
    collapse = configuration_collapse(*mixed(table))
    # HC2 per level: the mean of squared residuals from .8 in it, times its contrast.
    square = np.array([0.7 * 0.04 + 0.3 * 0.64, 0.9 * 0.04 + 0.1 * 0.64, 0.7 * 0.04 + 0.3 * 0.64])
    share = np.array([0.25, 0.5, 0.25])
    noise = (square * (1 - share)).sum() / (n - 1)
    assert collapse.noise == pytest.approx(noise)
    assert collapse.estimate == pytest.approx(0.01 - noise)
    assert collapse.outcome_variance == pytest.approx(0.16 * n / (n - 1))
    assert collapse.n_patterns == 2


def test_shares_move_the_rate_by_at_most_what_the_score_allows():
    table = fixture_b()
    y, p, codes = mixed(table)
    rate = np.array([y[codes == s].mean() for s in range(3)])[codes]
    rng = np.random.default_rng(0)
    for _ in range(20):
        weight = rng.random(3)[codes]
        weight /= weight.mean()
        moved = abs((weight * y).mean() - p.mean())
        assert moved == pytest.approx(abs(np.cov(weight, rate, bias=True)[0, 1]))
        assert moved <= weight.std() * np.sqrt(0.01) + 1e-12


def test_is_the_grouping_loss_of_the_names():
    y, confidence, codes = rows()
    names = np.array(["z", "a", "m"])[codes]
    for settings in ({}, {"n_slices": 6}, {"groups": np.arange(2000) // 4}, {"level": 0.5}):
        ours = configuration_collapse(y, confidence, names, **settings)
        loss = grouping_loss(y, confidence, names, routing_kind="nominal", **settings)
        for name in SHARED:
            assert getattr(ours, name) == pytest.approx(getattr(loss, name), rel=1e-9), name


def test_same_confidence_summed_over_other_gates_is_the_same():
    y, p, codes = mixed(fixture_b(5))
    assert len(np.unique(p)) > 1
    np.testing.assert_allclose(
        numbers(configuration_collapse(y, p, codes)),
        numbers(configuration_collapse(y, np.full(len(y), 0.8), codes)),
        rtol=1e-9,
    )


def test_one_configuration_hides_nothing():
    y, confidence, _ = rows(500)
    collapse = configuration_collapse(y, confidence, np.zeros(500))
    assert numbers(collapse).tolist() == [0, 0, 0, 0]
    assert collapse.floor_95 == 0
    assert collapse.table["gap"][0] == pytest.approx(np.mean(y - confidence))


def test_certain_outcomes_leave_no_noise():
    y = np.r_[np.ones(50), np.zeros(50)]
    collapse = configuration_collapse(y, y, np.arange(100) % 2)
    # the order of ties is drawn, and with it the last digits of a sum of zeros
    assert collapse.estimate == pytest.approx(0, abs=1e-20)
    assert (collapse.share, collapse.floor_95) == (0, 0)


# --- chance --------------------------------------------------------------------------------------


def test_estimate_is_centred_and_its_floor_holds_where_nothing_is_hidden():
    rng = np.random.default_rng(0)
    found, beyond = [], 0
    for _ in range(200):
        p, codes = rng.uniform(0.3, 0.95, 600), rng.integers(6, size=600)
        collapse = configuration_collapse(rng.random(600) < p, p, codes)
        found.append(collapse.estimate)
        beyond += collapse.estimate > collapse.floor_95
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    # 5 % of 200 with three standard errors
    assert 1 <= beyond <= 20


# --- table ---------------------------------------------------------------------------------------


def test_table_by_hand():
    y = np.r_[np.arange(40) < 30, np.arange(60) < 54]
    confidence = np.r_[np.full(40, 0.7), np.linspace(0.8, 0.9, 60)]
    names = np.repeat(["low", "high"], [40, 60])
    table = configuration_collapse(y, confidence, names, level=0.9).table
    assert table["configuration"].tolist() == ["high", "low"]
    assert table["n_rows"].tolist() == [60, 40]
    np.testing.assert_allclose(table["event_rate"], [0.9, 0.75])
    np.testing.assert_allclose(table["mean_confidence"], [0.85, 0.7])
    np.testing.assert_allclose(table["gap"], [0.05, 0.05])
    variance = (40 * 0.75 * 0.25 + 0.7 * 0.3) / 40**2
    half = student.ppf(0.95, 39) * np.sqrt(variance)
    np.testing.assert_allclose([table["low"][1], table["high"][1]], [0.05 - half, 0.05 + half])


def test_gap_where_all_rows_went_well_has_an_interval():
    table = configuration_collapse(np.ones(60), np.full(60, 0.95), np.arange(60) % 2).table
    assert (table["low"] < table["gap"]).all()
    single = configuration_collapse([1, 0, 1], [0.5, 0.5, 0.5], [0, 0, 1]).table
    assert np.isnan([single["low"][1], single["high"][1]]).all()
    assert single["gap"][1] == 0.5


def test_groups_of_one_row_change_no_interval_by_more_than_a_degree_of_freedom():
    y, confidence, codes = rows(400)
    plain = configuration_collapse(y, confidence, codes).table
    grouped = configuration_collapse(y, confidence, codes, groups=np.arange(400)).table
    np.testing.assert_allclose(grouped["low"], plain["low"], rtol=0.05, atol=1e-3)


def test_copies_of_rows_widen_no_gap_if_their_groups_are_given():
    y, confidence, codes = rows(400)
    once = configuration_collapse(y, confidence, codes).table
    copied = [np.repeat(array, 4) for array in (y, confidence, codes)]
    grouped = configuration_collapse(*copied, groups=np.repeat(np.arange(400), 4)).table
    width, naive = once["high"] - once["low"], configuration_collapse(*copied).table
    np.testing.assert_allclose(grouped["high"] - grouped["low"], width, rtol=0.02)
    np.testing.assert_allclose(naive["high"] - naive["low"], width / 2, rtol=0.05)


# --- invariances ---------------------------------------------------------------------------------


def test_names_and_order_of_rows_do_not_matter():
    y, confidence, codes = rows()
    order = np.random.default_rng(1).permutation(len(y))
    renamed = np.array([17, -3, 5])[codes]
    shuffled = configuration_collapse(y[order], confidence[order], renamed[order])
    np.testing.assert_allclose(
        numbers(shuffled), numbers(configuration_collapse(y, confidence, codes)), rtol=1e-6
    )


def test_other_event_turns_the_gaps_around():
    y, confidence, codes = rows()
    here = configuration_collapse(y, confidence, codes)
    # The confidence only orders the rows here; turned around, its slices would be others.
    other = configuration_collapse(1 - y, confidence, codes)
    np.testing.assert_allclose(numbers(here), numbers(other), rtol=1e-6)
    there = configuration_collapse(1 - y, 1 - confidence, codes)
    np.testing.assert_allclose(here.table["low"], -there.table["high"], rtol=1e-9)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"y_true": [0, 2]}, "`y_true` must be 0 or 1"),
        ({"y_prob": [0.2]}, "`y_prob` has 1 rows where 2"),
        ({"configurations": [0]}, "`configurations` has 1 rows where 2"),
        ({"configurations": [0, np.nan]}, "`configurations` must be finite"),
        ({"groups": ["a", "a"]}, "`groups` holds one group"),
        ({"level": 1}, r"`level` must lie in \(0, 1\)"),
        ({"n_slices": 0}, "`n_slices` must be at least 1"),
    ],
)
def test_refuses(settings, match):
    good = {"y_true": [0, 1], "y_prob": [0.2, 0.7], "configurations": [0, 1]}
    with pytest.raises(ValueError, match=match):
        configuration_collapse(**good | settings)


def test_text_and_frame():
    pytest.importorskip("pandas")
    y, confidence, codes = rows()
    collapse = configuration_collapse(y, confidence, codes)
    assert collapse.to_frame()["gap"].tolist() == collapse.table["gap"].tolist()
    assert f"[{collapse.low:.3g}, {collapse.high:.3g}]" in repr(collapse)
    assert "not shown" not in repr(collapse)
    many = configuration_collapse(y, confidence, np.arange(2000) % 14)
    assert "4 of smaller gap not shown" in repr(many)
    assert len(repr(many).splitlines()) == 1 + 1 + 10 + 1
