"""What is kept of a model's output: logits of classes, of option tokens, or a confidence."""

from collections.abc import Mapping
from typing import Any

import torch

from sk_arcal.feature_extraction._extraction._batches import Batch
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings


def kept_scores(output: Any, batch: Batch, settings: ExtractionSettings) -> torch.Tensor:
    """Return the scores of a batch.

    Parameters
    ----------
    output : Tensor, tuple, mapping or object with `logits`
        What the module returned.
    batch : Batch
        What it was called with.
    settings : ExtractionSettings
        What is wanted.

    Returns
    -------
    scores : Tensor of shape (n_rows, n_scores)
        Logits of the classes or options; for "confidence" the log-odds of the most probable class
        and its position; no columns if `outputs` is None.

    Raises
    ------
    ValueError
        If the logits have a shape that does not fit `outputs`.
    TypeError
        If the output holds no logits.
    """
    if settings.outputs is None:
        return torch.zeros(batch.n_rows, 0)
    logits = _logits(output)
    if len(logits) != batch.n_rows:
        raise ValueError(
            f"The module returns {len(logits)} rows of logits for {batch.n_rows} rows."
        )
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    if settings.outputs == "logits":
        return _class_logits(logits)
    at_last = _at_last_token(logits, batch.mask)
    if settings.outputs == "confidence":
        return _confidence(at_last)
    return at_last[:, options_within(settings.option_ids, at_last.shape[1])]


def _logits(output: Any) -> torch.Tensor:
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, (tuple, list)) and output:
        found = output[0]
    if not isinstance(found, torch.Tensor) or not found.ndim:
        raise TypeError(
            f"The module returns {type(output).__name__} without logits; it must return a tensor, "
            "something with `logits`, or a tuple that begins with them. For routing columns alone "
            "use outputs=None."
        )
    return found


def scores_at_last_token(output: Any, batch: Batch) -> torch.Tensor | None:
    """Return logits of classes, or those that follow the last token; None if there are none."""
    try:
        logits = _logits(output)
    except TypeError:
        return None
    # A network without a head returns states, which are no scores.
    named = isinstance(output, torch.Tensor) or logits is getattr(output, "logits", None)
    if not named or logits.ndim not in (2, 3) or len(logits) != batch.n_rows:
        return None
    return _at_last_token(logits, batch.mask)


def _class_logits(logits: torch.Tensor) -> torch.Tensor:
    if logits.ndim == 1:
        return logits[:, None]
    if logits.ndim != 2:
        raise ValueError(
            f"The module's logits have shape {tuple(logits.shape)}; outputs='logits' needs "
            "(n_rows, n_classes). For a language model use outputs='options' with `option_tokens`, "
            "or outputs='confidence'."
        )
    return logits


def _at_last_token(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the logits that follow the last real token, shape (n_rows, n_tokens_known)."""
    if logits.ndim == 2:
        return logits
    if logits.ndim != 3:
        raise ValueError(
            f"The module's logits have shape {tuple(logits.shape)}; (n_rows, n_classes) or "
            "(n_rows, n_tokens, vocabulary) is needed."
        )
    if mask is None or logits.shape[1] == 1:
        return logits[:, -1]
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, 0).amax(dim=1)
    return logits[torch.arange(len(logits), device=logits.device), last]


def options_within(option_ids: tuple[int, ...], n_known: int) -> list[int]:
    """Return the positions of option tokens among scores."""
    if max(option_ids) >= n_known:
        raise ValueError(
            f"`option_tokens` holds token {max(option_ids)}, but the model scores {n_known} tokens."
        )
    return list(option_ids)


def _confidence(logits: torch.Tensor) -> torch.Tensor:
    """Return log-odds of the most probable entry, exact near one too, and its position."""
    if logits.shape[1] < 2:
        raise ValueError(
            "outputs='confidence' needs at least two classes; the module has a single logit, which "
            "is a log-odds already: use outputs='logits'."
        )
    largest, position = logits.max(dim=1)
    others = logits.scatter(1, position[:, None], -torch.inf)
    log_odds = largest - torch.logsumexp(others, dim=1)
    return torch.stack([log_odds, position.to(log_odds.dtype)], dim=1)
