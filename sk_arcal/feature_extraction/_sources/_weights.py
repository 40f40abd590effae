"""Weights of a safetensors file put into a module that was built without them."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def put_weights(module: nn.Module, path: Path) -> None:
    """Let the tensors of a module be those of a file, mapped where the precision is the same.

    Tied tensors stay tied, and a file needs to hold them under one of their names only, as
    ``safetensors.torch.save_model`` writes it.

    Parameters
    ----------
    module : Module
        Changed in place.
    path : Path
        A safetensors file.

    Raises
    ------
    ValueError
        If the file is none, or names or shapes do not match.
    """
    try:
        loaded = load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is no safetensors file: {error}.") from error
    own = module.state_dict(keep_vars=True)
    new = {
        id(own[name]): _like(own[name], values) for name, values in loaded.items() if name in own
    }
    tensors = {name: value for name, value in own.items() if isinstance(value, torch.Tensor)}
    missing = sorted(name for name, value in tensors.items() if id(value) not in new)
    unexpected = sorted(loaded.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"{path} does not fit the {type(module).__name__} that the factory builds: it lacks "
            f"{_some(missing)}, and holds {_some(unexpected)} that the module does not have."
        )
    try:
        module.load_state_dict({k: new.get(id(v), v) for k, v in own.items()}, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit the {type(module).__name__} that the factory builds: {error}"
        ) from error


def _like(own: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    values = values.to(own.dtype)
    return nn.Parameter(values, own.requires_grad) if isinstance(own, nn.Parameter) else values


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "nothing"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
