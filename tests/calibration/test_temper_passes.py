"""One pass: derivatives by definition, and the fast pass against the plain one."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from sk_arcal.calibration._temper_passes import (
    Rows,
    class_sums,
    errors_and_leads,
    event_sums,
    is_separated,
    slope_of_constants,
)


def class_rows(n=400, n_classes=7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1).astype(float)
    return logits.astype(dtype), y, rng.random(n)


def event_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, n)
    return logits, (rng.random(n) < expit(logits)).astype(float), rng.random(n)


@pytest.mark.parametrize(("rows", "sums"), [(event_rows, event_sums), (class_rows, class_sums)])
@pytest.mark.parametrize("beta", [0.05, 1.0, 4.0])
def test_each_sum_is_the_slope_of_the_one_before(rows, sums, beta):
    data = rows()
    step = 1e-5 * beta
    up, down = sums(*data, beta + step), sums(*data, beta - step)
    found = sums(*data, beta)
    scale = np.abs(found[1:]).max()
    np.testing.assert_allclose(found[1:], (up - down)[:-1] / (2 * step), atol=1e-6 * scale)


@pytest.mark.parametrize("n_classes", [2, 7, 31, 32, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.01, 1.0, 5.0])
def test_fast_pass_equals_the_plain_one(n_classes, dtype, beta):
    data = class_rows(n_classes=n_classes, dtype=dtype)
    expected = class_sums(*data, beta)
    units = float(beta) ** np.arange(5)
    found = Rows.of(*data).sums(beta)
    scale = np.abs(units * expected).max()
    np.testing.assert_allclose(units * found, units * expected, rtol=1e-10, atol=1e-11 * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
@pytest.mark.parametrize("beta", [0.1, 1.1])
def test_single_precision_is_right_to_its_rounding(dtype, offset, beta):
    logits, y, weight = class_rows(20_000, 10, dtype=np.float32)
    logits = (logits.round(2) + offset).astype(dtype)
    rows = Rows.of(logits, y, weight)
    single = Rows(rows.logits, rows.labels, rows.weight, single=True)
    found, expected = single.sums(beta), class_sums(logits, y, weight, beta)
    # The step to the optimum is the quotient of these two.
    error = (found[1] - expected[1]) / expected[2] / beta
    assert abs(error) < 1e-7
    np.testing.assert_allclose(found[:3], expected[:3], rtol=1e-6, atol=1e-7 * weight.sum())
    np.testing.assert_allclose(found[3:], expected[3:], rtol=1e-3)


def test_single_precision_is_taken_back_to_the_beta_it_was_asked_for():
    logits, y, weight = class_rows(20_000, 10, dtype=np.float32)
    rows = Rows.of(logits, y, weight)
    single = Rows(rows.logits, rows.labels, rows.weight, single=True)
    # Half way between two numbers of float32.
    beta = 1 + 0.49 * 2.0**-23
    step = single.sums(beta)[1] - single.sums(1.0)[1]
    np.testing.assert_allclose(
        step, (beta - 1) * class_sums(*(logits, y, weight), 1.0)[2], rtol=1e-3
    )


def test_fourth_derivative_is_left_out_on_request():
    rows = Rows.of(*class_rows())
    np.testing.assert_array_equal(rows.sums(0.7, fourth=False)[:4], rows.sums(0.7)[:4])
    assert rows.sums(0.7, fourth=False)[4] == 0


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda z: z * 1e3,
        lambda z: z + 1e3 * np.arange(len(z))[:, None],
        lambda z: np.where(np.arange(z.size).reshape(z.shape) == 77, 1e30, z),
        lambda z: np.where(np.arange(z.size).reshape(z.shape) == 77, -1e99, z),
    ],
    ids=["wide", "row-offsets", "outlier", "far-below"],
)
def test_large_exponents_take_the_plain_pass(spoil, single):
    logits, y, weight = class_rows()
    logits = spoil(logits)
    rows = Rows.of(logits, y, weight)
    found = Rows(rows.logits, rows.labels, rows.weight, single).sums(1.0)
    np.testing.assert_allclose(found, class_sums(logits, y, weight, 1.0), rtol=1e-12, atol=1e-9)


def test_strided_rows_are_views():
    rows = Rows.of(*class_rows())
    share = rows.every(8)
    assert np.shares_memory(share.logits, rows.logits)
    np.testing.assert_allclose(
        share.sums(1.0), class_sums(share.logits.copy(), share.labels, share.weight, 1.0), rtol=1e-9
    )


def test_precision_follows_the_number_of_logits():
    logits, y, weight = class_rows(1 << 17, 8, dtype=np.float32)
    assert Rows.of(logits, y, weight).single
    assert not Rows.of(logits[:-1], y[:-1], weight[:-1]).single
    assert not Rows.of(logits, y, weight, may_be_single=False).single


@pytest.mark.parametrize("rows", [event_rows, class_rows], ids=["event", "classes"])
def test_slope_of_constants_is_the_gradient_at_zero(rows):
    data = rows()
    sums = event_sums if data[0].ndim == 1 else class_sums
    np.testing.assert_allclose(slope_of_constants(Rows.of(*data)), sums(*data, 0.0)[1], rtol=1e-9)


def test_separation_is_seen_wherever_the_error_is():
    logits = 3.0 * np.eye(4)[np.arange(20_000) % 4]
    y = np.arange(20_000) % 4.0
    weight = np.ones(20_000)
    assert is_separated(Rows.of(logits, y, weight))
    assert errors_and_leads(Rows.of(0 * logits, y, weight)) == (False, False)
    for row in (0, 63, 64, 19_999):
        wrong = y.copy()
        wrong[row] = (wrong[row] + 1) % 4
        assert not is_separated(Rows.of(logits, wrong, weight))
        assert softmax(logits[row])[int(wrong[row])] < 0.5
