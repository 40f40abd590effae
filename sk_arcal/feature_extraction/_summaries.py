"""Summaries of routing: from the weights at every site to a handful of columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._routing import SITE_KINDS, TOKEN_STATISTICS, RoutingProfile, route_statistics
from sk_arcal._validation import FloatArray, check_option

TOKEN_ORDERS = ("weights_first", "statistics_first")
# Weights that do not depend on the row still differ in their last digits, by how rows were
# batched; a column that moves by less than this share of its size says nothing. Summaries are of
# the order of one, so a column of tiny numbers is one of zeros.
_CONSTANT_SHARE, _SMALLEST_SIZE = 1e-5, 0.1


@dataclass(frozen=True)
class _Sites:
    """The sites of one kind that have a choice.

    Attributes
    ----------
    kind : {"router", "depth"}
        What the routes are.
    labels : list of str
        One per site.
    weights, load : list of ndarray of shape (n_samples, n_routes)
        One array per site; `load` is empty for depth sites.
    statistics : ndarray of shape (n_samples, n_sites, 4)
        See ``TOKEN_STATISTICS``.
    """

    kind: str
    labels: list[str]
    weights: list[FloatArray]
    load: list[FloatArray]
    statistics: FloatArray

    def statistic(self, name: str) -> FloatArray:
        return self.statistics[:, :, TOKEN_STATISTICS.index(name)]


_Summary = Callable[[_Sites], FloatArray]


def _token_statistic(name: str) -> _Summary:
    return lambda sites: sites.statistic(name)


def _normalized_entropy(sites: _Sites) -> FloatArray:
    return sites.statistic("entropy") / np.log([array.shape[1] for array in sites.weights])


def _embedding_weight(sites: _Sites) -> FloatArray:
    return np.stack([weights[:, 0] for weights in sites.weights], axis=1)


def _max_load(sites: _Sites) -> FloatArray:
    return np.stack([load.max(axis=1) for load in sites.load], axis=1)


def _depth_index_variance(sites: _Sites) -> FloatArray:
    columns = []
    for weights in sites.weights:
        index = np.linspace(0, 1, weights.shape[1])
        mean = weights @ index
        columns.append((weights * (index - mean[:, None]) ** 2).sum(axis=1))
    return np.stack(columns, axis=1)


def _agreement(sites: _Sites) -> FloatArray:
    shared = [
        np.minimum(earlier, later[:, : earlier.shape[1]]).sum(axis=1)
        for earlier, later in zip(sites.weights[:-1], sites.weights[1:], strict=True)
        if sites.kind == "depth" or earlier.shape[1] == later.shape[1]
    ]
    return np.stack(shared, axis=1) if shared else np.empty((len(sites.statistics), 0))


_ROUTER, _DEPTH = ("router",), ("depth",)
# The kinds of site that a summary is defined for, and one column per site.
_PER_SITE: dict[str, tuple[tuple[str, ...], _Summary]] = {
    "entropy": (SITE_KINDS, _token_statistic("entropy")),
    "normalized_entropy": (SITE_KINDS, _normalized_entropy),
    "max_weight": (SITE_KINDS, _token_statistic("max_weight")),
    "margin": (SITE_KINDS, _token_statistic("margin")),
    "effective_routes": (SITE_KINDS, _token_statistic("effective_routes")),
    "max_load": (_ROUTER, _max_load),
    "embedding_weight": (_DEPTH, _embedding_weight),
    "depth_index_variance": (_DEPTH, _depth_index_variance),
}
_MEANS = {f"mean_{name}": entry for name, entry in _PER_SITE.items()} | {
    "agreement": (SITE_KINDS, _agreement)
}
_VARIANCES = {f"{name}_variance": _PER_SITE[name] for name in ("entropy", "normalized_entropy")}
_ALL_ROUTES = ("weights", "load")
ROUTING_SUMMARIES = (*_PER_SITE, *_ALL_ROUTES, *_MEANS, *_VARIANCES)
_AUTO = ("mean_normalized_entropy", "entropy_variance")


def summarize_routing(
    profile: RoutingProfile,
    summaries: str | Sequence[str] = "auto",
    *,
    token_order: str = "weights_first",
) -> tuple[FloatArray, list[str]]:
    r"""Turn a routing profile into named columns.

    Sites with a single route are left out: there is nothing to choose. Routers and depth sites
    are summarised apart; a summary that is defined for one kind only is made for that kind.

    Parameters
    ----------
    profile : RoutingProfile
        Weights at every site.
    summaries : str or sequence of str, default="auto"
        Which, in this order; "auto" is "mean_normalized_entropy" and, with several sites,
        "entropy_variance". One column per site: "entropy", "normalized_entropy", "max_weight",
        "margin", "effective_routes"; for routers "max_load"; for depth sites "embedding_weight"
        and "depth_index_variance". One column per route: "weights"; for routers "load". One
        column per kind of site: each of the first list with ``mean_`` before it,
        "agreement", and where there are several sites "entropy_variance" and
        "normalized_entropy_variance".
    token_order : {"weights_first", "statistics_first"}, default="weights_first"
        Whether entropy, largest weight, margin and effective number are those of the row's mean
        weights, or means over its tokens. The other summaries are of the mean weights.

    Returns
    -------
    values : ndarray of shape (n_samples, n_columns)
        Entropies in nats; weights, margins, loads and agreements in [0, 1].
    names : list of str
        "<kind>__<summary>" for one column per kind, "<site>__<summary>" for one per site, and
        "<site>__weight_<route>" or "<site>__load_<route>" for one per route.

    Raises
    ------
    ValueError
        If a summary is unknown or defined at none of the sites, or the selection that a load
        needs is not known.

    Notes
    -----
    With weights :math:`\alpha_{l,i}` of route i at site l, and :math:`n_l` routes:

    * entropy :math:`H_l = -\sum_i \alpha_{l,i} \log \alpha_{l,i}`, normalised
      :math:`H_l / \log n_l`, effective number of routes :math:`e^{H_l}`;
    * "mean_entropy" is the aggregate routing entropy
      :math:`r_\text{agg} = \frac1L \sum_l H_l`;
    * "entropy_variance" is the routing-depth variance
      :math:`r_\text{var} = \frac1L \sum_l (H_l - r_\text{agg})^2`. A second reading of the
      same name, the spread of the depths attended to, is "mean_depth_index_variance":
      :math:`\frac1L \sum_l \sum_i \alpha_{l,i} (x_i - \mu_l)^2` with depths :math:`x_i` scaled
      to [0, 1] and :math:`\mu_l = \sum_i \alpha_{l,i} x_i`;
    * "max_load" is the largest share of a row's selections that went to one expert;
    * "agreement" is the mean of :math:`\sum_i \min(\alpha_{l,i}, \alpha_{l+1,i})` over
      neighbouring sites; between routers only where both have the same number of experts, which
      across layers have nothing but their number in common.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.feature_extraction import RoutingProfile, summarize_routing
    >>> even, sure = [0.5, 0.5], [1.0, 0.0]
    >>> profile = RoutingProfile.from_weights([np.array([even, sure]), np.array([even, even])])
    >>> values, names = summarize_routing(profile)
    >>> names
    ['router__mean_normalized_entropy', 'router__entropy_variance']
    >>> values.round(2)
    array([[1.  , 0.  ],
           [0.5 , 0.12]])
    """
    check_option("token_order", token_order, TOKEN_ORDERS)
    wanted = check_summaries(summaries)
    by_kind = [sites for kind in SITE_KINDS if (sites := _sites(profile, kind, token_order))]
    columns = [np.empty((len(profile), 0))]
    names: list[str] = []
    for summary in wanted:
        made = [_columns(summary, sites) for sites in by_kind]
        optional = summaries == "auto" and summary in _VARIANCES
        if not any(labels for _, labels in made) and not optional:
            _refuse_undefined(summary, by_kind)
        for values, labels in made:
            columns.append(values)
            names += labels
    return np.concatenate(columns, axis=1), names


def check_summaries(summaries: str | Sequence[str]) -> list[str]:
    """Return the summaries as a list if all are known and none is named twice."""
    if isinstance(summaries, str):
        summaries = _AUTO if summaries == "auto" else [summaries]
    wanted = list(summaries)
    for name in wanted:
        check_option("summaries", name, ROUTING_SUMMARIES)
    if len(set(wanted)) != len(wanted):
        raise ValueError(f"`summaries` names one twice: {wanted}.")
    return wanted


def constant_columns(values: ArrayLike) -> NDArray[np.bool_]:
    """Return which columns hold the same value in every row, up to rounding.

    Parameters
    ----------
    values : array-like of shape (n_samples, n_columns)
        Columns.

    Returns
    -------
    constant : ndarray of bool of shape (n_columns,)
        Whether all values lie within a hundred-thousandth of the largest size, or within a
        millionth.
    """
    array = np.asarray(values, dtype=np.float64)
    size = np.abs(array).max(axis=0, initial=_SMALLEST_SIZE)
    return np.ptp(array, axis=0) <= _CONSTANT_SHARE * size


def _sites(profile: RoutingProfile, kind: str, token_order: str) -> _Sites | None:
    """Return the sites of one kind that have a choice, or None."""
    chosen = [
        position
        for position, site in enumerate(profile.sites)
        if site.kind == kind and site.n_routes > 1
    ]
    if not chosen:
        return None
    weights = [profile.site_weights(position).astype(np.float64) for position in chosen]
    if token_order == "weights_first":
        statistics = np.stack([route_statistics(array) for array in weights], axis=1)
    else:
        statistics = profile.token_statistics[:, chosen].astype(np.float64)
    load = [profile.site_load(position) for position in chosen] if kind == "router" else []
    labels = [profile.sites[position].label for position in chosen]
    return _Sites(kind, labels, weights, load, statistics)


def _columns(summary: str, sites: _Sites) -> tuple[FloatArray, list[str]]:
    """Return the columns of one summary for the sites of one kind; none if it is not defined."""
    if summary in _ALL_ROUTES:
        values, names = _all_routes(summary, sites)
    elif summary in _PER_SITE:
        values = _values(_PER_SITE[summary], sites)
        names = [f"{label}__{summary}" for label in sites.labels][: values.shape[1]]
    else:
        values = _over_sites(summary, sites)
        names = [f"{sites.kind}__{summary}"][: values.shape[1]]
    if np.isnan(values).any():
        raise ValueError(
            f"`summaries` asks for {summary!r}, but which experts were selected is not known at "
            "every router. Use summaries of the weights, or register the router with its selection."
        )
    return values, names


def _values(entry: tuple[tuple[str, ...], _Summary], sites: _Sites) -> FloatArray:
    kinds, function = entry
    return function(sites) if sites.kind in kinds else np.empty((len(sites.statistics), 0))


def _over_sites(summary: str, sites: _Sites) -> FloatArray:
    values = _values((_MEANS | _VARIANCES)[summary], sites)
    if values.shape[1] < (2 if summary in _VARIANCES else 1):
        return values[:, :0]
    over = np.mean if summary in _MEANS else np.var
    return over(values, axis=1)[:, None]


def _all_routes(summary: str, sites: _Sites) -> tuple[FloatArray, list[str]]:
    arrays = sites.weights if summary == "weights" else sites.load
    if not arrays:
        return np.empty((len(sites.statistics), 0)), []
    word = summary.removesuffix("s")
    names = [
        f"{label}__{word}_{route}"
        for label, array in zip(sites.labels, arrays, strict=True)
        for route in range(array.shape[1])
    ]
    return np.concatenate(arrays, axis=1), names


def _refuse_undefined(summary: str, by_kind: list[_Sites]) -> None:
    there = " and ".join(f"{len(sites.labels)} {sites.kind} sites" for sites in by_kind)
    raise ValueError(
        f"`summaries` asks for {summary!r}, which is not defined for this network: it has "
        f"{there or 'no site with more than one route'}."
    )
