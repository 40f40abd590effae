import numpy as np
import pytest
import torch

from sk_arcal.models import TabularTransformer


@pytest.fixture
def module(random_reads):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = TabularTransformer(4, 3, width=8, depth=2, n_heads=2).double().eval()
    return random_reads(made)


def rows(n=6):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, 4)))


def test_tokens_are_linear_in_their_column(module):
    module.standardise.set_moments([1.0, 2, 3, 4], [2.0, 3, 4, 5])
    x = rows()
    tokens = module.embed(x).detach().numpy()
    weight, bias = module.column_weights.detach().numpy(), module.column_biases.detach().numpy()
    assert tokens.shape == (6, 5, 8)
    for j in range(4):
        z = (x.numpy()[:, j, None] - (1 + j)) / (2 + j)
        np.testing.assert_allclose(tokens[:, 1 + j], z * weight[j] + bias[j], rtol=1e-12)


def test_columns_are_told_apart_by_their_vectors_alone(module):
    order = torch.tensor([2, 0, 3, 1])
    x, before = rows(), module(rows())
    for parameter in (module.column_weights, module.column_biases):
        parameter.data = parameter.data[order]
    torch.testing.assert_close(module(x[:, order]), before)


def test_routing_has_one_token_per_column_and_one_more(module):
    logits, routing = module(rows(), return_routing=True)
    assert logits.shape == (6, 3)
    assert [alpha.shape for alpha in routing.values()] == [(6, 5, n) for n in range(1, 6)]
    assert list(routing)[-1] == "output_read"


def test_without_pooling_token_only_columns_are_left():
    module = TabularTransformer(4, 3, pooling="mean", residual="block", n_blocks=2)
    _, routing = module(rows(), return_routing=True)
    assert routing["output_read"].shape == (6, 4, 3)


def test_precision_is_that_of_the_module(module):
    assert module(rows().float()).dtype == torch.float64
    assert module.float()(rows()).dtype == torch.float32


@pytest.mark.parametrize("shape", [(6, 5), (6,), (6, 4, 1)])
def test_rows_of_another_shape_are_refused(module, shape):
    with pytest.raises(ValueError, match=r"Rows must have shape \(n_samples, 4\)"):
        module(torch.zeros(shape))


def test_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="`n_features` must be at least 1"):
        TabularTransformer(0, 2)
    with pytest.raises(ValueError, match="`n_classes` must be at least 2"):
        TabularTransformer(3, 1)
