"""Parts of the lens: tokens, norms, scaling, and the chain of blocks."""

import numpy as np
import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._lens._anatomy import find_anatomy
from sk_arcal.feature_extraction._lens._calls import first_tensor, watching
from sk_arcal.feature_extraction._lens._layout import LayerLayout
from sk_arcal.feature_extraction._lens._norm import describe_norm
from sk_arcal.feature_extraction._lens._reading import resolved
from sk_arcal.feature_extraction._lens._scaling import find_scaling
from sk_arcal.feature_extraction._lens._tokens import at_token, per_row

VALUES = torch.arange(24.0).reshape(2, 4, 3)
LEFT = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]).bool()


# --- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [LEFT, LEFT.flip(1), None], ids=["left", "right", "none"])
@pytest.mark.parametrize("token", ["last", "mean", "cls"])
def test_real_tokens_alone_count(mask, token):
    reduced = at_token(VALUES, mask, token)
    for row in range(2):
        real = VALUES[row] if mask is None else VALUES[row][mask[row]]
        expected = {"last": real[-1], "mean": real.mean(dim=0), "cls": real[0]}[token]
        torch.testing.assert_close(reduced[row], expected)


def test_maps_are_averaged_and_vectors_kept():
    maps = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(per_row(maps, None, "last", "x"), maps.mean(dim=(2, 3)))
    assert per_row(VALUES[:, 0], None, "last", "x") is not None
    torch.testing.assert_close(per_row(VALUES[:, 0], LEFT, "last", "x"), VALUES[:, 0])


def test_tokens_that_cannot_be_told_from_padding_are_refused():
    with pytest.raises(ValueError, match="4 tokens a row where the input has 2"):
        per_row(VALUES, torch.tensor([[0, 1], [1, 1]]).bool(), "last", "x")
    torch.testing.assert_close(per_row(VALUES, torch.ones(2, 2).bool(), "last", "x"), VALUES[:, -1])
    with pytest.raises(ValueError, match="'x' returns a tensor of shape"):
        per_row(VALUES[0, 0], None, "last", "x")


# --- norms -------------------------------------------------------------------------------------


def drawn(norm):
    torch.manual_seed(0)
    with torch.no_grad():
        for values in norm.parameters():
            values.normal_(0.5)
    return norm


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1e-3])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norms_are_told_apart_by_what_they_do(kind, eps):
    norm = drawn(nn.RMSNorm(24, eps) if kind == "rms" else nn.LayerNorm(24, eps))
    found = describe_norm(norm, 24)
    assert found["norm"] == kind
    assert found["eps"] == pytest.approx(eps, rel=1e-3)
    np.testing.assert_allclose(found["norm_weight"], norm.weight.detach(), rtol=1e-4, atol=1e-5)
    if kind == "rms":
        assert found["norm_bias"] is None
    else:
        np.testing.assert_allclose(found["norm_bias"], norm.bias.detach(), rtol=1e-4, atol=1e-5)


class OnePlus(nn.RMSNorm):
    """Gemma's convention: the weight is stored less one."""

    def forward(self, x):
        return super().forward(x) + nn.functional.rms_norm(x, self.normalized_shape, eps=self.eps)


def test_stored_weights_are_not_looked_at():
    norm = drawn(OnePlus(24, 1e-6))
    np.testing.assert_allclose(
        describe_norm(norm, 24)["norm_weight"], norm.weight.detach() + 1, rtol=1e-4, atol=1e-5
    )


def test_norms_in_half_precision_are_described_in_full():
    norm = drawn(nn.LayerNorm(24)).to(torch.bfloat16)
    found = describe_norm(norm, 24)
    np.testing.assert_allclose(
        found["norm_weight"], norm.weight.detach().float(), rtol=1e-4, atol=1e-5
    )


def test_other_norms_are_refused():
    with pytest.raises(ValueError, match="GroupNorm, is neither"):
        describe_norm(nn.GroupNorm(4, 24), 24)
    assert describe_norm(None, 24)["norm"] == "none"


# --- scaling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("softcap", [None, 5.0, 30.0])
@pytest.mark.parametrize("factor", [0.0625, 1.0, 2.5])
def test_factor_and_bound_are_found(factor, softcap):
    torch.manual_seed(0)
    head = nn.Linear(16, 9)

    def put(state):
        logits = head(state)[:, -1, :7] * factor
        return logits if softcap is None else softcap * (logits / softcap).tanh()

    with torch.no_grad():
        scaling = find_scaling(torch.ones(1, 1, 16), head, put)
    assert scaling.factor == pytest.approx(factor, rel=1e-5)
    assert scaling.softcap == (None if softcap is None else pytest.approx(softcap, rel=1e-5))
    assert scaling.n_scores == 7


def test_head_with_a_norm_of_its_own_is_not_taken_for_a_bound():
    head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 9))
    with torch.no_grad():
        scaling = find_scaling(torch.ones(1, 1, 16), head, lambda x: head(x)[:, -1])
    assert (scaling.factor, scaling.softcap) == (1.0, None)


# --- blocks ------------------------------------------------------------------------------------


class Nested(nn.Module):
    """Two blocks, each with a longer chain of its own, between an embedding and a head."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 6)
        inner = (nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        self.layers = nn.ModuleList(nn.Sequential(*inner) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 2)
        self.spare = nn.ModuleList(nn.Linear(6, 6) for _ in range(9))

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def test_outermost_chain_is_taken_and_what_is_not_called_ignored():
    torch.manual_seed(0)
    net = Nested()
    for layer in net.layers:
        layer[0], layer[2] = nn.Linear(6, 6), nn.Linear(6, 6)
    anatomy, output = find_anatomy(net, (torch.randn(2, 4, 3),), {})
    assert anatomy.blocks == list(net.layers)
    assert (anatomy.tail, anatomy.head, anatomy.site) == ([net.norm], net.head, None)
    assert output.shape == (2, 4, 2)


def test_calls_are_noted_in_order_with_what_is_inside_them():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    with watching(net) as log:
        net(torch.zeros(1, 2))
    inner, relu = log.of(net[0])[0], log.of(net[1])[0]
    assert [call.module for call in log.after(log.of(net)[0].start)] == [net[0], net[1]]
    assert inner.end < relu.start
    assert not net[1]._forward_hooks


def test_first_tensor():
    tensor = torch.zeros(2)
    for output in (tensor, (None, tensor), {"a": torch.arange(2), "b": tensor}, [3, tensor]):
        assert first_tensor(output) is tensor
    assert first_tensor((1, torch.arange(2))) is None


def test_layers_are_numbers_from_either_end():
    assert resolved("all", 3) == [0, 1, 2]
    assert resolved([-1, 0], 3) == [2, 0]
    for wrong in ([3], [-4], [0, -3]):
        with pytest.raises(ValueError, match="from 0, the input of the first block, to 2"):
            resolved(wrong, 3)


# --- records -----------------------------------------------------------------------------------


def test_record_says_what_its_layout_says():
    layout = LayerLayout("hidden", ("a", "b"), (2, 3))
    readout = layout.extraction(np.arange(12.0).reshape(2, 6))
    np.testing.assert_array_equal(readout.hidden[0], [[0, 1, 0], [2, 3, 4]])
    assert readout.prediction.tolist() == [5, 11]
    assert layout.width == 6
    assert LayerLayout.from_dict(layout.to_dict()) == layout
    assert repr(readout) == "LayerReadout(hidden of shape (2, 2, 3), layers 'a' to 'b')"
    unknown = layout.extraction(np.array([[1.0, 2, 3, 4, 5, -1]]))
    assert unknown.prediction is None
    assert layout.non_finite_rows(np.array([[0, 0, np.nan, 0, 0, 0.0]])).tolist() == [0]
