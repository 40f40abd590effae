"""Several routing columns as numbers that a network can read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues, read_routing

MAX_LEVELS = 12


def read_profile(routing: Any, n_samples: int) -> FloatArray:
    """Return the columns of a routing profile, shape (n_samples, n_numbers).

    Parameters
    ----------
    routing : array-like of shape (n_samples,) or (n_samples, n_features), mapping or frame
        Columns of numbers stay as they are. A column of names becomes indicators of its levels,
        at most 12 of them, the most frequent ones.
    n_samples : int
        Rows expected.
    """
    blocks = [
        _numbers(read_routing(column, name, "auto", n_samples))
        for name, column in _columns(routing).items()
    ]
    return np.column_stack(blocks)


def _columns(routing: Any) -> dict[str, Any]:
    if isinstance(routing, Mapping) or hasattr(routing, "columns"):
        names = list(routing if isinstance(routing, Mapping) else routing.columns)
        columns = {f"routing[{name!r}]": routing[name] for name in names}
    else:
        array = np.asarray(routing)
        if array.ndim not in {1, 2}:
            raise ValueError(
                "`routing` must have shape (n_samples,) or (n_samples, n_features); got shape "
                f"{array.shape}."
            )
        table = array if array.ndim == 2 else array[:, None]
        columns = {f"routing[:, {k}]": column for k, column in enumerate(table.T)}
    if not columns:
        raise ValueError("`routing` has no columns; at least one feature is needed.")
    return columns


def _numbers(values: RoutingValues) -> FloatArray:
    if values.kind != "nominal":
        return values.numbers[:, None]
    counts = np.bincount(values.codes)
    # Of two levels one indicator says it all, and of a single one there is nothing to say.
    wanted = min(MAX_LEVELS, max(len(counts) - 1, 1)) if len(counts) <= 2 else MAX_LEVELS
    kept = np.sort(np.argsort(-counts, kind="stable")[:wanted])
    return (values.codes[:, None] == kept) * 1.0
