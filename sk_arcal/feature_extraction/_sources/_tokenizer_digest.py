"""The content of a tokenizer as one SHA-256."""

import json
from typing import Any

from sk_arcal.feature_extraction._sources._code import path_of
from sk_arcal.feature_extraction._sources._describe import Describer, hashed

_SETTINGS = ("special_tokens_map", "truncation_side", "model_max_length", "chat_template")


def tokenizer_digest(tokenizer: Any) -> str:
    """Return the digest of a tokenizer of transformers, or of a function or callable object.

    Parameters
    ----------
    tokenizer : callable
        Padding is the caller's business and does not enter.

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    describe = Describer()
    if not hasattr(tokenizer, "get_vocab"):
        return hashed(["sk-arcal tokenizer 1", describe(tokenizer)])
    settings = {name: getattr(tokenizer, name, None) for name in _SETTINGS}
    content = describe({"vocabulary": tokenizer.get_vocab(), "settings": settings})
    return hashed(["sk-arcal tokenizer 1", path_of(type(tokenizer)), content, _backend(tokenizer)])


def _backend(tokenizer: Any) -> str:
    """Return what the compiled part says about itself, without traces of the last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    content = json.loads(backend.to_str())
    # Calling the tokenizer writes the padding and truncation of that call into them.
    return json.dumps({**content, "padding": None, "truncation": None}, sort_keys=True)
