import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._readers import _registry
from sk_arcal.feature_extraction._readers._raw import read_routing
from sk_arcal.feature_extraction._readers._recording import recording
from sk_arcal.feature_extraction._readers._registry import register_depth_site
from tests.feature_extraction.tiny_models import tiny

IDS = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _clean_registry(monkeypatch):
    monkeypatch.setattr(_registry, "_REGISTERED", {})


# --- Inkling-2 -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inkling():
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    kinds = ["hybrid_sliding", "hybrid", "hybrid_sliding"]
    return tiny("inkling2", "Inkling2TextModel", layer_types=kinds)


def mixtures(model, ids):
    """Return by path what each depth site of Inkling-2 was given and what it returned."""
    calls, handles = {}, []
    for path, module in model.named_modules():
        if type(module).__name__ == "Inkling2BlockAttentionResidual":

            def keep(module, args, output, path=path):
                calls[path] = (module, args, output)

            handles.append(module.register_forward_hook(keep))
    sites = read_routing(model, input_ids=ids)
    for handle in handles:
        handle.remove()
    return calls, [(site, routes) for site, routes in sites if site.kind == "depth"]


def test_recomputed_weights_give_what_the_module_returned(inkling):
    calls, sites = mixtures(inkling, IDS)
    assert len(sites) == 8
    for site, routes in sites:
        module, (blocks, partial), output = calls[site.path]
        query = "qkv".index(site.label[-1]) if len(output) == 3 else 0
        values = module.norm(torch.cat([blocks, partial.unsqueeze(-2)], dim=-2).float())
        mixed = torch.einsum("rts,rtsd->rtd", routes.weights, values)
        torch.testing.assert_close(mixed, output[query], atol=1e-6, rtol=1e-5)


def test_weights_of_inkling_are_not_uniform(inkling):
    # uniform weights would pass through a wrong query as well
    _, sites = mixtures(inkling, IDS)
    for _, routes in sites:
        assert (routes.weights - 1 / routes.weights.shape[-1]).abs().max() > 0.05


def test_labels_and_sources_of_inkling(inkling):
    _, sites = mixtures(inkling, IDS)
    assert [(site.label, site.n_routes, site.layer) for site, _ in sites] == [
        ("depth_l00_mlp_input", 2, 0),
        ("depth_l01_attention_input_q", 2, 1),
        ("depth_l01_attention_input_k", 2, 1),
        ("depth_l01_attention_input_v", 2, 1),
        ("depth_l01_mlp_input", 3, 1),
        ("depth_l02_attention_input", 3, 2),
        ("depth_l02_mlp_input", 4, 2),
        ("depth_final_input", 4, None),
    ]


def test_depth_sites_select_nothing(inkling):
    _, sites = mixtures(inkling, IDS)
    assert all(routes.selected is None and routes.logits is None for _, routes in sites)


def test_autocast_does_not_round_the_recomputed_weights(inkling):
    calls = {}
    site = inkling.final_input
    handle = site.register_forward_hook(lambda m, args, out: calls.update(args=args))
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        recording(inkling, 2) as recorder,
    ):
        inkling(input_ids=IDS)
    handle.remove()
    blocks, partial = calls["args"]
    values = site.norm(torch.cat([blocks, partial.unsqueeze(-2)], dim=-2).float())
    by_hand = ((values @ site.query) / values.shape[-1] ** 0.5).softmax(dim=-1)
    _, routes = recorder.sites()[-1]
    torch.testing.assert_close(routes.weights, by_hand, atol=1e-6, rtol=1e-5)


# --- the recipes of `register_depth_site` --------------------------------------------------------


class KimiK3AttentionResidual(nn.Module):
    """Norm and query in a module that is called with the blocks and the running sum."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.proj = nn.RMSNorm(width), nn.Linear(width, 1, bias=False)

    def forward(self, blocks, partial):
        sources = torch.stack([*blocks, partial])
        scores = torch.einsum("d,nrtd->nrt", self.proj.weight[0], self.norm(sources))
        return torch.einsum("nrt,nrtd->rtd", scores.softmax(dim=0), sources)


class Depth(nn.Module):
    """Three sub-layers that read a mixture of the earlier ones."""

    def __init__(self, residual=KimiK3AttentionResidual):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"res": residual(8), "mlp": nn.Linear(8, 8)}) for _ in range(3)
        )
        self.inputs = []

    def forward(self, rows):
        blocks, self.inputs = [rows], []
        for layer in self.layers:
            self.inputs.append(layer["res"](blocks[:-1], blocks[-1]))
            blocks.append(layer["mlp"](self.inputs[-1]))
        self.blocks = blocks
        return blocks[-1]


def check_mixtures(net, sites):
    assert [(s.label, s.n_routes) for s, _ in sites] == [(f"depth_l0{i}", i + 1) for i in range(3)]
    for i, (_, routes) in enumerate(sites):
        sources = torch.stack(net.blocks[: i + 1], dim=-2)
        mixed = torch.einsum("rts,rtsd->rtd", routes.weights, sources)
        torch.testing.assert_close(mixed, net.inputs[i])


def test_recipe_for_a_module_that_holds_norm_and_query():
    @register_depth_site("KimiK3AttentionResidual")
    def weights(module, args, output):
        blocks, partial = args
        sources = torch.stack([*blocks, partial], dim=-2)
        return module.proj(module.norm(sources)).squeeze(-1).softmax(dim=-1)

    net = Depth()
    check_mixtures(net, read_routing(net, ROWS))


class FunctionalResidual(nn.Module):
    """A function mixes; only the linear map is called as a module."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.mlp_res_proj = nn.RMSNorm(width), nn.Linear(width, 1, bias=False)

    def forward(self, blocks, partial):
        sources = torch.stack([*blocks, partial], dim=-2)
        scores = self.mlp_res_proj(self.norm(sources))
        return (scores.softmax(dim=-2) * sources).sum(dim=-2)


def test_recipe_for_a_function_that_mixes():
    @register_depth_site(".mlp_res_proj")
    def weights(module, args, output):
        return output.squeeze(-1).softmax(dim=-1)

    net = Depth(FunctionalResidual)
    check_mixtures(net, read_routing(net, ROWS))


class Queries(nn.Module):
    def __init__(self, n_queries):
        super().__init__()
        self.n_queries = n_queries

    def forward(self, rows):
        return torch.randn(*rows.shape[:2], self.n_queries, 3).softmax(dim=-1)


@pytest.mark.parametrize(
    ("n_queries", "suffixes"), [(1, [""]), (2, ["_q0", "_q1"]), (3, ["_q", "_k", "_v"])]
)
def test_every_query_is_a_site(n_queries, suffixes):
    seen = []

    @register_depth_site(Queries)
    def weights(module, args, output):
        seen.append(output)
        return output

    sites = read_routing(nn.Sequential(Queries(n_queries)), ROWS)
    assert [site.label for site, _ in sites] == [f"depth_l00{suffix}" for suffix in suffixes]
    for query, (_, routes) in enumerate(sites):
        assert torch.equal(routes.weights, seen[0][:, :, query])


def test_weights_must_be_given_for_a_depth_site():
    register_depth_site(Queries, lambda module, args, output: {"logits": output})
    with pytest.raises(ValueError, match="must give 'weights'"):
        read_routing(nn.Sequential(Queries(1)), ROWS)


def test_depth_weights_have_to_sum_to_one():
    register_depth_site(Queries, lambda module, args, output: 2 * output)
    with pytest.raises(ValueError, match="sums miss one by up to 1"):
        read_routing(nn.Sequential(Queries(1)), ROWS)
