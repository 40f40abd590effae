"""Modules that the user has taught the library to read; torch is not needed to register."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Parser = Callable[[Any, tuple, Any], Any]
_P = TypeVar("_P", bound=Parser)
_Key = type | str

# Registering is a statement about classes, so it holds for the process. One entry per class.
_REGISTERED: dict[_Key, tuple[str, Parser]] = {}


def register_router(class_or_name: type | str, parse: Parser | None = None) -> Any:
    """Teach the library to read a router.

    Every module of that class becomes a site of kind "router"; what is registered wins over the
    rules the library has. The same name again replaces the earlier entry.

    Parameters
    ----------
    class_or_name : type or str
        Class of the module that decides, or its name, with or without the module it is defined
        in; subclasses count. A name that begins with a dot is the end of a path instead:
        ".mlp.gate" reads every module whose path ends so, whatever its class.
    parse : callable(module, args, output), default=None
        Called after each forward of the module, with its positional arguments (keyword arguments
        are put in their place) and what it returned. Returns a mapping with

        * "logits", or "weights" (not negative, summing to one), or both: shape (n_rows, n_tokens,
          n_routes), (n_rows * n_tokens, n_routes), or (n_rows, n_routes) without token axis;
        * if known "selected", indices of the experts used, and "selected_weights", the factors
          the model combines them with, both with n_selected in place of n_routes;
        * if only "logits" are given, "scoring": "softmax" (default), "sigmoid" or "sqrtsoftplus".

        None returns a decorator.

    Returns
    -------
    parse : callable
        `parse` itself, or the decorator.

    Raises
    ------
    TypeError
        If `class_or_name` is neither a class nor a name, or `parse` cannot be called.
    ValueError
        If the name is empty.

    See Also
    --------
    register_depth_site : The same for attention over depth.

    Notes
    -----
    Registrations hold for one process. Workers that are started afresh, such as joblib's, do not
    have them unless the module that registers is imported there; put the call beside the class.
    A module can do without: with an attribute ``route_kind = "router"`` and a method
    ``read_routes(args, output)`` that returns the mapping above, it describes itself wherever it
    goes.

    Examples
    --------
    >>> from sk_arcal.feature_extraction import register_router
    >>> @register_router("MyTopTwoGate")
    ... def parse(module, args, output):
    ...     logits, selected = output
    ...     return {"logits": logits, "selected": selected}
    """
    return _register("router", class_or_name, parse, "parse")


def register_depth_site(class_or_name: type | str, weights: Parser | None = None) -> Any:
    r"""Teach the library to read attention over depth.

    Every module of that class becomes a site of kind "depth": it mixes what earlier layers wrote
    with weights that sum to one. What is registered wins over the rules the library has.

    Parameters
    ----------
    class_or_name : type or str
        Class of the module that mixes, its name, or the end of its path; see
        :func:`register_router`.
    weights : callable(module, args, output), default=None
        Returns the weights: a tensor of shape (n_rows, n_tokens, n_sources), or (n_rows, n_tokens,
        n_queries, n_sources) if several queries attend, each of which becomes a site of its own
        (three are called q, k and v), or (n_rows, n_sources) without token axis. Sources in the
        order of depth, the embedding first. None returns a decorator.

    Returns
    -------
    weights : callable
        `weights` itself, or the decorator.

    Raises
    ------
    TypeError
        If `class_or_name` is neither a class nor a name, or `weights` cannot be called.
    ValueError
        If the name is empty.

    See Also
    --------
    register_router : The same for routers over experts; its notes hold here too.

    Notes
    -----
    An attention residual scores sources :math:`v_i` by a learned query w and mixes them with

    .. math:: \alpha_i = \operatorname{softmax}_i\, w^\top \mathrm{norm}(v_i).

    Where a module holds the norm and w as a linear map to one number, and is called with the
    finished blocks and the running sum (the way of Kimi K3), this reads it::

        @register_depth_site("KimiK3AttentionResidual")
        def weights(module, args, output):
            blocks, partial = args
            sources = torch.stack([*blocks, partial], dim=-2)
            return module.proj(module.norm(sources)).squeeze(-1).softmax(dim=-1)

    Where a function does the mixing and only the linear map is a module, its output holds the
    scores; it is found by the end of its path::

        @register_depth_site(".mlp_res_proj")
        def weights(module, args, output):
            return output.squeeze(-1).softmax(dim=-1)

    Both assume the sources along the second axis from the end; move them there first if they are
    stacked in front.

    Examples
    --------
    >>> from sk_arcal.feature_extraction import register_depth_site
    >>> @register_depth_site("MyDepthAttention")
    ... def weights(module, args, output):
    ...     mixed, alpha = output
    ...     return alpha
    """
    return _register("depth", class_or_name, weights, "weights")


def registered(path: str, module: Any) -> tuple[str, Parser] | None:
    """Return kind and parser for a module, the most specific of what was registered.

    Parameters
    ----------
    path : str
        Where it lies.
    module : torch.nn.Module
        The module.

    Returns
    -------
    entry : (str, callable) or None
        None if nothing fits.
    """
    if not _REGISTERED:
        return None
    return next((_REGISTERED[key] for key in _keys(path, module) if key in _REGISTERED), None)


def n_registered() -> int:
    """Return how many classes, names and paths are registered in this process."""
    return len(_REGISTERED)


def forget(class_or_name: type | str) -> None:
    """Undo a registration, if there is one."""
    _REGISTERED.pop(class_or_name, None)


def _keys(path: str, module: Any) -> Iterator[_Key]:
    words = path.split(".")
    for start in range(len(words)):
        yield "." + ".".join(words[start:])
    for cls in type(module).__mro__:
        yield cls
        yield f"{cls.__module__}.{cls.__qualname__}"
        yield cls.__name__


def _register(kind: str, key: _Key, parse: _P | None, name: str) -> Any:
    if not isinstance(key, (type, str)):
        raise TypeError(
            f"`class_or_name` must be a class, its name, or the end of a path; got {key!r}."
        )
    if not key:
        raise ValueError("`class_or_name` is empty; it must name a class or the end of a path.")

    def keep(function: _P) -> _P:
        if not callable(function):
            raise TypeError(
                f"`{name}` must be a function of (module, args, output); got {function!r}."
            )
        _REGISTERED[key] = (kind, function)
        return function

    return keep if parse is None else keep(parse)
