"""The one-dimensional fit behind every temperature."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

from sk_arcal.calibration import CalibrationWarning
from sk_arcal.calibration._temper_passes import class_sums, event_sums
from sk_arcal.calibration._tempering import _Bracket, fit_temperature, warn_at_bound


def event_rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, n)
    return logits, (rng.random(n) < expit(logits)).astype(float), rng.random(n)


def class_rows(n=300, n_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_classes))
    y = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, y.clip(max=n_classes - 1).astype(float), rng.random(n)


def log_loss(beta, logits, y, weight):
    """Mean loss by definition."""
    if logits.ndim == 1:
        losses = -log_expit(np.where(y == 1, beta, -beta) * logits)
    else:
        losses = -log_softmax(beta * logits, axis=1)[np.arange(len(y)), y.astype(int)]
    return np.average(losses, weights=weight)


both = pytest.mark.parametrize(
    ("rows", "moments"),
    [(event_rows, event_sums), (class_rows, class_sums)],
    ids=["event", "classes"],
)
both_rows = pytest.mark.parametrize("rows", [event_rows, class_rows], ids=["event", "classes"])


@both
@pytest.mark.parametrize("beta", [0.01, 1.0, 30.0])
def test_loss_is_the_definition(rows, moments, beta):
    logits, y, weight = rows()
    loss = moments(logits, y, weight, beta)[0]
    np.testing.assert_allclose(loss / weight.sum(), log_loss(beta, logits, y, weight), rtol=1e-12)


@both
@pytest.mark.parametrize("beta", [0.05, 1.0, 5.0])
def test_gradient_is_the_slope_of_the_loss(rows, moments, beta):
    logits, y, weight = rows()
    step = 1e-5 * beta
    up, down = (moments(logits, y, weight, beta + s)[0] for s in (step, -step))
    gradient = moments(logits, y, weight, beta)[1]
    np.testing.assert_allclose(gradient, (up - down) / (2 * step), rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize("beta", [0.05, 1.0, 5.0])
def test_curvature_is_the_slope_of_the_gradient(rows, moments, beta):
    logits, y, weight = rows()
    step = 1e-5 * beta
    up, down = (moments(logits, y, weight, beta + s)[1] for s in (step, -step))
    curvature = moments(logits, y, weight, beta)[2]
    np.testing.assert_allclose(curvature, (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


@both
def test_blocks_do_not_change_the_sums(rows, moments, monkeypatch):
    logits, y, weight = rows()
    expected = moments(logits, y, weight, 0.7)
    monkeypatch.setattr("sk_arcal._numeric._BLOCK_ELEMENTS", 64)
    np.testing.assert_allclose(moments(logits, y, weight, 0.7), expected, rtol=1e-12)


@both_rows
@pytest.mark.parametrize("scale", [1e-2, 0.3, 1.0, 7.0, 200.0])
def test_minimum_is_the_one_scipy_finds(rows, scale):
    logits, y, weight = rows()
    found = fit_temperature(scale * logits, y, weight)
    expected = minimize_scalar(
        log_loss, args=(logits, y, weight), bounds=(1e-3, 1e2), options={"xatol": 1e-12}
    )
    np.testing.assert_allclose(found.temperature / scale, 1 / expected.x, rtol=1e-6)
    np.testing.assert_allclose(found.loss, expected.fun, rtol=1e-12)


@both_rows
def test_few_passes_are_needed(rows):
    fit = fit_temperature(*rows())
    assert fit.converged
    assert fit.n_iter <= 10


@both_rows
def test_shift_of_all_logits_of_a_row_changes_nothing(rows):
    logits, y, weight = rows()
    expected = fit_temperature(logits, y, weight).temperature
    if logits.ndim == 1:
        logits = np.column_stack([np.zeros_like(logits), logits])
    shift = np.random.default_rng(1).normal(0, 100, (len(logits), 1))
    shifted = fit_temperature(logits + shift, y, weight).temperature
    np.testing.assert_allclose(shifted, expected, rtol=1e-9)


def test_two_classes_equal_the_event_of_their_difference():
    logits, y, weight = event_rows()
    both_columns = np.column_stack([-logits / 3, 2 * logits / 3])
    one, two = (fit_temperature(z, y, weight) for z in (logits, both_columns))
    np.testing.assert_allclose([one.temperature, one.loss], [two.temperature, two.loss], rtol=1e-9)


@both_rows
@pytest.mark.parametrize("margin", [1e-3, 5.0, 1e4, 1e90])
def test_perfect_separation_stops_at_the_lower_bound(rows, margin):
    logits, _, weight = rows()
    y = (logits > 0).astype(float) if logits.ndim == 1 else logits.argmax(axis=1).astype(float)
    fit = fit_temperature(margin * np.sign(logits), y, weight, bounds=(0.02, 50.0))
    if logits.ndim == 1:
        assert (fit.temperature, fit.bound, fit.cause) == (0.02, "lower", "separated")
    fit = fit_temperature(margin * logits, y, weight, bounds=(0.02, 50.0))
    assert (fit.temperature, fit.bound, fit.cause) == (0.02, "lower", "separated")


@both_rows
def test_backwards_confidence_stops_at_the_upper_bound(rows):
    logits, y, weight = rows()
    fit = fit_temperature(-logits, y, weight, bounds=(0.02, 50.0))
    assert (fit.temperature, fit.bound, fit.cause) == (50.0, "upper", "unranked")


@both_rows
@pytest.mark.parametrize(
    ("scale", "bounds", "bound"), [(1e4, (1e-3, 1e3), "upper"), (1, (2, 3), "lower")]
)
def test_optimum_beyond_a_bound_is_no_verdict_on_the_ranking(rows, scale, bounds, bound):
    logits, y, weight = rows()
    fit = fit_temperature(scale * logits, y, weight, bounds=bounds)
    assert (fit.bound, fit.cause) == (bound, "narrow")
    assert fit.temperature == bounds[bound == "upper"]


@pytest.mark.parametrize("shape", [(50,), (50, 4)])
def test_logits_that_say_nothing_leave_the_temperature_alone(shape):
    logits = np.zeros(shape) if len(shape) == 1 else np.full(shape, 2.5)
    fit = fit_temperature(logits, np.arange(50) % 2.0, np.ones(50))
    assert (fit.temperature, fit.bound, fit.converged) == (1.0, None, True)


def test_constant_confidence_is_moved_to_the_event_rate():
    y = (np.arange(1000) < 700).astype(float)
    fit = fit_temperature(np.full(1000, 3.0), y, np.ones(1000))
    np.testing.assert_allclose(expit(3 / fit.temperature), 0.7, rtol=1e-9)


def test_running_out_of_passes_is_reported():
    logits, y, weight = event_rows()
    fit = fit_temperature(8 * logits, y, weight, max_iter=2)
    assert (fit.n_iter, fit.converged) == (2, False)


@pytest.mark.parametrize("scale", [1e-300, 1e99])
@both_rows
def test_logits_of_any_size_give_a_finite_fit(rows, scale):
    logits, y, weight = rows()
    fit = fit_temperature(scale * logits, y, weight)
    assert np.isfinite([fit.temperature, fit.loss]).all()


@pytest.mark.parametrize(("gradient", "expected"), [(1e-5, 0.25), (-1e-5, 4.0)])
@pytest.mark.parametrize("curvature", [0.0, 1e-320, 1e-9])
def test_step_where_the_loss_is_all_but_straight_is_a_factor_of_four(gradient, curvature, expected):
    assert _Bracket(1e-3, 1e3).next_point(1.0, gradient, curvature) == expected


def test_one_row():
    fit = fit_temperature(np.array([2.0]), np.array([1.0]), np.ones(1))
    assert fit.cause == "separated"


@pytest.mark.parametrize(
    ("sign", "words"), [(1, "separates right from wrong perfectly"), (-1, "ranks backwards")]
)
def test_warning_says_the_likely_cause(sign, words):
    logits = np.array([-1.0, 2.0, 3.0])
    fit = fit_temperature(sign * logits, (logits > 0).astype(float), np.ones(3))
    with pytest.warns(CalibrationWarning, match=words):
        warn_at_bound(fit)


def test_no_warning_without_a_bound():
    warn_at_bound(fit_temperature(*event_rows()))


# --- many rows: the cascade and the fast pass ----------------------------------------------------


def many_rows(n=8192, n_classes=20, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1).astype(float)
    return scale * logits, y, np.ones(n)


def optimum(logits, y, weight, start):
    """Newton's iteration in float64 on the plain pass, to the last digit."""
    beta = 1 / start
    for _ in range(4):
        _, gradient, curvature = class_sums(logits, y, weight, beta)[:3]
        beta -= np.clip(gradient / curvature, -beta, beta / 2)
    return 1 / beta


def every_eighth_wrong(logits, y, weight):
    """Rows in an order in which each strided share holds errors only."""
    wrong = logits.argmax(axis=1) != y
    errors, rest = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    first, others = errors[: len(y) // 8], np.concatenate([errors[len(y) // 8 :], rest])
    order = np.empty(len(y), int)
    order[::8] = first
    order[np.arange(len(y)) % 8 > 0] = others
    return logits[order], y[order], weight


def weighted(weight):
    return lambda logits, y, _: (logits, y, weight(len(y)))


def with_entry(value):
    def change(logits, y, weight):
        logits = logits.copy()
        logits[123, 4] = value
        return logits, y, weight

    return change


TRAPS = {
    "plain": lambda *data: data,
    "cold": lambda logits, y, w: (0.02 * logits, y, w),
    "hot": lambda logits, y, w: (60 * logits, y, w),
    "offset": lambda logits, y, w: (logits + 500, y, w),
    "row-offsets": lambda logits, y, w: (logits + 1e3 * (np.arange(len(y)) % 7)[:, None], y, w),
    "far-below": with_entry(-1e8),
    "by-class": lambda logits, y, w: (logits[np.argsort(y)], np.sort(y), w),
    "by-confidence": lambda logits, y, w: (
        logits[np.argsort(logits.max(axis=1))],
        y[np.argsort(logits.max(axis=1))],
        w,
    ),
    "errors-on-the-stride": every_eighth_wrong,
    "absent-class": lambda logits, y, w: (logits[y != 3], y[y != 3], w[y != 3]),
    "weightless-stride": weighted(lambda n: np.where(np.arange(n) % 8 == 0, 1e-9, 1.0)),
    "zero-weights-on-the-stride": weighted(lambda n: (np.arange(n) % 8 > 0).astype(float)),
    "heavy-row": weighted(lambda n: np.where(np.arange(n) == 77, 1e4, 1.0)),
    "uneven-weights": weighted(lambda n: np.random.default_rng(0).exponential(size=n) ** 3),
}


@pytest.mark.parametrize("single", [False, True], ids=["doubles", "singles"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_many_rows_end_at_the_optimum(trap, dtype, single, monkeypatch):
    if single:
        monkeypatch.setattr("sk_arcal.calibration._temper_passes._SINGLE_FROM", 1)
    logits, y, weight = trap(*many_rows())
    logits = logits.astype(dtype)
    fit = fit_temperature(logits, y, weight)
    expected = optimum(logits, y, weight, fit.temperature)
    assert fit.converged
    assert abs(np.log(fit.temperature / expected)) < (1e-6 if single else 1e-9)
    at_optimum = class_sums(logits, y, weight, 1 / expected)[0]
    at_fit = class_sums(logits, y, weight, 1 / fit.temperature)[0]
    assert at_fit <= at_optimum * (1 + 1e-11)
    np.testing.assert_allclose(fit.loss, at_fit / weight.sum(), rtol=1e-6 if single else 1e-10)


@pytest.mark.parametrize(("n", "n_classes"), [(499, 3), (2048, 8), (5000, 2), (300, 200)])
def test_any_shape_ends_at_the_optimum(n, n_classes):
    logits, y, weight = many_rows(n, n_classes, scale=2.5)
    fit = fit_temperature(logits, y, weight)
    expected = optimum(logits, y, weight, fit.temperature)
    np.testing.assert_allclose(fit.temperature, expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.02, 1.0, 2.5, 40.0])
def test_one_or_two_passes_over_many_rows(scale):
    assert fit_temperature(*many_rows(scale=scale)).n_iter <= 2


def test_many_log_odds_end_at_the_optimum():
    logits, y, weight = event_rows(50_000)
    fit = fit_temperature(3 * logits, y, weight)
    few = fit_temperature(3 * logits.copy(), y, weight, max_iter=1)
    beta = 1 / fit.temperature
    _, gradient, curvature = event_sums(3 * logits, y, weight, beta)[:3]
    assert abs(gradient / curvature) < 1e-9 * beta
    assert fit.n_iter <= 2
    assert few.n_iter == 1


def test_one_huge_wrong_logit_among_many_drives_the_temperature_up():
    logits, y, weight = with_entry(1e6)(*many_rows())
    fit = fit_temperature(logits, y, weight)
    assert (fit.bound, fit.cause) == ("upper", "unranked")


@pytest.mark.parametrize("sign", [1, -1])
def test_many_separated_or_backwards_rows_are_told(sign):
    logits, _, weight = many_rows()
    y = logits.argmax(axis=1).astype(float)
    fit = fit_temperature(sign * logits, y, weight)
    assert fit.cause == {1: "separated", -1: "unranked"}[sign]


def test_two_errors_among_many_sure_rows():
    logits, _, weight = many_rows()
    y = logits.argmax(axis=1).astype(float)
    y[[5000, 7001]] = logits[[5000, 7001]].argsort(axis=1)[:, -2]
    fit = fit_temperature(logits, y, weight)
    expected = optimum(logits, y, weight, fit.temperature)
    assert fit.bound is None
    np.testing.assert_allclose(fit.temperature, expected, rtol=1e-8)


def test_float32_logits_are_not_copied():
    logits, y, weight = many_rows(40_000, 50)
    logits = logits.astype(np.float32)
    tracemalloc.start()
    fit_temperature(logits, y, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20 + 16 * len(y)
