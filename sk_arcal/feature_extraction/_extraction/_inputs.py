"""What X may be: numbers, images, texts or token sequences, told apart once, in `fit`."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from sk_arcal.feature_extraction._extraction._rows import (
    ArrayRows,
    Rows,
    TokenRows,
    sequences_of,
    texts_of,
)

INPUT_KINDS = ("array", "tokens", "text")


def read_rows(estimator: Any, X: Any, *, kind: str | None) -> tuple[Rows, str]:
    """Return the rows of X, and their kind.

    Parameters
    ----------
    estimator : RoutingFeatureExtractor
        With `backbone_`; knows the padding and the most tokens of a row, and remembers the columns
        of a table.
    X : array-like, tensor, or list of texts or token sequences
        As the user gave it.
    kind : {"array", "tokens", "text"} or None
        As in `fit`; None to find out.

    Returns
    -------
    rows : ArrayRows or TokenRows
        Texts as tokens.
    kind : {"array", "tokens", "text"}
        What X is.

    Raises
    ------
    ValueError
        If X is empty, holds NaN, has another kind or shape than in `fit`, or is text without a
        tokenizer.
    TypeError
        If some texts are no texts.
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    texts = texts_of(X) if kind in (None, "text") else None
    if texts is not None:
        sequences = _tokenized(estimator.backbone_, texts)
    else:
        sequences = None
        if kind in (None, "tokens"):
            sequences = sequences_of(X, estimator.pad_token_id, expected=kind == "tokens")
    found = "text" if texts is not None else "tokens" if sequences is not None else "array"
    if kind not in (None, found):
        raise ValueError(f"X is of kind {found!r}, but `fit` saw {kind!r}.")
    if sequences is not None:
        return TokenRows([tokens[: estimator.max_length] for tokens in sequences]), found
    return ArrayRows(_checked_array(estimator, X, first=kind is None)), found


def _tokenized(backbone: Any, texts: list[str]) -> list[Any]:
    tokenizer = backbone.tokenizer
    if tokenizer is None:
        raise ValueError(
            "X holds texts, but the backbone has no tokenizer. Pass one with the module, "
            "Backbone(module, tokenizer=tokenizer), or pass token sequences."
        )
    rows = [np.asarray(ids, dtype=np.int64) for ids in tokenizer(texts)["input_ids"]]
    empty = [row for row, ids in enumerate(rows) if not ids.size]
    if empty:
        raise ValueError(f"The text in row {empty[0]} of X has no tokens ({len(empty)} such rows).")
    return rows


def _checked_array(estimator: Any, X: Any, *, first: bool) -> Any:
    """Return X as numbers; tables by scikit-learn's rules, more axes by their shape."""
    n_axes = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
    if n_axes <= 2:
        values: Any = validate_data(estimator, X, reset=first, ensure_min_features=1)
    else:
        values = check_array(X, allow_nd=True, estimator=estimator)
    shape = values.shape[1:]
    if first:
        estimator.row_shape_ = shape
    elif shape != estimator.row_shape_:
        raise ValueError(f"Rows of X have shape {shape}, but `fit` saw {estimator.row_shape_}.")
    return values
