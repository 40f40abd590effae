import subprocess
import sys

import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._readers import _registry
from sk_arcal.feature_extraction._readers._raw import read_routing
from sk_arcal.feature_extraction._readers._registry import register_depth_site, register_router
from tests.feature_extraction.tiny_models import tiny


@pytest.fixture(autouse=True)
def _clean_registry(monkeypatch):
    monkeypatch.setattr(_registry, "_REGISTERED", {})


class Gate(nn.Linear):
    """A router that nobody knows: the two best of four, by sigmoid scores."""

    def forward(self, tokens):
        logits = super().forward(tokens)
        factors, selected = logits.sigmoid().topk(2, dim=-1)
        return logits, selected, factors


class SpecialGate(Gate):
    pass


class Net(nn.Module):
    def __init__(self, gate=Gate):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(10, 3)
        self.blocks = nn.ModuleList(nn.ModuleDict({"gate": gate(3, 4)}) for _ in range(2))

    def forward(self, ids):
        tokens = self.embed(ids)
        for block in self.blocks:
            block["gate"](tokens.flatten(0, -2))
        return tokens


IDS = torch.arange(6).reshape(2, 3)


def parse(module, args, output):
    logits, selected, factors = output
    return {
        "logits": logits,
        "selected": selected,
        "selected_weights": factors,
        "scoring": "sigmoid",
    }


def read_one(key, function, net=None, ids=IDS):
    register_router(key, function)
    return read_routing(net or Net(), ids)


@pytest.mark.parametrize("key", [Gate, "Gate", f"{__name__}.Gate", ".gate", ".blocks.1.gate"])
def test_router_is_found_by_class_by_name_and_by_path(key):
    net = Net()
    sites = read_one(key, parse, net)
    assert [site.label for site, _ in sites][-1] == "router_l01"
    assert len(sites) == (1 if key == ".blocks.1.gate" else 2)
    site, routes = sites[-1]
    logits = nn.functional.linear(net.embed(IDS), net.blocks[1]["gate"].weight) + (
        net.blocks[1]["gate"].bias
    )
    torch.testing.assert_close(routes.logits, logits)
    scores = logits.sigmoid()
    torch.testing.assert_close(routes.weights, scores / scores.sum(dim=-1, keepdim=True))
    assert torch.equal(routes.selected, logits.topk(2, dim=-1).indices)
    assert site.n_routes == 4


def test_subclass_counts_and_its_own_entry_wins():
    read_one(Gate, parse)
    sites = read_routing(Net(SpecialGate), IDS)
    assert len(sites) == 2
    register_router("SpecialGate", lambda module, args, output: {"logits": output[0][:, :2]})
    assert [site.n_routes for site, _ in read_routing(Net(SpecialGate), IDS)] == [2, 2]


def test_longer_path_wins_over_shorter_path_and_path_over_class():
    def first(n):
        return lambda module, args, output: {"logits": output[0][:, :n]}

    for key, n in ((Gate, 1), (".gate", 2), (".1.gate", 3), (".blocks.1.gate", 4)):
        register_router(key, first(n))
    assert [site.n_routes for site, _ in read_routing(Net(), IDS)] == [2, 4]


def test_registering_again_replaces():
    read_one("Gate", parse)
    sites = read_one("Gate", lambda module, args, output: {"logits": output[0][:, :3]})
    assert sites[0][0].n_routes == 3


def test_decorator_returns_the_function():
    assert register_router("Gate")(parse) is parse
    assert register_router("Gate", parse) is parse
    assert register_depth_site("Gate")(parse) is parse


def test_registration_wins_over_the_rules_of_the_library():
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    model = tiny("mixtral", "MixtralModel")
    ids = torch.arange(3, 9)[None]
    register_router("MixtralSparseMoeBlock", lambda m, a, o: {"logits": a[0][..., :5]})
    assert [site.n_routes for site, _ in read_routing(model, input_ids=ids)] == [5, 5, 5]
    register_router(".gate", lambda m, a, o: {"logits": o[0][:, :6]})
    found = [(site.path, site.n_routes) for site, _ in read_routing(model, input_ids=ids)]
    assert found[:2] == [("layers.0.mlp.gate", 6), ("layers.0.mlp", 5)]


def test_parser_gets_keyword_arguments_in_their_place():
    class Named(nn.Module):
        def forward(self, first, second=None, *, third=None):
            return second

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = Named()

        def forward(self, rows):
            return self.gate(second=rows, first=None, third=3)

    seen = []

    def look(module, args, output):
        seen.append(args)
        return {"logits": output}

    register_router("Named", look)
    rows = torch.ones(2, 3)
    read_routing(Around(), rows)
    assert len(seen[0]) == 2
    assert seen[0][0] is None
    assert seen[0][1] is rows


# --- what a parser may not return ----------------------------------------------------------------

EVEN = torch.full((6, 4), 0.25)
BAD = {
    "no mapping": (EVEN, TypeError, "must give a mapping; got Tensor"),
    "nothing": ({}, ValueError, "must give 'weights' or 'logits'"),
    "unknown entry": ({"logits": EVEN, "probs": EVEN}, ValueError, r"gave \['probs'\]"),
    "no tensor": ({"logits": [[1.0]]}, TypeError, "'logits' must be a tensor"),
    "unknown scoring": ({"logits": EVEN, "scoring": "relu"}, ValueError, "'scoring' must be one"),
    "weights that are logits": ({"weights": EVEN - 1}, ValueError, "sum to one"),
    "negative weights": (
        {"weights": EVEN + torch.tensor([0.5, 0, 0, -0.5])},
        ValueError,
        "not negative",
    ),
    "weights that are not finite": ({"weights": EVEN * torch.nan}, ValueError, "must be finite"),
    "weights without routes": ({"weights": EVEN[0]}, ValueError, "'weights' must have shape"),
    "selection that is no index": (
        {"logits": EVEN, "selected": EVEN},
        TypeError,
        "'selected' must hold indices",
    ),
    "factors without selection": (
        {"logits": EVEN, "selected_weights": EVEN},
        ValueError,
        "needs 'selected' of the same shape",
    ),
    "rows that do not divide": ({"logits": EVEN[:5]}, ValueError, r"shape \(5, 4\) for a batch"),
    "tokens first": (
        {"logits": torch.zeros(3, 2, 4)},
        ValueError,
        r"shape \(3, 2, 4\) for a batch of 2 rows",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_answer_is_refused_with_the_name_of_the_module(case):
    answer, error, words = BAD[case]
    with pytest.raises(error, match=words) as caught:
        read_one("Gate", lambda module, args, output: answer)
    assert "blocks.0.gate" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "n_tokens"), [((6, 4), 3), ((2, 3, 4), 3), ((2, 4), 1), ((1, 6, 4), 3)]
)
def test_shapes_that_are_understood(shape, n_tokens):
    logits = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    _, routes = read_one("Gate", lambda module, args, output: {"logits": logits})[0]
    assert routes.logits.shape == (2, n_tokens, 4)
    assert torch.equal(routes.logits.flatten(), logits.flatten())


def test_given_weights_are_kept_as_they_are():
    weights = torch.rand(6, 4).softmax(dim=-1)
    _, routes = read_one("Gate", lambda module, args, output: {"weights": weights})[0]
    assert torch.equal(routes.weights.flatten(0, 1), weights)
    assert routes.scoring == "given"


@pytest.mark.parametrize("key", [None, 3])
def test_key_that_is_no_name_is_refused(key):
    with pytest.raises(TypeError, match="`class_or_name` must be a class"):
        register_router(key, parse)


def test_empty_name_is_refused():
    with pytest.raises(ValueError, match="`class_or_name` is empty"):
        register_depth_site("")


def test_parser_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="`parse` must be a function"):
        register_router("Gate", 3)
    with pytest.raises(TypeError, match="`weights` must be a function"):
        register_depth_site("Gate")("softmax")


def test_registering_does_not_load_torch():
    code = (
        "import sys\n"
        "from sk_arcal.feature_extraction._readers._registry import register_router\n"
        "from sk_arcal.feature_extraction._readers._raw import read_routing\n"
        "register_router('Gate', print)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_forgotten_entry_is_gone():
    register_router("Gate", parse)
    _registry.forget("Gate")
    _registry.forget("Gate")
    with pytest.raises(ValueError, match="no router and no depth site"):
        read_routing(Net(), IDS)
