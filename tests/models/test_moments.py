import numpy as np
import pytest

from sk_arcal.models._training._moments import weighted_moments


@pytest.mark.parametrize("shape", [(300, 3), (40, 5, 6, 3), (7, 1)])
def test_weights_are_repetitions(shape):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(3, 2, shape), rng.integers(0, 4, shape[0])
    flat = np.repeat(x, weight, axis=0).reshape(-1, shape[-1])
    mean, deviation = weighted_moments(x, weight.astype(float))
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation, flat.std(axis=0), rtol=1e-12)


def test_more_rows_than_a_block():
    x = np.random.default_rng(0).integers(0, 256, (3000, 8, 8, 3), dtype=np.uint8)
    mean, deviation = weighted_moments(x, np.ones(3000))
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, x.std(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e8])
def test_constant_column_has_deviation_one(constant):
    x = np.column_stack([np.full(30, constant), np.arange(30.0)])
    weight = np.random.default_rng(0).random(30)
    assert weighted_moments(x, weight)[1][0] == 1


def test_large_mean_does_not_hide_a_small_deviation():
    x = 1e8 + np.random.default_rng(0).normal(size=(1000, 1))
    np.testing.assert_allclose(weighted_moments(x, np.ones(1000))[1], x.std(axis=0), rtol=1e-6)
