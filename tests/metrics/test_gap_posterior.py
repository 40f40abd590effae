"""True gaps given those seen: what the draws are draws of."""

import numpy as np
import pytest

from sk_arcal.metrics._gap_posterior import Side, draw_gaps


def side(gap, place=None):
    n_bins = len(gap)
    place = np.linspace(-1, 1, n_bins) if place is None else np.asarray(place)
    return Side(np.asarray(gap), np.full(n_bins, 0.2 / n_bins), place)


def test_sums_of_a_bin_become_its_scale_and_place():
    found = Side.of(np.array([0.01, 0.02]), np.array([10.0, 30]), np.array([2.0, 27]), np.zeros(2))
    rate = np.array([0.2 / 11, 0.9 / 31])
    np.testing.assert_allclose(found.scale, [0.25, 0.75] * rate * (1 - rate))
    np.testing.assert_allclose(found.place, np.log([0.2 / 0.8, 0.9 / 0.1]))


def test_chances_are_those_of_the_marginal_likelihood():
    one, noise = side([0.02, 0.01, 0.0]), 1e-4 * np.eye(3)
    covariances, chances = one.priors(noise)
    density = [
        np.exp(-one.gap @ np.linalg.solve(total, one.gap) / 2) / np.sqrt(np.linalg.det(total))
        for total in covariances + noise
    ]
    no_bend, no_own = np.repeat([1 / 7] + 6 * [1 / 7], 7), np.tile([1 / 2] + 6 * [1 / 12], 7)
    expected = np.array(density) * no_bend * no_own
    np.testing.assert_allclose(chances, expected / expected.sum())
    assert chances.sum() == pytest.approx(1)
    assert not covariances[0].any()


def test_draws_have_the_moments_of_the_mixture_of_normal_posteriors():
    rng = np.random.default_rng(0)
    first, second = side([0.02, 0.015]), side([-0.01, 0.004, 0.0])
    root = rng.normal(size=(5, 5))
    noise = 2e-5 * (root @ root.T + np.eye(5))
    drawn = np.hstack(draw_gaps((first, second), noise, 40_000, rng))
    mean, square = np.zeros(5), np.zeros((5, 5))
    seen = np.r_[first.gap, second.gap]
    for a, chance_a in zip(*first.priors(noise[:2, :2]), strict=True):
        for b, chance_b in zip(*second.priors(noise[2:, 2:]), strict=True):
            prior = np.zeros((5, 5))
            prior[:2, :2], prior[2:, 2:] = a, b
            gain = prior @ np.linalg.inv(prior + noise)
            own = gain @ seen
            mean += chance_a * chance_b * own
            square += chance_a * chance_b * (prior - gain @ prior + np.outer(own, own))
    spread = square - np.outer(mean, mean)
    scale = np.sqrt(np.diag(spread))
    np.testing.assert_allclose(drawn.mean(axis=0) / scale, mean / scale, atol=0.025)
    correlation = spread / np.outer(scale, scale)
    np.testing.assert_allclose(np.cov(drawn.T) / np.outer(scale, scale), correlation, atol=0.04)


def test_gaps_lost_in_the_noise_are_drawn_small_and_clear_ones_as_they_are():
    rng = np.random.default_rng(0)
    noise = 1e-4 * np.eye(20)
    lost, clear = 0.01 * rng.standard_normal(10), np.linspace(0.5, 1.5, 10) * np.tile([1, -1], 5)
    drawn = draw_gaps((side(lost), side(clear)), noise, 500, rng)
    assert np.abs(drawn[0]).sum(axis=1).mean() < 0.5 * np.abs(lost).sum()
    # far beyond the grid that goes by the noise
    np.testing.assert_allclose(drawn[1].mean(axis=0), clear, atol=5e-3)
    np.testing.assert_allclose(drawn[1].std(axis=0), 0.01, rtol=0.15)


def test_noise_that_is_shared_cancels():
    rng = np.random.default_rng(0)
    block = 1e-4 * np.eye(3)
    noise = np.block([[block, block], [block, block]]) + 1e-14 * np.eye(6)
    first = side([0.03, 0.02, 0.04])
    second = side(first.gap - 0.005)
    drawn = draw_gaps((first, second), noise, 300, rng)
    np.testing.assert_allclose(drawn[0] - drawn[1], 0.005, atol=1e-5)
