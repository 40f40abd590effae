"""Experts on the rows the router gives them, and their mixtures."""

import numpy as np
import pytest
from joblib import parallel_config

from sk_arcal.diagnostics._expert_calibration import expert_calibration
from sk_arcal.diagnostics._experts._views import ViewSettings, effective_rows, measure_view
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    top_label_calibration_error,
)
from tests.diagnostics.mixture_fixtures import fixture_a, fixture_b, soft_gate

FEW = {"n_resamples": 20, "random_state": 0}


def mixture(n=500, n_experts=3, n_classes=None, seed=0):
    rng = np.random.default_rng(seed)
    gates = rng.dirichlet(np.ones(n_experts), n)
    if n_classes is None:
        return rng.integers(2, size=n), rng.random((n, n_experts)), gates
    experts = rng.dirichlet(np.ones(n_classes), (n, n_experts))
    return rng.integers(n_classes, size=n), experts, gates


def errors(views):
    return [view.error for view in views]


# --- theory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "mixed"),
    [
        (fixture_a(), 0.075),
        (fixture_b(), 0.0),
        (soft_gate(0.75), 0.375),
        (soft_gate(0.9), 0.18),
        (soft_gate(1.0), 0.0),
    ],
    ids=["a", "b", "soft .75", "soft .9", "hard"],
)
@pytest.mark.parametrize("n_bins", [7, 15])
def test_experts_are_calibrated_on_their_weighted_rows_and_the_mixture_is_not(table, mixed, n_bins):
    result = expert_calibration(table.y, table.expert_prob, table.gates, n_bins=n_bins, **FEW)
    np.testing.assert_allclose(errors(result.weighted), 0, atol=1e-12)
    assert result.mixture.error == pytest.approx(mixed, abs=1e-12)


def test_hard_views_of_a_table_by_hand():
    # Fixture A: the first gate is the larger in no configuration and ties in the outer two.
    table = fixture_a()
    result = expert_calibration(table.y, table.expert_prob, table.gates, **FEW)
    np.testing.assert_allclose(result.top_share, [1 / 4, 3 / 4])
    np.testing.assert_allclose(result.share, [3 / 8, 5 / 8])
    np.testing.assert_allclose(errors(result.hard), [0.2, 0.1])
    assert result.bound == pytest.approx(0.125)
    # At .8 and .2 the errors of both experts have opposite signs.
    assert result.top_expert.error == pytest.approx(0.025)


@pytest.mark.parametrize("n_bins", [1, 4, 15])
@pytest.mark.parametrize("n_classes", [None, 2, 4])
def test_top_expert_is_never_worse_than_the_bound(n_classes, n_bins):
    for seed in range(10):
        rows = mixture(80, n_classes=n_classes, seed=seed)
        result = expert_calibration(*rows, n_bins=n_bins, n_resamples=2, random_state=0)
        assert result.top_expert.error <= result.bound + 1e-12
        assert result.bound <= max(errors(result.hard)) + 1e-12


def test_bound_is_reached_where_no_bin_is_shared():
    y, experts, gates = mixture()
    experts[:, 0] = 0.0 + experts[:, 0] / 3.1
    experts[:, 1] = 0.34 + experts[:, 1] / 3.1
    experts[:, 2] = 0.67 + experts[:, 2] / 3.1
    result = expert_calibration(y, experts, gates, n_bins=3, **FEW)
    assert result.top_expert.error == pytest.approx(result.bound, abs=1e-12)


# --- definitions ---------------------------------------------------------------------------------


def test_views_are_the_metrics_on_their_rows():
    y, experts, gates = mixture()
    result = expert_calibration(y, experts, gates, **FEW)
    top = gates.argmax(axis=1)
    for k in range(3):
        on_top = top == k
        assert result.hard[k].n_rows == pytest.approx(on_top.sum())
        error = expected_calibration_error(y[on_top], experts[on_top, k])
        assert result.hard[k].error == pytest.approx(error)
        error = expected_calibration_error(y, experts[:, k], sample_weight=gates[:, k])
        assert result.weighted[k].error == pytest.approx(error)
        kish = gates[:, k].sum() ** 2 / (gates[:, k] ** 2).sum()
        assert result.weighted[k].n_rows == pytest.approx(kish)
    p = (gates * experts).sum(axis=1)
    assert result.mixture.error == pytest.approx(expected_calibration_error(y, p))
    error = expected_calibration_error(y, experts[np.arange(500), top])
    assert result.top_expert.error == pytest.approx(error)


def test_an_expert_with_more_classes_is_judged_by_its_own_top_class():
    y, experts, gates = mixture(n_classes=4)
    result = expert_calibration(y, experts, gates, **FEW)
    for k in range(3):
        error = top_label_calibration_error(
            y, experts[:, k], sample_weight=gates[:, k], labels=range(4)
        )
        assert result.weighted[k].error == pytest.approx(error)
    mixed = np.einsum("im,imk->ik", gates, experts)
    assert result.mixture.error == pytest.approx(top_label_calibration_error(y, mixed))


def test_event_and_its_two_classes_agree():
    y, experts, gates = mixture()
    one = expert_calibration(y, experts, gates, **FEW)
    pair = np.stack([1 - experts, experts], axis=2)
    two = expert_calibration(y, pair, gates, **FEW)
    np.testing.assert_allclose(one.table["error"], two.table["error"], atol=1e-12)
    named = expert_calibration(np.array(["no", "yes"])[y], pair, gates, labels=["no", "yes"], **FEW)
    np.testing.assert_allclose(named.table["error"], two.table["error"], atol=1e-12)


def test_view_takes_weights_as_effective_repetitions():
    y, experts, gates = mixture()
    weight, settings = gates[:, 0], ViewSettings(15, 0.9, 30)
    floor_rng, interval_rng = np.random.default_rng(5).spawn(2)
    p = experts[:, 0]
    view = measure_view(y * 1.0, p, weight, settings, np.random.default_rng(5))
    floor = noise_floor(p, n_resamples=30, random_state=floor_rng, sample_weight=weight)
    assert (view.floor, view.floor_95) == pytest.approx((floor.mean, floor.quantile_95), abs=1e-9)
    scaled = weight * weight.sum() / (weight**2).sum()
    interval = calibration_error_interval(
        y, p, level=0.9, n_resamples=30, sample_weight=scaled, random_state=interval_rng
    )
    assert (view.corrected, view.low, view.high) == pytest.approx(
        (interval.corrected, interval.low, interval.high), abs=1e-9
    )
    longer = measure_view(y * 1.0, p, 7 * weight, settings, np.random.default_rng(5))
    assert (longer.low, longer.high) == pytest.approx((view.low, view.high))


def test_effective_rows_of_equal_weights_are_their_number():
    assert effective_rows(np.full(40, 0.3)) == pytest.approx(40)
    assert effective_rows(np.r_[np.ones(10), np.zeros(5)]) == pytest.approx(10)
    assert effective_rows(np.zeros(5)) == 0


def test_calibrated_experts_stay_at_their_floor_and_others_do_not():
    rng = np.random.default_rng(3)
    gates = rng.dirichlet([1, 1], 4000)
    p = rng.uniform(0.1, 0.9, 4000)
    y = rng.random(4000) < p
    result = expert_calibration(
        y, np.column_stack([p, p**2]), gates, n_resamples=60, random_state=0
    )
    for right, wrong in (result.hard, result.weighted):
        assert right.error < 1.5 * right.floor_95
        assert right.low < 0.005
        assert wrong.low > wrong.floor_95


# --- edges ---------------------------------------------------------------------------------------


def test_expert_without_rows_is_nan_and_noted():
    y = np.arange(100) % 2
    gates = np.tile([0.6, 0.4, 0.0], (100, 1))
    result = expert_calibration(y, np.full((100, 3), 0.5), gates, **FEW)
    assert np.isnan(errors(result.hard)).tolist() == [False, True, True]
    assert np.isnan(errors(result.weighted)).tolist() == [False, False, True]
    assert (result.hard[1].n_rows, result.weighted[2].n_rows) == (0, 0)
    assert result.bound == pytest.approx(result.top_expert.error)
    assert result.notes == (
        "expert 1 is never on top",
        "expert 2 is never on top",
        "expert 2 has no gate above zero",
    )
    assert result.notes[0] in repr(result)


def test_expert_with_one_row_has_an_error_and_no_interval():
    gates = np.array([[0.9, 0.1]] * 9 + [[0.1, 0.9]])
    result = expert_calibration(np.ones(10), np.full((10, 2), 0.5), gates, **FEW)
    assert result.hard[1].error == 0.5
    assert np.isnan([result.hard[1].corrected, result.hard[1].low, result.hard[1].high]).all()
    assert "expert 1 has 1 rows in its hard view, too few for an interval" in result.notes


def test_one_expert_is_its_own_mixture():
    y, experts, _ = mixture(n_experts=1)
    result = expert_calibration(y, experts, np.ones((500, 1)), **FEW)
    assert {round(value, 12) for value in result.table["error"]} == {round(result.bound, 12)}


def test_mixtures_equal_on_paper_share_a_bin():
    # .2 x .8 + .8 x .8 and .5 x .8 + .5 x .8 differ in the last digit, and .8 = 12/15 is an edge.
    table = fixture_b()
    assert len(np.unique((table.gates * table.expert_prob).sum(axis=1))) > 1
    result = expert_calibration(table.y, table.expert_prob, table.gates, n_bins=15, **FEW)
    assert result.mixture.error < 1e-12


# --- settings ------------------------------------------------------------------------------------


def test_result_does_not_depend_on_workers():
    rows = mixture(200)
    one = expert_calibration(*rows, **FEW)
    # Threads, because processes take seconds to start.
    with parallel_config(backend="threading"):
        two = expert_calibration(*rows, n_jobs=2, **FEW)
    for name, column in one.table.items():
        np.testing.assert_array_equal(column, two.table[name])


def test_every_view_has_a_spawned_generator():
    y, experts, gates = mixture(200)
    result = expert_calibration(y, experts, gates, **FEW)
    fifth = np.random.default_rng(0).spawn(8)[4]
    again = measure_view(y * 1.0, experts[:, 1], gates[:, 1], ViewSettings(15, 0.95, 20), fifth)
    assert vars(again) == pytest.approx(vars(result.weighted[1]))


def test_views_draw_from_generators_of_their_own():
    # Twice the same expert: same error, other draws.
    y, experts, _ = mixture(n_experts=1)
    result = expert_calibration(y, np.hstack([experts] * 2), np.full((500, 2), 0.5), **FEW)
    first, second = result.weighted
    assert first.error == second.error
    assert first.floor != second.floor


def test_level_sets_the_width():
    rows = mixture()
    narrow, wide = (expert_calibration(*rows, level=level, **FEW) for level in (0.5, 0.99))
    assert wide.mixture.low < narrow.mixture.low < narrow.mixture.high < wide.mixture.high


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"y_true": [0, 2]}, ValueError, "`y_true` must be 0 or 1"),
        ({"gates": [[1.0]] * 2}, ValueError, "`gates` must have one column per expert"),
        ({"n_bins": 0}, ValueError, "`n_bins` must be at least 1"),
        ({"level": 1.0}, ValueError, r"`level` must lie in \(0.*, 1.*\)"),
        ({"n_resamples": 1}, ValueError, "`n_resamples` must be at least 2"),
        ({"n_resamples": 9.5}, TypeError, "`n_resamples` must be an integer"),
    ],
)
def test_refuses(settings, error, match):
    good = {"y_true": [0, 1], "expert_prob": [[0.2, 0.7]] * 2, "gates": [[0.5, 0.5]] * 2}
    with pytest.raises(error, match=match):
        expert_calibration(**good | settings)


def test_text_and_frame():
    pytest.importorskip("pandas")
    result = expert_calibration(*mixture(), **FEW)
    frame = result.to_frame()
    assert frame["expert"].tolist() == ["0", "1", "2"] * 2 + ["mixture", "top expert"]
    assert frame["view"].tolist() == ["hard"] * 3 + ["weighted"] * 3 + ["all"] * 2
    assert frame["share"][:3].sum() == pytest.approx(1)
    assert frame["error"].tolist()[-2:] == [result.mixture.error, result.top_expert.error]
    text = repr(result)
    assert "95% intervals" in text
    assert f"hard views: {result.bound:.4g}" in text
