"""The routing profile: flat storage, its views, and what it refuses."""

import math

import numpy as np
import pytest

from sk_arcal._routing import RouteSite, RoutingProfile, route_statistics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_statistics_follow_their_definitions(rng):
    weights = rng.dirichlet(np.ones(5), size=(3, 4))
    weights[0, 0] = [1, 0, 0, 0, 0]
    statistics = route_statistics(weights)
    for index in np.ndindex(3, 4):
        row = sorted(weights[index].tolist(), reverse=True)
        entropy = -sum(w * math.log(w) for w in row if w > 0)
        expected = [entropy, row[0], row[0] - row[1], math.exp(entropy)]
        np.testing.assert_allclose(statistics[index], expected, atol=1e-14)


def test_a_single_route_leaves_no_choice():
    np.testing.assert_array_equal(route_statistics(np.ones((2, 1))), [[0, 1, 1, 1]] * 2)


def test_even_weights_have_the_largest_entropy():
    entropy, _, margin, effective = route_statistics(np.full(8, 1 / 8))
    assert entropy == pytest.approx(math.log(8))
    assert margin == 0
    assert effective == pytest.approx(8)


def test_views_return_what_was_given(rng):
    arrays = [rng.dirichlet(np.ones(n), size=6) for n in (2, 5, 3)]
    profile = RoutingProfile.from_weights(arrays, labels=["a", "b", "c"])
    for position, (label, array) in enumerate(zip("abc", arrays, strict=True)):
        np.testing.assert_allclose(profile.site_weights(position), array)
        np.testing.assert_allclose(profile.site_weights(label), array)
    np.testing.assert_allclose(profile.site_weights(-1), arrays[-1])
    padded, mask = profile.padded()
    assert padded.shape == (6, 3, 5)
    np.testing.assert_array_equal(mask.sum(axis=1), [2, 5, 3])
    np.testing.assert_allclose(padded[:, 2, :3], arrays[2])
    assert not padded[:, 2, 3:].any()
    assert repr(profile) == "RoutingProfile(6 rows, 3 router sites)"


def test_tokens_are_averaged_and_their_statistics_too(rng):
    tokens = rng.dirichlet(np.ones(4), size=(5, 7))
    profile = RoutingProfile.from_weights([tokens], kind="depth")
    np.testing.assert_allclose(profile.site_weights(0), tokens.mean(axis=1))
    expected = np.mean([route_statistics(tokens[:, t]) for t in range(7)], axis=0)
    np.testing.assert_allclose(profile.token_statistics[:, 0], expected)


def test_load_skips_depth_sites():
    sites = (RouteSite("d", "depth", 2), RouteSite("r", "router", 3))
    load = np.array([[0.5, 0.5, 0.0]])
    profile = RoutingProfile(sites, np.full((1, 5), 0.3), np.zeros((1, 2, 4)), load)
    np.testing.assert_array_equal(profile.site_load("r"), load)
    with pytest.raises(ValueError, match="d is no router"):
        profile.site_load("d")


def test_taking_and_joining_rows_are_inverse(rng):
    profile = RoutingProfile.from_weights([rng.dirichlet(np.ones(3), size=8)])
    joined = RoutingProfile.concatenate([profile.take(slice(0, 3)), profile.take(np.arange(3, 8))])
    np.testing.assert_array_equal(joined.weights, profile.weights)
    np.testing.assert_array_equal(joined.token_statistics, profile.token_statistics)
    other = RoutingProfile.from_weights([rng.dirichlet(np.ones(4), size=8)])
    with pytest.raises(ValueError, match="sites are the same"):
        RoutingProfile.concatenate([profile, other])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "`weights` is empty"),
        ([np.ones(3)], "must have shape"),
        ([np.empty((0, 2))], "must have shape"),
        ([[[0.5, 0.6]]], "summing to one"),
        ([[[1.5, -0.5]]], "not negative"),
        ([[[np.nan, 1.0]]], "must be finite"),
        ([[[0.5, 0.5]], [[0.5, 0.5]] * 2], r"`weights\[1\]` has 2 rows where 1"),
    ],
)
def test_what_is_no_weight_is_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        RoutingProfile.from_weights(weights)


def test_labels_must_tell_sites_apart():
    half = np.full((2, 2), 0.5)
    with pytest.raises(ValueError, match="2 different names"):
        RoutingProfile.from_weights([half, half], labels=["a", "a"])
    with pytest.raises(ValueError, match="the sites are"):
        RoutingProfile.from_weights([half]).site_weights("unknown")


def test_site_refuses_what_is_none():
    with pytest.raises(ValueError, match="`kind` must be one of"):
        RouteSite("a", "expert", 2)
    with pytest.raises(ValueError, match="`n_routes` must be at least 1"):
        RouteSite("a", "router", 0)
