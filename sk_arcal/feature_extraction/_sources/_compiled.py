"""Modules that ``torch.compile`` wraps."""

from torch import nn


def uncompiled(module: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` wraps, which computes the same function.

    Parameters
    ----------
    module : Module
        Any.

    Returns
    -------
    module : Module
        The same one if it is not compiled.
    """
    is_compiled = type(module).__module__.startswith("torch._dynamo")
    return module._modules.get("_orig_mod") or module if is_compiled else module
