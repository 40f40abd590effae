import numpy as np
import pytest
import torch

from sk_arcal.models import TabularTransformerClassifier


@pytest.fixture
def fitted():
    def fit(**changes):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(40, 3))
        model = TabularTransformerClassifier(
            width=8, depth=2, n_heads=2, max_epochs=5, learning_rate=0.05, random_state=0, **changes
        )
        return model.fit(X, X[:, 0] > 0), X

    return fit


def test_weights_are_those_of_the_module(fitted):
    model, X = fitted()
    _, expected = model.module_(torch.from_numpy(X), return_routing=True)
    found = model.routing_weights(X, tokens="all")
    assert list(found) == list(expected) == model.module_.read_paths()
    for path, alpha in expected.items():
        np.testing.assert_allclose(found[path], alpha.detach(), rtol=1e-12)
        assert found[path].shape == (40, 4, alpha.shape[2])


def test_tokens_are_reduced(fitted):
    model, X = fitted(residual="block", n_blocks=2)
    every = model.routing_weights(X, tokens="all")
    for path, mean in model.routing_weights(X).items():
        np.testing.assert_allclose(mean, every[path].mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-12)
    for path, of_cls in model.routing_weights(X, tokens="cls").items():
        np.testing.assert_array_equal(of_cls, every[path][:, 0])


def test_plain_stream_has_no_routing(fitted):
    model, X = fitted(residual="none")
    assert model.routing_weights(X) == {}


def test_token_that_is_not_there_is_named(fitted):
    model, X = fitted(pooling="mean")
    with pytest.raises(ValueError, match="needs a network with pooling='cls'"):
        model.routing_weights(X, tokens="cls")
    with pytest.raises(ValueError, match="`tokens` must be one of 'mean', 'cls', 'all'"):
        model.routing_weights(X, tokens="last")
