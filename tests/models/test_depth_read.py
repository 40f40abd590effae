import pytest
import torch
from scipy.special import softmax

from sk_arcal.models import DepthRead


def test_call_is_the_softmax_over_the_last_axis():
    scores = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = DepthRead(5)(scores)
    torch.testing.assert_close(weights, torch.from_numpy(softmax(scores.numpy(), axis=-1)))


def test_module_describes_its_routes():
    read, seen = DepthRead(5, read_kind="mlp"), []
    read.register_forward_hook(lambda *call: seen.append(call[0].read_routes(*call[1:])))
    weights = read(torch.zeros(2, 3, 4))
    assert read.route_kind == "depth"
    assert read.read_kind == "mlp"
    assert list(seen[0]) == ["weights"]
    assert seen[0]["weights"] is weights


def test_query_starts_at_zero_and_gain_at_one():
    parameters = dict(DepthRead(5).named_parameters())
    assert {name: p.tolist() for name, p in parameters.items()} == {
        "query": [0.0] * 5,
        "key_gain": [1.0] * 5,
    }


def test_parameters_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="`read_kind` must be one of"):
        DepthRead(4, read_kind="head")
    with pytest.raises(ValueError, match="`width` must be at least 1"):
        DepthRead(0)
