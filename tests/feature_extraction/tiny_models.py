"""Tiny random models of transformers, one per routed architecture."""

import dataclasses
from importlib import import_module

import torch

# What most configurations call their sizes; a family takes what it knows.
SIZES = {
    "vocab_size": 64,
    "vocab_size_per_layer_input": 64,
    "unpadded_vocab_size": 64,
    "hidden_size": 32,
    "hidden_size_per_layer_input": 8,
    "moe_hidden_size": 32,
    "intermediate_size": 32,
    "intermediate_size_mlp": 32,
    "ffn_hidden_size": 32,
    "expert_ffn_hidden_size": 16,
    "moe_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "shared_experts_intermediate_size": 16,
    "moe_shared_expert_intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "use_cache": False,
    "sliding_window": 8,
    "sliding_window_size": 8,
    # experts
    "num_local_experts": 8,
    "num_experts": 8,
    "n_routed_experts": 8,
    "zero_expert_num": 2,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "num_experts_per_tok": 3,
    "num_experts_per_token": 3,
    "top_k_experts": 3,
    "moe_top_k": 3,
    "moe_topk": 3,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    # latent attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 64,
    # linear attention and state spaces
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_heads": 2,
    "linear_head_dim": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "mamba_dt_rank": 8,
    "mamba_chunk_size": 8,
    "ssm_state_size": 8,
    "chunk_size": 8,
    "n_groups": 1,
    # relative positions and depth of Inkling
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "d_rel": 4,
    "rel_extent": 8,
    "n_layers_per_attn_res_block": 1,
}
_BIASES = ("e_score_correction_bias", "expert_bias", "balancing_biases")


def config_of(module, name, **sizes):
    """Return a configuration with tiny sizes, and those given."""
    cls = getattr(import_module(f"transformers.models.{module}.configuration_{module}"), name)
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in SIZES.items() if key in known} | sizes)


def tiny(module, name, **sizes):
    """Return a model in evaluation mode whose routers and biases say something.

    Weights are drawn with the spread that keeps activations near one; biases of the selection,
    which are zero in a fresh model, are drawn too.
    """
    code = import_module(f"transformers.models.{module}.modeling_{module}")
    cls = getattr(code, name)
    config = config_of(module, cls.config_class.__name__, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cls(config).eval()
        randomize(model)
    return model


@torch.no_grad()
def randomize(model):
    """Draw all matrices, depth queries and selection biases anew."""
    for name, values in model.named_parameters():
        if values.ndim > 1 or name.endswith("query"):
            values.normal_(std=values.shape[-1] ** -0.5)
        elif name.endswith(_BIASES):
            values.normal_(std=0.3)
    for name, values in model.named_buffers():
        if name.endswith(_BIASES):
            values.normal_(std=0.3)
        elif name.endswith("tid2eid"):
            values.copy_(torch.rand(len(values), 8).argsort(dim=1)[:, : values.shape[1]])
