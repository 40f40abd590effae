"""Rows to named columns, and rows to the cache: what the transformer's methods are made of."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal._routing import RouteSite
from sk_arcal._validation import FloatArray, check_option
from sk_arcal.feature_extraction._extraction._parameters import open_source
from sk_arcal.feature_extraction._extraction._ranks import share_of_rank
from sk_arcal.feature_extraction._extraction._record import Extraction
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._extraction._scores import score_columns
from sk_arcal.feature_extraction._summaries import (
    TOKEN_ORDERS,
    check_summaries,
    constant_columns,
    summarize_routing,
)
from sk_arcal.feature_extraction._warning import ExtractionWarning


def all_columns(extractor: Any, rows: Rows) -> tuple[FloatArray, list[str], tuple[RouteSite, ...]]:
    """Return the columns of some rows, their names, and the sites of the network.

    Parameters
    ----------
    extractor : RoutingFeatureExtractor
        With `backbone_`.
    rows : ArrayRows or TokenRows
        At least one.
    """
    wanted = check_summaries(extractor.summaries)
    check_option("token_order", extractor.token_order, TOKEN_ORDERS)
    classes = extractor.classes
    if classes is None and extractor.outputs == "options":
        classes = extractor.option_tokens
    parts = []
    with open_source(extractor, len(rows), extractor.progress) as source:
        for _, extraction in source.windows(rows):
            scores, score_names = score_columns(extraction, extractor.outputs, classes)
            _refuse_no_sites(extraction.profile.sites, wanted)
            routing, names = summarize_routing(
                extraction.profile, extractor.summaries, token_order=extractor.token_order
            )
            parts.append(np.column_stack([scores, routing]))
    names = [*score_names, *(ROUTING_PREFIX + name for name in names)]
    return np.concatenate(parts), names, extraction.profile.sites


def degenerate_routing(values: FloatArray, names: list[str]) -> list[str]:
    """Return the routing columns that are constant; warn if none of several rows differ."""
    routing = [name.startswith(ROUTING_PREFIX) for name in names]
    constant = constant_columns(values) & routing
    if len(values) > 1 and constant.any() and constant.sum() == sum(routing):
        warnings.warn(
            f"The routing columns are the same for all {len(values)} rows, so they cannot tell "
            "rows apart. Weights that do not depend on the input, or are still at their start, "
            "look like this.",
            ExtractionWarning,
            stacklevel=4,
        )
    return [name for name, same in zip(names, constant, strict=True) if same]


def whole_extraction(extractor: Any, rows: Rows) -> Extraction:
    """Return what the network says about some rows."""
    with open_source(extractor, len(rows), extractor.progress) as source:
        return Extraction.concatenate([part for _, part in source.windows(rows)])


def prefill_rows(extractor: Any, rows: Rows, *, progress: bool) -> None:
    """Forward what the cache lacks: all of it, or this process's share of it."""
    mine, device, wait = share_of_rank(len(rows))
    settings = {"on_miss": "compute", "device": extractor.device or device}
    worker = clone(extractor).set_params(**settings)
    worker.backbone_ = extractor.backbone_
    with worker._open(len(mine), progress) as source:
        for _ in source.windows(rows.take(mine)):
            pass
    wait()


def _refuse_no_sites(sites: Sequence[RouteSite], summaries: list[str]) -> None:
    if summaries and not sites:
        raise ValueError(
            "The backbone routes nowhere that is known: no router and no depth site was found in "
            "it. Register its class with `register_router` or `register_depth_site`, or use "
            "summaries=() for the scores alone."
        )
