"""Tiny language models of many families, for the layers of each."""

from dataclasses import dataclass, field
from functools import cache

import torch

from tests.feature_extraction.tiny_models import tiny

_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4}
_HYBRID = {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1}
_INKLING = {
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding", "hybrid"],
    "num_hidden_layers": 4,
    "n_layers_per_attn_res_block": 2,
    "unpadded_vocab_size": 60,
}


@dataclass(frozen=True, eq=False)
class Language:
    """A family: its folder in transformers, its model with a head, and what is known of it."""

    name: str
    model: str
    sizes: dict = field(default_factory=dict)
    norm: str = "rms"
    scale: float = 1.0
    softcap: float | None = None
    # Whether entry l of `hidden_states` is the state that block l is given.
    first_is_embedding: bool = True
    # Whether `hidden_states` are what the final norm would be given.
    one_stream: bool = True
    has_bias: bool = False
    # Whether the model itself leaves padding out.
    masks_padding: bool = True


LANGUAGES = (
    Language("bloom", "BloomForCausalLM", {"n_layer": 3, "n_head": 4}, "layer"),
    Language("cohere2", "Cohere2ForCausalLM", norm="layer", scale=0.0625),
    Language("deepseek_v3", "DeepseekV3ForCausalLM", {"num_key_value_heads": 4}),
    Language("deepseek_v4", "DeepseekV4ForCausalLM", one_stream=False),
    Language("falcon", "FalconForCausalLM", norm="layer"),
    Language("gemma2", "Gemma2ForCausalLM", softcap=30.0),
    Language("gemma3", "Gemma3ForCausalLM"),
    Language("gpt2", "GPT2LMHeadModel", _GPT, "layer"),
    Language("gpt_neox", "GPTNeoXForCausalLM", norm="layer"),
    Language("gptj", "GPTJForCausalLM", _GPT | {"rotary_dim": 4}, "layer", has_bias=True),
    Language("gpt_oss", "GptOssForCausalLM"),
    Language("granite", "GraniteForCausalLM", {"logits_scaling": 8.0}, scale=0.125),
    Language("inkling2", "Inkling2ForCausalLM", _INKLING, softcap=30.0, one_stream=False),
    Language("jamba", "JambaForCausalLM", _HYBRID),
    Language("lfm2", "Lfm2ForCausalLM", {"layer_types": ["conv", "full_attention", "conv"]}),
    Language("llama", "LlamaForCausalLM"),
    Language("mamba", "MambaForCausalLM", first_is_embedding=False),
    Language("minimax", "MiniMaxForCausalLM"),
    Language("mistral", "MistralForCausalLM"),
    Language("mixtral", "MixtralForCausalLM"),
    Language("olmo", "OlmoForCausalLM", norm="layer"),
    Language("olmoe", "OlmoeForCausalLM"),
    Language("opt", "OPTForCausalLM", {"ffn_dim": 32, "word_embed_proj_dim": 16}, "layer"),
    Language("phi", "PhiForCausalLM", norm="layer", has_bias=True),
    Language("phi3", "Phi3ForCausalLM"),
    Language("qwen2", "Qwen2ForCausalLM"),
    Language("qwen3", "Qwen3ForCausalLM"),
    Language("recurrent_gemma", "RecurrentGemmaForCausalLM", softcap=30.0, masks_padding=False),
    Language("stablelm", "StableLmForCausalLM", norm="layer"),
)


@cache
def language_model(language):
    """Return the tiny model of a family, its norms and biases not at their start; built once."""
    model = tiny(language.name, language.model, **language.sizes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1 and ("norm" in name or "ln_" in name or name.endswith("bias")):
                values.add_(torch.randn(values.shape, generator=generator), alpha=0.2)
    return model
