import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import Squares
from sk_arcal.diagnostics._conditional._effect_size import matched_gaps
from sk_arcal.diagnostics._conditional._leading import Contrast, leading_component, leading_contrast
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature

EMPTY = np.empty(0)


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    confidence = np.linspace(0.5, 1, 300)
    return BinnedOutcomes.from_rows((rng.random(300) < 0.7) * 1.0, confidence, None, rng)


@pytest.fixture
def feature():
    u = np.random.default_rng(1).permutation(2 * np.arange(1, 301) / 301 - 1)
    return RoutingFeature(u, u)


def _squares(total=(0, 0, 0, 0), turn=0.0, windows=()):
    """Squares of ten bins; `windows` lists (length, first bin, square)."""
    shapes = {1: 10, 2: 9, 4: 7}
    of_length = {length: np.zeros((1, count, 1)) for length, count in shapes.items()}
    for length, first, square in windows:
        of_length[length][0, first, 0] = square
    return Squares(np.array([total], dtype=float), np.array([[turn]]), list(of_length.values()))


def test_smallest_pvalue_leads():
    statistics = np.vstack([[1.0, 50, 1, 1], np.random.default_rng(0).random((20, 4))])
    pvalues = np.vstack([[0.2, 0.3, 0.1, 0.4], np.ones((20, 4))])
    assert leading_component(statistics, pvalues) == "part"


def test_farthest_beyond_its_own_draws_leads_among_equals():
    draws = np.tile(np.linspace(0, 1, 41)[:, None], (1, 4)) * [1, 10, 1, 1]
    statistics = np.vstack([[5, 12, 3, 6], draws])
    pvalues = np.vstack([[0.1, 0.1, 0.3, 0.1], np.ones((41, 4))])
    assert leading_component(statistics, pvalues) == "scan"


@pytest.mark.parametrize(
    ("component", "squares", "words"),
    [
        ("linear", _squares((9, 1, 1, 1)), "linear: trend of routing over all confidences"),
        ("part", _squares((1, 1, 2, 1)), "part: bottom decile of routing"),
        ("part", _squares((9, 1, 1, 2)), "part: top decile of routing"),
        (
            "low_order",
            _squares((1, 8, 9, 9), turn=2),
            "low_order: both ends of routing against its middle over all confidences",
        ),
        (
            "low_order",
            _squares((1, 2, 9, 9), turn=8),
            "low_order: trend of routing turning near confidence 0.75",
        ),
        ("scan", _squares(windows=[(1, 2, 9.0)]), "scan: confidence 0.60 to 0.65"),
        ("scan", _squares(windows=[(1, 2, 9.0), (2, 4, 8.5)]), "scan: confidence 0.70 to 0.80"),
    ],
)
def test_words_name_the_strongest_contrast(component, squares, words, outcomes, feature):
    turn_weights = np.arange(10) - 4.5
    contrast = leading_contrast(component, squares, turn_weights, feature, outcomes)
    assert contrast.words(component, feature) == words


def test_scan_over_levels_names_the_level(outcomes):
    level = np.resize([0, 1, 2], 300)
    nominal = RoutingFeature(EMPTY, EMPTY, level, ("a", "b", "c"))
    windows = [np.zeros((1, 10, 3)), np.zeros((1, 9, 3)), np.zeros((1, 7, 3))]
    windows[0][0, 5, 1] = 20
    squares = Squares(np.zeros((1, 3)), np.zeros((1, 3)), windows)
    contrast = leading_contrast("scan", squares, np.zeros(10), nominal, outcomes)
    assert contrast.words("scan", nominal) == "scan: confidence 0.75 to 0.80, routing b"


def test_decimals_keep_a_narrow_window_apart(outcomes, feature):
    high = BinnedOutcomes(
        outcomes.order,
        1 - np.linspace(1e-4, 1e-6, 300),
        outcomes.events,
        outcomes.rank,
        outcomes.edges,
    )
    contrast = leading_contrast(
        "scan", _squares(windows=[(1, 9, 9.0)]), np.zeros(10), feature, high
    )
    assert contrast.where == "confidence 0.99999 to 1.00000"


def test_gap_of_a_window_is_twice_its_tertile_coefficient(outcomes, feature):
    def tertile(b):
        u = feature.low[outcomes.rows(b), None]
        return np.sign(u) * (np.abs(u) > 1 / 3), np.zeros_like(u)

    expected = matched_gaps(outcomes, tertile, scale=2, bins=range(3, 5))
    found = Contrast(0, "", range(3, 5)).gap(feature, outcomes)
    assert found.estimate[0] == pytest.approx(expected.estimate[0])
    assert found.error[0] == pytest.approx(expected.error[0])


def test_gap_that_turns_counts_lower_bins_backwards(outcomes, feature):
    signs = np.sign(np.arange(10) - 4.5)
    lower = Contrast(0, "", range(4)).gap(feature, outcomes)
    turned = Contrast(0, "", range(4), signs).gap(feature, outcomes)
    assert turned.estimate[0] == pytest.approx(-lower.estimate[0])
