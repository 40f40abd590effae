"""Where in a module weight is spread over routes, and how to read it there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from sk_arcal.feature_extraction._readers._depth import (
    DEPTH_CLASSES,
    read_block_attention_residual,
)
from sk_arcal.feature_extraction._readers._described import checked_reading, described
from sk_arcal.feature_extraction._readers._gates import GateRule, n_shared_experts, rule_for
from sk_arcal.feature_extraction._readers._labels import label_sites
from sk_arcal.feature_extraction._readers._registry import Parser
from sk_arcal.feature_extraction._readers._routes import Reading
from sk_arcal.feature_extraction._readers._shapes import by_query
from sk_arcal.feature_extraction._readers._transformers import DeclaredRouter, declared_routers


@dataclass(frozen=True)
class FoundSite:
    """A module whose calls tell routes.

    Attributes
    ----------
    path : str
        Where it lies in the module searched.
    module : Module
        It.
    kind : {"router", "depth"}
        What the routes are.
    read : callable(module, args, output)
        Returns readings of one call, in any layout.
    label : str
        Short name, unique among the sites found.
    layer : int or None
        Number of its block.
    gate : Module or None
        The part that may be run in float32.
    n_shared : int or None
        Experts that every token uses.
    batch_dependent : str
        Why routes depend on the batch; empty if they do not.
    """

    path: str
    module: nn.Module
    kind: str
    read: Callable[[nn.Module, tuple, Any], list[Reading]]
    label: str = ""
    layer: int | None = None
    gate: nn.Module | None = None
    n_shared: int | None = None
    batch_dependent: str = ""


def find_sites(module: nn.Module) -> list[FoundSite]:
    """Find the routers and depth sites of a module.

    What was registered or describes itself comes first, then the attention over depth of
    Inkling-2 and the routers that models of transformers declare. A declared router inside a
    described one, or around it, is left out: it would be counted twice.

    Parameters
    ----------
    module : Module
        Any module.

    Returns
    -------
    sites : list of FoundSite
        In the order of `named_modules`; empty if there are none.

    Raises
    ------
    TypeError
        If a module describes itself but not well.
    """
    own = {site.path: site for site in _described_sites(module)}
    routers = [path for path, site in own.items() if site.kind == "router"]
    found = own | {
        site.path: site
        for site in _built_in_sites(module)
        if site.path not in own
        and not (site.kind == "router" and any(_overlap(site.path, path) for path in routers))
    }
    order = [path for path, _ in module.named_modules() if path in found]
    sites = [found[path] for path in order]
    names = label_sites([site.kind for site in sites], order)
    return [
        replace(site, label=label, layer=layer)
        for site, (label, layer) in zip(sites, names, strict=True)
    ]


def _described_sites(root: nn.Module) -> Iterator[FoundSite]:
    for path, module in root.named_modules():
        entry = described(path, module)
        if entry is not None:
            kind, parse = entry
            where = f"{path or 'the module'} ({type(module).__name__})"
            yield FoundSite(path, module, kind, partial(_read_described, parse, kind, where))


def _read_described(
    parse: Parser, kind: str, where: str, module: nn.Module, args: tuple, output: Any
) -> list[Reading]:
    reading = checked_reading(parse(module, args, output), kind, where)
    return by_query(reading) if kind == "depth" else [reading]


def _built_in_sites(root: nn.Module) -> Iterator[FoundSite]:
    for path, module in root.named_modules():
        if type(module).__name__ in DEPTH_CLASSES:
            yield FoundSite(path, module, "depth", _read_depth)
    for router in declared_routers(root):
        rule = rule_for(router)
        yield FoundSite(
            router.path,
            router.module,
            "router",
            partial(_read_router, rule, router),
            gate=None if rule.gate is None else router.module.get_submodule(rule.gate),
            n_shared=n_shared_experts(router),
            batch_dependent=rule.batch_dependent,
        )


def _read_depth(module: nn.Module, args: tuple, output: Any) -> list[Reading]:
    readings = read_block_attention_residual(module, args, output)
    return [part for reading in readings for part in by_query(reading)]


def _read_router(
    rule: GateRule, router: DeclaredRouter, module: nn.Module, args: tuple, output: Any
) -> list[Reading]:
    return rule.read(router, output)


def _overlap(one: str, other: str) -> bool:
    """Whether one path leads through the other."""
    return (
        not one
        or not other
        or f"{one}.".startswith(f"{other}.")
        or f"{other}.".startswith(f"{one}.")
    )
