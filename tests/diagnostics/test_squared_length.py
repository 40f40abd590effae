"""Interval for the squared length of a mean vector."""

import numpy as np
import pytest
from scipy.stats import chi2, ncx2, norm

from sk_arcal.diagnostics._conditional._squared_length import SquaredLength


def test_estimate_takes_the_noise_off():
    length = SquaredLength.of(np.array([3.0, 4.0]), np.diag([1.0, 2.0]))
    assert length.estimate == 25 - 3
    assert length.scale == pytest.approx((9 * 1 + 16 * 2) / 25)


@pytest.mark.parametrize("square", [0.01, 3.0, 18.0, 40.0])
def test_ends_are_the_values_a_test_just_does_not_refuse(square):
    # Five directions of variance two: the law is exactly a noncentral chi-square.
    length = SquaredLength.of(np.sqrt(square / 5) * np.ones(5), 2 * np.eye(5))
    low, high = length.interval(0.9)

    def below(gamma):
        return ncx2.cdf(square / 2, 5, gamma / 2)

    def share(gamma):
        return 0.5 * gamma / (gamma + 2 * np.sqrt(10))

    assert below(high) == pytest.approx(0.1 * share(high), abs=1e-8)
    if square / 2 <= chi2.ppf(0.9, 5):
        assert low == 0
    else:
        assert below(low) == pytest.approx(0.9 + 0.1 * share(low), abs=1e-8)


def test_far_from_zero_the_interval_is_the_normal_one():
    vector = np.array([100.0, 50.0, 0.0])
    length = SquaredLength.of(vector, np.eye(3))
    half = norm.ppf(0.975) * 2 * np.linalg.norm(vector)
    low, high = length.interval(0.95)
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)
    assert (high + low) / 2 == pytest.approx(length.estimate, abs=0.03 * half)


@pytest.mark.parametrize("gamma", [0.0, 3.0, 40.0])
def test_covers_as_often_as_it_says_with_unequal_variances(gamma):
    rng = np.random.default_rng(0)
    variance = np.repeat([1.0, 0.4, 0.1], 4)
    mean = np.sqrt(gamma / 3) * np.r_[np.ones(2), np.zeros(6), np.ones(1), np.zeros(3)]
    drawn = mean + rng.standard_normal((2000, 12)) * np.sqrt(variance)
    intervals = np.array(
        [SquaredLength.of(vector, np.diag(variance)).interval(0.9) for vector in drawn[:250]]
    )
    covered = (intervals[:, 0] <= gamma) & (gamma <= intervals[:, 1])
    assert covered.mean() == pytest.approx(0.9, abs=0.05)
    estimates = (drawn**2).sum(axis=1) - variance.sum()
    assert estimates.mean() == pytest.approx(gamma, abs=4 * estimates.std() / np.sqrt(2000))


def test_without_directions_or_noise_there_is_a_point():
    assert SquaredLength.of(np.empty(0), np.empty((0, 0))).interval(0.95) == (0, 0)
    assert SquaredLength.of(np.array([0.5]), np.zeros((1, 1))).interval(0.95) == (0.25, 0.25)


def test_interval_is_never_empty():
    low, high = SquaredLength.of(np.full(30, 0.01), np.eye(30)).interval(0.95)
    assert low == 0 < high
