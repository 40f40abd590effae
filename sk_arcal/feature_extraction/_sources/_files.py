"""Files by content, and whether others can change them."""

import hashlib
import os
import stat
import time
from functools import lru_cache
from pathlib import Path

from sk_arcal.feature_extraction._folders import cache_root

# Two writes within one tick of the file system's clock have the same time.
_TICK_NS = 2_000_000_000

Stamp = tuple[int, int]


def spill_folder(chosen: Path | None = None) -> Path:
    """Return the folder for spilled modules and tokenizers; it need not exist.

    Parameters
    ----------
    chosen : Path, default=None
        Wins where it is given; otherwise ``backbones`` in the cache folder.

    Returns
    -------
    folder : Path
        Absolute.
    """
    return cache_root() / "backbones" if chosen is None else chosen


def stamp(path: Path) -> Stamp:
    """Return size and time of the last change, by which a changed file is noticed.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    stamp : tuple of int
        Bytes, and nanoseconds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read once as long as it does not change.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    digest : str
        64 hexadecimal digits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    found = path.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _TICK_NS:
        return _read(path)
    return _remembered(path, key)


@lru_cache(maxsize=1024)
def _remembered(path: Path, key: tuple[int, ...]) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_private(path: Path) -> None:
    """Raise unless the user owns a file or folder and nobody else can write to it.

    Parameters
    ----------
    path : Path
        File or folder.

    Raises
    ------
    PermissionError
        If others could have put something there.
    """
    if not hasattr(os, "getuid"):  # Windows keeps its profiles private by itself
        return
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(
            f"{path} belongs to another user, so what it holds is not loaded. Set SK_ARCAL_CACHE "
            "to a folder of your own and pickle the Backbone again; to share a network with "
            "others, use Backbone.from_factory."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"{path} can be written by others, so what it holds is not loaded. Take the right "
            f"away, chmod go-w {path}, if nobody used it."
        )
