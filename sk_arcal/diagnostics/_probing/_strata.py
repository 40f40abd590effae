"""Strata of one feature, the same for every probe."""

import numpy as np

from sk_arcal.diagnostics._cells import rank_strata
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._confidence_bins import IntArray

_N_STRATA = 3


def feature_strata(feature: RoutingValues, kept: IntArray, rng: np.random.Generator) -> IntArray:
    """Return tertiles by rank, ties in random order; the levels of a feature without order."""
    values = feature.numbers[kept]
    if feature.kind == "nominal":
        return np.unique(values, return_inverse=True)[1]
    return rank_strata(values, np.zeros(len(values), dtype=np.intp), _N_STRATA, rng)
