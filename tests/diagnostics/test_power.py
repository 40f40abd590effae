"""The power of the test of a gap is a formula, and its inverse gives rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nct, norm, t

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.diagnostics._power import GapTest, detection_power, required_rows

Z = norm.ppf(0.975)


def test_power_is_the_chance_that_the_interval_excludes_zero():
    draws = 0.05 + 0.02 * np.random.default_rng(0).normal(size=200_000)
    share = np.mean(np.abs(draws) > Z * 0.02)
    assert detection_power(0.05, 0.02) == pytest.approx(share, abs=0.005)


def test_power_is_that_of_the_normal_law():
    gaps = np.linspace(-0.2, 0.2, 9)
    law = norm(gaps / 0.03)
    expected = law.sf(norm.isf(0.05)) + law.cdf(norm.ppf(0.05))
    np.testing.assert_allclose(detection_power(gaps, 0.03, alpha=0.1), expected, atol=1e-12)


def test_without_a_gap_the_power_is_the_level():
    assert detection_power(0, 0.02, alpha=0.01) == pytest.approx(0.01)
    assert detection_power(0, 0.02, alpha=0.01, n_groups=6) == pytest.approx(0.01)


def test_groups_need_larger_gaps():
    critical = t.isf(0.025, 9)
    expected = t.cdf(3 - critical, 9) + t.cdf(-3 - critical, 9)
    assert detection_power(0.06, 0.02, n_groups=10) == pytest.approx(expected)
    assert expected < detection_power(0.06, 0.02)
    exact = nct.sf(critical, 9, 3) + nct.cdf(-critical, 9, 3)
    assert expected == pytest.approx(exact, abs=0.03)


def test_power_has_the_shape_of_the_gap():
    assert isinstance(detection_power(0.1, 0.02), float)
    assert detection_power([[0.1], [0.2]], 0.02).shape == (2, 1)


@pytest.mark.parametrize("n_groups", [None, 12])
@pytest.mark.parametrize("power", [0.06, 0.5, 0.8, 0.99])
def test_required_rows_inverts_the_power(power, n_groups):
    rows = required_rows(-0.03, 0.02, 1000, power=power, n_groups=n_groups)

    def reached(n_samples):
        return detection_power(0.03, 0.02 * np.sqrt(1000 / n_samples), n_groups=n_groups)

    assert reached(rows - 1) < power <= reached(rows)


def test_gap_with_80_percent_power_needs_the_rows_at_hand():
    gap = (Z + norm.ppf(0.8)) * 0.02
    assert required_rows(gap, 0.02, 1000) == 1000
    assert required_rows(gap / 2, 0.02, 1000) == 4000


@pytest.mark.parametrize("kind", ["ranked", "nominal", "grouped", "strict"])
def test_min_detectable_gap_of_a_result_is_found_with_80_percent_power(kind):
    data = make_routing_data(600, effect="step", strength=0.2, random_state=0)
    routing = data.routing[:, 0]
    if kind == "nominal":
        routing = np.array(list("aaabcc"))[(6 * routing.argsort().argsort()) // 600]
    groups = np.arange(600) // 40 if kind == "grouped" else None
    result = conditional_calibration_test(
        data.y, data.confidence, routing,
        groups=groups, alpha=0.01 if kind == "strict" else 0.05, n_resamples=99, random_state=0,
    )  # fmt: skip
    test = GapTest.of(result, result.n_groups)
    power = detection_power(result.min_detectable_gap, **vars(test))
    assert power == pytest.approx(0.8, abs=1e-3)
    if kind == "nominal":
        assert test.alpha < result.alpha
        assert test.gap_se > result.gap_se
    else:
        assert test.alpha == pytest.approx(result.alpha)
        assert test.gap_se == pytest.approx(result.gap_se)
    wider = replace(result, gap_interval=tuple(2 * np.array(result.gap_interval)))
    assert GapTest.of(wider, result.n_groups).alpha < test.alpha


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gap": np.nan}, ValueError, "`gap` must"),
        ({"gap": "wide"}, TypeError, "`gap` must"),
        ({"gap_se": 0}, ValueError, "`gap_se`"),
        ({"gap_se": np.nan}, ValueError, "`gap_se`"),
        ({"alpha": 0}, ValueError, "`alpha`"),
        ({"n_groups": 1}, ValueError, "`n_groups`"),
        ({"n_groups": 2.5}, TypeError, "`n_groups`"),
    ],
)
def test_wrong_numbers_are_refused(options, error, words):
    given = {"gap": 0.1, "gap_se": 0.02} | options
    with pytest.raises(error, match=words):
        detection_power(**given)
    with pytest.raises(error, match=words):
        required_rows(**given, n_samples=100)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gap": 0}, "`gap` must be finite and not zero"),
        ({"gap": np.inf}, "`gap` must be finite and not zero"),
        ({"n_samples": 0}, "`n_samples`"),
        ({"power": 0.05}, "`power`"),
        ({"power": 1}, "`power`"),
    ],
)
def test_rows_that_do_not_exist_are_refused(options, words):
    given = {"gap": 0.1, "gap_se": 0.02, "n_samples": 100} | options
    with pytest.raises(ValueError, match=words):
        required_rows(**given)
