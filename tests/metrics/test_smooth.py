import numpy as np
import pytest
from scipy.fft import dct
from scipy.optimize import brentq
from scipy.stats import norm

from sk_arcal.metrics import smooth_calibration_error


def _golden(n_samples, truth):
    """Confidences and outcomes from two irrational rotations, the same everywhere."""
    i = np.arange(1, n_samples + 1)
    y_prob, u = (i * 0.6180339887498949) % 1, (i * 0.7548776662466927) % 1
    return (u < truth(y_prob)).astype(float), y_prob


def _by_definition(y_true, y_prob, bandwidth):
    """Integral over t of |mean_i K(t, c_i)(c_i - y_i)|, K reflected at 0 and 1."""
    t = np.linspace(0, 1, 10_001)
    images = np.arange(-6, 7) * 2
    smooth = np.zeros_like(t)
    for y, c in zip(y_true, y_prob, strict=True):
        for centre in np.concatenate([c + images, images - c]):
            smooth += (c - y) * norm.pdf(t, centre, bandwidth)
    return np.trapezoid(np.abs(smooth) / len(y_true), t)


@pytest.fixture
def few(rng):
    y_prob = rng.random(25)
    y_prob[:4] = [0, 0, 1, 1]
    return (rng.random(25) < y_prob**2).astype(float), y_prob


@pytest.mark.parametrize("bandwidth", [0.005, 0.02, 0.1, 0.3, 1.0])
def test_fixed_bandwidth_follows_the_definition(bandwidth, few):
    error = smooth_calibration_error(*few, bandwidth=bandwidth)
    assert error == pytest.approx(_by_definition(*few, bandwidth), abs=1e-5)


def test_default_bandwidth_is_the_fixed_point(few):
    error = smooth_calibration_error(*few)
    assert _by_definition(*few, error) == pytest.approx(error, abs=1e-5)


@pytest.mark.parametrize(
    ("truth", "reference"),
    [
        (lambda c: c, 0.012482),
        (lambda c: c**2, 0.165790),
        (lambda c: 0.2 + 0.6 * c, 0.097432),
        (lambda c: np.clip(c + 0.1 * np.sin(12 * c), 0, 1), 0.056086),
    ],
    ids=["calibrated", "square", "overconfident", "wave"],
)
def test_agrees_with_relplot(truth, reference):
    # relplot 1.0.3, smECE(f, y) with its default reflected kernel, on the same 2 000 rows.
    error = smooth_calibration_error(*_golden(2000, truth))
    assert error == pytest.approx(reference, abs=1e-3)


def test_agrees_with_relplot_on_three_rows():
    # relplot 1.0.3, as above.
    error = smooth_calibration_error([0, 1, 1], [0.1, 0.4, 0.8])
    assert error == pytest.approx(0.232664, abs=1e-3)


@pytest.mark.parametrize("bandwidth", [None, 0.01, 0.2])
def test_residuals_of_one_sign_give_the_difference_of_the_means(bandwidth):
    # Also where half the rows are exactly 1, which the reflected kernel must count in full.
    y_prob = np.array([1.0] * 50 + [0.9] * 50)
    error = smooth_calibration_error(np.zeros(100), y_prob, bandwidth=bandwidth)
    assert error == pytest.approx(0.95, abs=1e-6)


def test_perfect_predictions_have_no_error():
    assert smooth_calibration_error([0, 1, 1], [0, 1, 1]) == 0


def test_worst_predictions_have_error_one():
    assert smooth_calibration_error([0, 0], [1, 1]) == pytest.approx(1)


def test_single_row_has_its_residual_as_error():
    assert smooth_calibration_error([1], [0.3]) == pytest.approx(0.7)


def test_error_decreases_with_bandwidth(few):
    errors = [smooth_calibration_error(*few, bandwidth=b) for b in np.geomspace(0.001, 3, 30)]
    assert (np.diff(errors) <= 1e-9).all()


def test_error_moves_little_when_predictions_do(events):
    y_true, y_prob = events
    moved = np.clip(y_prob + 1e-4, 0, 1)
    change = smooth_calibration_error(y_true, moved) - smooth_calibration_error(y_true, y_prob)
    assert abs(change) < 5e-4


def test_swapping_event_and_complement_changes_nothing(events):
    y_true, y_prob = events
    swapped = smooth_calibration_error(1 - y_true, 1 - y_prob)
    assert swapped == pytest.approx(smooth_calibration_error(y_true, y_prob), abs=1e-6)


@pytest.mark.parametrize("bandwidth", [0, -0.1, 0.0005, np.inf * 0])
def test_refuses_a_bandwidth_it_cannot_resolve(bandwidth):
    with pytest.raises(ValueError, match=r"`bandwidth` must lie in \[0.001"):
        smooth_calibration_error([0, 1], [0.2, 0.8], bandwidth=bandwidth)


def _fine(y_true, y_prob, n_cells=2**18):
    """SmoothECE with every row shared between two of very many nodes, by one long transform."""
    position = y_prob * n_cells
    left = np.minimum(position.astype(int), n_cells - 1)
    residual = (y_prob - y_true) / len(y_true)
    to_right = residual * (position - left)
    node = np.bincount(left, residual - to_right, n_cells + 1)
    node += np.bincount(left + 1, to_right, n_cells + 1)
    node[1:-1] /= 2
    coefficients = dct(node, type=1)[: 2**14 + 1]

    def error(width):
        damping = np.exp(-((np.pi * width * np.arange(2**14 + 1)) ** 2) / 2)
        smooth = np.abs(dct(coefficients * damping, type=1))
        return (smooth.sum() - (smooth[0] + smooth[-1]) / 2) / 2**14

    return brentq(lambda width: error(width) - width, 1e-3, 1, xtol=1e-11)


@pytest.mark.parametrize("n", [300, 10_000, 200_000])
@pytest.mark.parametrize("step", [0, 0.01, 0.001], ids=["smooth", "percent", "permille"])
@pytest.mark.parametrize(
    "truth",
    [
        lambda c: c,
        lambda c: 0.2 + 0.6 * c,
        lambda c: np.clip(c + 0.03 * np.sin(60 * c), 0, 1),
    ],
    ids=["calibrated", "overconfident", "waves"],
)
def test_error_is_within_a_millionth_of_a_far_finer_evaluation(n, step, truth, rng):
    y_prob = np.sqrt(rng.random(n))
    y_prob = np.round(y_prob / step) * step if step else y_prob
    y_prob = np.clip(y_prob, 0, 1)
    y_true = (rng.random(n) < truth(y_prob)).astype(float)
    error = smooth_calibration_error(y_true, y_prob)
    assert error == pytest.approx(_fine(y_true, y_prob), abs=1e-6)


def test_error_below_the_smallest_bandwidth_is_that_at_it():
    y_prob = np.repeat(np.linspace(0.1, 0.9, 9), 1000)
    y_true = np.concatenate([np.arange(1000) < 1000 * p for p in np.linspace(0.1, 0.9, 9)])
    error = smooth_calibration_error(y_true, y_prob)
    assert error <= 0.001
    assert error == pytest.approx(smooth_calibration_error(y_true, y_prob, bandwidth=0.001))
