import copy
import gc
import os
import pickle
import shutil
import threading
import time
import warnings
import weakref

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._sources import _loaded
from sk_arcal.feature_extraction._sources._companions import companion
from sk_arcal.feature_extraction._sources._digest import module_digest
from sk_arcal.feature_extraction._sources._live import LiveSource
from tests.feature_extraction.backbones import Net, make_net, run_python, words

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """Keep every test away from what others loaded."""
    monkeypatch.setattr(_loaded, "LOADED", _loaded.LoadedModules())


@pytest.fixture
def spilled(own_cache):
    """Return where modules lie for other processes."""
    return own_cache / "backbones"


class Outputs(TransformerMixin, BaseEstimator):
    """What a network says, as columns."""

    def __init__(self, backbone=None, gain=1.0):
        self.backbone = backbone
        self.gain = gain

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        with self.backbone.exclusive() as module, torch.inference_mode():
            output = module.eval()(torch.as_tensor(X, dtype=torch.float32))
        return self.gain * output.numpy()


# --- a value --------------------------------------------------------------------------------------


def test_copies_are_the_handle_itself():
    backbone = Backbone(make_net())
    assert clone(backbone) is backbone
    assert copy.copy(backbone) is backbone
    assert copy.deepcopy([backbone])[0] is backbone
    pipeline = make_pipeline(Outputs(backbone), LogisticRegression())
    assert clone(pipeline)[0].backbone is backbone


def test_it_cannot_be_changed():
    backbone = Backbone(make_net())
    with pytest.raises(AttributeError, match=r"`module` was assigned. Make a new one"):
        backbone.module = make_net()
    with pytest.raises(AttributeError, match=r"`other` was assigned"):
        backbone.other = 1
    with pytest.raises(AttributeError, match=r"`_source` was deleted"):
        del backbone._source


def test_it_equals_itself_only():
    net = make_net()
    backbone = Backbone(net)
    assert backbone == backbone
    assert backbone != Backbone(net)
    assert len({backbone, Backbone(net), backbone}) == 2


def test_short_text_reads_no_weights(monkeypatch):
    backbone = Backbone(make_net())
    received = pickle.loads(pickle.dumps(backbone))
    monkeypatch.setattr(torch.Tensor, "data_ptr", None)
    assert repr(backbone) == "Backbone(Net)"
    assert repr(received) == f"Backbone(digest='{received.digest[:12]}')"
    assert repr(Outputs(backbone)) == "Outputs(backbone=Backbone(Net))"
    assert "Backbone(Net)" in Outputs(backbone)._repr_html_()


@pytest.mark.parametrize("module", [None, "gpt2", nn.Linear, torch.ones(2)])
def test_only_modules_are_wrapped(module):
    with pytest.raises(TypeError, match=r"`module` must be a torch.nn.Module; got .*from_factory"):
        Backbone(module)


def test_folder_must_be_a_path():
    with pytest.raises(TypeError, match=r"`folder` must be a path; got 3"):
        Backbone(make_net(), folder=3)


# --- where the module is --------------------------------------------------------------------------


def test_live_module_is_used_as_it_is():
    net = make_net().train()
    backbone = Backbone(net)
    assert backbone.module is net
    assert backbone.load() is net
    assert backbone.load("cpu") is net
    assert backbone.load(torch.device("cpu"), torch.float32) is net
    assert net.training


@pytest.mark.parametrize("dtype", ["float64", torch.float64])
def test_other_precision_is_a_copy_that_is_kept(dtype):
    net = make_net()
    net.keep_me = torch.ones(1)
    backbone = Backbone(net)
    before = backbone.digest
    moved = backbone.load(dtype=dtype)
    assert moved is not net
    assert backbone.load("cpu", dtype) is moved
    assert {p.dtype for p in moved.parameters()} == {torch.float64}
    assert moved.fleeting.dtype == torch.int64
    assert moved.third.weight is moved.second.weight
    assert not moved.training
    assert net.training
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert backbone.digest == before
    expected = make_net().double().eval()
    assert torch.equal(moved(torch.ones(1, 3).double()), expected(torch.ones(1, 3).double()))


def test_copy_follows_a_change():
    net = make_net()
    backbone = Backbone(net)
    moved = backbone.load(dtype="float64")
    with torch.no_grad():
        net.second.weight.zero_()
    assert backbone.load(dtype="float64") is not moved
    assert (backbone.load(dtype="float64").second.weight == 0).all()


def test_copy_can_be_forgotten():
    net = make_net()
    backbone, other = Backbone(net), Backbone(make_net(seed=1))
    held, copied = other.load(dtype="float64"), weakref.ref(backbone.load(dtype="float64"))
    backbone.unload()
    gc.collect()
    assert copied() is None
    assert backbone.module is net
    assert other.load(dtype="float64") is held


def test_layers_in_one_piece_are_copied():
    lstm = nn.LSTM(3, 2)
    moved = Backbone(lstm).load(dtype="float64")
    x = torch.ones(4, 1, 3).double()
    assert torch.equal(moved(x)[0], copy.deepcopy(lstm).double()(x)[0])
    assert all(a is b for a, b in zip(moved._flat_weights, moved.parameters(), strict=True))


def test_what_is_left_open_is_where_it_is():
    net = make_net()
    backbone = Backbone(net)
    assert backbone.load(dtype="float64") is backbone.load("cpu", "float64")
    mixed = make_net()
    mixed.first.double()
    assert Backbone(mixed).load("cpu") is mixed
    assert {p.dtype for p in Backbone(mixed).load(dtype="float64").parameters()} == {torch.float64}


def test_module_without_tensors_is_everywhere():
    backbone = Backbone(nn.ReLU())
    assert backbone.load("cpu", "float16") is backbone.module


def test_device_that_is_not_there():
    backbone = Backbone(make_net())
    with pytest.raises(ValueError, match=r"`device` is 'abacus', which torch"):
        backbone.load("abacus")
    with pytest.raises(ValueError, match=r"`dtype` must be a floating-point precision.*'int64'"):
        backbone.load(dtype="int64")
    with pytest.raises(ValueError, match=r"`dtype` must be a floating-point precision"):
        backbone.load(dtype="nn")


def test_module_that_cannot_be_copied():
    net = make_net()
    net.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"The module Net cannot be copied to another device.*lock"):
        Backbone(net).load(dtype="float64")


def test_few_modules_are_kept():
    loaded = _loaded.LoadedModules(n_kept=2)
    made = []

    def make(name):
        return loaded.get((name,), lambda: made.append(name) or nn.Identity())

    first = make("a")
    make("b")
    assert make("a") is first
    make("c")
    assert make("a") is first
    make("b")
    assert made == ["a", "b", "c", "b"]


def test_module_is_made_once_by_many_threads():
    loaded, made = _loaded.LoadedModules(), []
    barrier = threading.Barrier(8)

    def make():
        made.append(1)
        time.sleep(0.05)
        return nn.Identity()

    def work():
        barrier.wait()
        return loaded.get(("a",), make)

    found = Parallel(8, backend="threading")(delayed(work)() for _ in range(8))
    assert len(made) == 1
    assert len(set(map(id, found))) == 1


def test_failure_to_make_is_not_remembered():
    loaded = _loaded.LoadedModules()
    with pytest.raises(ZeroDivisionError):
        loaded.get(("a",), lambda: 1 / 0)
    assert isinstance(loaded.get(("a",), nn.Identity), nn.Identity)


def test_device_is_where_the_module_is():
    assert Backbone(make_net()).device == "cpu"
    assert Backbone(nn.ReLU()).device == "cpu"
    backbone = Backbone(nn.Linear(2, 2))
    assert pickle.loads(pickle.dumps(backbone)).device == "cpu"


def test_module_goes_to_the_device_it_came_from(monkeypatch):
    # "meta" stands in for a GPU; what comes from there is spilled with its values.
    monkeypatch.setattr(LiveSource, "device", lambda self: "meta")
    received = pickle.loads(pickle.dumps(Backbone(make_net())))
    assert pickle.loads(pickle.dumps(received)).device == received.device == "meta"
    assert {p.device.type for p in received.load().parameters()} == {"meta"}
    assert {p.device.type for p in received.load("cpu").parameters()} == {"cpu"}
    assert received.load("cpu") is received.module


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gets_a_copy():
    net = make_net()
    backbone = Backbone(net)
    moved = backbone.load("cuda")
    assert moved is backbone.load("cuda:0")
    assert {p.device.type for p in moved.parameters()} == {"cuda"}
    assert {p.device.type for p in net.parameters()} == {"cpu"}
    assert module_digest(moved) == backbone.digest
    received = pickle.loads(pickle.dumps(Backbone(moved)))
    assert received.digest == backbone.digest
    assert next(received.module.parameters()).device.type == "cpu"
    assert next(received.load().parameters()).device.type == "cuda"


# --- one at a time --------------------------------------------------------------------------------


def _n_captures(backbone, dtype=None):
    captured = []
    module = backbone.load(dtype=dtype)
    x = torch.ones(1, 3, dtype=dtype)
    with backbone.exclusive(module):
        hook = module.second.register_forward_hook(lambda *call: captured.append(1))
        module(x)
        hook.remove()
    return len(captured)


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_threads_do_not_record_each_other(dtype):
    net = make_net().eval()
    # Handles of the same module share its lock.
    handles = [Backbone(net), Backbone(net)]
    jobs = (delayed(_n_captures)(handles[i % 2], dtype) for i in range(200))
    assert Parallel(4, backend="threading")(jobs) == [1] * 200


def test_copy_is_made_while_nobody_has_hooks():
    net = make_net().eval()
    backbone = Backbone(net)
    entered, leave = threading.Event(), threading.Event()

    def extract():
        with backbone.exclusive() as module:
            hook = module.register_forward_hook(lambda *call: None)
            entered.set()
            leave.wait(10)
            hook.remove()

    thread = threading.Thread(target=extract)
    thread.start()
    entered.wait(10)
    threading.Timer(0.1, leave.set).start()
    moved = backbone.load(dtype="float64")
    thread.join()
    assert len(moved._forward_hooks) == 0


def test_lock_can_be_taken_again():
    backbone = Backbone(make_net())
    with backbone.exclusive() as outer, backbone.exclusive() as inner:
        assert outer is inner
        assert backbone.load(dtype="float64") is not inner


def test_lock_is_released_after_an_error():
    backbone = Backbone(make_net())
    with pytest.raises(ZeroDivisionError), backbone.exclusive():
        raise ZeroDivisionError
    assert Parallel(2, backend="threading")(delayed(_n_captures)(backbone) for _ in range(2))


# --- pickles --------------------------------------------------------------------------------------


def test_pickle_is_tiny(spilled):
    wide = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
    backbone = Backbone(wide)
    text = pickle.dumps(backbone)
    assert len(text) < 220 + len(str(spilled))
    received = pickle.loads(text)
    assert received.digest == backbone.digest
    assert module_digest(received.module) == backbone.digest
    assert received.module is pickle.loads(text).module
    assert received.module is not wide
    assert not received.module.training
    assert pickle.dumps(received) == text


def test_pickle_of_a_changed_module_is_another_one():
    net = make_net()
    backbone = Backbone(net)
    before = pickle.dumps(backbone)
    with torch.no_grad():
        net.second.weight.zero_()
    after = pickle.loads(pickle.dumps(backbone))
    assert (after.module.second.weight == 0).all()
    assert module_digest(pickle.loads(before).module) == module_digest(make_net())


def test_folder_that_was_deleted_is_written_again(spilled):
    backbone = Backbone(make_net())
    text = pickle.dumps(backbone)
    shutil.rmtree(spilled)
    with pytest.raises(FileNotFoundError, match=r"skeleton is missing.*Pickle the Backbone again"):
        _ = pickle.loads(text).module
    assert module_digest(pickle.loads(pickle.dumps(backbone)).module) == backbone.digest


def test_folder_may_lie_elsewhere_on_another_machine(spilled, tmp_path, monkeypatch):
    backbone = Backbone(make_net(), folder=tmp_path / "here")
    text = pickle.dumps(backbone)
    (tmp_path / "there").mkdir()
    (tmp_path / "here").rename(tmp_path / "there" / "backbones")
    monkeypatch.setenv("SK_ARCAL_CACHE", str(tmp_path / "there"))
    assert module_digest(pickle.loads(text).module) == backbone.digest


def test_relative_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone = Backbone(make_net(), folder="mine")
    text = pickle.dumps(backbone)
    monkeypatch.chdir("/")
    assert module_digest(pickle.loads(text).module) == backbone.digest
    assert (tmp_path / "mine" / backbone.digest).is_dir()


def test_compiled_module_travels_as_what_it_compiles():
    net = make_net().eval()
    compiled = Backbone(torch.compile(net, backend="eager"))
    assert compiled.digest == Backbone(net).digest
    assert type(pickle.loads(pickle.dumps(compiled)).module) is Net


def test_module_that_cannot_travel_can_be_used_and_cloned():
    net = make_net()
    net.lock = threading.Lock()
    backbone = Backbone(net)
    assert clone(Outputs(backbone)).transform(X).shape == (2, 4)
    with pytest.raises(TypeError, match=r"`lock` of the Net cannot be sent to another process"):
        pickle.dumps(backbone)


def test_joblib_hash_is_that_of_content(tmp_path):
    backbone = Backbone(make_net())
    assert joblib.hash(backbone) == joblib.hash(Backbone(make_net()))
    assert joblib.hash(backbone) != joblib.hash(Backbone(make_net(seed=1)))
    assert joblib.hash(clone(Outputs(backbone))) == joblib.hash(Outputs(backbone))
    assert joblib.hash(pickle.loads(pickle.dumps(backbone))) == joblib.hash(backbone)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search(n_jobs):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    y = rng.integers(0, 2, 60)
    pipeline = make_pipeline(Outputs(Backbone(make_net())), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0], "outputs__gain": [1.0, 2.0]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(rows, y)
    assert search.best_estimator_[0].backbone is pipeline[0].backbone
    expected = GridSearchCV(pipeline, grid, cv=2).fit(rows, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)


def test_grid_over_backbones():
    rng = np.random.default_rng(0)
    backbones = [Backbone(make_net(seed=seed)) for seed in (0, 1)]
    pipeline = make_pipeline(Outputs(backbones[0]), LogisticRegression())
    search = GridSearchCV(pipeline, {"outputs__backbone": backbones}, cv=2)
    search.fit(rng.normal(size=(40, 3)), rng.integers(0, 2, 40))
    assert list(search.cv_results_["param_outputs__backbone"]) == backbones


# --- tokenizers -----------------------------------------------------------------------------------


def test_tokenizer_travels(spilled):
    assert Backbone(make_net()).tokenizer is None
    backbone = Backbone(make_net(), tokenizer=words)
    assert backbone.tokenizer is words
    assert backbone.digest == Backbone(make_net()).digest
    text = pickle.dumps(backbone)
    assert len(text) < 400 + 2 * len(str(spilled))
    received = pickle.loads(text)
    assert received.tokenizer(["a bc"]) == [[1, 2]]
    assert received.tokenizer is received.tokenizer
    assert pickle.dumps(received) == text


def test_tokenizer_may_be_a_lambda():
    backbone = Backbone(make_net(), tokenizer=lambda texts: [[7] for _ in texts])
    assert pickle.loads(pickle.dumps(backbone)).tokenizer(["a"]) == [[7]]


def test_tokenizer_by_name_of_a_function():
    backbone = Backbone(make_net(), tokenizer="tests.feature_extraction.backbones:make_words")
    assert pickle.loads(pickle.dumps(backbone)).tokenizer is words


def test_tokenizer_must_be_callable():
    with pytest.raises(TypeError, match=r"`tokenizer` must be something to call with texts"):
        Backbone(make_net(), tokenizer=3)


# --- forks ----------------------------------------------------------------------------------------


def _in_a_fork(look):
    """Return what `look` returns in a forked child."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; that is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with os.fdopen(writer, "w") as answer:
            answer.write(str(look()))
            answer.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.parametrize("n_threads", [1, 2])
def test_forked_child_is_warned(n_threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    backbone = Backbone(make_net())

    def look():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _ = backbone.module
        return [str(item.message)[:24] for item in caught]

    assert _in_a_fork(look) == str(["This process was forked "] if n_threads > 1 else [])


@needs_fork
def test_forked_child_refuses_a_module_on_a_gpu(monkeypatch):
    backbone = Backbone(make_net())
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)

    def look():
        try:
            return backbone.module
        except RuntimeError as error:
            return error

    assert "CUDA does not survive a fork. Start processes with joblib's loky" in _in_a_fork(look)


@needs_fork
def test_forked_child_has_locks_of_its_own(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    backbone = Backbone(make_net())
    held, leave = threading.Event(), threading.Event()

    def hold():
        with backbone.exclusive():
            held.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    def look():
        return companion(backbone.module).lock.acquire(timeout=2)

    try:
        assert not companion(backbone.module).lock.acquire(blocking=False)
        assert _in_a_fork(look) == "True"
    finally:
        leave.set()
        thread.join()


# --- other processes ------------------------------------------------------------------------------

MAIN = """
import pickle, sys, time, torch
from joblib import Parallel, delayed
from torch import nn
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._sources._companions import companion
from sk_arcal.feature_extraction._sources._digest import module_digest
from sk_arcal.feature_extraction._sources._live import LiveSource

GAIN = 2.0

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.act = lambda x: x * GAIN

    def forward(self, x):
        return self.act(self.layer(x))

def look(backbone, i):
    time.sleep(0.05)
    with torch.inference_mode():
        output = backbone.module(torch.full((1, 3), float(i)))
    return backbone.digest, module_digest(backbone.module), output.sum().item()

if __name__ == "__main__":
    net = Own()
    backbone = Backbone(net)
    found = Parallel(2, backend="loky")(delayed(look)(backbone, i) for i in range(8))
    for i, (digest, content, output) in enumerate(found):
        assert digest == content == backbone.digest
        assert abs(output - net(torch.full((1, 3), float(i))).sum().item()) < 1e-6
    print(len(found), backbone.digest)
"""


def test_class_of_main_reaches_loky_workers(spilled):
    assert run_python(MAIN).startswith("8 ")
    assert len(list(spilled.iterdir())) == 1


def _pickled_by_a_worker(folder):
    return pickle.dumps(Backbone(make_net(width=200), folder=folder))


def test_processes_that_spill_at_once(tmp_path):
    jobs = (delayed(_pickled_by_a_worker)(tmp_path / "spilled") for _ in range(8))
    texts = Parallel(2, backend="loky")(jobs)
    assert len(set(texts)) == 1
    assert len(list((tmp_path / "spilled").iterdir())) == 1
    assert pickle.loads(texts[0]).module(torch.ones(1, 3)).shape == (1, 200)


def test_another_process():
    live = Backbone(make_net())
    recipe = Backbone.from_factory("tests.feature_extraction.backbones:make_net", {"seed": 2})
    code = """
import pickle, sys
from sk_arcal.feature_extraction._backbone import Backbone
live, recipe = (pickle.loads(bytes.fromhex(text)) for text in sys.argv[1:])
Backbone.from_pretrained("org/name")
print(live.digest, recipe.digest, live, recipe, live.device, recipe.device)
print([name for name in ("torch", "transformers", "safetensors") if name in sys.modules])

import joblib
from sk_arcal.feature_extraction._sources._companions import companion
from sk_arcal.feature_extraction._sources._digest import module_digest
from sk_arcal.feature_extraction._sources._live import LiveSource
from tests.feature_extraction.backbones import make_net
print(joblib.hash(live), Backbone(make_net()).digest, joblib.hash(Backbone(make_net())))
print(module_digest(live.module), module_digest(recipe.module))
"""
    texts = [pickle.dumps(backbone).hex() for backbone in (live, recipe)]
    received = pickle.loads(pickle.dumps(live))
    assert run_python(code, *texts, PYTHONHASHSEED="1").splitlines() == [
        f"{live.digest} {recipe.digest} {received} {recipe} cpu cpu",
        "[]",
        f"{joblib.hash(live)} {live.digest} {joblib.hash(live)}",
        f"{live.digest} {recipe.digest}",
    ]


def test_two_handles_unpickled_at_once_share_a_module():
    text = pickle.dumps(Backbone(make_net()))
    found = Parallel(4, backend="threading")(
        delayed(lambda: pickle.loads(text).module)() for _ in range(8)
    )
    assert len(set(map(id, found))) == 1
    assert type(found[0]) is Net
