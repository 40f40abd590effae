"""The worst shift of configurations: by hand, by search, and in expectation."""

import numpy as np
import pytest
from joblib import parallel_config
from scipy.optimize import linprog

from sk_arcal.diagnostics._shift._ball import Ball
from sk_arcal.diagnostics._shift._cells import ShiftCells
from sk_arcal.diagnostics._shift._cross_fit import cross_fit, halve
from sk_arcal.diagnostics._worst_case_error import worst_case_calibration_error
from sk_arcal.metrics import expected_calibration_error

QUICK = {"n_resamples": 4, "n_splits": 2, "random_state": 0}


def rows(n=600, effect=0.1, n_configurations=4, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.2, 0.8, n)
    codes = rng.integers(n_configurations, size=n)
    y = rng.random(n) < p + effect * np.where(codes % 2, 1, -1)
    return y, p, codes


@pytest.mark.parametrize("ball", ["kl", "chi2", "cvar", "box"])
def test_no_ball_is_the_plain_error(ball):
    y, p, codes = rows()
    result = worst_case_calibration_error(
        y, p, codes, ball=ball, radius=0, alpha=1, bounds=(1, 1), **QUICK
    )
    plain = expected_calibration_error(y, p, n_bins=10)
    assert result.in_sample == pytest.approx(plain, abs=1e-14)
    assert result.plain == pytest.approx(plain, abs=1e-14)
    np.testing.assert_allclose(result.weights, 1)


@pytest.mark.parametrize("ball", ["cvar", "box"])
def test_sup_is_two_linear_programmes_per_bin(ball):
    y, p, codes = rows(120, n_configurations=5)
    limits = {"cvar": (0, 2.5), "box": (0.5, 2)}[ball]
    result = worst_case_calibration_error(y, p, codes, ball=ball, alpha=0.4, n_bins=4, **QUICK)
    expected = 0.0
    for b in range(4):
        inside = (p > b / 4) & (p <= (b + 1) / 4)
        present, code = np.unique(codes[inside], return_inverse=True)
        share = np.bincount(code) / inside.sum()
        gap = np.bincount(code, weights=(y - p)[inside]) / np.bincount(code)
        values = [
            -linprog(
                -s * share * gap, A_eq=share[None], b_eq=[1], bounds=[limits] * len(present)
            ).fun
            for s in (1, -1)
        ]
        expected += inside.mean() * max(values)
    assert result.in_sample == pytest.approx(expected, abs=1e-10)


def test_weights_give_the_sup_as_a_weighted_error():
    y, p, codes = rows()
    result = worst_case_calibration_error(y, p, codes, radius=0.3, **QUICK)
    assert result.weights.mean() == pytest.approx(1)
    weighted = expected_calibration_error(y, p, n_bins=10, sample_weight=result.weights)
    assert weighted == pytest.approx(result.in_sample, abs=1e-12)
    bins = np.ceil(p * 10)
    for b in np.unique(bins):
        assert result.weights[bins == b].mean() == pytest.approx(1)


def test_sup_grows_with_the_ball():
    y, p, codes = rows()
    sups = [
        worst_case_calibration_error(y, p, codes, radius=radius, **QUICK).in_sample
        for radius in (0, 0.05, 0.3, 1, 5)
    ]
    assert (np.diff(sups) > 0).all()
    whole = worst_case_calibration_error(y, p, codes, ball="box", bounds=(0, 100), **QUICK)
    gaps = whole.to_frame().groupby("bin")["gap"].apply(lambda gap: gap.abs().max())
    mass = whole.to_frame().groupby("bin")["rows"].sum() / len(y)
    assert whole.in_sample == pytest.approx((gaps * mass).sum())


def test_one_configuration_has_nothing_to_shift():
    y, p, _ = rows()
    result = worst_case_calibration_error(y, p, ["all"] * len(y), radius=2, **QUICK)
    assert result.in_sample == pytest.approx(result.plain)
    assert result.worst_configuration == "all"


def test_halves_share_every_cell():
    _, p, codes = rows(301)
    cells = ShiftCells.from_codes((p * 10).astype(int), codes)
    first = halve(cells, np.random.default_rng(0))
    difference = cells.sums(first * 1.0) - cells.sums(~first * 1.0)
    assert np.abs(difference).max() <= 1
    assert (np.abs(difference) == cells.counts % 2).all()
    np.testing.assert_array_equal(cells.sums(np.ones(301)), cells.counts)


def test_odd_rows_fall_into_either_half():
    cells = ShiftCells.from_codes(np.zeros(1000, int), np.arange(1000))
    assert 400 < halve(cells, np.random.default_rng(0)).sum() < 600


def test_every_row_counts_once_however_few_share_its_cell():
    cells = ShiftCells.from_codes(np.zeros(6, int), np.array([0, 1, 1, 2, 2, 2]))
    ball = Ball.of("box", 1, 1, (1, 1))
    found = cross_fit(cells, np.full(6, 0.3), ball, 3, np.random.default_rng(0), None)
    assert found.error == pytest.approx(0.3, abs=1e-14)


@pytest.mark.parametrize("effect", [0.0, 0.25])
def test_standard_error_knows_that_the_shift_is_found_on_the_rows(effect):
    cells = ShiftCells.from_codes(np.zeros(200, int), np.arange(200) % 4)
    ball, rng = Ball.of("box", 1, 1, (0, 2)), np.random.default_rng(0)
    shift = effect * np.where(cells.of_row % 2, 1, -1)
    found = [
        cross_fit(cells, (rng.random(200) < 0.5 + shift) - 0.5, ball, 4, rng, None)
        for _ in range(400)
    ]
    spread = np.std([one.error for one in found])
    # Taken for fixed, the weights of noise would make it too small by the root of two.
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.15)


def test_cross_fit_measures_on_rows_that_did_not_choose():
    # One bin, two cells of two rows: each half holds one row of both.
    cells = ShiftCells.from_codes(np.zeros(4, int), np.array([0, 0, 1, 1]))
    ball = Ball.of("box", 1, 1, (0, 2))
    found = cross_fit(
        cells, np.array([0.5, -0.5, 0.1, 0.1]), ball, 50, np.random.default_rng(0), None
    )
    # A half with +.5 picks cell 0 and reads -.5; one with -.5 picks it with sign -, reads -.5.
    assert found.error == pytest.approx(-0.5)
    single = ShiftCells.from_codes(np.zeros(2, int), np.array([0, 1]))
    found = cross_fit(single, np.array([0.4, 0.2]), ball, 400, np.random.default_rng(0), None)
    # Alone, a row is chosen by the other (weight 0, sign +), by none (1), or by both.
    assert 0 < found.error < 0.4


def test_error_is_unbiased_for_the_shift_found_where_sup_is_not():
    errors, sups = [], []
    for seed in range(60):
        y, p, codes = rows(400, effect=0.0, n_configurations=8, seed=seed)
        result = worst_case_calibration_error(
            y, p, codes, ball="box", n_splits=4, n_resamples=2, random_state=0
        )
        errors.append(result.error)
        sups.append(result.in_sample)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(60)
    assert np.mean(sups) > 0.08


def test_floor_is_the_sup_of_a_calibrated_model():
    y, p, codes = rows(400, effect=0.0)
    result = worst_case_calibration_error(
        y, p, codes, n_splits=1, n_resamples=60, radius=0.2, random_state=0
    )
    sups = [
        worst_case_calibration_error(
            np.random.default_rng(seed).random(400) < p, p, codes,
            n_splits=1, n_resamples=2, radius=0.2, random_state=0,
        ).in_sample
        for seed in range(60)
    ]  # fmt: skip
    error = np.std(sups) * np.sqrt(2 / 60)
    assert result.floor == pytest.approx(np.mean(sups), abs=4 * error)
    assert result.floor < result.floor_95


def test_a_true_effect_lies_in_the_interval():
    y, p, codes = rows(4000, effect=0.1)
    result = worst_case_calibration_error(
        y, p, codes, ball="box", bounds=(0, 2), n_resamples=2, random_state=0
    )
    assert result.low < 0.1 < result.high
    assert result.high - result.low < 0.08


def test_table_adds_up_and_names_the_worst():
    y, p, codes = rows(2000, effect=0.15)
    names = np.array(["calm", "storm", "still", "squall"])[codes]
    y = np.where(codes == 1, np.minimum(y + (p > 0.5), 1), y)
    result = worst_case_calibration_error(y, p, names, **QUICK)
    frame = result.to_frame()
    assert frame["contribution"].sum() == pytest.approx(result.in_sample)
    assert frame["contribution"].is_monotonic_decreasing
    assert frame["rows"].sum() == 2000
    np.testing.assert_allclose(frame["gap"], frame["rate"] - frame["confidence"])
    assert result.worst_configuration == "storm"
    assert result.shares.sum() == pytest.approx(1)
    assert result.shifted_shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        result.shifted_shares,
        [result.weights[names == name].sum() / 2000 for name in result.configurations],
    )
    assert "storm" in repr(result)
    assert "kl, radius=0.5" in repr(result)


def test_order_of_rows_and_jobs_change_nothing_but_the_draws():
    y, p, codes = rows()
    one = worst_case_calibration_error(y, p, codes, **QUICK)
    with parallel_config(backend="threading"):
        two = worst_case_calibration_error(y, p, codes, n_jobs=2, **QUICK)
    assert (one.error, one.floor, one.low) == (two.error, two.floor, two.low)
    back = worst_case_calibration_error(y[::-1], p[::-1], codes[::-1], **QUICK)
    assert back.in_sample == pytest.approx(one.in_sample)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"configurations": [0]}, "`configurations` has 1 rows"),
        ({"y_true": [0, 2, 1]}, "must be 0 or 1"),
        ({"y_true": [1], "y_prob": [0.5], "configurations": [0]}, "at least two"),
        ({"n_splits": 0}, "`n_splits` must be at least 1"),
        ({"ball": "none"}, "`ball` must be one of"),
    ],
)
def test_refuses(change, sentence):
    given = {"y_true": [0, 1, 1], "y_prob": [0.5] * 3, "configurations": [0, 1, 1]} | change
    with pytest.raises(ValueError, match=sentence):
        worst_case_calibration_error(**given)
