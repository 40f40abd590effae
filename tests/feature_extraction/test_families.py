"""Every architecture that the table lists: what is read is what the model does."""

import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

from sk_arcal.feature_extraction._readers._finding import find_sites
from sk_arcal.feature_extraction._readers._gates import EXCEPTIONS
from sk_arcal.feature_extraction._readers._raw import read_routing
from sk_arcal.feature_extraction._readers._recording import recording
from sk_arcal.feature_extraction._readers._scoring import SCORES
from sk_arcal.feature_extraction._warning import ExtractionWarning
from tests.feature_extraction.families import (
    FAMILIES,
    PAGE,
    inputs,
    model_of,
    padded,
    read,
    table,
    token_rows,
)
from tests.feature_extraction.tiny_models import tiny

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

# Doge, Switch and NLLB warn about their batches, which is tested below.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sk_arcal.feature_extraction._warning.ExtractionWarning"
)
SIDES = ("right", "left")


def families(condition):
    """Parametrize a test by the families that fulfil a condition."""
    some = [family for family in FAMILIES if condition(family)]
    return pytest.mark.parametrize("family", some, ids=lambda family: family.name)


each_family = families(lambda family: True)


def family_called(name):
    return next(family for family in FAMILIES if family.name == name)


def routers_of_input(sites):
    """Leave out depth sites, and decoders, which read other tokens."""
    return [
        (site, routes)
        for site, routes in sites
        if site.kind == "router" and "decoder" not in site.label
    ]


@cache
def read_alone(family, row):
    """Return what is read of one row that nothing is padded to."""
    return read(family, token_rows()[row][None])


def soft(routes):
    return routes.weights if routes.logits is None else routes.logits


def chosen(routes):
    return routes.selected.sort(dim=-1).values


def final_state(output):
    return output.last_hidden_state


# --- rows are their own --------------------------------------------------------------------------


@families(lambda family: family.own_rows)
@pytest.mark.parametrize("side", SIDES)
def test_padded_row_is_read_as_it_is_alone(family, side):
    rows = token_rows()
    together = read(family, *padded(rows, side))
    for i in range(len(rows)):
        for (site, routes), (same_site, reference) in zip(
            together, read_alone(family, i), strict=True
        ):
            assert site == same_site
            if "decoder" in site.label:
                continue
            torch.testing.assert_close(
                soft(routes)[i][routes.mask[i]], soft(reference)[0], atol=1e-5, rtol=1e-5
            )
            if routes.selected is not None:
                assert torch.equal(chosen(routes)[i][routes.mask[i]], chosen(reference)[0])


def test_hash_layers_of_deepseek_v4_are_read_though_not_declared():
    sites = read(family_called("deepseek_v4"), token_rows()[0][None])
    assert [site.label for site, _ in sites] == ["router_l00", "router_l01", "router_l02"]
    gate = model_of(family_called("deepseek_v4")).layers[0].mlp.gate
    assert torch.equal(sites[0][1].selected[0], gate.tid2eid[token_rows()[0]])


@pytest.mark.parametrize("side", SIDES)
def test_doge_reads_other_tokens_with_a_row_as_the_table_says(side):
    family = family_called("doge")
    rows = token_rows()
    together = read(family, *padded(rows, side))
    moved, total = 0, 0
    for i in range(len(rows)):
        for (_, routes), (_, reference) in zip(together, read_alone(family, i), strict=True):
            differ = chosen(routes)[i][routes.mask[i]] != chosen(reference)[0]
            moved, total = moved + int(differ.any(dim=-1).sum()), total + len(differ)
    assert moved / total > 0.8


@pytest.mark.parametrize("name", ["doge", "nllb_moe", "switch_transformers"])
def test_family_whose_routes_depend_on_the_batch_warns(name):
    with pytest.warns(ExtractionWarning, match="depend on the batch"):
        read(family_called(name), token_rows()[0][None])


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "inkling2"])
def test_other_families_do_not_warn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(family_called(name), token_rows()[0][None])


def test_full_expert_leaves_slots_empty_and_padding_takes_them():
    family = family_called("switch_transformers")
    model = tiny(family.name, family.model, **family.sizes, expert_capacity=2)
    rows = token_rows()
    given = inputs(family, *padded(rows, "left"))
    with torch.inference_mode(), recording(model, len(rows), given["attention_mask"]) as recorder:
        model(**given)
    _, routes = recorder.sites()[0]
    counts = torch.stack([(routes.selected == e).sum(dim=1) for e in range(4)])
    assert counts.max() == 2
    assert (routes.selected == -1).any()
    assert (routes.selected_weights[routes.selected == -1] == 0).all()
    with torch.inference_mode(), recording(model, 1) as recorder:
        model(**inputs(family, rows[2][None]))
    _, alone = recorder.sites()[0]
    torch.testing.assert_close(routes.logits[2][routes.mask[2]], alone.logits[0])
    assert not torch.equal(routes.selected[2][routes.mask[2]], alone.selected[0])


# --- the selection is what the model used --------------------------------------------------------


def experts_inputs(model, sites):
    """Hook whatever computes the experts of each router, and return the dict it fills."""
    seen, handles = {}, []
    for site in sites:
        holder = model.get_submodule(site.path.rpartition(".")[0])

        def see(module, args, kwargs, path=site.path):
            seen[path] = [*args, *kwargs.values()]

        handles.append(holder.experts.register_forward_pre_hook(see, with_kwargs=True))
    return seen, handles


def read_with_experts(family):
    """Return routes by path, and what the experts beside each router were given."""
    model, rows = model_of(family), token_rows()
    ids, mask = padded(rows, "right")
    sites = [site for site in find_sites(model) if site.kind == "router"]
    seen, handles = experts_inputs(model, sites)
    try:
        found = [(site, routes) for site, routes in read(family, ids, mask)]
    finally:
        for handle in handles:
            handle.remove()
    return {site.path: routes for site, routes in found if site.kind == "router"}, seen


def factor_of_every_expert(routes, n_experts=None):
    """Spread the factors over all experts, shape (n_tokens, n_experts)."""
    factors = routes.selected_weights.flatten(0, 1)
    selected = routes.selected.flatten(0, 1)
    spread = factors.new_zeros(len(factors), n_experts or routes.weights.shape[-1])
    return spread.scatter_add(1, selected.clamp(min=0), factors)


OWN_ORACLE = {
    "doge",
    "ernie4_5_vl_moe",
    "jetmoe",
    "llama4",
    "nllb_moe",
    "switch_transformers",
    "zaya",
}


@families(lambda family: family.name not in OWN_ORACLE)
def test_selection_is_what_the_experts_were_given(family):
    found, seen = read_with_experts(family)
    assert found
    for path, routes in found.items():
        _, indices, factors = seen[path]
        assert torch.equal(routes.selected.flatten(0, 1), indices.long())
        assert torch.equal(routes.selected_weights.flatten(0, 1), factors)


def test_zaya_skips_where_the_experts_were_given_nothing_to_do():
    family = family_called("zaya")
    found, seen = read_with_experts(family)
    skipped = 0
    for path, routes in found.items():
        gate = model_of(family).get_submodule(path)
        _, indices, factors = seen[path]
        selected = routes.selected.flatten(0, 1)
        skip = gate.num_experts
        assert torch.equal(selected == skip, factors == 0)
        assert torch.equal(selected[selected < skip], indices[factors > 0])
        by_hand = (routes.logits.softmax(dim=-1) + gate.balancing_biases).argmax(dim=-1)
        assert torch.equal(routes.selected[..., 0], by_hand)
        skipped += int((selected == skip).sum())
    assert skipped > 0


def test_llama4_scales_the_inputs_of_the_selected_experts():
    family = family_called("llama4")
    model, block_inputs = model_of(family), {}
    sites = find_sites(model)
    handles = [
        model.get_submodule(site.path.rpartition(".")[0]).register_forward_pre_hook(
            lambda module, args, path=site.path: block_inputs.update({path: args[0]})
        )
        for site in sites
    ]
    found, seen = read_with_experts(family)
    for handle in handles:
        handle.remove()
    for path, routes in found.items():
        tokens = block_inputs[path].flatten(0, 1)
        scaled = seen[path][0].unflatten(0, (-1, len(tokens)))
        expected = factor_of_every_expert(routes).T[..., None] * tokens
        torch.testing.assert_close(scaled, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["switch_transformers", "nllb_moe"])
def test_marks_and_factors_are_those_the_experts_were_given(name):
    found, seen = read_with_experts(family_called(name))
    for path, routes in found.items():
        _, marks, factors = seen[path]
        given = marks.flatten(1) * factors if name == "switch_transformers" else factors
        assert torch.equal(factor_of_every_expert(routes), given)


@torch.no_grad()
def test_jetmoe_block_is_the_mixture_of_the_experts_read():
    family = family_called("jetmoe")
    model = model_of(family)
    blocks = {f"layers.{i}.mlp.router": layer.mlp for i, layer in enumerate(model.layers)}
    calls = {}
    handles = [
        block.register_forward_hook(
            lambda module, args, output, path=path: calls.update({path: (args[0], output)})
        )
        for path, block in blocks.items()
    ]
    sites = read(family, *padded(token_rows(), "right"))
    for handle in handles:
        handle.remove()
    for site, routes in sites:
        if site.path not in blocks:
            continue
        block = blocks[site.path]
        tokens, output = (tensor.clone() for tensor in calls[site.path])
        gated = torch.einsum("rtd,ehd->rteh", tokens, block.input_linear.weight)
        first, second = gated.chunk(2, dim=-1)
        experts = torch.einsum(
            "rteh,edh->rted", block.activation(first) * second, block.output_linear.weight
        )
        factors = factor_of_every_expert(routes).unflatten(0, tokens.shape[:2])
        mixed = torch.einsum("rte,rted->rtd", factors, experts) + block.bias
        torch.testing.assert_close(output, mixed, rtol=1e-4, atol=1e-5)


def test_jetmoe_attention_experts_get_the_tokens_that_selected_them():
    family = family_called("jetmoe")
    attention = model_of(family).layers[0].self_attention.experts
    calls = []
    handles = [
        attention.router.register_forward_pre_hook(lambda module, args: calls.append(args)),
        attention.input_linear.register_forward_pre_hook(lambda module, args: calls.append(args)),
    ]
    sites = dict(read(family, *padded(token_rows(), "right")))
    for handle in handles:
        handle.remove()
    (tokens,), (grouped, counts) = calls
    routes = next(
        r for site, r in sites.items() if site.label == "router_l00_self_attention_experts"
    )
    selected = routes.selected.flatten(0, 1)
    for expert, group in enumerate(grouped.split(list(counts))):
        mine = tokens[(selected == expert).any(dim=-1)]
        assert torch.equal(group.sort(dim=0).values, mine.sort(dim=0).values)


@torch.no_grad()
def test_doge_block_mixes_the_experts_of_the_two_keys_read():
    family = family_called("doge")
    model, calls = model_of(family), {}

    def keep(name):
        return lambda module, args, output: calls.update({name: (args[0], output)})

    block = model.layers[1].mlp
    parts = {"block": block, "shared": block.down_proj, "experts": block.up_embed}
    handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    sites = read(family, *padded(token_rows(), "right"))
    for handle in handles:
        handle.remove()
    x, y = (routes for site, routes in sites if site.layer == 1)
    pairs = (x.selected * block.num_keys + y.selected).flatten(0, 1)
    assert torch.equal(pairs, calls["experts"][0])
    tokens, (output, _) = calls["block"]
    inner = torch.einsum("nkd,nd->nk", block.down_embed(pairs), tokens.flatten(0, 1))
    factors = block.act_fn(inner) * x.selected_weights.flatten(0, 1)
    mixed = torch.einsum("nk,nkd->nd", factors, block.up_embed(pairs)).view_as(tokens)
    torch.testing.assert_close(output, mixed + calls["shared"][1], rtol=1e-4, atol=1e-5)


def test_selection_of_biased_routers_is_not_that_of_the_logits():
    # otherwise the tests above could not tell a selection from one made up from logits
    _, routes = read(family_called("deepseek_v3"), token_rows()[0][None])[0]
    best = routes.logits.topk(3, dim=-1).indices.sort(dim=-1).values
    assert (best != chosen(routes)).any(dim=-1).float().mean() > 0.3


# --- weights, hooks, outputs ---------------------------------------------------------------------


@each_family
def test_weights_are_the_distribution_that_the_table_says(family):
    routers = [e for e in read(family, *padded(token_rows(), "right")) if e[0].kind == "router"]
    assert routers
    for site, routes in routers:
        assert routes.scoring == family.scoring
        assert routes.weights.dtype == torch.float32
        assert routes.weights.shape == (*routes.weights.shape[:2], site.n_routes)
        torch.testing.assert_close(routes.weights.sum(dim=-1), torch.ones(routes.weights.shape[:2]))
        assert (routes.selected is not None) == family.selects
        assert (routes.logits is not None) == family.has_logits
        if family.has_logits:
            scores = SCORES.get(family.scoring, SCORES["softmax"])(routes.logits)
            torch.testing.assert_close(
                routes.weights, scores / scores.sum(dim=-1, keepdim=True), rtol=1e-5, atol=1e-7
            )


HALF = ("cohere2_moe", "deepseek_v3", "deepseek_v4", "gpt_oss", "lfm2_moe", "mistral4", "mixtral")


@pytest.mark.parametrize("name", HALF)
def test_scoring_is_found_in_half_precision_too(name):
    family = family_called(name)
    model = tiny(family.name, family.model, **family.sizes).bfloat16()
    sites = read_routing(model, **inputs(family, *padded(token_rows(), "left")))
    assert {routes.scoring for _, routes in sites} == {family.scoring}
    assert {routes.weights.dtype for _, routes in sites} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "n_shared"), [("aria", 2), ("deepseek_v3", 1), ("qwen2_moe", 1), ("mixtral", None)]
)
def test_shared_experts_are_counted_where_they_are_seen(name, n_shared):
    assert {routes.n_shared for _, routes in read_alone(family_called(name), 0)} == {n_shared}


@each_family
def test_recording_leaves_no_hook_and_does_not_touch_the_output(family):
    model = model_of(family)
    given = inputs(family, *padded(token_rows(), "right"))
    before = n_hooks(model)
    with torch.inference_mode():
        alone = final_state(model(**given))
        with recording(model, 3, given["attention_mask"]) as recorder:
            recorded = final_state(model(**given))
    assert n_hooks(model) == before
    assert torch.equal(alone, recorded)
    assert recorder.sites()


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@families(lambda family: family.runs_under_autocast)
def test_routers_stay_in_float32_under_autocast(family):
    model, given = model_of(family), inputs(family, token_rows()[0][None])
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        recording(model, 1) as recorder,
    ):
        model(**given)
    for site, routes in recorder.sites():
        if site.kind == "router" and family.has_logits:
            assert routes.scoring == family.scoring
            assert routes.logits.dtype == torch.float32


# --- the table -----------------------------------------------------------------------------------


def test_every_architecture_that_declares_routers_is_in_the_table():
    folder = Path(transformers.__file__).parent / "models"
    declaring = [
        path.parent.name
        for path in sorted(folder.glob("*/modeling_*.py"))
        if '"router_logits": ' in path.read_text(encoding="utf-8")
    ]
    assert [family.name for family in FAMILIES] == declaring


def test_every_exception_is_needed_by_a_family():
    classes = {type(s.module).__name__ for f in FAMILIES for s in find_sites(model_of(f))}
    assert set(EXCEPTIONS) <= classes


def test_page_is_what_the_families_say():
    assert PAGE.read_text(encoding="utf-8") == table(), (
        "run python -m tests.feature_extraction.families"
    )
