"""A module that is in memory."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sk_arcal.feature_extraction._sources._companions import companion
from sk_arcal.feature_extraction._sources._compiled import uncompiled
from sk_arcal.feature_extraction._sources._digest import device_of, named_tensors
from sk_arcal.feature_extraction._sources._files import spill_folder
from sk_arcal.feature_extraction._sources._source import NO_DOCUMENT, Source
from sk_arcal.feature_extraction._sources._spill import is_complete, spill
from sk_arcal.feature_extraction._sources._spilled import SpilledSource


class LiveSource(Source):
    """A module in memory; used as it is, never moved, never copied but to another device.

    Parameters
    ----------
    module : Module
        The module.
    folder : Path or None
        Where it is spilled when it is pickled; None is the user's cache folder.
    """

    def __init__(self, module: nn.Module, folder: Path | None) -> None:
        self._module, self._folder, self._process = module, folder, os.getpid()
        self._spilled: dict[Path, str] = {}

    def __repr__(self) -> str:
        return type(self._module).__name__

    def digest(self) -> str:
        return companion(self._module).digest_of(self._module)

    def load(self) -> nn.Module:
        # Only a fork takes a live module to another process; a pickle takes a reference.
        if os.getpid() != self._process:
            self._warn_of_fork()
        return self._module

    def module(self) -> nn.Module:
        return self.load()

    def to_dict(self) -> dict[str, Any]:
        raise TypeError(NO_DOCUMENT)

    def device(self) -> str:
        return device_of(self._module)

    def refresh(self) -> None:
        companion(self._module).forget()

    def __reduce__(self) -> tuple[Any, ...]:
        digest, folder = self.digest(), spill_folder(self._folder)
        target = folder / digest
        if target not in self._spilled or not is_complete(target):
            self._spilled[target] = spill(uncompiled(self._module), digest, folder)
        return SpilledSource(str(folder), digest, self._spilled[target], self.device()).__reduce__()

    def _warn_of_fork(self) -> None:
        advice = "Start processes with joblib's loky or multiprocessing's spawn instead of fork."
        if any(tensor.is_cuda for _, tensor in named_tensors(self._module)):
            raise RuntimeError(
                f"This process was forked from the one that put {self!r} on a GPU, and CUDA does "
                f"not survive a fork. {advice}"
            )
        if torch.get_num_threads() > 1:
            warnings.warn(
                f"This process was forked from the one that holds {self!r}. If torch computed with "
                f"several threads there, it will wait here for threads that do not exist. {advice}",
                RuntimeWarning,
                stacklevel=5,
            )
