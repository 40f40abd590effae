import json
import os
import pickle
import shutil

import pytest
import torch

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._sources import _loaded
from sk_arcal.feature_extraction._sources._digest import module_digest
from tests.feature_extraction.backbones import run_python

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the extra hf is not installed")

COMMIT, LATER = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"
NAME = "someone/tiny"


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(_loaded, "LOADED", _loaded.LoadedModules())


def tiny_model(seed=0):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "eos_token_id": 2, "pad_token_id": 0}
    config = transformers.OlmoeConfig(vocab_size=50, **sizes, **heads, **experts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def tiny_tokenizer(extra=()):
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "a", "b", *extra])}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]"
    )


def write(folder, seed=0):
    tiny_model(seed).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model")


@pytest.fixture
def hub(original, tmp_path):
    """A cache of the hub that knows one model at one commit."""
    home = tmp_path / "hub"
    known = home / f"models--{NAME.replace('/', '--')}"
    shutil.copytree(original, known / "snapshots" / COMMIT)
    (known / "refs").mkdir()
    (known / "refs" / "main").write_text(COMMIT)
    return home


def from_hub(home, **kwargs):
    options = {"cache_dir": str(home), "local_files_only": True, **kwargs}
    return Backbone.from_pretrained(NAME, **options)


TOKENS = torch.tensor([[2, 3, 2]])


# --- a folder -------------------------------------------------------------------------------------


def test_folder_is_loaded(folder):
    backbone = Backbone.from_pretrained(str(folder))
    assert torch.equal(backbone.module(TOKENS).logits, tiny_model()(TOKENS).logits)
    assert not backbone.module.training
    assert backbone.module is backbone.load("cpu")
    assert backbone.tokenizer(["a b a"])["input_ids"] == [[2, 3, 2]]
    assert backbone.tokenizer is backbone.tokenizer
    assert repr(backbone) == f"Backbone.from_pretrained('{folder}')"


def test_folder_by_relative_path(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    backbone = Backbone.from_pretrained("model")
    text = pickle.dumps(backbone)
    monkeypatch.chdir("/")
    assert backbone.digest == pickle.loads(text).digest
    assert pickle.loads(text).tokenizer(["b"])["input_ids"] == [[3]]


def test_digest_is_that_of_files(folder, tmp_path):
    def digest(where=folder, **kwargs):
        return Backbone.from_pretrained(str(where), **kwargs).digest

    first = digest()
    assert digest(shutil.copytree(folder, tmp_path / "moved")) == first
    assert digest(device_map="cpu") == digest(tokenizer=None) == first
    assert digest(dtype="bfloat16") == digest(dtype=torch.bfloat16) != first
    assert digest(model_class="AutoModel") != first
    (folder / "README.md").write_text("Something.")
    assert digest() == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert digest() != first


def test_arguments_reach_the_model(folder):
    backbone = Backbone.from_pretrained(
        str(folder), model_class="AutoModel", tokenizer=False, dtype=torch.bfloat16
    )
    assert type(backbone.module).__name__ == "OlmoeModel"
    assert {p.dtype for p in backbone.module.parameters()} == {torch.bfloat16}
    assert backbone.tokenizer is None


def test_device_is_where_it_is_loaded(folder):
    def device(**kwargs):
        return Backbone.from_pretrained(str(folder), **kwargs).device

    assert device() == device(device_map="cpu") == device(device_map={"": "cpu"}) == "cpu"
    # Read from the argument, so that a process without a GPU can tell too.
    assert device(device_map="cuda:1") == "cuda:1"


def test_pickle_holds_the_name(folder, own_cache):
    backbone = Backbone.from_pretrained(str(folder))
    text = pickle.dumps(backbone)
    assert len(text) < 900
    assert not own_cache.exists()
    received = pickle.loads(text)
    assert received.digest == backbone.digest
    assert received.module is backbone.module
    assert pickle.dumps(received) == text


def test_folder_that_changed_is_refused_elsewhere(folder):
    backbone = Backbone.from_pretrained(str(folder))
    before, text = backbone.digest, pickle.dumps(backbone)
    weights = folder / "model.safetensors"
    old = weights.read_bytes()
    tiny_model(seed=1).save_pretrained(folder)
    os.utime(weights, ns=(1, weights.stat().st_mtime_ns + 10**9))
    assert backbone.digest != before
    with pytest.raises(ValueError, match=r"has changed since the Backbone was pickled"):
        _ = pickle.loads(text).module
    weights.write_bytes(old)
    assert pickle.loads(text).digest == before


def test_folder_without_safetensors_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"\(folder\) cannot be loaded.*have to be safetensors"):
        _ = Backbone.from_pretrained(str(folder)).module


def test_class_that_is_not_there(folder):
    for name in ("AutoModelForNothing", "logging"):
        with pytest.raises(ValueError, match=rf"`model_class` is '{name}'.*does not have"):
            _ = Backbone.from_pretrained(str(folder), model_class=name).module


# --- a name on the hub ----------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_name_stands_for_its_commit(revision, hub):
    backbone = from_hub(hub, revision=revision)
    assert backbone.digest == from_hub(hub, revision=COMMIT).digest
    assert backbone.tokenizer(["a"])["input_ids"] == [[2]]
    assert torch.equal(backbone.module(TOKENS).logits, tiny_model()(TOKENS).logits)
    assert backbone.to_dict()["revision"] == COMMIT


def test_branch_stays_where_it_was(hub, tmp_path):
    backbone = from_hub(hub)
    before, text = backbone.digest, pickle.dumps(backbone)
    known = next(hub.iterdir())
    write(known / "snapshots" / LATER, seed=1)
    (known / "refs" / "main").write_text(LATER)
    for held in (backbone, pickle.loads(text)):
        assert held.digest == before
        assert torch.equal(held.module(TOKENS).logits, tiny_model()(TOKENS).logits)
    assert from_hub(hub).digest != before
    backbone.refresh()
    assert backbone.digest == from_hub(hub).digest


def test_place_of_the_cache_does_not_count(hub, tmp_path):
    moved = shutil.copytree(hub, tmp_path / "moved")
    assert from_hub(moved).digest == from_hub(hub).digest


def test_name_that_is_out_of_reach(hub):
    backbone = from_hub(hub, revision="next")
    sentence = r"'someone/tiny' \(revision 'next'\) cannot be loaded.*a local folder"
    with pytest.raises(OSError, match=sentence) as caught:
        _ = backbone.digest
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match=sentence):
        _ = backbone.module
    with pytest.raises(OSError, match=sentence):
        _ = backbone.tokenizer


def test_name_is_not_looked_up_before_it_is_needed():
    backbone = Backbone.from_pretrained("someone/nothing", local_files_only=True)
    assert repr(backbone) == "Backbone.from_pretrained('someone/nothing')"


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"name": 3}, TypeError, "`name` must be text"),
        ({"name": "a", "model_class": torch.nn.Linear}, TypeError, "`model_class` must be text"),
        ({"name": "a", "revision": 3}, TypeError, "`revision` must be text"),
        ({"name": "a", "token": "hf_x"}, ValueError, "`token` would be written.*HF_TOKEN"),
        ({"name": "a", "config": object()}, TypeError, "`kwargs` must be plain data"),
    ],
)
def test_arguments_that_are_refused(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Backbone.from_pretrained(**arguments)


# --- documents ------------------------------------------------------------------------------------


def test_document_of_a_folder(folder):
    backbone = Backbone.from_pretrained(str(folder), dtype="bfloat16")
    document = json.loads(json.dumps(backbone.to_dict()))
    restored = Backbone.from_dict(document)
    assert restored.digest == backbone.digest
    assert restored.tokenizer(["a"])["input_ids"] == [[2]]
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is not what the document was written for"):
        Backbone.from_dict(document)


def test_document_of_a_name(hub):
    backbone = from_hub(hub)
    restored = Backbone.from_dict(json.loads(json.dumps(backbone.to_dict())))
    assert restored.digest == backbone.digest


@pytest.mark.parametrize(
    "arguments", [{"trust_remote_code": True}, {"tokenizer": "some.module:make"}]
)
def test_document_that_runs_code_needs_trust(arguments, folder):
    document = Backbone.from_pretrained(str(folder), **arguments).to_dict()
    with pytest.raises(ValueError, match=r"would be run. Pass trust=True"):
        Backbone.from_dict(document)
    assert Backbone.from_dict(document, trust=True).to_dict() == document


# --- a model of transformers in memory ------------------------------------------------------------


def test_live_model(folder):
    model = tiny_model()
    backbone = Backbone(model, tokenizer=tiny_tokenizer())
    before = backbone.digest
    with torch.inference_mode():
        model(TOKENS, output_router_logits=True)
    backbone.refresh()
    assert backbone.digest == before == module_digest(tiny_model())
    assert module_digest(tiny_model(seed=1)) != before
    received = pickle.loads(pickle.dumps(backbone))
    assert module_digest(received.module) == before
    assert torch.equal(received.module(TOKENS).logits, model(TOKENS).logits)
    assert received.tokenizer(["a b"])["input_ids"] == [[2, 3]]
    settings = tiny_model()
    settings.config.num_experts_per_tok = 3
    assert module_digest(settings) != before


def test_live_model_in_another_process():
    # transformers marks a model that has its hooks, and registers classes when it builds one.
    model, used = tiny_model(), tiny_model()
    with torch.inference_mode():
        used(TOKENS, output_router_logits=True)
    fresh_text, used_text = (pickle.dumps(Backbone(part)).hex() for part in (model, used))
    code = """
import pickle, sys, torch
for text in sys.argv[1:]:
    model = pickle.loads(bytes.fromhex(text)).module
    with torch.inference_mode():
        output = model(torch.tensor([[2, 3]]), output_router_logits=True, output_hidden_states=True)
    print(len(output.router_logits), len(output.hidden_states))
from tests.feature_extraction.test_backbone_pretrained import module_digest, tiny_model
print(module_digest(tiny_model()))
"""
    printed = run_python(code, fresh_text, used_text, PYTHONHASHSEED="3").splitlines()
    assert printed[-3:] == ["2 3", "2 3", module_digest(model)]


def test_place_of_a_loaded_model_does_not_count(folder, tmp_path):
    load = transformers.AutoModelForCausalLM.from_pretrained
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert module_digest(load(folder)) == module_digest(load(moved))


def test_attention_counts():
    eager = tiny_model()
    eager.set_attn_implementation("eager")
    assert module_digest(eager) != module_digest(tiny_model())


def test_tokenizer_digest_is_that_of_content():
    from sk_arcal.feature_extraction._sources._tokenizer_digest import tokenizer_digest

    tokenizer = tiny_tokenizer()
    before = tokenizer_digest(tokenizer)
    # A call leaves its padding and truncation behind.
    tokenizer(["a b", "a"], padding=True, truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == before == tokenizer_digest(tiny_tokenizer())
    assert tokenizer_digest(pickle.loads(pickle.dumps(tokenizer))) == before
    assert tokenizer_digest(tiny_tokenizer(extra=["c"])) != before
    tokenizer.truncation_side = "left"
    assert tokenizer_digest(tokenizer) != before
