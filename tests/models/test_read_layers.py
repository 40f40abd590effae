"""States before the head at every depth: those of the network that ends there."""

import pytest
import torch
from torch import nn

from sk_arcal.models import TabularTransformer

ROWS = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))


def network(residual, pooling="cls", two_phase=False):
    torch.manual_seed(0)
    net = TabularTransformer(
        5,
        3,
        width=8,
        depth=3,
        n_heads=2,
        residual=residual,
        n_blocks=3,
        pooling=pooling,
        two_phase=two_phase,
    ).eval()
    with torch.no_grad():
        for name, values in net.named_parameters():
            if name.endswith(("query", "key_gain")) or "norm" in name:
                values.add_(torch.randn_like(values))
    return net


def logits(net, states):
    norm, head = net.layer_readout()
    return head(states if norm is None else norm(states))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("residual", ["none", "block", "full"])
@pytest.mark.parametrize("two_phase", [False, True])
def test_last_layer_is_the_network(residual, pooling, two_phase):
    net = network(residual, pooling, two_phase)
    states = net.read_layers(ROWS)
    assert states.shape == (7, 4, 8)
    torch.testing.assert_close(logits(net, states[:, -1]), net(ROWS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("residual", ["none", "block", "full"])
@pytest.mark.parametrize("depth", [1, 2])
def test_inner_layers_are_the_network_cut_off(residual, depth):
    net = network(residual)
    inner = logits(net, net.read_layers(ROWS)[:, depth])
    # One block of attention over depth is one transformer block here, so the cut is between them.
    net.blocks = nn.ModuleList(list(net.blocks)[:depth])
    net.n_blocks = depth if residual == "block" else None
    torch.testing.assert_close(inner, net(ROWS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("residual", ["none", "full"])
def test_first_layer_is_the_embedding(residual):
    net = network(residual)
    torch.testing.assert_close(net.read_layers(ROWS)[:, 0], net.embed(ROWS)[:, 0])
