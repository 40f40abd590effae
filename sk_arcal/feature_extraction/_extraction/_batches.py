"""Rows as tensors: padded, masked, on the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_arcal.feature_extraction._extraction._rows import ArrayRows, Rows, TokenRows
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings


@dataclass(frozen=True)
class Batch:
    """What the module is called with.

    Attributes
    ----------
    args, kwargs : tuple and dict
        Arguments of the module.
    n_rows : int
        Number of rows.
    mask : Tensor of bool of shape (n_rows, n_tokens) or None
        Real tokens; None for array rows.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    n_rows: int
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class Caller:
    """How a module wants to be called.

    Attributes
    ----------
    accepted : frozenset of str
        Keyword arguments of its `forward`.
    device : torch.device
        Where its inputs belong.
    dtype : torch.dtype
        Of its floating-point inputs.
    """

    accepted: frozenset[str]
    device: torch.device
    dtype: torch.dtype

    def batch(self, rows: Rows, settings: ExtractionSettings) -> Batch:
        """Return the arguments for some rows."""
        if isinstance(rows, TokenRows):
            return self._tokens(rows, settings)
        return self._arrays(rows, settings)

    def _arrays(self, rows: ArrayRows, settings: ExtractionSettings) -> Batch:
        given: Any = rows.values
        if settings.preprocess is not None:
            given = settings.preprocess(given)
        elif given.ndim == 2 and given.dtype.kind in "iub" and "input_ids" not in self.accepted:
            # A table of integers holds numbers like any other; images and tokens stay integers.
            given = torch.as_tensor(given).to(self.dtype)
        if isinstance(given, Mapping):
            kwargs = {name: self._tensor(value) for name, value in given.items()}
            return Batch((), kwargs, len(rows))
        return Batch((self._tensor(given),), {}, len(rows))

    def _tokens(self, rows: TokenRows, settings: ExtractionSettings) -> Batch:
        ids, mask = _padded(rows.sequences, settings.pad_token_id, settings.padding_side)
        real = torch.from_numpy(mask).to(self.device)
        tokens = torch.from_numpy(ids).to(self.device)
        kwargs: dict[str, Any] = {}
        if "attention_mask" in self.accepted:
            kwargs["attention_mask"] = real.long()
        elif not mask.all():
            raise ValueError(
                "The module takes no `attention_mask`, so sequences of different lengths cannot "
                "share a batch. Use batch_size=1, or give its forward an `attention_mask`."
            )
        # Positions count real tokens; otherwise those of a row would depend on its neighbours.
        if settings.padding_side == "left" and "position_ids" in self.accepted:
            kwargs["position_ids"] = (real.cumsum(dim=1) - 1).clamp(min=0)
        if settings.padding_side == "left" and "logits_to_keep" in self.accepted:
            kwargs["logits_to_keep"] = 1
        if "use_cache" in self.accepted:
            kwargs["use_cache"] = False
        if "input_ids" in self.accepted:
            return Batch((), {"input_ids": tokens, **kwargs}, len(rows), real)
        return Batch((tokens,), kwargs, len(rows), real)

    def _tensor(self, values: Any) -> torch.Tensor:
        tensor = torch.as_tensor(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(self.device, dtype, non_blocking=True)


def _padded(
    sequences: list[NDArray[Any]], pad_token_id: int, side: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return token ids and mask of shape (n_rows, longest)."""
    longest = max(len(sequence) for sequence in sequences)
    ids = np.full((len(sequences), longest), pad_token_id, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), None) if side == "left" else slice(len(sequence))
        ids[row, place], mask[row, place] = sequence, True
    return ids, mask
