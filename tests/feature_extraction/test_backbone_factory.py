import copy
import importlib
import json
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._sources import _loaded
from sk_arcal.feature_extraction._sources._digest import module_digest
from tests.feature_extraction.backbones import make_net, words

HOME = "tests.feature_extraction.backbones"
NET = f"{HOME}:make_net"
X = torch.arange(6.0).reshape(2, 3)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(_loaded, "LOADED", _loaded.LoadedModules())


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(make_net(seed=5), path)
    return path


def other_weights(path, seed=6):
    """Write other weights over a file, at a time that a clock can tell apart."""
    save_model(make_net(seed=seed), path)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


# --- without a file -------------------------------------------------------------------------------


def test_it_stands_for_what_it_builds():
    backbone = Backbone.from_factory(NET, {"seed": 2})
    assert backbone.digest == module_digest(make_net(seed=2)) == Backbone(make_net(seed=2)).digest
    assert torch.equal(backbone.module(X), make_net(seed=2).eval()(X))
    assert backbone.module is backbone.module
    assert not backbone.module.training
    assert repr(backbone) == f"Backbone.from_factory('{NET}')"


def test_nothing_is_built_before_it_is_needed():
    backbone = Backbone.from_factory("a_module_that_is_not_there:make")
    assert copy.deepcopy(backbone) is backbone
    with pytest.raises(ImportError, match=r"`factory` is 'a_module_that_is_not_there:make'"):
        _ = backbone.digest
    with pytest.raises(ImportError, match=r"cannot be imported here"):
        _ = Backbone.from_factory(f"{HOME}:nothing").module


def test_it_is_built_once(monkeypatch):
    home, built = importlib.import_module(HOME), []
    monkeypatch.setattr(home, "make_net", lambda: built.append(1) or make_net())
    backbone = Backbone.from_factory(NET)
    assert backbone.module is backbone.load("cpu")
    assert len(built) == 1


def test_pickle_holds_the_recipe(own_cache):
    backbone = Backbone.from_factory(NET, {"seed": 2})
    text = pickle.dumps(backbone)
    assert len(text) < 700
    assert not own_cache.exists()
    received = pickle.loads(text)
    assert received.digest == backbone.digest
    assert torch.equal(received.module(X), backbone.module(X))
    assert pickle.dumps(received) == text


def test_factory_without_a_seed_is_found_out():
    backbone = Backbone.from_factory(f"{HOME}:make_unseeded")
    received = pickle.loads(pickle.dumps(backbone))
    assert module_digest(backbone.module) == backbone.digest
    _loaded.LOADED.start_anew()
    with pytest.raises(ValueError, match=r"builds another module here.*`weights`, or a seed"):
        _ = received.module


def test_factory_must_build_a_module():
    with pytest.raises(TypeError, match=r"must return a torch.nn.Module; it returned a int"):
        _ = Backbone.from_factory(f"{HOME}:make_number").digest
    with pytest.raises(TypeError, match=r"is no function but a"):
        _ = Backbone.from_factory(
            f"{HOME}:HOME_OF_NOTHING".replace("HOME_OF_NOTHING", "ROOT")
        ).digest


# --- with a file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [save_model, lambda net, path: save_file(_untied(net), path)])
def test_weights_come_from_the_file(save, tmp_path):
    path = tmp_path / "net.safetensors"
    save(make_net(seed=5), path)
    module = Backbone.from_factory(NET, {"seed": 0}, weights=path).module
    assert module_digest(module) == module_digest(make_net(seed=5))
    assert module.third.weight is module.second.weight
    assert not module.first.bias.requires_grad


def _untied(net):
    return {name: values.clone() for name, values in net.state_dict().items()}


def test_precision_is_that_of_the_module(weights):
    backbone = Backbone.from_factory(f"{HOME}:make_half", weights=weights)
    home = importlib.import_module(HOME)
    try:
        home.make_half = lambda: make_net().bfloat16()
        module = backbone.module
    finally:
        del home.make_half
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    assert torch.equal(module.second.weight, make_net(seed=5).bfloat16().second.weight)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of Linux")
def test_weights_are_mapped(weights):
    module = Backbone.from_factory(NET, weights=weights).module
    with open("/proc/self/maps", encoding="ascii") as maps:
        spans = [line.split()[0].split("-") for line in maps if weights.name in line]
    bounds = [tuple(int(end, 16) for end in span) for span in spans]
    address = module.second.weight.data_ptr()
    assert any(low <= address < high for low, high in bounds)


def test_digest_of_file_and_recipe(weights, tmp_path):
    digest = Backbone.from_factory(NET, weights=weights).digest
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(weights.read_bytes())
    assert Backbone.from_factory(NET, {}, weights=str(moved)).digest == digest
    assert Backbone.from_factory(NET, {"p": 0.2}, weights=weights).digest != digest
    assert Backbone.from_factory(f"{HOME}:Net", weights=weights).digest != digest
    other_weights(weights)
    assert Backbone.from_factory(NET, weights=weights).digest != digest


def test_device_is_where_it_is_built(weights, monkeypatch):
    assert Backbone.from_factory(NET).device == "cpu"
    backbone = Backbone.from_factory(NET, weights=weights)
    assert pickle.loads(pickle.dumps(backbone)).device == backbone.device == "cpu"


def test_digest_needs_no_memory_for_weights(weights, monkeypatch):
    home, devices = importlib.import_module(HOME), []

    def make():
        net = make_net()
        devices.append(net.second.weight.device.type)
        return net

    monkeypatch.setattr(home, "make_seen", make, raising=False)
    backbone = Backbone.from_factory(f"{HOME}:make_seen", weights=weights)
    assert len(backbone.digest) == 64
    assert devices == ["meta"]
    assert len(pickle.dumps(backbone)) < 900
    assert devices == ["meta"]


def test_factory_that_computes_with_values(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"3.weight": torch.ones(2, 3), "3.bias": torch.zeros(2)}, path)
    backbone = Backbone.from_factory(f"{HOME}:make_with_values", weights=path)
    assert backbone.module[1].p == pytest.approx(0.15)
    assert pickle.loads(pickle.dumps(backbone)).digest == backbone.digest


CODE = """
import torch
class Toy(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1
def helper():
    return 2
def make():
    return Toy(3, helper())
"""


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        ("+ 1", "+ 2", False),
        ("Toy(3, helper())", "Toy(3, 2)", False),
        ("return 2", "return 1 + int(helper.__name__ == 'helper')", False),
        ("def make():", "def make():\n    'Make it.'", True),
    ],
)
def test_code_of_the_factory_counts(old, new, stays, tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    digests = []
    for i, code in enumerate([CODE, CODE.replace(old, new)]):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "toys_of_a_test.py").write_text(code)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            digests.append(Backbone.from_factory("toys_of_a_test:make", weights=path).digest)
        del sys.modules["toys_of_a_test"]
    assert (digests[0] == digests[1]) == stays


def test_changed_file_is_another_backbone_here_and_refused_elsewhere(weights):
    backbone = Backbone.from_factory(NET, weights=weights)
    before, text = backbone.digest, pickle.dumps(backbone)
    assert pickle.loads(text).module is backbone.module
    other_weights(weights)
    assert backbone.digest != before
    assert module_digest(backbone.module) == module_digest(make_net(seed=6))
    with pytest.raises(ValueError, match=r"has changed since the Backbone was pickled"):
        _ = pickle.loads(text).module
    # Touched, or copied back, it is the same file.
    other_weights(weights, seed=5)
    assert pickle.loads(text).digest == before


@pytest.mark.parametrize(
    ("change", "words_of_it"),
    [
        (lambda tensors: tensors.pop("kept"), "lacks kept, and holds nothing"),
        (lambda tensors: tensors.update(more=torch.ones(1)), "lacks nothing, and holds more"),
        (lambda tensors: tensors.update(kept=torch.ones(7)), "size mismatch for kept"),
        (lambda tensors: tensors.clear(), r"lacks first.bias, first.weight, kept and 6 more"),
    ],
)
def test_file_that_does_not_fit(change, words_of_it, tmp_path):
    tensors = _untied(make_net())
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    backbone = Backbone.from_factory(NET, weights=tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=rf"(?s)does not fit the Net.*{words_of_it}"):
        _ = backbone.module


def test_file_that_is_none(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=r"`weights` is '.*w.safetensors', where there is"):
        Backbone.from_factory(NET, weights=path)
    path.write_bytes(b"not what it says")
    with pytest.raises(ValueError, match=r"is no safetensors file"):
        _ = Backbone.from_factory(NET, weights=path).module
    with pytest.raises(ValueError, match=r"must be a .safetensors file.*Other formats are pickles"):
        Backbone.from_factory(NET, weights=tmp_path / "w.pt")
    with pytest.raises(TypeError, match=r"`weights` must be the path of a file; got 3"):
        Backbone.from_factory(NET, weights=3)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [make_net, None, nn.Linear])
def test_factory_must_be_a_name(factory):
    with pytest.raises(TypeError, match=r"`factory` must be the name of a function"):
        Backbone.from_factory(factory)


@pytest.mark.parametrize("factory", ["make", "a.b", "a:b:c", "a b:c", "__main__:make", ":x", ""])
def test_factory_must_be_importable(factory):
    with pytest.raises(ValueError, match=r"`factory` must name an importable function"):
        Backbone.from_factory(factory)


@pytest.mark.parametrize("kwargs", [[1], {"a": nn.ReLU()}, {"a": {1: 2}}, {"a": np.float32(1)}])
def test_arguments_must_be_plain(kwargs):
    with pytest.raises(TypeError, match=r"`kwargs` must be"):
        Backbone.from_factory(NET, kwargs)


def test_arguments_must_be_finite():
    with pytest.raises(ValueError, match=r"`kwargs` must be plain data"):
        Backbone.from_factory(NET, {"p": float("nan")})


def test_arguments_are_those_at_the_start():
    kwargs = {"seed": 2}
    backbone = Backbone.from_factory(NET, kwargs)
    kwargs["seed"] = 3
    assert backbone.digest == module_digest(make_net(seed=2))


def test_tokenizer_beside_a_recipe():
    backbone = Backbone.from_factory(NET, tokenizer=words)
    assert pickle.loads(pickle.dumps(backbone)).tokenizer(["a bc"]) == [[1, 2]]


# --- documents ------------------------------------------------------------------------------------


def document_of(backbone):
    return json.loads(json.dumps(backbone.to_dict()))


def test_document_comes_back(weights):
    tokenizer = f"{HOME}:make_words"
    backbone = Backbone.from_factory(NET, {"p": 0.2}, weights=weights, tokenizer=tokenizer)
    restored = Backbone.from_dict(document_of(backbone), trust=True)
    assert restored.digest == backbone.digest
    assert restored.tokenizer is words
    assert restored.to_dict() == backbone.to_dict()


def test_document_of_a_recipe_builds_nothing():
    document = document_of(Backbone.from_factory("not_there:make", {"a": [1, None]}))
    assert Backbone.from_dict(document, trust=True).to_dict() == document


def test_document_is_not_trusted_by_itself(weights):
    document = document_of(Backbone.from_factory(NET, weights=weights))
    with pytest.raises(ValueError, match=rf"names the function '{NET}'.*trust=True"):
        Backbone.from_dict(document)


def test_document_stands_for_one_file(weights):
    document = document_of(Backbone.from_factory(NET, weights=weights))
    other_weights(weights)
    with pytest.raises(ValueError, match=r"is not what the document was written for"):
        Backbone.from_dict(document, trust=True)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"`weights` is"):
        Backbone.from_dict(document, trust=True)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"format": "other"}, ValueError, "no document of a Backbone"),
        ({"kind": "live"}, ValueError, "its 'kind' 'live' is not among"),
        ({"schema_version": 2}, ValueError, "written with schema 2 by sk-arcal .*reads schema 1"),
        ({"extra": 1}, ValueError, r"has \['extra'\] too much"),
        ({"kwargs": None}, TypeError, "'kwargs' must be a dictionary"),
        ({"factory": 3}, TypeError, "`factory` must be the name"),
        ({"weights": "w.pt"}, ValueError, "must be a .safetensors file"),
        ({"tokenizer": [1]}, TypeError, "'tokenizer' must be a name"),
    ],
)
def test_documents_that_are_refused(change, error, sentence, weights):
    document = document_of(Backbone.from_factory(NET, weights=weights))
    with pytest.raises(error, match=sentence):
        Backbone.from_dict({**document, **change}, trust=True)


def test_document_must_be_whole_and_a_dictionary():
    document = document_of(Backbone.from_factory(NET))
    del document["sha256"]
    with pytest.raises(ValueError, match=r"lacks \['sha256'\]"):
        Backbone.from_dict(document, trust=True)
    with pytest.raises(TypeError, match=r"A document is a dictionary"):
        Backbone.from_dict([document], trust=True)


def test_objects_have_no_document():
    live = Backbone(make_net())
    for backbone in (live, pickle.loads(pickle.dumps(live))):
        with pytest.raises(TypeError, match=r"has no document. Use Backbone.from_factory"):
            backbone.to_dict()
    with pytest.raises(TypeError, match=r"A tokenizer in memory has no document"):
        Backbone.from_factory(NET, tokenizer=words).to_dict()
