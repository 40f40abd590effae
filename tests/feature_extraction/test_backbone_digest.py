import argparse
import copy
import functools
import pickle
import textwrap
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._sources._digest import (
    architecture_digest,
    fingerprint,
    module_digest,
)
from tests.feature_extraction.backbones import Net, make_net


class Holder(nn.Module):
    """A module with nothing but the attributes it is given."""

    def __init__(self, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


class Activation:
    def __init__(self, slope):
        self.slope = slope

    def __call__(self, x):
        return self.slope * x


@dataclass
class Settings:
    width: int
    inner: dict


class Colour(Enum):
    RED = 1
    BLUE = 2


def double(x):
    return 2 * x


def triple(x):
    return 3 * x


# --- what does not matter -------------------------------------------------------------------------


def test_it_is_a_sha256_of_content():
    digest = module_digest(make_net())
    assert len(digest) == 64
    assert int(digest, 16) >= 0
    assert digest == module_digest(make_net())
    assert digest != module_digest(make_net(seed=1))


def _trained_then_evaluated(net):
    return net.train().eval()


def _hooked(net):
    net.register_forward_hook(lambda *call: None)
    net.first.register_full_backward_hook(lambda *call: None)
    net.register_state_dict_post_hook(lambda *call: None)
    return net


def _frozen(net):
    return net.requires_grad_(False)


def _with_gradients(net):
    net(torch.ones(2, 3)).sum().backward()
    return net


def _in_another_memory_format(net):
    net.second.weight.data = net.second.weight.data.t().contiguous().t()
    return net


def _pickled(net):
    return pickle.loads(pickle.dumps(net))


def _other_order_of_attributes(net):
    for name in ("scale", "training", "norm"):
        value = net.__dict__.pop(name, None)
        if value is not None:
            net.__dict__[name] = value
    net._modules["first"] = net._modules.pop("first")
    return net


def _compiled_in_place(net):
    net._compiled_call_impl = print
    return net


@pytest.mark.parametrize(
    "change",
    [
        *(copy.deepcopy, _trained_then_evaluated, _hooked, _frozen, _with_gradients, _pickled),
        *(_in_another_memory_format, _other_order_of_attributes),
        _compiled_in_place,
    ],
)
def test_digest_stays(change):
    assert module_digest(change(make_net())) == module_digest(make_net())


def test_untied_copies_of_a_weight_are_the_same_function():
    net = make_net()
    net.third.weight = nn.Parameter(net.third.weight.detach().clone())
    assert module_digest(net) == module_digest(make_net())


def test_what_a_pass_leaves_behind_does_not_count():
    net = make_net()
    net.loss, net.losses = None, []
    before = module_digest(net)
    net.loss = net(torch.ones(2, 3)).sum()
    net.losses.append(net.loss)
    assert module_digest(net) == before
    with torch.inference_mode():
        net.loss = net(torch.ones(2, 3)).sum()
    assert module_digest(net) == before


def test_weights_made_in_inference_mode_do_count():
    with torch.inference_mode():
        net, other = make_net(), make_net(seed=1)
    assert module_digest(net) == module_digest(make_net())
    assert module_digest(other) == module_digest(make_net(seed=1))


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_weights_that_torch_computes_before_every_pass(wrap):
    layer = wrap(nn.Linear(3, 3)).eval()
    before = module_digest(layer)
    with torch.inference_mode():
        layer(torch.ones(2, 3))
    assert module_digest(layer) == before
    with torch.no_grad():
        layer(torch.ones(2, 3))
    assert module_digest(layer) == before


def test_layers_that_hold_lists_of_their_weights():
    lstm = nn.LSTM(3, 4, num_layers=2)
    assert module_digest(copy.deepcopy(lstm)) == module_digest(lstm)
    assert module_digest(pickle.loads(pickle.dumps(lstm))) == module_digest(lstm)


def test_module_that_contains_itself():
    net, twin = make_net(), make_net()
    net.parents, twin.parents = [net], [twin]
    assert module_digest(net) == module_digest(twin)


# --- what does matter -----------------------------------------------------------------------------


def _set(path, value):
    def change(net):
        owner, _, name = path.rpartition(".")
        setattr(functools.reduce(getattr, filter(None, owner.split(".")), net), name, value)

    change.__name__ = path
    return change


def _one_bit(net):
    with torch.no_grad():
        bits = net.third.bias.view(torch.int32)
        bits[0] ^= 1


CHANGES = [
    _set("drop.p", 0.2),
    _set("norm.eps", 1e-6),
    _set("scale", 0.25),
    _set("scale", "0.5"),
    _set("drop", nn.AlphaDropout(0.1)),
    _set("second", nn.Linear(4, 4)),
    _set("forward", double),
    _set("new", 0),
    _one_bit,
    lambda net: net.kept.add_(1),
    lambda net: net.fleeting.add_(1),
    lambda net: net.bfloat16(),
    lambda net: net.first.to(torch.float64),
    lambda net: net.register_buffer("more", torch.zeros(1)),
    _set("first.bias", None),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_digest_changes(change):
    net = make_net()
    change(net)
    assert module_digest(net) != module_digest(make_net())


def test_all_changes_differ_from_each_other():
    digests = set()
    for change in CHANGES:
        net = make_net()
        change(net)
        digests.add(module_digest(net))
    assert len(digests) == len(CHANGES)


PAIRS = {
    "number": (1, 2),
    "truth and number": (True, 1),
    "integer and float": (1, 1.0),
    "text": ("gelu", "relu"),
    "tuple": ((1, 2), (2, 1)),
    "nested": ([{"a": [1]}], [{"a": [2]}]),
    "function": (double, triple),
    "lambda": (lambda x: 2 * x, lambda x: 3 * x),
    "builtin": (torch.tanh, torch.sigmoid),
    "partial": (functools.partial(double, x=1), functools.partial(double, x=2)),
    "method": ("abc".upper, "abc".lower),
    "class": (nn.ReLU, nn.GELU),
    "callable object": (Activation(0.1), Activation(0.2)),
    "dataclass": (Settings(1, {"a": 1}), Settings(1, {"a": 2})),
    "namespace": (SimpleNamespace(a=1), SimpleNamespace(a=2)),
    "arguments": (argparse.Namespace(a=1), argparse.Namespace(a=2)),
    "enum": (Colour.RED, Colour.BLUE),
    "dtype": (torch.float32, torch.float64),
    "array": (np.arange(3), np.arange(3) + 1),
    "array shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "scalar of numpy": (np.float32(0.5), np.float64(0.5)),
    "plain tensor": (torch.arange(3), torch.arange(3) + 1),
    "module in a list": ([nn.Dropout(0.1)], [nn.Dropout(0.2)]),
    "set": ({"a", "b"}, {"a", "c"}),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_attributes_differ(pair):
    first, second = PAIRS[pair]
    digests = [module_digest(Holder(value=value)) for value in (first, second)]
    assert digests[0] != digests[1]
    assert module_digest(copy.deepcopy(Holder(value=first))) == digests[0]


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool),
        *(torch.complex64, torch.float8_e4m3fn, torch.uint8),
    ],
)
def test_every_precision_is_read(dtype):
    def digest(values):
        module = nn.Module()
        module.register_buffer("values", torch.tensor(values).to(dtype))
        return module_digest(module)

    assert digest([0.0, 1.0]) == digest([0.0, 1.0])
    assert digest([0.0, 1.0]) != digest([1.0, 0.0])


def test_empty_and_scalar_tensors():
    module = nn.Module()
    module.register_buffer("empty", torch.zeros(0, 3))
    module.register_buffer("scalar", torch.tensor(2.0))
    first = module_digest(module)
    module.empty = torch.zeros(3, 0)
    assert module_digest(module) != first


def test_order_of_layers_counts_where_they_are_gone_through():
    layers = {"a": nn.ReLU(), "b": nn.Tanh()}
    swapped = dict(reversed(layers.items()))
    assert module_digest(nn.Sequential(OrderedDict(layers))) != module_digest(
        nn.Sequential(OrderedDict(swapped))
    )

    class Chain(nn.Module):
        def forward(self, x):
            for layer in self.children():
                x = layer(x)
            return x

    def chain(parts):
        made = Chain()
        for name, part in parts.items():
            made.add_module(name, part)
        return made

    assert module_digest(chain(layers)) != module_digest(chain(swapped))


# --- code -----------------------------------------------------------------------------------------

CODE = """
from torch import nn
SCALE = 1.0
def helper(x):
    return x + 1
class Toy(nn.Module):
    factor = 3
    def mix(self, x):
        return x * self.factor
    def forward(self, x, *, shift=0.0):
        '''Say something.'''
        def inner(y):
            return y - shift
        return inner(helper(self.mix(x))) * SCALE
"""


def _class_digest(code, name="__main__"):
    scope = {"__name__": name}
    exec(compile(code, "cell", "exec"), scope)
    return module_digest(scope["Toy"]())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * self.factor", "x / self.factor"),
        ("factor = 3", "factor = 4"),
        ("x + 1", "x + 2"),
        ("SCALE = 1.0", "SCALE = 2.0"),
        ("shift=0.0", "shift=1.0"),
        ("y - shift", "shift - y"),
        ("* SCALE", "** SCALE"),
    ],
)
def test_a_redefined_class_is_another_one(old, new):
    assert old in CODE
    assert _class_digest(CODE.replace(old, new)) != _class_digest(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'''Say something.'''", "'''Say something else.'''"),
        ("from torch import nn\n", "from torch import nn\n\n\n# Lines move.\n"),
        ("class Toy", "def unrelated():\n    return 1\nclass Toy"),
    ],
)
def test_what_the_code_does_not_do_does_not_count(old, new):
    assert _class_digest(CODE.replace(old, new)) == _class_digest(CODE)


def test_code_that_runs_often_stays_the_same():
    scope = {"__name__": "__main__"}
    exec(CODE, scope)
    toy, code = scope["Toy"](), scope["Toy"].forward.__code__
    before, compiled = module_digest(toy), code._co_code_adaptive
    for _ in range(100):
        toy(torch.ones(1))
    # CPython has rewritten it for itself, or the test says nothing.
    assert code._co_code_adaptive != compiled
    assert module_digest(toy) == before


def test_code_under_a_decorator_counts():
    # torch's own wrapper is left out, and does not hide what is in it.
    code = CODE.replace("    def forward", "    @torch.no_grad()\n    def forward")
    code = code.replace("from torch import nn", "import torch\nfrom torch import nn")
    assert _class_digest(code) != _class_digest(code.replace("y - shift", "shift - y"))


def test_inherited_code_counts():
    code = CODE + textwrap.dedent("""
        Base = Toy
        class Toy(Base):
            pass
    """)
    assert _class_digest(code) != _class_digest(code.replace("y - shift", "shift - y"))


def test_code_of_torch_counts_by_name_only():
    from sk_arcal.feature_extraction._sources._code import code_of_class

    assert code_of_class(nn.Linear) == []
    assert code_of_class(Net) != []


# --- refused --------------------------------------------------------------------------------------


class Marked(torch.Tensor):
    pass


def _sparse():
    return torch.eye(3).to_sparse()


def _quantized():
    return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: torch.ones(3).as_subclass(Marked), "Marked"),
        (_sparse, "sparse"),
        # torch warns that it will drop quantised tensors; they are what is refused here.
        pytest.param(
            _quantized,
            "qint8",
            marks=pytest.mark.filterwarnings("ignore:.*quantize.*", "ignore:.*deprecated.*"),
        ),
    ],
)
def test_tensors_without_plain_bytes_are_refused(make, word):
    net = make_net()
    net.norm.register_buffer("odd", make())
    with pytest.raises(TypeError, match=rf"`norm.odd` is a .*{word}.*from_factory"):
        _ = Backbone(net).digest


def test_tensor_without_plain_bytes_is_refused_also_when_it_comes_later():
    net = make_net()
    backbone = Backbone(net)
    assert len(backbone.digest) == 64
    net.register_buffer("odd", _sparse())
    with pytest.raises(TypeError, match=r"`odd` is"):
        _ = backbone.digest


def test_weights_without_values_are_refused():
    with pytest.raises(ValueError, match=r"`weight` is on the device 'meta'"):
        _ = Backbone(nn.Linear(2, 2, device="meta")).digest
    lazy = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"`0.weight` has no shape yet. Send one batch"):
        _ = Backbone(lazy).digest
    lazy(torch.ones(1, 3))
    assert len(Backbone(lazy).digest) == 64
    backbone = Backbone(lazy)
    lazy.append(nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"`1.weight` has no shape yet"):
        _ = backbone.digest


# torch warns that scripting is deprecated; a scripted module is what is refused here.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_torchscript_is_refused():
    with pytest.raises(TypeError, match=r"TorchScript.*from_factory"):
        _ = Backbone(torch.jit.script(nn.Linear(2, 2))).digest


# --- kept, and noticed ----------------------------------------------------------------------------


def _step(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.ones(2, 3)).sum().backward()
    optimizer.step()


def _copy_without_gradient(net):
    with torch.no_grad():
        net.first.weight.copy_(torch.ones(4, 3))


NOTICED = [
    _step,
    _copy_without_gradient,
    lambda net: net.load_state_dict(make_net(seed=1).state_dict()),
    lambda net: net.load_state_dict(make_net(seed=1).state_dict(), assign=True),
    lambda net: net.to(torch.float64),
    lambda net: net.kept.add_(1),
    _set("drop", nn.Identity()),
    _set("second.bias", nn.Parameter(torch.ones(4))),
]


@pytest.mark.parametrize("change", NOTICED)
def test_change_is_noticed(change):
    net = make_net()
    backbone = Backbone(net)
    before = backbone.digest
    change(net)
    assert backbone.digest != before
    assert backbone.digest == module_digest(net)


@pytest.mark.parametrize(
    "change", [lambda net: net.first.weight.data.normal_(), _set("drop.p", 0.3)]
)
def test_refresh_finds_what_torch_does_not_count(change):
    net = make_net()
    backbone = Backbone(net)
    before = backbone.digest
    change(net)
    assert backbone.digest == before
    backbone.refresh()
    assert backbone.digest == module_digest(net) != before


def test_digest_is_computed_once_per_module(monkeypatch):
    from sk_arcal.feature_extraction._sources import _companions

    calls = []
    monkeypatch.setattr(
        _companions, "module_digest", lambda module: calls.append(1) or module_digest(module)
    )
    net = make_net()
    first, second = Backbone(net), Backbone(net)
    assert first.digest == second.digest == first.digest
    assert len(calls) == 1


def test_fingerprint_of_weights_without_a_counter():
    with torch.inference_mode():
        net = make_net()
    assert fingerprint(net) == fingerprint(net)


def test_architecture_is_the_same_without_values():
    with torch.device("meta"):
        empty = Net()
    assert architecture_digest(empty) == architecture_digest(make_net(seed=3))
    assert architecture_digest(Net(width=5)) != architecture_digest(empty)
