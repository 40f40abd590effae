import numpy as np
import torch

from sk_arcal.models._standardise import Standardise


def test_moments_are_saved_and_not_trained():
    part = Standardise(2)
    part.set_moments([1.0, 2.0], np.array([3.0, 4.0]))
    assert list(part.parameters()) == []
    other = Standardise(2)
    other.load_state_dict(part.state_dict())
    np.testing.assert_allclose(other(torch.tensor([[4.0, 10.0]])), [[1, 2]])


def test_starts_as_the_identity():
    x = torch.randn(5, 3)
    torch.testing.assert_close(Standardise(3)(x), x)


def test_large_means_keep_their_digits_in_double_precision():
    part = Standardise(1).double()
    part.set_moments([1e12 + 0.5], [1.0])
    assert part(torch.tensor([[1e12 + 1.0]], dtype=torch.float64)).item() == 0.5


def test_rows_in_another_precision_are_taken():
    part = Standardise(1)
    assert part(torch.ones(2, 1, dtype=torch.float64)).dtype == torch.float32
    assert part.double()(torch.ones(2, 1)).dtype == torch.float64
    assert part(torch.ones(2, 1, dtype=torch.int64)).dtype == torch.float64
