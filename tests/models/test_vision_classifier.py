import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from sk_arcal.models import VisionTransformer, VisionTransformerClassifier


@pytest.fixture
def small():
    return VisionTransformerClassifier(
        patch_size=4, width=8, depth=1, n_heads=2, max_epochs=2, random_state=0
    )


def labelled(n=20):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), np.arange(n) % 2


def test_digits_are_learned():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    model = VisionTransformerClassifier(
        width=16, depth=2, max_epochs=6, learning_rate=0.01, batch_size=32, random_state=0
    ).fit(X[:1200], y[:1200])
    assert model.score(X[1200:], y[1200:]) > 0.85
    assert model.image_shape_ == (8, 8, 1)
    assert model.n_features_in_ == 64


def test_parameters_reach_the_module(small):
    X, y = labelled()
    module = small.set_params(residual="block", n_blocks=2, pooling="mean").fit(X, y).module_
    assert isinstance(module, VisionTransformer)
    assert (module.residual, module.n_blocks, module.pooling) == ("block", 2, "mean")
    assert module.positions.shape == (4, 8)
    assert module.head.weight.dtype == torch.float32


def test_bytes_and_shares_of_255_are_the_same_image(small):
    X, y = labelled()
    as_bytes, as_shares = clone(small).fit(X, y), clone(small).fit((X / 255).astype("f4"), y)
    expected = as_bytes.predict_proba(X)
    np.testing.assert_allclose(as_shares.predict_proba(X / 255), expected, atol=1e-5)
    np.testing.assert_allclose(as_bytes.predict_proba(X / 255), expected, atol=1e-5)


def test_scale_of_other_numbers_does_not_matter(small):
    X, y = labelled()
    shares, whole = X / 255, 1000.0 * X
    expected = clone(small).fit(shares, y).predict_proba(shares)
    np.testing.assert_allclose(clone(small).fit(whole, y).predict_proba(whole), expected, atol=1e-4)


def test_bytes_that_lost_their_type_are_refused(small):
    X, y = labelled()
    with pytest.raises(ValueError, match=r"`fit` saw images of unsigned bytes.*pass uint8"):
        clone(small).fit(X, y).predict(X.astype(float))
    with pytest.raises(ValueError, match=r"`X` holds unsigned bytes.*Pass the same type"):
        clone(small).fit(X.astype(float), y).predict(X)


def test_tensors_are_read_as_arrays(small):
    X, y = labelled()
    expected = clone(small).fit(X, y).predict_proba(X)
    tensor = torch.from_numpy(X)
    np.testing.assert_array_equal(clone(small).fit(tensor, y).predict_proba(tensor), expected)


def test_input_is_standardised_per_channel(small):
    X, y = labelled()
    weight = np.arange(1.0, 21)
    standardise = small.fit(X, y, sample_weight=weight).module_.standardise
    shares = np.repeat(X / 255, weight.astype(int), axis=0)
    np.testing.assert_allclose(standardise.mean, shares.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(standardise.deviation, shares.std(axis=(0, 1, 2)), rtol=1e-5)


def test_augmentation_changes_training_and_not_prediction(small):
    X, y = labelled()
    plain = clone(small).fit(X, y)
    augmented = clone(small).set_params(augment=True).fit(X, y)
    assert not torch.equal(plain.module_.head.weight, augmented.module_.head.weight)
    np.testing.assert_array_equal(augmented.predict_proba(X), augmented.predict_proba(X))


def test_images_are_not_changed(small):
    X, y = labelled()
    before = X.copy()
    X.flags.writeable = False
    small.set_params(augment=True).fit(X, y).predict(X)
    np.testing.assert_array_equal(X, before)


def test_gray_images_are_one_channel(small):
    X, y = labelled()
    gray = X[..., 0]
    two = [clone(small).fit(images, y).predict_proba(images) for images in (gray, gray[..., None])]
    np.testing.assert_array_equal(*two)


@pytest.mark.parametrize("shape", [(20, 64), (20,), (20, 2, 8, 8, 3)])
def test_what_is_no_image_is_refused(small, shape):
    with pytest.raises(ValueError, match="`X` must hold images"):
        small.fit(np.zeros(shape), np.arange(20) % 2)


def test_images_of_another_shape_are_refused(small):
    X, y = labelled()
    with pytest.raises(ValueError, match=r"shape \(8, 4, 3\), but `fit` saw .* \(8, 8, 3\)"):
        small.fit(X, y).predict(X[:, :, :4])
    with pytest.raises(ValueError, match="`patch_size` must divide"):
        small.set_params(patch_size=5).fit(X, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(small, bad):
    X = np.zeros((4, 8, 8, 1))
    X[2, 3, 3] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        small.fit(X, [0, 1, 0, 1])


def test_no_image_is_refused(small):
    with pytest.raises(ValueError, match="0 sample"):
        small.fit(np.zeros((0, 8, 8, 3)), [])
