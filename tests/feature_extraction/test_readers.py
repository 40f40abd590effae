import threading
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._readers._finding import find_sites
from sk_arcal.feature_extraction._readers._raw import read_routing
from sk_arcal.feature_extraction._readers._recording import recording
from tests.feature_extraction.tiny_models import tiny

ROWS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


class Gate(nn.Linear):
    """Describes itself."""

    route_kind = "router"

    def read_routes(self, args, output):
        return {"logits": output}


class Interrupting(nn.Module):
    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def forward(self, rows):
        if self.error is not None:
            raise self.error
        return rows


def net(error=None, n_gates=2):
    torch.manual_seed(0)
    gates = [nn.Sequential(Gate(3, 4), nn.Linear(4, 3)) for _ in range(n_gates)]
    return nn.Sequential(*gates, Interrupting(error))


def n_hooks(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


# --- hooks come and go ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), None])
def test_hooks_are_gone_however_the_context_is_left(error):
    model = net(error)
    if error is None:
        with recording(model, 4):
            assert n_hooks(model) == 2
            model(ROWS)
    else:
        with pytest.raises(type(error)), recording(model, 4):
            model(ROWS)
    assert n_hooks(model) == 0


def test_hooks_are_gone_if_reading_fails():
    model = net()
    with pytest.raises(ValueError, match="for a batch of 3 rows"), recording(model, 3):
        model(ROWS)
    assert n_hooks(model) == 0


def test_hooks_of_others_stay():
    model, seen = net(), []
    model[0][0].register_forward_hook(lambda *args: seen.append(1))
    read_routing(model, ROWS)
    assert n_hooks(model) == 1
    assert seen == [1]


def test_module_without_sites_is_refused():
    with pytest.raises(ValueError, match="Linear has no router and no depth site"):
        read_routing(nn.Linear(3, 2), ROWS)


def test_recording_of_a_module_that_does_not_run_is_refused():
    with recording(net(), 4) as recorder:
        pass
    with pytest.raises(ValueError, match="No router and no depth site was called"):
        recorder.sites()


@pytest.mark.parametrize("n_rows", [0, 2.0])
def test_number_of_rows_is_checked(n_rows):
    with pytest.raises((ValueError, TypeError), match="`n_rows`"), recording(net(), n_rows):
        pass


def test_thread_sees_its_own_rows_only():
    model, problems = net(), []

    def work(seed):
        rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        expected = model[0][0](rows)
        for _ in range(50):
            sites = read_routing(model, rows)
            if len(sites) != 2 or not torch.equal(sites[0][1].logits[:, 0], expected):
                problems.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert n_hooks(model) == 0


# --- calls and batches ---------------------------------------------------------------------------


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(Gate(3, 3))
        self.times = 3

    def forward(self, rows):
        for _ in range(self.times):
            rows = self.block(rows)
        return rows


def test_every_call_of_a_shared_module_is_a_site():
    model = Looped()
    sites = read_routing(model, ROWS)
    assert [site.label for site, _ in sites] == [f"router_l00_call{i}" for i in range(3)]
    rows = ROWS
    for _, routes in sites:
        rows = model.block(rows)
        torch.testing.assert_close(routes.logits[:, 0], rows)


def test_module_in_two_places_is_one_module_called_twice():
    gate = Gate(3, 3)
    sites = read_routing(nn.Sequential(gate, gate), ROWS)
    assert [site.label for site, _ in sites] == ["router_l00_call0", "router_l00_call1"]


def test_batches_follow_each_other_in_one_recording():
    model = net()
    with recording(model, 4) as recorder:
        model(ROWS)
        first = recorder.sites()
        recorder.next_batch(2)
        model(ROWS[:2])
        second = recorder.sites()
    assert [site for site, _ in first] == [site for site, _ in second]
    for (_, before), (_, after) in zip(first, second, strict=True):
        torch.testing.assert_close(before.logits[:2], after.logits)


def test_another_number_of_calls_in_a_later_batch_is_refused():
    model = Looped()
    with recording(model, 4) as recorder:
        model(ROWS)
        recorder.sites()
        recorder.next_batch(4)
        model.times = 2
        model(ROWS)
        with pytest.raises(ValueError, match=r"3 before and 2 now.*call2"):
            recorder.sites()


def test_sites_come_in_the_order_of_the_calls():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Gate(3, 3) for _ in range(3))

        def forward(self, rows):
            for block in reversed(self.blocks):
                rows = block(rows)
            return rows

    labels = [site.label for site, _ in read_routing(Backwards(), ROWS)]
    assert labels == ["router_l02", "router_l01", "router_l00"]


def test_each_takes_the_place_of_the_routes():
    model = net()
    with recording(model, 4, each=lambda routes: routes.weights.sum().item()) as recorder:
        model(ROWS)
    assert [round(result, 4) for _, result in recorder.sites()] == [4.0, 4.0]


@pytest.mark.parametrize(
    ("mask", "kept"), [(torch.tensor([[1, 0], [1, 1]]), True), (torch.ones(2, 5), False)]
)
def test_mask_goes_to_sites_with_as_many_tokens(mask, kept):
    model = net()
    with recording(model, 2, mask) as recorder:
        model(ROWS.reshape(2, 2, 3))
    for _, routes in recorder.sites():
        assert (routes.mask is not None) == kept
        assert not kept or torch.equal(routes.mask, mask.bool())


# --- modules that describe themselves ------------------------------------------------------------


def test_module_that_promises_and_does_not_keep_is_refused():
    class Silent(nn.Linear):
        route_kind = "router"

    class Odd(Gate):
        route_kind = "expert"

    for cls in (Silent, Odd):
        with pytest.raises(TypeError, match=r"0 \(\w+\) has route_kind="):
            find_sites(nn.Sequential(cls(3, 2)))


def test_module_itself_may_be_the_site():
    [(site, routes)] = read_routing(Gate(3, 4), ROWS)
    assert (site.label, site.path) == ("router", "")
    assert routes.weights.shape == (4, 1, 4)


def test_described_depth_and_router_lie_side_by_side():
    class Read(Gate):
        route_kind = "depth"

        def read_routes(self, args, output):
            return {"weights": output.softmax(dim=-1)}

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.ModuleDict({"a": Read(3, 3), "b": Gate(3, 3)})])

        def forward(self, rows):
            return self.blocks[0]["b"](self.blocks[0]["a"](rows))

    sites = read_routing(Both(), ROWS)
    assert [site.label for site, _ in sites] == ["depth_l00", "router_l00"]


def test_gradients_do_not_come_along():
    model = net()
    with recording(model, 4) as recorder:
        model(ROWS.requires_grad_())
    ROWS.requires_grad_(False)
    assert not any(routes.weights.requires_grad for _, routes in recorder.sites())


# --- read_routing --------------------------------------------------------------------------------


def test_mode_of_every_part_comes_back():
    model = net()
    model.train()
    model[0].eval()
    before = [part.training for part in model.modules()]
    read_routing(model, ROWS)
    assert [part.training for part in model.modules()] == before
    failing = net(ValueError("no")).train()
    with pytest.raises(ValueError, match="no"):
        read_routing(failing, ROWS)
    assert all(part.training for part in failing.modules())


def test_reading_happens_in_evaluation_mode_without_gradients():
    class Look(Gate):
        def read_routes(self, args, output):
            assert not self.training
            assert torch.is_inference_mode_enabled()
            return {"logits": output}

    read_routing(nn.Sequential(Look(3, 2)).train(), ROWS)


def test_call_without_tensors_is_refused():
    with pytest.raises(ValueError, match="at least one tensor"):
        read_routing(net(), [[1.0, 2.0, 3.0]])


def test_routes_say_what_they_are():
    [(_, routes), _] = read_routing(net(), ROWS)
    assert repr(routes) == "Routes(4 rows, 1 tokens, 4 routes, scoring='softmax')"


# --- models of transformers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixtral():
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    return tiny("mixtral", "MixtralForCausalLM")


IDS = torch.arange(3, 13).reshape(2, 5)


def test_head_model_and_wrapper_give_the_same_sites(mixtral):
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, ids):
            return self.inner(input_ids=ids)

    bare = read_routing(mixtral.model, input_ids=IDS)
    for model, given in ((mixtral, {"input_ids": IDS}), (Wrapper(mixtral), {"ids": IDS})):
        sites = read_routing(model, **given)
        assert [s.label for s, _ in sites] == [s.label for s, _ in bare]
        for (_, one), (_, other) in zip(sites, bare, strict=True):
            assert torch.equal(one.weights, other.weights)


def test_what_the_model_records_itself_is_the_same(mixtral):
    with torch.inference_mode(), recording(mixtral, 2) as recorder:
        output = mixtral(input_ids=IDS, output_router_logits=True)
    for (_, routes), logits in zip(recorder.sites(), output.router_logits, strict=True):
        assert torch.equal(routes.logits.flatten(0, 1), logits)


def test_layer_alone_is_refused(mixtral):
    layer = mixtral.model.layers[0]
    with pytest.raises(ValueError, match="Pass the whole model"), recording(layer, 1):
        pass


def test_old_style_block_that_returns_logits_beside_its_output_is_read():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.experts = nn.Linear(3, 4), nn.Linear(3, 3)

        def forward(self, tokens):
            flat = tokens.flatten(0, 1)
            return self.experts(tokens), self.gate(flat)

    class Model(nn.Module):
        # how a class of transformers declares a block whose second output are router logits
        _can_record_outputs = {"router_logits": Block, "hidden_states": nn.Linear}  # noqa: RUF012

        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Block(), Block()])

        def forward(self, tokens):
            for layer in self.layers:
                tokens, _ = layer(tokens)
            return tokens

    model = Model()
    sites = read_routing(model, ROWS.reshape(2, 2, 3))
    assert [site.path for site, _ in sites] == ["layers.0", "layers.1"]
    assert {routes.scoring for _, routes in sites} == {"unknown"}
    logits = model.layers[0].gate(ROWS).reshape(2, 2, 4)
    torch.testing.assert_close(sites[0][1].weights, logits.softmax(dim=-1))
    # casting the experts to float32 as well would change the model
    assert all(site.gate is None for site in find_sites(model))


class Pair(nn.Module):
    """Two linear maps, and a class that declares some of what they return as router logits."""

    def __init__(self, *declared):
        super().__init__()
        self._can_record_outputs = {"router_logits": list(declared)}
        self.left, self.right = nn.ModuleDict({"gate": nn.Linear(3, 3)}), nn.Linear(3, 4)

    def forward(self, rows):
        return self.right(self.left["gate"](rows))


def recorder(target_class=None, class_name=None, layer_name=None):
    return SimpleNamespace(
        target_class=target_class, class_name=class_name, layer_name=layer_name, index=0
    )


@pytest.mark.parametrize(
    ("declared", "paths"),
    [
        ([recorder(nn.Linear)], ["left.gate", "right"]),
        ([recorder(nn.Linear, layer_name="left")], ["left.gate"]),
        ([recorder(nn.Linear, layer_name=".left.gate.")], ["left.gate"]),
        ([recorder(nn.Linear, layer_name="lef")], []),
        ([recorder(class_name="gate")], ["left.gate"]),
        (["right"], ["right"]),
        ([nn.ModuleDict, recorder(class_name="right")], ["left", "right"]),
        ([recorder(nn.ModuleDict), recorder(nn.Linear)], ["left.gate", "right"]),
        ([], []),
    ],
)
def test_declarations_are_understood_as_transformers_does(declared, paths):
    assert [site.path for site in find_sites(Pair(*declared))] == paths


def test_model_inside_a_model_declares_for_itself():
    outer, inner = Pair(recorder(nn.Linear)), Pair(recorder(class_name="right"))
    outer.inner = inner
    paths = [site.path for site in find_sites(outer)]
    assert paths == ["left.gate", "right", "inner.right"]


# --- routers in float32 --------------------------------------------------------------------------


def logits_under_autocast(model, **options):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with recording(model, 2, **options) as recorder:
            model(input_ids=IDS)
        assert torch.is_autocast_enabled("cpu")
    return [routes.logits for _, routes in recorder.sites()]


@torch.no_grad()
def test_router_is_rounded_under_autocast_unless_spared(mixtral):
    inputs = []
    gate = mixtral.model.layers[0].mlp.gate
    handle = gate.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    spared = logits_under_autocast(mixtral)
    rounded = logits_under_autocast(mixtral, routers_in_float32=False)
    handle.remove()
    exact = [x.float().flatten(0, -2) @ gate.weight.T for x in inputs]
    assert spared[0].dtype == torch.float32
    assert torch.equal(spared[0].flatten(0, 1), exact[0])
    assert rounded[0].dtype == torch.bfloat16
    assert (rounded[0].flatten(0, 1) - exact[1]).abs().max() > 1e-4


def test_router_is_left_alone_without_autocast_and_in_half_precision(mixtral):
    plain = read_routing(mixtral, input_ids=IDS)[0][1].logits
    with torch.inference_mode(), recording(mixtral, 2, routers_in_float32=False) as recorder:
        mixtral(input_ids=IDS)
    assert torch.equal(recorder.sites()[0][1].logits, plain)
    half = tiny("mixtral", "MixtralModel").to(torch.bfloat16)
    assert logits_under_autocast(half)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_autocast_is_back_after_an_error_inside_a_router(mixtral, monkeypatch, error):
    def fail(*args):
        assert not torch.is_autocast_enabled("cpu")
        raise error

    monkeypatch.setattr(mixtral.model.layers[1].mlp.gate, "forward", fail)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(type(error)), recording(mixtral, 2):
            mixtral(input_ids=IDS)
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")
    assert all(not m._forward_pre_hooks for m in mixtral.modules())


def test_nothing_is_said_about_models_whose_rows_are_their_own(mixtral):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_routing(mixtral, input_ids=IDS)
