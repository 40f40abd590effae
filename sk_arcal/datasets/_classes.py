"""Class scores and labels behind a simulated top-label confidence."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray


def class_columns(
    confidence: FloatArray, y: NDArray[np.int64], n_classes: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Spread each confidence over classes, and draw a label that is the top class where y = 1."""
    n = len(confidence)
    # a little of each class, so that no logit is infinite
    rest = 0.999 * rng.dirichlet(np.ones(n_classes - 1), n) + 0.001 / (n_classes - 1)
    # equal shares where another class would come close to the top one
    largest = rest.max(axis=1) * (1 - confidence)
    too_large = (largest >= 0.98 * confidence)[:, None]
    rest = np.where(too_large, 1 / (n_classes - 1), rest)
    top = rng.integers(n_classes, size=n)
    other = (rng.random(n)[:, None] > np.cumsum(rest, axis=1)[:, :-1]).sum(axis=1)
    logits = np.empty((n, n_classes))
    # class k of row i is `top[i]` plus k + 1 places round the circle
    places = (top[:, None] + 1 + np.arange(n_classes - 1)) % n_classes
    np.put_along_axis(logits, places, np.log((1 - confidence)[:, None] * rest), axis=1)
    np.put_along_axis(logits, top[:, None], np.log(confidence)[:, None], axis=1)
    labels = np.where(y == 1, top, np.take_along_axis(places, other[:, None], axis=1)[:, 0])
    return {"logits": logits, "labels": labels}
