"""What belongs to a module object for as long as it lives: one lock, and its digest once known.

This is the process's own memory about modules: keyed by the object, dropped with it, and started
anew in a forked child, where a lock held by another thread of the parent would never be released.
"""

import os
import threading
from weakref import WeakKeyDictionary

from torch import nn

from sk_arcal.feature_extraction._sources._digest import fingerprint, module_digest


class Companion:
    """Lock and digest of one module.

    Attributes
    ----------
    lock : RLock
        Held while hooks are installed.
    """

    __slots__ = ("_digest", "_fingerprint", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._digest: str | None = None
        self._fingerprint = 0

    def digest_of(self, module: nn.Module) -> str:
        """Return the digest of the module, computed if it changed since the last time."""
        now = fingerprint(module)
        if self._digest is None or now != self._fingerprint:
            self._digest, self._fingerprint = module_digest(module), now
        return self._digest

    def forget(self) -> None:
        """Compute the digest anew the next time."""
        self._digest = None


class _Companions:
    """The companions of all modules that are alive."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        self._guard = threading.Lock()
        self._of: WeakKeyDictionary[nn.Module, Companion] = WeakKeyDictionary()

    def __call__(self, module: nn.Module) -> Companion:
        """Return what belongs to a module; always the same for the same object."""
        with self._guard:
            return self._of.setdefault(module, Companion())


companion = _Companions()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=companion.start_anew)
