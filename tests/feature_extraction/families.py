"""The routed architectures of transformers that can be read, as a table for the documentation.

python -m tests.feature_extraction.families writes ``docs/supported_families.inc``; the claims in
it are checked by ``test_families.py``.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from pathlib import Path

import torch

from sk_arcal.feature_extraction._readers._raw import read_routing
from tests.feature_extraction.tiny_models import tiny

PAGE = Path(__file__).parents[2] / "docs" / "supported_families.inc"
LENGTHS = (9, 6, 3)
USUAL_PARTS = ["logits", "selection", "factors"]

LATENT = {"num_key_value_heads": 4}
SPARSE = {"mlp_layer_types": ["dense", "sparse", "sparse"]}
SPARSE_LATENT = LATENT | SPARSE
CAPACITY = "A full expert drops tokens, so the selection depends on padding and neighbours; warns."


@dataclass(frozen=True, eq=False)
class Family:
    """One architecture: how to build a tiny one, and what is claimed about it.

    `name` is its folder in transformers; `own_rows` says whether the routing of a row is its own.
    """

    name: str
    model: str
    scoring: str
    sizes: dict = field(default_factory=dict)
    remark: str = ""
    own_rows: bool = True
    selects: bool = True
    has_logits: bool = True
    runs_under_autocast: bool = True

    @property
    def has_decoder(self):
        return self.name in {"nllb_moe", "switch_transformers"}


FAMILIES = (
    Family("afmoe", "AfmoeModel", "sigmoid"),
    Family("aria", "AriaTextModel", "softmax"),
    Family("axk1", "AXK1Model", "sigmoid", LATENT),
    Family("axk2", "AXK2Model", "sigmoid", LATENT),
    Family("bailing_hybrid", "BailingHybridModel", "sigmoid"),
    Family("beam", "BeamModel", "sigmoid", SPARSE),
    Family(
        "cohere2_moe",
        "Cohere2MoeModel",
        "softmax",
        remark="Sigmoid where its configuration says so.",
    ),
    Family(
        "dbrx",
        "DbrxModel",
        "softmax",
        {
            "d_model": 32,
            "n_heads": 4,
            "n_layers": 3,
            "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
            "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 8, "moe_top_k": 3},
        },
        remark="Its block selects; asked again with the same logits.",
        runs_under_autocast=False,
    ),
    Family("deepseek_ocr2", "DeepseekOcr2TextModel", "softmax", SPARSE_LATENT),
    Family("deepseek_v2", "DeepseekV2Model", "softmax", LATENT),
    Family("deepseek_v3", "DeepseekV3Model", "sigmoid", LATENT),
    Family("deepseek_v32", "DeepseekV32Model", "sigmoid", LATENT),
    Family(
        "deepseek_v4",
        "DeepseekV4Model",
        "sqrtsoftplus",
        {"mlp_layer_types": ["hash_moe", "moe", "moe"]},
        remark="First layers select by a hash of the token; their factors are learned and read.",
    ),
    Family(
        "diffusion_gemma",
        "DiffusionGemmaEncoderTextModel",
        "softmax",
        remark="Gives probabilities; factors carry a learned number per expert.",
        has_logits=False,
    ),
    Family(
        "doge",
        "DogeModel",
        "softmax",
        {"is_moe": True, "num_experts": 16},
        remark=(
            "Two sites, one per product key. Logits are cut across the tokens of a batch, so they "
            "depend on it: padding changes four selections in five; warns."
        ),
        own_rows=False,
    ),
    Family("dots1", "Dots1Model", "sigmoid"),
    Family(
        "dots3_note",
        "Dots3NoteTextModel",
        "sigmoid",
        LATENT | {"layer_types": ["indexed_attention"] * 3},
    ),
    Family("ernie4_5_moe", "Ernie4_5_MoeModel", "softmax", {"moe_num_experts": 8, "moe_k": 3}),
    Family(
        "ernie4_5_vl_moe",
        "Ernie4_5_VLMoeTextModel",
        "softmax",
        {
            "hidden_size": 64,
            "moe_intermediate_size": [16, 16],
            "moe_num_experts": 8,
            "moe_k": 3,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [3, 3, 2],
            },
        },
        remark="Text and vision routers as one site; what they select is not passed on.",
        selects=False,
    ),
    Family("exaone_moe", "ExaoneMoeModel", "sigmoid"),
    Family("flex_olmo", "FlexOlmoModel", "softmax"),
    Family("flint", "FlintModel", "sigmoid"),
    Family(
        "gemma4",
        "Gemma4TextModel",
        "softmax",
        {"enable_moe_block": True},
        remark="Gives probabilities; factors carry a learned number per expert.",
        has_logits=False,
    ),
    Family("glm4_moe", "Glm4MoeModel", "sigmoid"),
    Family("glm4_moe_lite", "Glm4MoeLiteModel", "sigmoid", LATENT),
    Family(
        "glm4v_moe",
        "Glm4vMoeTextModel",
        "sigmoid",
        {
            "hidden_size": 128,
            "num_attention_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 6, 6],
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    Family(
        "glm5_next",
        "Glm5NextTextModel",
        "sigmoid",
        SPARSE_LATENT | {"qk_rope_head_dim": 0, "head_dim": 0, "index_kpool": 2},
    ),
    Family("glm_moe_dsa", "GlmMoeDsaModel", "sigmoid", LATENT),
    Family("gpt_oss", "GptOssModel", "softmax"),
    Family("granitemoe", "GraniteMoeModel", "softmax"),
    Family("granitemoe_swa", "GraniteMoeSWAModel", "softmax"),
    Family(
        "granitemoehybrid",
        "GraniteMoeHybridModel",
        "softmax",
        {"layer_types": ["mamba", "attention", "mamba"]},
    ),
    Family("granitemoeshared", "GraniteMoeSharedModel", "softmax"),
    Family("hunyuan_v1_moe", "HunYuanMoEV1Model", "softmax", {"num_experts": 8, "moe_topk": 3}),
    Family("hy_v3", "HYV3Model", "sigmoid"),
    Family("hy_v4", "HYV4Model", "sigmoid"),
    Family(
        "inkling",
        "InklingTextModel",
        "sigmoid",
        remark="Factors are shared out between selected and shared experts.",
    ),
    Family(
        "inkling2",
        "Inkling2TextModel",
        "sigmoid",
        {"layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"]},
        remark="Depth sites too, their weights computed again; q, k and v before full attention.",
    ),
    Family(
        "jamba",
        "JambaModel",
        "softmax",
        {
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
        },
    ),
    Family(
        "jetmoe",
        "JetMoeModel",
        "softmax",
        {"kv_channels": 8},
        remark="Two routers a layer: experts of the attention, and of the MLP.",
    ),
    Family("kimi_linear", "KimiLinearModel", "sigmoid", LATENT),
    Family("kolibri1", "Kolibri1Model", "sigmoid"),
    Family("laguna", "LagunaModel", "sigmoid"),
    Family(
        "lfm2_moe", "Lfm2MoeModel", "sigmoid", {"layer_types": ["conv", "full_attention", "conv"]}
    ),
    Family(
        "llama4",
        "Llama4TextModel",
        "sigmoid",
        {"num_experts_per_tok": 2, "interleave_moe_layer_step": 1},
        remark="Factors scale what goes into an expert, not what comes out.",
    ),
    Family(
        "longcat_flash",
        "LongcatFlashModel",
        "softmax",
        LATENT,
        remark="The last routes are experts that compute nothing.",
    ),
    Family("mellum", "MellumModel", "softmax"),
    Family("mimo_v2_flash", "MiMoV2FlashModel", "sigmoid"),
    Family("minimax", "MiniMaxModel", "softmax"),
    Family("minimax_m2", "MiniMaxM2Model", "sigmoid"),
    Family("minimax_m3_vl", "MiniMaxM3VLTextModel", "sigmoid"),
    Family("mistral4", "Mistral4Model", "softmax", LATENT),
    Family("mistral_large4", "MistralLarge4TextModel", "softmax", LATENT),
    Family("mixtral", "MixtralModel", "softmax"),
    Family("muse_spark", "MuseSparkTextModel", "sigmoid"),
    Family("nemotron_h", "NemotronHModel", "sigmoid"),
    Family(
        "nllb_moe",
        "NllbMoeModel",
        "softmax",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "num_experts": 4,
            "encoder_sparse_step": 1,
            "decoder_sparse_step": 1,
            "decoder_start_token_id": 2,
            "expert_capacity": 64,
        },
        remark=(
            f"{CAPACITY} Read is what the router chose; transformers 5.23 runs experts 0 and 1 "
            "whatever it chose."
        ),
    ),
    Family("olmoe", "OlmoeModel", "softmax"),
    Family("openai_privacy_filter", "OpenAIPrivacyFilterModel", "softmax"),
    Family(
        "phimoe",
        "PhimoeModel",
        "sparsemixer",
        {"num_experts_per_tok": 2},
        remark="Each selected expert is weighed against its near rivals only; factors add to two.",
    ),
    Family("qwen2_moe", "Qwen2MoeModel", "softmax"),
    Family("qwen3_5_moe", "Qwen3_5MoeTextModel", "softmax"),
    Family("qwen3_moe", "Qwen3MoeModel", "softmax"),
    Family("qwen3_next", "Qwen3NextModel", "softmax"),
    Family("qwen3_omni_moe", "Qwen3OmniMoeThinkerTextModel", "softmax"),
    Family("qwen3_vl_moe", "Qwen3VLMoeTextModel", "softmax"),
    Family("qwen4_exp", "Qwen4ExpTextModel", "softmax"),
    Family("solar_open", "SolarOpenModel", "sigmoid"),
    Family("step3p7", "Step3p7TextModel", "sigmoid", SPARSE),
    Family(
        "switch_transformers",
        "SwitchTransformersModel",
        "softmax",
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 32,
            "num_layers": 2,
            "num_decoder_layers": 2,
            "num_sparse_encoder_layers": 2,
            "num_sparse_decoder_layers": 2,
            "num_heads": 4,
            "num_experts": 4,
            "decoder_start_token_id": 0,
        },
        remark=CAPACITY,
    ),
    Family("unlimited_ocr", "UnlimitedOcrTextModel", "softmax", LATENT),
    Family(
        "zaya",
        "ZayaModel",
        "softmax",
        {"num_experts_per_tok": 1},
        remark="The last route skips all experts; its factor is zero.",
    ),
)


@cache
def model_of(family):
    """Return the tiny model of a family, built once."""
    return tiny(family.name, family.model, **family.sizes)


def token_rows():
    """Return rows of token ids of different lengths."""
    rng = torch.Generator().manual_seed(1)
    return [torch.randint(3, 60, (length,), generator=rng) for length in LENGTHS]


def padded(rows, side):
    """Return ids and mask of rows padded to one length on one side."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), None) if side == "left" else slice(len(row))
        ids[i, place], mask[i, place] = row, 1
    return ids, mask


def inputs(family, ids, mask=None):
    """Return what the model of a family is called with; positions count real tokens."""
    given = {"input_ids": ids}
    if mask is not None:
        given["attention_mask"] = mask
        if "position_ids" in signature(model_of(family).forward).parameters:
            given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    if family.has_decoder:
        given["decoder_input_ids"] = torch.full((len(ids), 2), 5)
    return given


def read(family, ids, mask=None):
    """Return the sites of a family's model and their routes."""
    return read_routing(model_of(family), **inputs(family, ids, mask))


# --- the table -----------------------------------------------------------------------------------


def table():
    """Return the page: a list table, one row per family."""
    lines = [
        ".. list-table:: Architectures of transformers whose routing is read",
        "   :header-rows: 1",
        "   :widths: 20 30 14 36",
        "",
    ]
    header = ("Family", "Router", "Scoring", "Remarks")
    for cells in (header, *map(_row, FAMILIES)):
        marks = ["   * -", *["     -"] * (len(cells) - 1)]
        lines += [f"{mark} {cell}".rstrip() for mark, cell in zip(marks, cells, strict=True)]
    return "\n".join(lines) + "\n"


def _row(family):
    sites = [entry for entry in read(family, token_rows()[0][None]) if entry[0].kind == "router"]
    paths = dict.fromkeys(re.sub(r"\.\d+\.", ".*.", site.path) for site, _ in sites)
    routes = sites[0][1]
    parts = {
        "logits": routes.logits is not None,
        "weights": routes.logits is None,
        "selection": routes.selected is not None,
        "factors": routes.selected_weights is not None,
    }
    known = [part for part, there in parts.items() if there]
    only = "" if known == USUAL_PARTS else f"Read: {', '.join(known)}."
    return (
        f"``{family.name}``",
        ", ".join(f"``{path}``" for path in paths),
        family.scoring,
        f"{family.remark} {only}".strip(),
    )


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
