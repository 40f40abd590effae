"""How to read routers: one rule for nearly all of them, and the exceptions by class name.

The rule: a router returns (logits, factors, indices of the selected experts). How logits become
scores is found from these numbers, see ``_scoring``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sk_arcal.feature_extraction._readers._routes import Reading
from sk_arcal.feature_extraction._readers._transformers import DeclaredRouter

_SHARED_COUNTS = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_ReadGate = Callable[[DeclaredRouter, Any], list[Reading]]


@dataclass(frozen=True)
class GateRule:
    """How to read a router.

    Attributes
    ----------
    read : callable(router, output)
        Returns readings.
    gate : str or None
        Path from the router to the part that computes the logits, empty for all of it; this part
        may be run in float32. None if that cannot be told.
    batch_dependent : str
        Why the routes of a token depend on the other tokens of its batch; empty if they do not.
    """

    read: _ReadGate
    gate: str | None = ""
    batch_dependent: str = ""


def rule_for(router: DeclaredRouter) -> GateRule:
    """Return the exception for a router's class or the rule for all others."""
    names = (cls.__name__ for cls in type(router.module).__mro__)
    exception = next((EXCEPTIONS[name] for name in names if name in EXCEPTIONS), None)
    if exception is not None:
        return exception
    holds_experts = any("experts" in name for name, _ in router.module.named_children())
    return GateRule(_read_triple, None if holds_experts else "")


def n_shared_experts(router: DeclaredRouter) -> int | None:
    """Return the number of shared experts beside a router, None where none are seen."""
    holder = router.parent
    if holder is None or not any(
        name.startswith("shared_") and child is not None for name, child in holder.named_children()
    ):
        return None
    counts = (getattr(router.config, name, None) for name in _SHARED_COUNTS)
    return next((count for count in counts if type(count) is int and count > 0), 1)


def _read_triple(router: DeclaredRouter, output: Any) -> list[Reading]:
    if not isinstance(output, (tuple, list)):
        return [Reading(output, scoring="unknown")]
    logits, rest = output[router.index], output[router.index + 1 :]
    if len(rest) < 2 or not _are_selections(rest[0], rest[1]):
        return [Reading(logits, scoring="unknown")]
    return [Reading(logits, selected=rest[1], selected_weights=rest[0])]


def _are_selections(factors: Any, indices: Any) -> bool:
    return (
        isinstance(factors, Tensor)
        and isinstance(indices, Tensor)
        and factors.shape == indices.shape
        and not indices.is_floating_point()
    )


# --- exceptions ----------------------------------------------------------------------------------


def _read_with(scoring: str, router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read a triple whose scoring the numbers cannot tell."""
    logits, factors, indices = output[:3]
    return [Reading(logits, selected=indices, selected_weights=factors, scoring=scoring)]


def _read_probabilities(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read Gemma 4: probabilities in place of logits, and a factor of each expert's own."""
    probabilities, factors, indices = output
    return [Reading(None, probabilities, indices, factors, scoring="softmax")]


def _read_scattered(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read Llama 4, which returns sigmoid scores that are zero at all experts but the selected."""
    scores, logits = output
    factors, selected = scores.topk(_top_k(router), dim=-1)
    return [Reading(logits, None, selected, factors, scoring="sigmoid")]


def _read_with_parent(router: DeclaredRouter, output: Tensor) -> list[Reading]:
    """Read DBRX, which selects outside its router, by the function that it asks itself."""
    parent: Any = router.parent
    factors, selected = parent.route_tokens_to_experts(output)
    return [Reading(output, None, selected, factors, scoring="softmax")]


def _read_sorted(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Put the selection of JetMoE, sorted by expert, back in the order of the tokens."""
    order, _, sorted_factors, counts, logits = output
    experts = torch.arange(len(counts), device=order.device)
    sorted_experts = experts.repeat_interleave(torch.as_tensor(counts, device=order.device))
    selected = torch.empty_like(order).scatter_(0, order, sorted_experts)
    factors = torch.empty_like(sorted_factors).scatter_(0, order, sorted_factors)
    shape = (len(logits), -1)
    return [Reading(logits, None, selected.reshape(shape), factors.reshape(shape), "softmax")]


def _read_product_keys(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read the two keys of Doge, whose sum scores an expert, as two sites."""
    logits = output[1]
    n_keys = logits.shape[-1]
    sums = (logits[0].unsqueeze(-1) + logits[1].unsqueeze(-2)).flatten(-2)
    scores, pairs = sums.topk(_top_k(router), dim=-1)
    factors = scores.softmax(dim=-1)
    keys = (pairs // n_keys, pairs % n_keys)
    return [
        Reading(logits[axis], None, keys[axis], factors, "softmax", f"_{name}")
        for axis, name in enumerate("xy")
    ]


def _read_one_hot(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read Switch: a one marks the selected expert, and a row of zeros that it was full."""
    marks, factors, logits = output
    return [_from_marks(logits, marks, factors.expand_as(marks) * marks, 1)]


def _read_gates(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read NLLB: a factor for every expert, zero where it is not selected or was full."""
    _, factors, logits = output
    return [_from_marks(logits, factors > 0, factors, 2)]


def _top_k(router: DeclaredRouter) -> int:
    module: Any = router.module
    return int(module.top_k)


def _from_marks(logits: Tensor, marks: Tensor, factors: Tensor, n_slots: int) -> Reading:
    marked, selected = marks.long().topk(n_slots, dim=-1)
    factors = factors.gather(-1, selected) * marked
    return Reading(logits, None, selected.masked_fill(marked == 0, -1), factors, "softmax")


def _read_with_skip(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read Zaya, which can skip all experts, its last route, and then returns 0 and factor 0."""
    logits, factors, indices = output[:3]
    selected = indices.masked_fill(factors == 0, logits.shape[-1] - 1)
    return [Reading(logits, None, selected, factors, scoring="softmax")]


def _read_block(router: DeclaredRouter, output: Any) -> list[Reading]:
    """Read ERNIE VL: logits of a text and a vision router, without what they select."""
    return [Reading(output[1], scoring="softmax")]


_CAPACITY = "an expert takes a limited number of tokens, first come first served"
EXCEPTIONS: dict[str, GateRule] = {
    "DbrxRouter": GateRule(_read_with_parent),
    "DiffusionGemmaTextRouter": GateRule(_read_probabilities),
    "DogeCDMoE": GateRule(
        _read_product_keys,
        "router_gate",
        "its two halves of the logits are cut across the tokens of the batch",
    ),
    "Ernie4_5_VLMoeMoeBlock": GateRule(_read_block, None),
    "Gemma4TextRouter": GateRule(_read_probabilities),
    "JetMoeTopKGating": GateRule(_read_sorted),
    "Llama4Router": GateRule(_read_scattered),
    "NllbMoeTop2Router": GateRule(_read_gates, batch_dependent=_CAPACITY),
    "PhimoeTopKRouter": GateRule(partial(_read_with, "sparsemixer")),
    "SwitchTransformersTop1Router": GateRule(_read_one_hot, batch_dependent=_CAPACITY),
    "ZayaRouter": GateRule(_read_with_skip),
}
