"""How rows are forwarded and what is kept of it: whatever changes a record stands here."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._readers._registry import n_registered, registered
from sk_arcal.feature_extraction._sources._code import code_of_functions, functions_in, path_of

# Raised when the meaning of a record changes, so that records of older versions are not read.
RECORD_VERSION = 1


@dataclass(frozen=True)
class ExtractionSettings:
    """Everything but the backbone that a record depends on.

    Attributes
    ----------
    outputs : {"logits", "options", "confidence"} or None
        What of the model's output is kept.
    option_ids : tuple of int
        Tokens of the options, for "options".
    token_reduction : {"mean", "cls", "last"}
        How the tokens of a row become one.
    dtype : {"float16", "bfloat16"} or None
        Precision of the forward pass; None leaves the module as it is.
    device : str or None
        Where to compute; None where the module is.
    padding_side : {"left", "right"}
        Where shorter token sequences are filled up.
    pad_token_id : int
        What they are filled up with; it is masked.
    preprocess : callable or None
        Applied to every batch of array rows before the module.
    """

    outputs: str | None = "logits"
    option_ids: tuple[int, ...] = ()
    token_reduction: str = "mean"
    dtype: str | None = None
    device: str | None = None
    padding_side: str = "right"
    pad_token_id: int = 0
    preprocess: Callable[[Any], Any] | None = None

    def cache_key(self, backbone: Backbone) -> dict[str, Any]:
        """Return, as plain data, what identifies records made with these settings."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "backbone": backbone.digest,
            # Numbers differ in the last digits between kinds of device, not between their numbers.
            "device": (self.device or backbone.device).split(":")[0],
            "option_ids": list(self.option_ids),
            "preprocess": _code_of(self.preprocess),
            "readers": _registered_readers(backbone),
            "record_version": RECORD_VERSION,
        }


def _registered_readers(backbone: Backbone) -> list[Any]:
    """Return what users registered for parts of the module; other registrations do not count."""
    if not n_registered():
        return []
    parts = backbone.module.named_modules()
    entries = {entry for path, part in parts if (entry := registered(path, part))}
    return sorted([kind, _code_of(reader)] for kind, reader in entries)


def _code_of(function: Callable[..., Any] | None) -> list[str] | None:
    """Return the name of a function and a hash of what it does."""
    if function is None:
        return None
    code = json.dumps(code_of_functions(functions_in(function)))
    return [path_of(function), sha256(code.encode()).hexdigest()]
