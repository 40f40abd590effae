"""Routing as arrays: where a network chooses, and what every row's choices look like.

A *site* is one place where a network spreads weight over routes: a router over its experts, or
a depth site over earlier depths. The number of routes differs between sites, so their weights lie
side by side in one flat array.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from sk_arcal._validation import (
    ROW_SUM_TOLERANCE,
    FloatArray,
    check_finite,
    check_integer,
    check_length,
    check_option,
)

SITE_KINDS = ("router", "depth")
# What is computed for every token before tokens are reduced, in this order.
TOKEN_STATISTICS = ("entropy", "max_weight", "margin", "effective_routes")
# How the tokens of a row become one: their mean, the first, or the last.
TOKEN_REDUCTIONS = ("mean", "cls", "last")


@dataclass(frozen=True, slots=True)
class RouteSite:
    """One place in a network where weight is spread over routes.

    Attributes
    ----------
    label : str
        Short name, unique within the network; part of column names, such as "router_l03".
    kind : {"router", "depth"}
        What the routes are: experts, or earlier depths (route 0 is the embedding).
    n_routes : int
        Number of routes.
    path : str
        Where in the module it lies, such as "model.layers.3.mlp.gate".
    layer : int or None
        Number of the block, read from the path; None for a site outside the blocks.

    Raises
    ------
    ValueError
        If `kind` is none of the two or there is no route.
    TypeError
        If `n_routes` is no integer.

    Examples
    --------
    >>> from sk_arcal.feature_extraction import RouteSite
    >>> RouteSite("router_l03", "router", 8).n_routes
    8
    """

    label: str
    kind: str
    n_routes: int
    path: str = ""
    layer: int | None = None

    def __post_init__(self) -> None:
        check_option("kind", self.kind, SITE_KINDS)
        check_integer("n_routes", self.n_routes, low=1)


@dataclass(frozen=True, eq=False, repr=False)
class RoutingProfile:
    """Routing weights of some rows at all sites of a network, tokens reduced.

    Made by :meth:`RoutingFeatureExtractor.extract` and, from arrays of one's own, by
    :meth:`from_weights`. :func:`summarize_routing` turns it into columns.

    Attributes
    ----------
    sites : tuple of RouteSite
        In the order in which the network reaches them.
    weights : ndarray of shape (n_samples, n_routes_of_all_sites)
        Weight of every route, site after site; each site's sum to one.
    token_statistics : ndarray of shape (n_samples, n_sites, 4)
        Entropy (nats), largest weight, margin between the two largest and exp(entropy), computed
        for every token and then reduced. Equal to those of `weights` where there is one token.
    load : ndarray of shape (n_samples, n_experts_of_all_routers)
        Share of a row's selections that went to each expert, router after router; NaN where the
        selection is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.feature_extraction import RoutingProfile
    >>> profile = RoutingProfile.from_weights([np.array([[0.5, 0.5], [0.9, 0.1]])])
    >>> profile.site_weights(0)
    array([[0.5, 0.5],
           [0.9, 0.1]])
    """

    sites: tuple[RouteSite, ...]
    weights: FloatArray
    token_statistics: FloatArray
    load: FloatArray

    @classmethod
    def from_weights(
        cls,
        weights: Sequence[ArrayLike],
        *,
        kind: str = "router",
        labels: Sequence[str] | None = None,
    ) -> "RoutingProfile":
        """Build a profile from one array of weights per site.

        Parameters
        ----------
        weights : sequence of array-like
            Of shape (n_samples, n_routes) or (n_samples, n_tokens, n_routes), not negative,
            summing to one over the routes; sites may differ in their number of routes. Tokens are
            averaged.
        kind : {"router", "depth"}, default="router"
            What the routes are.
        labels : sequence of str, default=None
            Names of the sites; by default "router_l00", "router_l01" and so on.

        Returns
        -------
        profile : RoutingProfile
            Without known selections.

        Raises
        ------
        ValueError
            If there is no site, shapes do not fit, weights are negative or do not sum to one, or
            labels repeat.
        """
        check_option("kind", kind, SITE_KINDS)
        arrays = [_checked_weights(array, site) for site, array in enumerate(weights)]
        if not arrays:
            raise ValueError("`weights` is empty; one array of weights per site is needed.")
        for site, array in enumerate(arrays):
            check_length(f"weights[{site}]", array, len(arrays[0]))
        names = _distinct_labels(labels, kind, len(arrays))
        sites = tuple(
            RouteSite(name, kind, array.shape[2], layer=layer)
            for layer, (name, array) in enumerate(zip(names, arrays, strict=True))
        )
        n_experts = sum(site.n_routes for site in sites if site.kind == "router")
        return cls(
            sites,
            np.concatenate([array.mean(axis=1) for array in arrays], axis=1),
            np.stack([route_statistics(array).mean(axis=1) for array in arrays], axis=1),
            np.full((len(arrays[0]), n_experts), np.nan),
        )

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        kinds = [site.kind for site in self.sites]
        counts = ", ".join(f"{kinds.count(k)} {k} sites" for k in SITE_KINDS if k in kinds)
        return f"RoutingProfile({len(self)} rows, {counts})"

    def site_weights(self, site: int | str) -> FloatArray:
        """Return the weights at one site.

        Parameters
        ----------
        site : int or str
            Position or label.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_routes)
            A view, not a copy.

        Raises
        ------
        ValueError
            If there is no such site.
        """
        position = self._position(site)
        start = sum(other.n_routes for other in self.sites[:position])
        return self.weights[:, start : start + self.sites[position].n_routes]

    def site_load(self, site: int | str) -> FloatArray:
        """Return the share of selections per expert at one router.

        Parameters
        ----------
        site : int or str
            Position or label.

        Returns
        -------
        load : ndarray of shape (n_samples, n_routes)
            A view; sums to one, or NaN where selections are not known.

        Raises
        ------
        ValueError
            If there is no such site, or it is no router.
        """
        position = self._position(site)
        if self.sites[position].kind != "router":
            raise ValueError(f"{self.sites[position].label} is no router; it selects nothing.")
        before = [other.n_routes for other in self.sites[:position] if other.kind == "router"]
        start = sum(before)
        return self.load[:, start : start + self.sites[position].n_routes]

    def padded(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the weights as one array, with zeros where a site has fewer routes.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_sites, most_routes)
            Zero beyond a site's routes.
        mask : ndarray of bool of shape (n_sites, most_routes)
            Where routes exist.
        """
        most = max(site.n_routes for site in self.sites)
        mask = np.array([np.arange(most) < site.n_routes for site in self.sites])
        padded = np.zeros((len(self), len(self.sites), most), dtype=self.weights.dtype)
        padded[:, mask] = self.weights
        return padded, mask

    def take(self, rows: slice | NDArray[np.intp]) -> "RoutingProfile":
        """Return some of the rows.

        Parameters
        ----------
        rows : slice or ndarray of int
            Which.

        Returns
        -------
        profile : RoutingProfile
            The same sites.
        """
        return RoutingProfile(
            self.sites, self.weights[rows], self.token_statistics[rows], self.load[rows]
        )

    @classmethod
    def concatenate(cls, parts: "Sequence[RoutingProfile]") -> "RoutingProfile":
        """Join profiles of the same network, in order.

        Parameters
        ----------
        parts : sequence of RoutingProfile
            At least one.

        Returns
        -------
        profile : RoutingProfile
            Of all their rows.

        Raises
        ------
        ValueError
            If their sites differ.
        """
        if len({part.sites for part in parts}) != 1:
            raise ValueError("Profiles can be joined only if their sites are the same.")
        return cls(
            parts[0].sites,
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.token_statistics for part in parts]),
            np.concatenate([part.load for part in parts]),
        )

    def _position(self, site: int | str) -> int:
        labels = [known.label for known in self.sites]
        if isinstance(site, str) and site in labels:
            return labels.index(site)
        if isinstance(site, int) and -len(labels) <= site < len(labels):
            return site % len(labels)
        raise ValueError(f"`site` is {site!r}; the sites are {labels}.")


def route_statistics(weights: FloatArray) -> FloatArray:
    """Return the four statistics of distributions over routes.

    Parameters
    ----------
    weights : ndarray of shape (..., n_routes)
        Not negative, summing to one over the last axis.

    Returns
    -------
    statistics : ndarray of shape (..., 4)
        Entropy in nats, largest weight, largest less second largest (1 with a single route), and
        exp(entropy), in the order of ``TOKEN_STATISTICS``.
    """
    entropy = entr(weights).sum(axis=-1)
    if weights.shape[-1] == 1:
        largest, second = weights[..., 0], np.zeros_like(weights[..., 0])
    else:
        top = np.partition(weights, -2, axis=-1)
        largest, second = top[..., -1], top[..., -2]
    return np.stack([entropy, largest, largest - second, np.exp(entropy)], axis=-1)


def _checked_weights(weights: ArrayLike, site: int) -> FloatArray:
    array = np.asarray(weights, dtype=np.float64)
    name = f"weights[{site}]"
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"`{name}` must have shape (n_samples, n_routes) or (n_samples, n_tokens, n_routes) "
            f"and hold something; got {np.shape(weights)}."
        )
    check_finite(array, name)
    total = array.sum(axis=-1)
    if (array < 0).any() or np.abs(total - 1).max() > ROW_SUM_TOLERANCE:
        raise ValueError(
            f"`{name}` must hold weights: not negative and summing to one over the last axis. "
            "Take the softmax of logits first."
        )
    return array / total[..., None]


def _distinct_labels(labels: Sequence[str] | None, kind: str, n_sites: int) -> list[str]:
    if labels is None:
        return [f"{kind}_l{layer:02d}" for layer in range(n_sites)]
    names = list(labels)
    if len(names) != n_sites or len(set(names)) != n_sites:
        raise ValueError(f"`labels` must be {n_sites} different names; got {names}.")
    return names
