"""How a router turns logits into scores, and which way explains what a model used.

A router scores every expert, selects some, and combines them with factors that are the scores
up to a common factor per token (renormalised, scaled, or both). So the ratio of factor to score
must be the same for all experts that a token selected, under the right scoring and no other.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sk_arcal.feature_extraction._readers._routes import Reading

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrtsoftplus": lambda logits: torch.nn.functional.softplus(logits).sqrt(),
}
# Ratios of float32 numbers agree to about 1e-6; two scorings rarely to 1e-2.
_TOLERANCE = 1e-3
_MOST_TOKENS = 256


def distribution(logits: Tensor, scoring: str) -> Tensor:
    """Return scores divided by their sum, in single precision at least.

    Parameters
    ----------
    logits : Tensor of shape (..., n_routes)
        Logits.
    scoring : str
        One of ``SCORES``; any other name means softmax.

    Returns
    -------
    weights : Tensor of shape (..., n_routes)
        Not negative, summing to one.
    """
    scores = SCORES.get(scoring, SCORES["softmax"])(at_least_single(logits))
    if scoring in {"sigmoid", "sqrtsoftplus"}:
        # Scores of a token may all be too small to be told from zero.
        tiny = torch.finfo(scores.dtype).tiny
        scores = scores.clamp(min=tiny)
        scores = scores / scores.sum(dim=-1, keepdim=True)
    return scores


def at_least_single(tensor: Tensor) -> Tensor:
    """Return float64 as it is, and anything else as float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def explain(reading: Reading) -> str:
    """Return the scoring under which selected weights are scores up to a factor per token.

    Parameters
    ----------
    reading : Reading
        Logits, and what the model used.

    Returns
    -------
    scoring : str
        One of ``SCORES``, or "unknown" if the selection is not known, a single expert is
        selected (any scoring explains that), or none of them explains it.
    """
    used, selected, logits = reading.selected_weights, reading.selected, reading.logits
    if used is None or selected is None or logits is None or selected.shape[-1] < 2:
        return "unknown"
    tolerance = max(_TOLERANCE, 2 * torch.finfo(used.dtype).eps)
    # In double precision, which not every device has.
    logits, used, selected = (
        tensor.reshape(-1, tensor.shape[-1])[:_MOST_TOKENS].cpu().double()
        for tensor in (logits, used, selected)
    )
    slots = selected.long().clamp(min=0)
    spreads = {
        name: _spread(used, score(logits).gather(1, slots)) for name, score in SCORES.items()
    }
    best = min(spreads, key=lambda name: spreads[name])
    return best if spreads[best] <= tolerance else "unknown"


def _spread(used: Tensor, scores: Tensor) -> float:
    """Return by how much the ratios of a token differ, relative to their mean, on average."""
    ratio = used / scores
    spread = (ratio / ratio.mean(dim=1, keepdim=True) - 1).abs().mean()
    return float(spread.nan_to_num(nan=torch.inf))
