"""The loop over resamples, shared by the noise floor and the bootstrap."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from sk_arcal._validation import FloatArray


def resample(
    one: Callable[[np.random.Generator], float],
    n_resamples: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> FloatArray:
    """Return `one(child)` for `n_resamples` child generators, the same for every `n_jobs`."""
    children = rng.spawn(n_resamples)
    if n_jobs in {None, 1}:
        return np.array([one(child) for child in children])
    # joblib costs a tenth of a second to load, and most calls never need it.
    from joblib import Parallel, delayed

    return np.array(Parallel(n_jobs=n_jobs)(delayed(one)(child) for child in children))


def metric_value(metric: Callable[..., float], *args: Any, **params: Any) -> float:
    """Return the metric as a float, or say that it does not return a number."""
    if not callable(metric):
        raise TypeError(f"`metric` must be callable; got {metric!r}.")
    value = metric(*args, **params)
    if not isinstance(value, Real):
        raise TypeError(
            f"`metric` must return a number; {getattr(metric, '__name__', metric)} returned "
            f"{type(value).__name__}."
        )
    return float(value)
