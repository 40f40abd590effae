"""What extraction costs beside the bare forward pass, on the same batches.

Three networks of at least 20 million parameters, batches of 64 rows, on the CPU or `--device`:

``vision``
    A vision transformer with full attention over depth: 21 depth sites.
``experts``
    A decoder with a mixture of experts in each layer (OLMoE), sequences of 32 to 64 tokens.
``depth and experts``
    A decoder with block attention residuals and experts (Inkling-2), the same sequences.

``bare`` is the module on prepared batches. ``extraction`` is `RoutingFeatureExtractor.prefill`
with a cold cache: row digests, lookup, sorting, padding, hooks, pooling, the copy to the host,
checksums and writing. Both run in turn, so that a noisy machine hits both. ``peak`` is the memory
that one process needed beyond the one that only made bare passes.

Run as ``python -m benchmarks.extraction_throughput [--repeats 5] [--output FILE]``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks._rst import publish, simple_table
from sk_arcal import Backbone, RoutingFeatureExtractor
from sk_arcal.models import VisionTransformer

BATCH, N_BATCHES = 64, 3
VOCABULARY = 1000


def vision() -> tuple[torch.nn.Module, Any]:
    """Return a vision transformer and images."""
    module = VisionTransformer(
        (32, 32, 3), n_classes=10, width=512, depth=10, n_heads=8, patch_size=4, residual="full"
    )
    images = np.random.default_rng(0).integers(256, size=(BATCH * N_BATCHES, 32, 32, 3))
    return module, images.astype(np.uint8)


def _sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(32, 65, size=BATCH * N_BATCHES)
    return [rng.integers(1, VOCABULARY, size=length) for length in lengths]


def experts() -> tuple[torch.nn.Module, Any]:
    """Return a decoder with experts, and token sequences."""
    from transformers import OlmoeConfig, OlmoeForCausalLM

    config = OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=128,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_experts=32,
        num_experts_per_tok=4,
        pad_token_id=0,
    )
    return OlmoeForCausalLM(config), _sequences()


def depth_and_experts() -> tuple[torch.nn.Module, Any]:
    """Return a decoder with attention residuals and experts, and token sequences."""
    from transformers import Inkling2ForCausalLM, Inkling2TextConfig

    config = Inkling2TextConfig(
        vocab_size=VOCABULARY,
        unpadded_vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=128,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        swa_num_attention_heads=8,
        swa_num_key_value_heads=4,
        swa_head_dim=32,
        n_routed_experts=32,
        num_experts_per_tok=4,
        n_shared_experts=1,
        n_layers_per_attn_res_block=2,
        d_rel=8,
        rel_extent=64,
        sliding_window_size=64,
        layer_types=["hybrid_sliding", "hybrid"] * 4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Inkling2ForCausalLM(config), _sequences()


NETWORKS: dict[str, Callable[[], tuple[torch.nn.Module, Any]]] = {
    "vision": vision,
    "experts": experts,
    "depth and experts": depth_and_experts,
}


def build(name: str) -> tuple[torch.nn.Module, Any]:
    """Return one of the networks in evaluation mode, always the same, and its rows."""
    torch.manual_seed(0)
    module, rows = NETWORKS[name]()
    return module.eval(), rows


def batches(rows: Any, device: str) -> list[dict[str, Any]]:
    """Return prepared arguments: sequences sorted by length and padded, as extraction does."""
    if not isinstance(rows, list):
        parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return [{"x": torch.as_tensor(part, device=device)} for part in parts]
    ordered = sorted(rows, key=len, reverse=True)
    prepared = []
    for start in range(0, len(ordered), BATCH):
        part = ordered[start : start + BATCH]
        longest = len(part[0])
        ids = np.stack([np.pad(row, (longest - len(row), 0)) for row in part])
        tokens = torch.as_tensor(ids, device=device)
        prepared.append(
            {"input_ids": tokens, "attention_mask": (tokens > 0).long(), "logits_to_keep": 1}
        )
    return prepared


def bare_seconds(module: torch.nn.Module, prepared: list[dict[str, Any]]) -> float:
    """Return how long the forward passes take, with the logits copied to the host."""
    started = time.perf_counter()
    with torch.inference_mode():
        for arguments in prepared:
            output = module(**arguments)
            getattr(output, "logits", output).float().cpu()
    return time.perf_counter() - started


def extraction_seconds(backbone: Backbone, rows: Any, device: str) -> float:
    """Return how long it takes to fill a cold cache."""
    outputs = {"outputs": "confidence"} if isinstance(rows, list) else {}
    with tempfile.TemporaryDirectory() as folder:
        extractor = RoutingFeatureExtractor(
            backbone, batch_size=BATCH, cache=folder, device=device, **outputs
        )
        started = time.perf_counter()
        extractor.prefill(rows, progress=False)
        return time.perf_counter() - started


def measure(name: str, repeats: int, device: str) -> dict[str, Any]:
    """Return paired seconds of one network."""
    module, rows = build(name)
    module.to(device)
    backbone, prepared = Backbone(module), batches(rows, device)
    # Both once for nothing: first calls allocate, import and hash the weights.
    bare_seconds(module, prepared)
    extraction_seconds(backbone, rows, device)
    pairs = [
        (bare_seconds(module, prepared), extraction_seconds(backbone, rows, device))
        for _ in range(repeats)
    ]
    n_parameters = sum(p.numel() for p in module.parameters())
    return {"pairs": pairs, "n_parameters": n_parameters, "n_rows": len(rows)}


def peak_memory(name: str, with_extraction: bool, device: str) -> float:
    """Return the peak memory of this process in MB after passes over all batches."""
    module, rows = build(name)
    module.to(device)
    if with_extraction:
        extraction_seconds(Backbone(module), rows, device)
    else:
        bare_seconds(module, batches(rows, device))
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_new_process(*arguments: str) -> Any:
    """Return what this script prints for these arguments, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.extraction_throughput", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(repeats: int, device: str) -> Iterator[str]:
    """Yield the table."""
    lines = []
    for name in NETWORKS:
        result = measure(name, repeats, device)
        shares = [bare / extraction for bare, extraction in result["pairs"]]
        bare, extraction = (median(seconds) for seconds in zip(*result["pairs"], strict=True))
        low, high = (
            in_new_process("--peak", name, "--with", which, "--device", device)
            for which in ("bare", "extraction")
        )
        lines.append(
            [
                name,
                f"{result['n_parameters'] / 1e6:.0f}",
                f"{result['n_rows'] / bare:.0f}",
                f"{result['n_rows'] / extraction:.0f}",
                f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
                f"{high - low:+.0f}",
            ]
        )
    header = ["network", "million parameters", "rows/s bare", "rows/s extraction", "share"]
    header.append("peak, MB more")
    where = f"{device}, {torch.get_num_threads()} threads"
    yield simple_table(f"Batches of {BATCH}, {where}, median of {repeats} pairs", header, lines)


def main() -> None:
    """Read the arguments; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--peak", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--with", dest="which", default="bare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak_memory(arguments.peak, arguments.which == "extraction", arguments.device))
    else:
        publish(table(arguments.repeats, arguments.device), arguments.output)


if __name__ == "__main__":
    main()
