"""Hooks for the time of a forward pass, and what they saw."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from sk_arcal._routing import RouteSite
from sk_arcal._validation import check_integer
from sk_arcal.feature_extraction._readers._finding import FoundSite, find_sites
from sk_arcal.feature_extraction._readers._precision import in_float32
from sk_arcal.feature_extraction._readers._routes import Routes
from sk_arcal.feature_extraction._readers._scoring import explain
from sk_arcal.feature_extraction._readers._shapes import as_routes
from sk_arcal.feature_extraction._warning import ExtractionWarning


@dataclass(frozen=True)
class _Call:
    """One call of a site: what came of its routes, and how many there were."""

    found: FoundSite
    suffix: str
    n_routes: int
    result: Any


class Recorder:
    """What the sites of a module did since the recording began, or since `next_batch`.

    Made by :func:`recording`.

    Parameters
    ----------
    n_rows : int
        Number of rows in the batch.
    mask : Tensor of shape (n_rows, n_tokens) or None
        Real tokens.
    each : callable or None
        Applied to the routes of every call.
    """

    def __init__(
        self, n_rows: int, mask: Tensor | None, each: Callable[[Routes], Any] | None
    ) -> None:
        self._each = each
        self._owner = get_ident()
        self._scoring: dict[str, str] = {}
        self._known: list[RouteSite] | None = None
        self._begin(n_rows, mask)

    def _begin(self, n_rows: int, mask: Tensor | None) -> None:
        self._n_rows = check_integer("n_rows", n_rows, low=1)
        self._mask = None if mask is None else mask.bool()
        self._calls: list[_Call] = []

    def next_batch(self, n_rows: int, mask: Tensor | None = None) -> None:
        """Forget the calls so far; the hooks stay.

        Parameters
        ----------
        n_rows : int
            Number of rows in the next batch.
        mask : Tensor of shape (n_rows, n_tokens), default=None
            Real tokens of the next batch.

        Raises
        ------
        ValueError
            If there is no row.
        """
        self._begin(n_rows, mask)

    def sites(self) -> list[tuple[RouteSite, Any]]:
        """Return every site with its routes, in the order in which they were called.

        Returns
        -------
        sites : list of (RouteSite, Routes)
            One entry per call; what `each` made of the routes if it was given. The sites of a
            module that was called several times are told apart by "_call0", "_call1" and so on.

        Raises
        ------
        ValueError
            If no site was called, or others than in an earlier batch.
        """
        total = Counter((call.found.label, call.suffix) for call in self._calls)
        before: Counter[tuple[str, str]] = Counter()
        sites = []
        for call in self._calls:
            key = (call.found.label, call.suffix)
            label = "".join(key) + (f"_call{before[key]}" if total[key] > 1 else "")
            before[key] += 1
            found = call.found
            sites.append(RouteSite(label, found.kind, call.n_routes, found.path, found.layer))
        self._check(sites)
        self._known = sites
        return [(site, call.result) for site, call in zip(sites, self._calls, strict=True)]

    def _check(self, sites: list[RouteSite]) -> None:
        if not sites:
            raise ValueError(
                "No router and no depth site was called. The module that is recorded has to run, "
                "in the same thread; of a compiled module, that is the one it was made from "
                "(`_orig_mod`)."
            )
        if self._known is not None and self._known != sites:
            then = {(site.label, site.n_routes) for site in self._known}
            now = {(site.label, site.n_routes) for site in sites}
            differ = sorted(then ^ now)[:4]
            raise ValueError(
                f"The batches reach different sites: {len(self._known)} before and {len(sites)} "
                f"now; they differ in {differ or 'their order'}. Columns need the same sites for "
                "all rows."
            )

    def hook(self, found: FoundSite) -> Callable[..., None]:
        """Return the forward hook of a site."""

        def see(module: nn.Module, args: tuple, *rest: Any) -> None:
            # Another thread may run the same module; its rows are not ours.
            if get_ident() == self._owner:
                kwargs, output = rest
                self._see(found, _positional(module, args, kwargs), output)

        return see

    def _see(self, found: FoundSite, args: tuple, output: Any) -> None:
        for reading in found.read(found.module, args, output):
            label = found.label + reading.suffix
            if not reading.scoring and label not in self._scoring:
                self._scoring[label] = explain(reading)
            scored = replace(reading, scoring=reading.scoring or self._scoring[label])
            routes = as_routes(scored, self._n_rows, found.path or "the module", found.n_shared)
            if self._mask is not None and routes.weights.shape[:2] == self._mask.shape:
                routes = replace(routes, mask=self._mask)
            result = routes if self._each is None else self._each(routes)
            n_routes = routes.weights.shape[-1]
            self._calls.append(_Call(found, reading.suffix, n_routes, result))


@contextmanager
def recording(
    module: nn.Module,
    n_rows: int,
    mask: Tensor | None = None,
    *,
    routers_in_float32: bool = True,
    each: Callable[[Routes], Any] | None = None,
) -> Iterator[Recorder]:
    """Record the routes of every forward pass of a module while the context is open.

    The hooks see what this thread runs and change nothing but the precision of routers, if
    asked. They are gone when the context is left, however it is left.

    Parameters
    ----------
    module : Module
        With at least one router or depth site.
    n_rows : int
        Number of rows in the batch.
    mask : Tensor of shape (n_rows, n_tokens), default=None
        Real tokens; handed on with the routes of sites that have as many tokens.
    routers_in_float32 : bool, default=True
        Run routers in float32 under autocast. It decides about experts, so it moves what the
        module returns, by less than autocast itself does. Without autocast nothing is changed.
    each : callable, default=None
        Applied to the routes of every call at once, such as a pooling, so that routes per token
        need not be kept until the end. Its result takes the place of the routes.

    Yields
    ------
    recorder : Recorder
        Holds the routes after the forward pass.

    Raises
    ------
    ValueError
        If the module has no site that is known, or `n_rows` is below 1.

    Warns
    -----
    ExtractionWarning
        If the routes of a row depend on the rows or the padding beside it.
    """
    found = find_sites(module)
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no router and no depth site that is known. Pass the "
            "whole model (not a layer of it, with transformers 5 or newer), or describe the "
            "module by `register_router` or `register_depth_site`."
        )
    _warn_of_batches(found)
    recorder = Recorder(n_rows, mask, each)
    gates = [site.gate for site in found if site.gate is not None] if routers_in_float32 else []
    handles = []
    with in_float32(gates):
        try:
            for site in found:
                hook = recorder.hook(site)
                handles.append(site.module.register_forward_hook(hook, with_kwargs=True))
            yield recorder
        finally:
            for handle in handles:
                handle.remove()


def _warn_of_batches(found: list[FoundSite]) -> None:
    reasons = {site.batch_dependent: site for site in found if site.batch_dependent}
    for reason, site in reasons.items():
        warnings.warn(
            f"Routes at {site.path} and its like depend on the batch: {reason}. A row's features "
            "change with batch_size and with the rows beside it; batch_size=1 without padding "
            "makes them its own.",
            ExtractionWarning,
            stacklevel=4,
        )


def _positional(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Put keyword arguments in their place, as far as the signature allows."""
    if not kwargs:
        return args
    try:
        return signature(module.forward).bind(*args, **kwargs).args
    except TypeError:
        return args
