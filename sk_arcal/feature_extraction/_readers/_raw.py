"""Routing of one batch, token by token, for the person who wants to see it."""

from typing import TYPE_CHECKING, Any

from sk_arcal._routing import RouteSite
from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._readers._evaluating import evaluating
from sk_arcal.feature_extraction._readers._routes import Routes

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_routing(
    module: "nn.Module", *args: Any, attention_mask: "Tensor | None" = None, **kwargs: Any
) -> list[tuple[RouteSite, Routes]]:
    """Run a network once and return what every router and depth site did, token by token.

    Parameters
    ----------
    module : torch.nn.Module
        A model of transformers, a module that describes its routes, or one whose routers were
        registered by :func:`register_router` or :func:`register_depth_site`. It runs in
        evaluation mode without gradients, and is left in the mode it was in.
    *args
        Positional arguments of its forward. The first tensor among all arguments says how many
        rows there are.
    attention_mask : Tensor of shape (n_rows, n_tokens), default=None
        One at real tokens, zero at padding. Handed on to the module, and kept as `mask` of the
        routes: what a site did for padding is in the tensors, and means nothing.
    **kwargs
        Keyword arguments of its forward.

    Returns
    -------
    sites : list of (RouteSite, Routes)
        In the order in which the network reached them.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If no argument is a tensor, the module has no site that is known, or the tokens of a site
        cannot be shared out among the rows.

    Warns
    -----
    ExtractionWarning
        If the routes of a row depend on the rows beside it.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.feature_extraction import read_routing
    >>> class Gate(torch.nn.Linear):
    ...     route_kind = "router"
    ...     def read_routes(self, args, output):
    ...         return {"logits": output}
    >>> rows = torch.zeros(2, 3)
    >>> [(site, routes)] = read_routing(torch.nn.Sequential(Gate(3, 4)), rows)
    >>> site.label, site.n_routes
    ('router_l00', 4)
    >>> routes.weights.shape
    torch.Size([2, 1, 4])
    """
    torch = import_optional("torch", extra="torch", caller="read_routing")
    from sk_arcal.feature_extraction._readers._recording import recording

    if attention_mask is not None:
        kwargs["attention_mask"] = attention_mask
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    if not tensors or not tensors[0].ndim:
        raise ValueError(
            "`read_routing` needs at least one tensor among the arguments of the module, with "
            "rows along its first axis."
        )
    with (
        evaluating(module),
        torch.inference_mode(),
        recording(module, len(tensors[0]), attention_mask) as recorder,
    ):
        module(*args, **kwargs)
    return recorder.sites()
