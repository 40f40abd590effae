"""The rows a probe uses, and the folds it is cross-fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import (
    FloatArray,
    check_events,
    check_groups,
    check_integer,
    check_probabilities,
)
from sk_arcal.diagnostics._confidence_bins import IntArray


@dataclass(frozen=True, eq=False)
class ProbeRows:
    """Checked rows, thinned where there are more than can be afforded.

    `kept` are their positions in the input, of `n_given` rows; `cluster` the code of each row's
    group, and `fold` the fold that predicts it.
    """

    event: FloatArray
    confidence: FloatArray
    cluster: IntArray
    fold: IntArray
    kept: IntArray
    n_given: int

    def folds(self) -> list[tuple[IntArray, IntArray]]:
        """Rows to fit on and rows to predict, for each fold."""
        return [
            (np.flatnonzero(self.fold != side), np.flatnonzero(self.fold == side))
            for side in range(int(self.fold.max()) + 1)
        ]


def read_rows(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    groups: ArrayLike | None,
    *,
    cv: object,
    max_samples: object,
    rng: np.random.Generator,
) -> ProbeRows:
    """Check and thin the rows and deal them into folds that keep groups together."""
    event = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(event))
    n_folds = check_integer("cv", cv, low=2)
    max_samples = check_integer("max_samples", max_samples, low=2)
    cluster = np.arange(len(event)) if groups is None else check_groups(groups, len(event))[1]
    kept = _thin(len(event), max_samples, rng)
    cluster = cluster[kept]
    n_clusters = len(np.unique(cluster))
    if n_clusters < n_folds:
        need = "at least two rows, or two groups," if n_folds == 2 else f"`cv`={n_folds} groups"
        raise ValueError(
            f"Cross-fitting needs {need} to deal into folds; got {n_clusters}. Pass more rows, "
            "finer `groups`, or a smaller `cv`."
        )
    fold = deal_folds(cluster, n_folds, rng)
    return ProbeRows(event[kept], confidence[kept], cluster, fold, kept, len(event))


def _thin(n_samples: int, max_samples: int, rng: np.random.Generator) -> IntArray:
    """Return the rows to use; groups lose rows, so that many small ones and few large ones stay."""
    if n_samples <= max_samples:
        return np.arange(n_samples)
    return np.sort(rng.choice(n_samples, max_samples, replace=False))


def deal_folds(cluster: IntArray, n_folds: int, rng: np.random.Generator) -> IntArray:
    """Return the fold of each row; clusters are dealt out whole, in random order."""
    names, codes = np.unique(cluster, return_inverse=True)
    return (rng.permutation(len(names)) % n_folds)[codes]
