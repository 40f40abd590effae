"""TemperatureScaler: known truths, brute force, real logits, and what it warns about."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning

from sk_arcal.calibration import CalibrationWarning, TemperatureScaler

LOGIT_CELLS = sorted(
    path
    for path in (Path(__file__).parents[3] / "shared" / "data" / "logits").glob("*.npz")
    if "counts" not in path.name
)


def every_outcome(logits):
    """Each row once per class, weighted by its probability: the fit then knows no sampling error.

    Returns X, y and the weights; the best temperature of c * logits is exactly c.
    """
    n, n_classes = logits.shape
    weight = softmax(logits, axis=1).ravel()
    return np.repeat(logits, n_classes, axis=0), np.tile(np.arange(n_classes), n), weight


def mean_log_loss(beta, logits, y):
    return -log_softmax(beta * logits, axis=1)[np.arange(len(y)), y].mean()


# --- the right temperature -----------------------------------------------------------------------


@pytest.mark.parametrize("truth", [0.01, 0.25, 1.0, 2.5, 8.0, 60.0])
@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-8), (np.float32, 1e-5)])
def test_recovers_the_temperature_of_classes(truth, dtype, error):
    logits, y, weight = every_outcome(np.random.default_rng(0).normal(0, 2, (300, 5)))
    scaler = TemperatureScaler().fit((truth * logits).astype(dtype), y, sample_weight=weight)
    np.testing.assert_allclose(scaler.temperature_, truth, rtol=error)


@pytest.mark.parametrize("truth", [0.01, 0.25, 1.0, 2.5, 8.0, 60.0])
@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-8), (np.float32, 1e-5)])
def test_recovers_the_temperature_of_an_event(truth, dtype, error):
    log_odds = np.random.default_rng(0).normal(0, 2, 300)
    two = np.column_stack([np.zeros(300), log_odds])
    logits, y, weight = every_outcome(two)
    X = (truth * logits[:, 1:]).astype(dtype)
    scaler = TemperatureScaler(confidence_kind="logit").fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(scaler.temperature_, truth, rtol=error)


@pytest.mark.parametrize("truth", [0.25, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recovers_the_temperature_from_drawn_labels(truth, dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (100_000, 10))
    # The largest of logits plus Gumbel noise is a draw from their softmax.
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    scaler = TemperatureScaler().fit((truth * logits).astype(dtype), y)
    np.testing.assert_allclose(scaler.temperature_, truth, rtol=0.005)


@pytest.mark.parametrize("cell", LOGIT_CELLS, ids=lambda path: path.stem)
def test_no_other_temperature_is_better_on_real_logits(shared_data, cell):
    with np.load(shared_data / "logits" / cell.name) as file:
        fit = file["split"] == 0
        logits, y = file["logits"][fit], file["y"][fit].astype(int)
    scaler = TemperatureScaler(confidence_kind="logit", classes=range(logits.shape[1]))
    scaler.fit(logits, y)
    logits = logits.astype(np.float64)
    grid = np.geomspace(0.05, 20, 25)
    best = grid[np.argmin([mean_log_loss(beta, logits, y) for beta in grid])]
    bracket = best / 1.4, best * 1.4
    found = minimize_scalar(mean_log_loss, args=(logits, y), bounds=bracket, method="bounded")
    np.testing.assert_allclose(scaler.loss_, found.fun, rtol=0, atol=1e-6)
    calibrated = scaler.decision_function(logits)
    np.testing.assert_allclose(scaler.loss_, mean_log_loss(1, calibrated, y), rtol=1e-9)


def test_attributes_describe_the_fit():
    logits, y, weight = every_outcome(np.random.default_rng(0).normal(size=(50, 3)))
    scaler = TemperatureScaler().fit(logits, y, sample_weight=weight)
    entropy = -(softmax(logits, axis=1) * log_softmax(logits, axis=1)).sum(axis=1)
    np.testing.assert_allclose(scaler.loss_, entropy.mean(), rtol=1e-9)
    assert 1 <= scaler.n_iter_ <= 10


# --- probabilities that were rounded -------------------------------------------------------------


@pytest.fixture(scope="module")
def overconfident():
    """20 000 x 100 logits eight times too large, labels drawn from the truth, its log loss."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 100))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return 8 * logits, y, mean_log_loss(1, logits, y)


def test_saturated_float32_probabilities_warn_and_are_still_fitted(overconfident):
    # scikit-learn 1.9 ends at a log loss of 2.308 here, 0.27 above the truth.
    logits, y, oracle = overconfident
    saturated = softmax(logits.astype(np.float32), axis=1)
    assert (saturated == 0).any(axis=1).mean() > 0.5
    scaler = TemperatureScaler()
    with pytest.warns(CalibrationWarning, match="exactly 0, so"):
        scaler.fit(saturated, y)
    np.testing.assert_allclose(scaler.temperature_, 8, rtol=0.01)
    assert scaler.loss_ < oracle + 1e-3 < 2.308


def test_small_probabilities_are_believed(overconfident):
    logits, y, _ = overconfident
    scaler = TemperatureScaler().fit(softmax(logits[:2000], axis=1), y[:2000])
    from_logits = TemperatureScaler().fit(logits[:2000], y[:2000])
    np.testing.assert_allclose(scaler.temperature_, from_logits.temperature_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*exactly 0:sk_arcal.calibration.CalibrationWarning")
def test_probabilities_rounded_to_four_digits_cost_little():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (5000, 10))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    rounded = softmax(2 * logits, axis=1).round(4)
    scaler = TemperatureScaler().fit(rounded, y)
    assert scaler.loss_ < mean_log_loss(1, logits, y) + 0.02


# --- at the bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.1, 30.0, 1e4])
def test_perfect_separation_warns_and_gives_the_lower_bound(margin):
    y = np.arange(40) % 4
    scaler = TemperatureScaler(confidence_kind="logit")
    with pytest.warns(CalibrationWarning, match=r"lower bound, 0\.001.*separates.*trained on"):
        scaler.fit(margin * np.eye(4)[y], y)
    assert scaler.temperature_ == 1e-3


def test_backwards_confidence_warns_and_gives_the_upper_bound():
    y = np.arange(40) % 4
    scaler = TemperatureScaler(bounds=(0.1, 20))
    with pytest.warns(CalibrationWarning, match=r"upper bound, 20.*ranks backwards.*wrong column"):
        scaler.fit(-2 * np.eye(4)[y], y)
    assert scaler.temperature_ == 20


def test_score_of_the_other_class_warns():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=500)
    y = np.where(rng.random(500) < expit(logits), "yes", "no")
    with pytest.warns(CalibrationWarning, match="the probability of the other class"):
        TemperatureScaler().fit(expit(-logits)[:, None], y)


def test_optimum_beyond_the_bounds_warns_about_these():
    logits, y, weight = every_outcome(np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.warns(CalibrationWarning, match=r"upper bound, 2.*`bounds` that are too narrow"):
        TemperatureScaler(bounds=(0.5, 2)).fit(5 * logits, y, sample_weight=weight)


def test_running_out_of_passes_warns():
    logits, y, weight = every_outcome(np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.warns(ConvergenceWarning, match="after 2 passes; increase `max_iter`") as caught:
        TemperatureScaler(max_iter=2).fit(8 * logits, y, sample_weight=weight)
    assert caught[0].filename == __file__


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"bounds": (2, 1)}, ValueError, r"`bounds\[1\]` must lie in \(2.0, inf\); got 1"),
        ({"bounds": (0, 1)}, ValueError, r"`bounds\[0\]` must lie in \(0, inf\); got 0"),
        ({"bounds": 3}, ValueError, "`bounds` must be two temperatures; got 3"),
        ({"bounds": (1, 2, 3)}, ValueError, "must be two temperatures"),
        ({"bounds": ("a", 2)}, TypeError, r"`bounds\[0\]` must be a number; got 'a'"),
        ({"max_iter": 0}, ValueError, "`max_iter` must be at least 1; got 0"),
        ({"max_iter": 2.5}, TypeError, "`max_iter` must be an integer; got 2.5"),
    ],
)
def test_bad_parameters_are_refused_in_fit(settings, error, message):
    with pytest.raises(error, match=message):
        TemperatureScaler(**settings).fit([[-1.0], [1.0], [2.0]], [1, 0, 1])


# --- size ----------------------------------------------------------------------------------------


def test_a_million_rows_of_constant_confidence():
    n = 1_000_000
    X, y = np.full((n, 1), 0.9), np.arange(n) % 4 != 0
    scaler = TemperatureScaler().fit(X, y)
    np.testing.assert_allclose(scaler.predict_proba(X[:3])[:, 1], 0.75, rtol=1e-9)


@pytest.mark.parametrize("n_columns", [3, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_huge_logits_count_as_the_largest(n_columns, sign):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, n_columns)), rng.integers(0, 3, 300)
    X[np.arange(300), y] += 1
    X[7, (y[7] + (sign < 0)) % 3] = sign * 1e200
    scaler = TemperatureScaler().fit(X, y)
    expected = TemperatureScaler().fit(np.clip(X, -1e100, 1e100), y)
    assert scaler.temperature_ == expected.temperature_
    largest = np.abs(scaler.decision_function(X)).max() * scaler.temperature_
    np.testing.assert_allclose(largest, 1e100)
    assert np.isfinite(scaler.predict_proba(X)).all()


@pytest.mark.parametrize("bad", [-np.inf, np.inf, np.nan])
def test_logits_that_are_not_finite_are_refused(bad):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    X[np.arange(60), y] += 0.5
    scaler = TemperatureScaler().fit(X, y)
    X[5, 1] = bad
    for call in (lambda: TemperatureScaler().fit(X, y), lambda: scaler.predict_proba(X)):
        with pytest.raises(ValueError, match=r"infinity|NaN"):
            call()


def test_half_precision_is_read_as_double():
    X, y = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float16), np.arange(600) % 3
    X[np.arange(600), y] += np.float16(0.5)
    half, double = (TemperatureScaler().fit(x, y) for x in (X, X.astype(np.float64)))
    np.testing.assert_allclose(half.temperature_, double.temperature_, rtol=1e-9)


def test_passes_need_little_memory():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50_000, 20)), rng.integers(0, 20, 50_000)
    X[np.arange(50_000), y] += 1
    tracemalloc.start()
    TemperatureScaler().fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Beside the copies of X that validation and the choice of columns make.
    assert peak < 3.5 * X.nbytes
