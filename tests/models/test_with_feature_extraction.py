"""What the networks expose is what the feature extractor reads, from the same raw rows."""

import numpy as np
import pytest

from sk_arcal.feature_extraction import Backbone, RoutingFeatureExtractor
from sk_arcal.models import MixtureOfExpertsClassifier, VisionTransformerClassifier


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, 30)


@pytest.mark.parametrize("residual", ["block", "full"])
def test_attention_over_depth_is_read(images, residual):
    X, y = images
    model = VisionTransformerClassifier(
        width=8,
        depth=2,
        n_heads=2,
        max_epochs=2,
        learning_rate=0.05,
        residual=residual,
        n_blocks=2,
        random_state=0,
    ).fit(X, y)
    extracted = RoutingFeatureExtractor(Backbone(model.module_)).fit(X).extract(X)
    expected = model.routing_weights(X)
    assert [site.path for site in extracted.profile.sites] == list(expected)
    assert [site.layer for site in extracted.profile.sites] == [0, 0, 1, 1, None]
    for site, weights in enumerate(expected.values()):
        np.testing.assert_allclose(extracted.profile.site_weights(site), weights, atol=1e-6)
    np.testing.assert_allclose(extracted.scores, model.decision_function(X), atol=1e-5)


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_router_is_read(routing):
    X = np.random.default_rng(0).normal(size=(30, 4))
    y = np.arange(30) % 3
    model = MixtureOfExpertsClassifier(max_epochs=2, routing=routing, random_state=0).fit(X, y)
    profile = RoutingFeatureExtractor(Backbone(model.module_)).fit(X).extract(X).profile
    gates = model.routing_weights(X)["router"]
    np.testing.assert_allclose(profile.site_weights(0), gates, atol=1e-6)
    load = profile.site_load(0)
    chosen = np.eye(4)[gates.argmax(axis=1)]
    np.testing.assert_array_equal(load, chosen if routing == "hard" else np.full((30, 4), 0.25))
