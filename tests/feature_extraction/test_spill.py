import copy
import os
import pickle
import stat
import sys
import threading

import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._sources._digest import module_digest
from sk_arcal.feature_extraction._sources._spill import is_complete, read, spill
from tests.feature_extraction.backbones import Net, make_net

X = torch.arange(6.0).reshape(2, 3)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "backbones"


def round_trip(module, folder):
    digest = module_digest(module)
    return read(folder / digest, spill(module, digest, folder))


# --- what comes back ------------------------------------------------------------------------------


def test_module_comes_back(folder):
    net = make_net().eval()
    copied = round_trip(net, folder)
    assert type(copied) is Net
    assert module_digest(copied) == module_digest(net)
    assert torch.equal(copied(X), net(X))
    assert copied.third.weight is copied.second.weight
    assert isinstance(copied.first.weight, nn.Parameter)
    assert [p.requires_grad for p in copied.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    assert torch.equal(copied.fleeting, net.fleeting)
    assert copied.state_dict().keys() == net.state_dict().keys()


def _shares_memory_with_another_parameter():
    net = make_net()
    net.third.weight = nn.Parameter(net.second.weight.detach())
    return net


def _part_of_a_larger_tensor():
    net = make_net()
    net.kept = torch.arange(100.0)[10:13]
    net.fleeting = torch.arange(12).reshape(3, 4).t()
    return net


def _plain_tensors():
    net = make_net()
    net.table, net.more = torch.arange(4), [torch.ones(2), {"a": torch.zeros(0)}]
    return net


def _without_tensors():
    return nn.Dropout(0.3)


@pytest.mark.parametrize(
    "make",
    [
        *(_shares_memory_with_another_parameter, _part_of_a_larger_tensor, _plain_tensors),
        *(_without_tensors, lambda: nn.LSTM(3, 2), lambda: make_net().to(torch.bfloat16)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2)).float() and make_net(eps=1),
    ],
)
def test_odd_modules_come_back(make, folder):
    module = make()
    assert module_digest(round_trip(module, folder)) == module_digest(module)


def test_what_a_pass_left_behind_does_not_keep_it_from_travelling(folder):
    net = make_net().eval()
    net.loss = net(X).sum()
    assert torch.equal(round_trip(net, folder)(X), make_net().eval()(X))


def test_hooks_of_users_stay_at_home(folder):
    net, calls = make_net().eval(), []
    lock = threading.Lock()  # cannot be pickled at all
    hook = lambda *call: calls.append(lock)  # noqa: E731
    net.first.register_forward_hook(hook)
    net.register_forward_pre_hook(hook, with_kwargs=True)
    net.register_full_backward_hook(hook)
    net.register_load_state_dict_pre_hook(hook)
    copied = round_trip(net, folder)
    assert torch.equal(copied(X), make_net().eval()(X))
    assert calls == []
    net(X)
    assert len(calls) == 2


def test_hooks_by_which_torch_computes_weights_travel(folder):
    layer = nn.utils.spectral_norm(nn.Linear(3, 3)).eval()
    copied = round_trip(layer, folder)
    with torch.no_grad():
        for module in (layer, copied):
            module.weight_orig.fill_(0.5)
            module.weight_orig[0, 0] = 3
    assert torch.equal(copied(X), layer(X))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of Linux")
def test_weights_are_mapped(folder):
    net = make_net()
    digest = module_digest(net)
    sha256 = spill(net, digest, folder)
    copied = read(folder / digest, sha256)
    address = copied.second.weight.data_ptr()
    with open("/proc/self/maps", encoding="ascii") as maps:
        spans = [line.split() for line in maps if "weights.safetensors" in line]
    bounds = [tuple(int(end, 16) for end in span[0].split("-")) for span in spans]
    assert any(low <= address < high for low, high in bounds)
    # Writing to them changes this process alone.
    with torch.no_grad():
        copied.second.weight.zero_()
    assert module_digest(read(folder / digest, sha256)) == digest


# --- what cannot travel ---------------------------------------------------------------------------


def test_attribute_that_cannot_be_pickled_is_named(folder):
    net = make_net()
    net.first.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"`first.lock` of the Net cannot be sent.*from_factory"):
        spill(net, module_digest(net), folder)
    assert list(folder.iterdir()) == []


def test_module_that_refuses_to_be_pickled_is_named(folder):
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(TypeError, match=r"The ParametrizedLinear cannot be sent.*from_factory"):
        spill(layer, module_digest(layer), folder)


def test_precision_that_the_file_cannot_hold(folder):
    net = nn.Module()
    net.register_buffer("wide", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(TypeError, match=r"complex128, which safetensors cannot write"):
        spill(net, module_digest(net), folder)


def test_module_that_accelerate_dispatches_is_refused(folder):
    net = make_net()
    net.first._hf_hook = object()
    with pytest.raises(TypeError, match=r"`first` is moved about by accelerate.*from_pretrained"):
        spill(net, module_digest(net), folder)


# --- the folder -----------------------------------------------------------------------------------


def test_folder_is_written_once_and_for_its_owner(folder):
    net = make_net()
    digest = module_digest(net)
    previous = os.umask(0)
    try:
        first = spill(net, digest, folder)
    finally:
        os.umask(previous)
    target = folder / digest
    assert is_complete(target)
    written = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert sorted(path.name for path in written) == [
        "meta.json",
        "skeleton",
        "weights.safetensors",
    ]
    for path in (folder, target):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert spill(net, digest, folder) == first
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == written
    assert [path.name for path in folder.iterdir()] == [digest]


@pytest.mark.parametrize("name", ["skeleton", "weights.safetensors", "meta.json"])
@pytest.mark.parametrize("damage", ["shortened", "deleted"])
def test_damaged_folder_is_written_anew(name, damage, folder):
    net = make_net()
    digest = module_digest(net)
    spill(net, digest, folder)
    file = folder / digest / name
    file.unlink() if damage == "deleted" else file.write_bytes(file.read_bytes()[:-1])
    sha256 = spill(net, digest, folder)
    assert module_digest(read(folder / digest, sha256)) == digest


def test_skeleton_that_was_exchanged_is_not_loaded(folder):
    net = make_net()
    digest = module_digest(net)
    sha256 = spill(net, digest, folder)
    payload = pickle.dumps(Trap())
    (folder / digest / "skeleton").write_bytes(payload)
    with pytest.raises(ValueError, match=r"SHA-256 differs from the one in the handle"):
        read(folder / digest, sha256)
    assert not Trap.sprung


class Trap:
    sprung = False

    def __reduce__(self):
        return spring, ()


def spring():
    Trap.sprung = True


def test_trap_works():
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung
    Trap.sprung = False


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize("part", ["", "skeleton", "weights.safetensors"])
@pytest.mark.parametrize("right", [0o020, 0o002])
def test_what_others_can_write_to_is_not_loaded(part, right, folder):
    net = make_net()
    digest = module_digest(net)
    sha256 = spill(net, digest, folder)
    path = folder / digest / part
    path.chmod(path.stat().st_mode | right)
    with pytest.raises(PermissionError, match=r"can be written by others.*chmod go-w"):
        read(folder / digest, sha256)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_what_belongs_to_others_is_neither_loaded_nor_used(folder, monkeypatch):
    net = make_net()
    digest = module_digest(net)
    sha256 = spill(net, digest, folder)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(PermissionError, match=r"belongs to another user.*SK_ARCAL_CACHE"):
        read(folder / digest, sha256)
    with pytest.raises(PermissionError, match=r"belongs to another user"):
        spill(net, digest, folder)


def test_missing_file_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"skeleton is missing"):
        read(folder / "0", "0")


def test_threads_that_spill_at_once(folder):
    net = make_net()
    digest, found = module_digest(net), []
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        found.append(spill(copy.deepcopy(net), digest, folder))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in folder.iterdir()] == [digest]
    assert module_digest(read(folder / digest, found[0])) == digest


def test_skeleton_of_a_class_in_main_is_that_of_the_first_process(folder, tmp_path):
    # cloudpickle writes a new random name for such a class every time.
    def own():
        scope = {"__name__": "__main__", "nn": nn}
        exec("class Own(nn.Linear):\n    pass", scope)
        layer = scope["Own"](2, 2)
        nn.init.ones_(layer.weight), nn.init.ones_(layer.bias)
        return layer

    digest = module_digest(own())
    assert module_digest(own()) == digest
    assert spill(own(), digest, folder) == spill(own(), digest, folder)
    assert spill(own(), digest, folder) != spill(own(), digest, tmp_path / "elsewhere")
