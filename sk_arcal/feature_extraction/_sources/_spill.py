"""A module on disk, for other processes: weights that can be mapped, and a skeleton.

One folder per digest, for its owner alone::

    <folder>/<digest>/weights.safetensors    every tensor once, under the first of its names
    <folder>/<digest>/skeleton               all the rest, by cloudpickle; tensors by reference
    <folder>/<digest>/meta.json              SHA-256 of both

A folder appears complete or not at all. Whoever maps the weights shares their memory with every
other process that does. The skeleton is a pickle, so it is loaded only from a folder that nobody
else can write to, and only if it is the very one whose SHA-256 the handle carries.
"""

import hashlib
import io
import json
import pickle
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sk_arcal.feature_extraction._folders import make_private
from sk_arcal.feature_extraction._sources._code import path_of
from sk_arcal.feature_extraction._sources._digest import named_tensors
from sk_arcal.feature_extraction._sources._files import check_private, file_digest
from sk_arcal.feature_extraction._sources._transformers_state import (
    MARKS_OF_HOOKS,
    register_outputs,
)

WEIGHTS, SKELETON, META = "weights.safetensors", "skeleton", "meta.json"
_SCHEMA = 1


def spill(thing: Any, digest: str, folder: Path) -> str:
    """Write a module or tokenizer to disk unless it is there.

    Parameters
    ----------
    thing : object
        Module, or anything that cloudpickle takes.
    digest : str
        Its digest.
    folder : Path
        Where the folder named by the digest lies; created for its owner alone.

    Returns
    -------
    sha256 : str
        Of the skeleton.

    Raises
    ------
    TypeError
        If a part cannot be pickled, or safetensors has no such precision.
    PermissionError
        If somebody else can write to the folder.
    """
    target = folder / digest
    if (known := _intact(target)) is not None:
        return known
    make_private(folder)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        sha256 = _write(thing, temporary)
        if _publish(temporary, target):
            return sha256
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    # Another process was first, and the names in its skeleton may stand in another order.
    return spill(thing, digest, folder)


def is_complete(target: Path) -> bool:
    """Return whether a folder has its files; what is in them is not looked at.

    Parameters
    ----------
    target : Path
        Folder named by a digest.

    Returns
    -------
    complete : bool
        Whether it can be read at all.
    """
    return all((target / name).is_file() for name in (WEIGHTS, SKELETON, META))


def read(target: Path, skeleton_sha256: str) -> Any:
    """Return what lies in a folder; its tensors are mapped, not copied.

    Parameters
    ----------
    target : Path
        Folder named by a digest.
    skeleton_sha256 : str
        What the skeleton has to hash to.

    Returns
    -------
    thing : object
        As it was spilled.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    PermissionError
        If somebody else owns the folder or can write to it.
    ValueError
        If the skeleton is not the one expected.
    """
    for name in (SKELETON, WEIGHTS):
        if not (target / name).is_file():
            raise FileNotFoundError(f"{target / name} is missing.")
        check_private(target / name)
    check_private(target)
    skeleton = (target / SKELETON).read_bytes()
    if hashlib.sha256(skeleton).hexdigest() != skeleton_sha256:
        raise ValueError(
            f"{target / SKELETON} is not what was written there: its SHA-256 differs from the one "
            "in the handle. It is not loaded. Delete the folder and pickle the Backbone again."
        )
    with safe_open(target / WEIGHTS, framework="pt", device="cpu") as weights:
        thing = _Reader(io.BytesIO(skeleton), weights).load()
    if isinstance(thing, nn.Module):
        register_outputs(thing)
    return thing


# --- writing -------------------------------------------------------------------------------------


class _Writer(cloudpickle.Pickler):
    """Pickles everything but tensors, which it collects, and hooks, which it leaves out."""

    def __init__(self, file: Any, thing: Any) -> None:
        super().__init__(file, protocol=5)
        self.tensors: dict[str, torch.Tensor] = {}
        self._keys: dict[int, str] = {}
        self._names: dict[int, str] = {}
        for name, tensor in named_tensors(thing) if isinstance(thing, nn.Module) else ():
            self._names.setdefault(id(tensor), name)

    def persistent_id(self, value: Any) -> tuple[str, bool, bool] | None:
        """Return what stands for a tensor in the skeleton."""
        if not isinstance(value, torch.Tensor):
            return None
        key = self._keys.get(id(value))
        if key is None:
            key = self._names.get(id(value), f"tensor {len(self._keys)}")
            self._keys[id(value)] = key
            self.tensors[key] = value
        return key, isinstance(value, nn.Parameter), value.requires_grad and value.is_leaf

    def reducer_override(self, value: Any) -> Any:
        """Reduce modules without the hooks of users."""
        if isinstance(value, nn.Module):
            return _without_hooks(value.__reduce_ex__(5))
        return super().reducer_override(value)


def _without_hooks(reduced: Any) -> Any:
    """Drop hooks from the state of a module, but those by which torch computes weights."""
    if not (isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], dict)):
        return reduced
    state = {name: value for name, value in reduced[2].items() if name not in MARKS_OF_HOOKS}
    for name, hooks in state.items():
        if name.startswith("_") and "_hooks" in name and isinstance(hooks, dict):
            state[name] = OrderedDict((k, hook) for k, hook in hooks.items() if _is_torchs(hook))
    return (*reduced[:2], state, *reduced[3:])


def _is_torchs(hook: Any) -> bool:
    # torch wraps the hooks of users for loading state in a class of its own.
    hook = getattr(hook, "hook", hook)
    where = path_of(hook) if callable(getattr(hook, "__code__", None)) else path_of(type(hook))
    return where.startswith("torch.")


def _write(thing: Any, temporary: Path) -> str:
    _refuse_dispatched(thing)
    skeleton = io.BytesIO()
    writer = _Writer(skeleton, thing)
    try:
        writer.dump(thing)
    except Exception as error:
        raise TypeError(_why_not(thing, error)) from error
    try:
        save_file(_separate(writer.tensors), temporary / WEIGHTS)
    except KeyError as error:
        raise TypeError(
            f"A tensor of the module has the precision {error}, which safetensors cannot write. "
            "Use Backbone.from_factory, with a function that builds the module."
        ) from error
    (temporary / SKELETON).write_bytes(skeleton.getvalue())
    sha256 = hashlib.sha256(skeleton.getvalue()).hexdigest()
    meta = {"schema": _SCHEMA, SKELETON: sha256, WEIGHTS: file_digest(temporary / WEIGHTS)}
    (temporary / META).write_text(json.dumps(meta), encoding="utf-8")
    for written in temporary.iterdir():
        written.chmod(0o600)
    return sha256


def _refuse_dispatched(thing: Any) -> None:
    for name, part in thing.named_modules() if isinstance(thing, nn.Module) else ():
        if hasattr(part, "_hf_hook"):
            raise TypeError(
                f"`{name}` is moved about by accelerate, for the devices of this process. Use "
                "Backbone.from_pretrained, or call accelerate.hooks.remove_hook_from_module with "
                "recurse=True before the module becomes a Backbone."
            )


def _separate(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in memory that each own theirs, as the format asks for."""
    owned, seen = {}, set()
    for key, tensor in tensors.items():
        values = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
        if values.untyped_storage().data_ptr() in seen:
            values = values.clone()
        seen.add(values.untyped_storage().data_ptr())
        owned[key] = values
    return owned


def _why_not(thing: Any, error: Exception) -> str:
    """Name the attribute that keeps a module from being written."""
    parts = thing.named_modules() if isinstance(thing, nn.Module) else [("", thing)]
    culprits = (
        f"`{f'{prefix}.{name}'.lstrip('.')}` of the {type(thing).__name__}"
        for prefix, part in parts
        for name, value in getattr(part, "__dict__", {}).items()
        if name != "_modules" and "_hooks" not in name and not _can_be_written(value)
    )
    what = next(culprits, f"The {type(thing).__name__}")
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return (
        f"{what} cannot be sent to another process: {reason}. Take it out, or use "
        "Backbone.from_factory, with a function that builds the module."
    )


def _can_be_written(value: Any) -> bool:
    try:
        _Writer(io.BytesIO(), None).dump(value)
    except Exception:
        return False
    return True


def _publish(temporary: Path, target: Path) -> bool:
    """Give a whole folder its name; False if another process was first."""
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    return True


# --- reading -------------------------------------------------------------------------------------


def _intact(target: Path) -> str | None:
    """Return the SHA-256 of the skeleton if a folder is whole; a damaged one is removed."""
    if not target.is_dir():
        return None
    check_private(target)
    try:
        meta = json.loads((target / META).read_text(encoding="utf-8"))
        if all(file_digest(target / name) == meta[name] for name in (SKELETON, WEIGHTS)):
            return str(meta[SKELETON])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(target, ignore_errors=True)
    return None


class _Reader(pickle.Unpickler):
    """Builds what the skeleton says, with tensors from the file of weights."""

    def __init__(self, file: Any, weights: Any) -> None:
        super().__init__(file)
        self._weights = weights
        self._made: dict[str, torch.Tensor] = {}

    def persistent_load(self, reference: Any) -> torch.Tensor:
        """Return the tensor that a reference stands for; the same one every time."""
        key, is_parameter, requires_grad = reference
        if key not in self._made:
            values = self._weights.get_tensor(key)
            self._made[key] = (
                nn.Parameter(values, requires_grad)
                if is_parameter
                else values.requires_grad_(requires_grad)
            )
        return self._made[key]
