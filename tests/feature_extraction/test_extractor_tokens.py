"""Texts and token sequences: padding, order, option tokens."""

import numpy as np
import pandas as pd
import pytest
import torch

from sk_arcal import Backbone, RoutingFeatureExtractor
from sk_arcal.feature_extraction import read_routing

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

from tests.feature_extraction.tiny_models import config_of, tiny  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "A", "B", "C", *(f"w{i}" for i in range(40))]


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )


@pytest.fixture(scope="module")
def model():
    return tiny("olmoe", "OlmoeForCausalLM")


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS[5:], size=n)) for n in rng.integers(1, 12, size=23)]


@pytest.fixture
def extractor(model, tokenizer):
    return RoutingFeatureExtractor(
        Backbone(model, tokenizer=tokenizer),
        outputs="options",
        option_tokens=["A", "B", "C"],
        summaries=["entropy", "max_load", "weights"],
        batch_size=4,
    )


@pytest.mark.parametrize("side", ["left", "right", None])
@pytest.mark.parametrize("reduction", ["mean", "cls", "last"])
def test_columns_are_those_of_each_text_alone(extractor, model, tokenizer, texts, side, reduction):
    extractor.set_params(padding_side=side, token_reduction=reduction)
    columns = extractor.fit_transform(texts)
    for row, text in zip(columns, texts, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            logits = model(ids).logits[0, -1, [2, 3, 4]].numpy()
        np.testing.assert_allclose(row[:3], logits, atol=1e-5)
        sites = read_routing(model, ids)
        pooled = [
            {"mean": site.weights[0].mean(dim=0), "cls": site.weights[0, 0]}.get(
                reduction, site.weights[0, -1]
            )
            for _, site in sites
        ]
        by_site = np.stack([weights.numpy() for weights in pooled]).astype(float)
        entropies = -(by_site * np.log(by_site)).sum(axis=1)
        np.testing.assert_allclose(row[3 : 3 + len(sites)], entropies, atol=1e-5)
        np.testing.assert_allclose(row[-by_site.size :], by_site.ravel(), atol=1e-5)


def test_options_name_the_columns(extractor, texts):
    extractor.fit(texts)
    assert extractor.get_feature_names_out()[:3].tolist() == ["logit__A", "logit__B", "logit__C"]
    assert extractor.input_kind_ == "text"


def test_texts_and_their_tokens_are_the_same_rows(extractor, tokenizer, texts):
    expected = extractor.fit_transform(texts)
    sequences = [tokenizer(text)["input_ids"] for text in texts]
    by_number = RoutingFeatureExtractor(
        Backbone(extractor.backbone.module),
        outputs="options",
        option_tokens=[2, 3, 4],
        summaries=extractor.summaries,
        on_miss="raise",
    )
    np.testing.assert_array_equal(by_number.fit_transform(sequences), expected)
    assert by_number.input_kind_ == "tokens"
    width = max(map(len, sequences))
    padded = np.array([row + [0] * (width - len(row)) for row in sequences])
    by_number.set_params(pad_token_id=0)
    np.testing.assert_array_equal(by_number.fit_transform(padded), expected)


@pytest.mark.parametrize("wrap", [np.array, pd.Series, lambda texts: pd.DataFrame({"t": texts})])
def test_texts_may_come_in_any_container(extractor, texts, wrap):
    expected = extractor.fit_transform(texts)
    np.testing.assert_array_equal(extractor.fit_transform(wrap(texts)), expected)
    np.testing.assert_array_equal(extractor.transform(wrap(texts[:1])), expected[:1])


def test_a_single_row_of_tokens_is_still_tokens(extractor, tokenizer, texts):
    sequences = [tokenizer(text)["input_ids"] for text in texts]
    expected = extractor.fit_transform(sequences)
    np.testing.assert_array_equal(extractor.transform(sequences[3:4]), expected[3:4])
    with pytest.raises(ValueError, match="of kind 'array', but `fit` saw 'tokens'"):
        extractor.transform(np.ones(3))


def test_tokens_beyond_the_maximum_are_cut_off(extractor, texts):
    short = [" ".join(text.split()[:3]) for text in texts]
    expected = extractor.fit_transform(short)
    cut = extractor.set_params(max_length=3).fit_transform(texts)
    np.testing.assert_allclose(cut, expected, atol=1e-5)


def test_confidence_of_the_next_token(extractor, model, tokenizer, texts):
    extractor.set_params(outputs="confidence", option_tokens=None)
    extraction = extractor.extract(texts)
    ids = torch.tensor([tokenizer(texts[0])["input_ids"]])
    with torch.inference_mode():
        probability = model(ids).logits[0, -1].softmax(dim=-1)
    assert extraction.prediction[0] == probability.argmax()
    log_odds = torch.logit(probability.max()).item()
    np.testing.assert_allclose(extraction.scores[0, 0], log_odds, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["A", "B C"], ValueError, "'B C', which is 2 tokens"),
        (["A", ""], ValueError, "'', which is 0 tokens"),
        (["A", 2], ValueError, "must differ"),
        ([2, 999], ValueError, "token 999, but the model scores 64 tokens"),
        ([2, -1], ValueError, "`option_tokens` must be at least 0"),
        ([2, 3.0], TypeError, "`option_tokens` must be an integer"),
        ("AB", ValueError, "at least two `option_tokens`"),
    ],
)
def test_options_that_are_no_tokens_are_refused(extractor, texts, options, error, message):
    with pytest.raises(error, match=message):
        extractor.set_params(option_tokens=options).fit(texts)


def test_text_without_tokens_is_named(extractor):
    with pytest.raises(ValueError, match="row 1 of X has no tokens"):
        extractor.fit(["w1 w2", "  "])


def test_language_model_is_told_from_a_classifier(extractor, texts):
    with pytest.raises(ValueError, match="outputs='options' with `option_tokens`"):
        extractor.set_params(outputs="logits", option_tokens=None).fit(texts)


def test_classification_head(tokenizer, texts):
    from transformers import MixtralForSequenceClassification

    config = config_of("mixtral", "MixtralConfig", num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MixtralForSequenceClassification(config).eval()
    extractor = RoutingFeatureExtractor(Backbone(model, tokenizer=tokenizer), batch_size=5)
    columns = extractor.fit_transform(texts)
    ids = torch.tensor([tokenizer(texts[4])["input_ids"]])
    with torch.inference_mode():
        expected = model(ids).logits[0].numpy()
    np.testing.assert_allclose(columns[4, :3], expected, atol=1e-5)


def test_routers_stay_in_single_precision_under_autocast(extractor, texts):
    extractor.set_params(summaries="weights")
    full = extractor.fit_transform(texts)
    half = extractor.set_params(dtype="bfloat16").fit_transform(texts)
    assert np.isfinite(half).all()
    assert 1e-6 < np.abs(half - full)[:, 3:].max() < 0.05
