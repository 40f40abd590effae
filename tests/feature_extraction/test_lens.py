"""The lens on every family: the last layer is the model, inner ones are its hidden states."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction import Backbone, ExtractionWarning, LayerExtractor
from sk_arcal.feature_extraction._lens._lens import find_lens

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

from tests.feature_extraction.families import token_rows  # noqa: E402
from tests.feature_extraction.layer_families import LANGUAGES, language_model  # noqa: E402
from tests.feature_extraction.tiny_models import tiny  # noqa: E402

each_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda family: family.name)
ROWS = [row.numpy() for row in token_rows()]


def alone(model, row):
    """Return what a model says of one row without padding."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor(row)[None], output_hidden_states=True, use_cache=False)


def called(name):
    return next(language for language in LANGUAGES if language.name == name)


def by_numpy(readout, states):
    """Return norm, head and scaling of states, from the arrays alone."""
    centred = states - states.mean(-1, keepdims=True) * (readout["norm"] == "layer")
    mean_square = np.square(centred).mean(-1, keepdims=True)
    normed = centred / np.sqrt(mean_square + readout["eps"]) * readout["norm_weight"]
    if readout["norm_bias"] is not None:
        normed = normed + readout["norm_bias"]
    logits = normed @ readout["weight"].T
    logits = (logits + (0 if readout["bias"] is None else readout["bias"])) * readout["scale"]
    cap = readout["softcap"]
    return logits if cap is None else cap * np.tanh(logits / cap)


@each_language
@pytest.mark.parametrize("side", ["left", "right"])
def test_last_layer_is_the_model_whatever_the_padding(language, side):
    model = language_model(language)
    size = 64 if language.masks_padding else 1
    extractor = LayerExtractor(model, padding_side=side, batch_size=size, cache=False)
    readout = extractor.extract(ROWS)
    logits = np.stack([alone(model, row).logits[0, -1].numpy() for row in ROWS])
    assert readout.scores.shape[1:] == (len(readout.layers), logits.shape[1])
    np.testing.assert_allclose(readout.scores[:, -1], logits, atol=2e-5 * np.abs(logits).max())
    np.testing.assert_array_equal(readout.prediction, logits.argmax(axis=1))


@each_language
def test_states_are_those_of_the_model_and_the_readout_turns_them_into_the_lens(language):
    model = language_model(language)
    size = 64 if language.masks_padding else 1
    extractor = LayerExtractor(model, batch_size=size, cache=False)
    states = extractor.set_params(readout="hidden").extract(ROWS).hidden
    if language.one_stream:
        theirs = [
            torch.stack([h[0, -1] for h in alone(model, row).hidden_states[:-1]]) for row in ROWS
        ]
        ours = states[:, :-1] if language.first_is_embedding else states[:, 1:]
        np.testing.assert_allclose(ours, torch.stack(theirs).numpy(), atol=1e-5)
    scores = extractor.set_params(readout="lens").extract(ROWS).scores
    readout = extractor.linear_readout()
    np.testing.assert_allclose(by_numpy(readout, states), scores, atol=1e-4, rtol=1e-4)
    assert readout["norm"] == language.norm
    np.testing.assert_allclose(readout["scale"], language.scale, rtol=1e-5)
    assert (readout["softcap"] is None) == (language.softcap is None)
    np.testing.assert_allclose(readout["softcap"] or 0, language.softcap or 0, rtol=1e-5)
    assert (readout["bias"] is not None) == language.has_bias


def test_norm_is_applied_once():
    # Norming the last entry of `hidden_states` again gives other logits.
    model = language_model(called("llama"))
    output = alone(model, ROWS[0])
    with torch.inference_mode():
        twice = model.lm_head(model.model.norm(output.hidden_states[-1]))[0, -1].numpy()
    ours = LayerExtractor(model, cache=False).extract(ROWS[:1]).scores[0, -1]
    assert np.abs(twice - ours).max() > 0.1
    np.testing.assert_allclose(ours, output.logits[0, -1].numpy(), atol=1e-5)


def test_inner_layers_with_a_plain_stream_are_norm_and_head_of_the_state():
    model = language_model(called("llama"))
    scores = LayerExtractor(model, cache=False).extract(ROWS).scores
    with torch.inference_mode():
        states = alone(model, ROWS[1]).hidden_states
        expected = [model.lm_head(model.model.norm(h))[0, -1].numpy() for h in states[:-1]]
    np.testing.assert_allclose(scores[1, :-1], expected, atol=1e-5)


def test_inner_layers_with_attention_over_depth_are_those_of_a_model_that_ends_there():
    model = language_model(called("inkling2"))
    scores = LayerExtractor(model, cache=False).extract(ROWS).scores
    layers = model.model.layers
    for depth in (1, 2, 3):
        model.model.layers = layers[:depth]
        try:
            shorter = np.stack([alone(model, row).logits[0, -1].numpy() for row in ROWS])
        finally:
            model.model.layers = layers
        np.testing.assert_allclose(scores[:, depth], shorter, atol=1e-4)


def test_padded_vocabulary_is_cut():
    model = language_model(called("inkling2"))
    extractor = LayerExtractor(model, cache=False)
    assert extractor.extract(ROWS).scores.shape[2] == 60
    assert extractor.linear_readout()["weight"].shape == (60, 32)
    extractor.set_params(outputs="options", option_tokens=[3, 61])
    with pytest.raises(ValueError, match="token 61, but the model scores 60 tokens"):
        extractor.extract(ROWS)


def test_classifier_of_transformers():
    model = tiny("llama", "LlamaForSequenceClassification", num_labels=3)
    readout = LayerExtractor(model, cache=False).extract(ROWS)
    logits = np.stack([alone(model, row).logits[0].numpy() for row in ROWS])
    np.testing.assert_allclose(readout.scores[:, -1], logits, atol=1e-5)


def test_hidden_of_a_model_without_a_head():
    model = language_model(called("gpt2"))
    with_head = LayerExtractor(model, readout="hidden", cache=False)
    for token in ("last", "mean", "cls"):
        whole = with_head.set_params(token=token).extract(ROWS)
        body = LayerExtractor(model.transformer, readout="hidden", token=token, cache=False)
        without = body.extract(ROWS)
        np.testing.assert_allclose(without.hidden, whole.hidden, atol=1e-6)
        assert without.prediction is None
        state = alone(model, ROWS[2]).hidden_states[1][0]
        expected = {"last": state[-1], "mean": state.mean(dim=0), "cls": state[0]}[token]
        np.testing.assert_allclose(whole.hidden[2, 1], expected.numpy(), atol=1e-5)


def test_prediction_beside_states_is_that_of_the_model():
    model = language_model(called("phi"))
    expected = [int(alone(model, row).logits[0, -1].argmax()) for row in ROWS]
    for side in ("left", "right"):
        extractor = LayerExtractor(model, readout="hidden", padding_side=side, cache=False)
        assert extractor.extract(ROWS).prediction.tolist() == expected


def test_half_precision_is_close():
    model = language_model(called("llama"))
    full = LayerExtractor(model, cache=False).extract(ROWS).scores
    half = LayerExtractor(model, dtype="bfloat16", cache=False).extract(ROWS).scores
    assert 1e-5 < np.abs(half - full).max() < 0.05 * np.abs(full).max()
    stored = LayerExtractor(Backbone(Backbone(model).load(dtype="bfloat16")), cache=False)
    assert np.abs(stored.extract(ROWS).scores - full).max() < 0.05 * np.abs(full).max()


# --- what is refused ----------------------------------------------------------------------------


class Plain(nn.Module):
    """A language model without attention; `end` comes after its head, `between` before it."""

    def __init__(self, end=lambda logits: logits, between=lambda states: states):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 20, bias=False)
        self.end, self.between = end, between

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None):
        states = self.embed(input_ids)
        for block in self.blocks:
            states = block(states)
        return SimpleNamespace(logits=self.end(self.head(self.norm(self.between(states)))))


def lens_of(model):
    with torch.inference_mode():
        return find_lens(model, (), {"input_ids": torch.arange(8)[None]})[1]


def test_what_needs_no_name_is_found():
    lens = lens_of(Plain(end=lambda logits: 5 * torch.tanh(0.3 * logits / 5)))
    assert lens.scaling.factor == pytest.approx(0.3, rel=1e-5)
    assert lens.scaling.softcap == pytest.approx(5, rel=1e-5)
    assert lens_of(Plain(end=lambda logits: logits[..., :7])).scaling.n_scores == 7
    assert lens_of(Plain()).scaling.factor == 1.0


@pytest.mark.parametrize(
    "end",
    [lambda z: z**3, torch.relu, lambda z: z + 1, lambda z: z.log_softmax(dim=-1), torch.atan],
    ids=["cube", "relu", "shift", "log_softmax", "atan"],
)
def test_head_that_does_something_unknown_is_refused_with_the_ratio(end):
    with pytest.raises(ValueError, match=r"ratio of the network's .* is -?\d.*after its head"):
        lens_of(Plain(end=end))


def test_what_is_between_the_blocks_and_the_head_is_refused_if_unknown():
    with pytest.raises(ValueError, match="between the last block and the head is not known"):
        lens_of(Plain(between=torch.relu))


def test_blocks_that_are_no_chain_are_refused():
    model = Plain()
    broken = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
    model.blocks = broken
    model.forward = lambda input_ids: SimpleNamespace(
        logits=model.head(broken[0](model.embed(input_ids)) + broken[1](model.embed(input_ids)))
    )
    with pytest.raises(ValueError, match="no list of blocks"):
        lens_of(model)


def test_models_without_lens_say_so():
    body = language_model(called("llama")).model
    with pytest.raises(ValueError, match="no head after them"):
        LayerExtractor(body, cache=False).extract(ROWS)
    with pytest.raises(ValueError, match="takes no `input_ids`"):
        LayerExtractor(nn.Linear(3, 2), cache=False).extract(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="token='mean' has no lens"):
        LayerExtractor(language_model(called("llama")), token="mean", cache=False).extract(ROWS)


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_padding_that_the_model_does_not_leave_out_is_warned_of():
    leaking = language_model(called("recurrent_gemma"))
    with pytest.warns(ExtractionWarning, match="depends on the padding beside it"):
        LayerExtractor(leaking, cache=False).extract(ROWS)
    # None of these has any: rows of one length, rows alone, padding on the other side.
    LayerExtractor(leaking, cache=False).extract(ROWS[:1] * 2)
    LayerExtractor(leaking, batch_size=1, cache=False).extract(ROWS)
    LayerExtractor(leaking, padding_side="right", cache=False).extract(ROWS)


def test_hooks_are_gone_afterwards_however_it_ends():
    model = language_model(called("inkling2"))
    alone(model, ROWS[0])  # transformers leaves hooks of its own
    before = n_hooks(model)
    LayerExtractor(model, cache=False).extract(ROWS)
    with pytest.raises(ValueError, match="different numbers from 0"):
        LayerExtractor(model, readout="hidden", layers=[9], cache=False).extract(ROWS)
    with pytest.raises(IndexError):
        LayerExtractor(model, cache=False).extract([[1, 2, 99]])
    assert n_hooks(model) == before


def test_no_state_of_all_tokens_is_kept():
    from sk_arcal.feature_extraction._lens._states import States, keeping_blocks

    model = language_model(called("llama"))
    ids = torch.randint(3, 60, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        anatomy, _ = find_lens(model, (), {"input_ids": ids[:1, :5]})
        states = States(None, "last")
        with keeping_blocks(anatomy, range(4), states):
            model(input_ids=ids)
    storages = [state.untyped_storage().nbytes() for state in states.seen.values()]
    assert storages == [2 * 32 * 4] * 4
