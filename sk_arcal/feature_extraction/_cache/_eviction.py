"""Keep a cache small: what was not used for longest goes first, and leftovers go."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sk_arcal.feature_extraction._cache._shard import SUFFIX
from sk_arcal.feature_extraction._documents import TEMPORARY

# A folder on its way out: renamed first, so that nobody writes into what is being deleted.
_TRASH = ".trash"
_NAMESPACE = re.compile(r"[0-9a-f]{32}")
# A writer takes seconds; a file that is older belongs to one that was killed.
_OLD_SECONDS = 3600.0
# A writer at the bound makes a sixteenth of room at once, and looks again after a 64th at most.
_EVICTED_AT_ONCE = 16
_LOOKS = 64


@dataclass(frozen=True, order=True, slots=True)
class StoredFile:
    """A file of the cache, in the order in which files go."""

    last_use: int
    path: str
    n_bytes: int


def namespaces(rows: Path) -> list[Path]:
    """Return the folders of all namespaces, sorted."""
    found = (entry for entry in _entries(rows) if _NAMESPACE.fullmatch(entry.name))
    return sorted(Path(entry.path) for entry in found)


def stored_shards(folder: Path) -> list[StoredFile]:
    """Return all shards of one namespace."""
    return list(_stored(folder, SUFFIX))


def evict(
    rows: Path, max_bytes: int, *, aim: int | None = None, keep: Path | None = None
) -> tuple[int, int]:
    """Remove shards, the least recently used first, if all together exceed a bound.

    Parameters
    ----------
    rows : Path
        Folder of the namespaces.
    max_bytes : int
        What the shards may take together.
    aim : int, default=None
        What is to be left of them if they take more; `max_bytes` if None.
    keep : Path, default=None
        A shard that stays unless it exceeds `max_bytes` alone.

    Returns
    -------
    freed : int
        Bytes of the shards that were removed; those that may not be removed stay.
    left : int
        Bytes of the others.
    """
    shards = [shard for folder in namespaces(rows) for shard in stored_shards(folder)]
    total = left = sum(shard.n_bytes for shard in shards)
    if total > max_bytes:
        aim = max_bytes if aim is None else aim
        for shard in sorted(shards):
            kept = keep is not None and shard.path == str(keep) and shard.n_bytes <= max_bytes
            if left > aim and not kept and _remove(shard.path):
                left -= shard.n_bytes
    return total - left, left


def clear(rows: Path) -> int:
    """Remove all namespaces, and return the bytes of their shards."""
    freed = 0
    for folder in namespaces(rows):
        n_bytes = sum(shard.n_bytes for shard in stored_shards(folder))
        trash = folder.with_name(uuid4().hex + _TRASH)
        try:
            os.rename(folder, trash)
        except FileNotFoundError:
            continue
        shutil.rmtree(trash, ignore_errors=True)
        freed += n_bytes
    return freed


def remove_leftovers(rows: Path) -> None:
    """Remove what killed processes left: folders half deleted, files half written."""
    for entry in _entries(rows):
        if entry.name.endswith(_TRASH):
            shutil.rmtree(entry.path, ignore_errors=True)
    oldest = (time.time() - _OLD_SECONDS) * 1e9
    for folder in namespaces(rows):
        for file in _stored(folder, TEMPORARY):
            if file.last_use < oldest:
                _remove(file.path)


class Bound:
    """Keeps a cache below a size, without listing it after every write.

    Parameters
    ----------
    rows : Path
        Folder of the namespaces.
    max_bytes : int
        What the shards may take together. Shards of other processes are noticed whenever this one
        has written a 64th of it.

    Attributes
    ----------
    evicted_at_once : int
        Room that is made when there is none; no shard should be merged to more.
    """

    def __init__(self, rows: Path, max_bytes: int) -> None:
        self.rows, self.max_bytes = rows, max_bytes
        self.evicted_at_once = max_bytes // _EVICTED_AT_ONCE
        self._room = 0

    def note(self, path: Path, n_bytes: int) -> None:
        """Take account of a shard just written, and evict others if need be."""
        self._room -= n_bytes
        if self._room >= 0:
            return
        aim = self.max_bytes - self.evicted_at_once
        _, left = evict(self.rows, self.max_bytes, aim=aim, keep=path)
        self._room = min(self.max_bytes - left, self.max_bytes // _LOOKS)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        # What cannot be listed can be neither counted nor removed.
        return []


def _stored(folder: Path, suffix: str) -> Iterator[StoredFile]:
    for entry in _entries(folder):
        if entry.name.endswith(suffix):
            # It may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                yield StoredFile(status.st_mtime_ns, entry.path, status.st_size)


def _remove(path: str) -> bool:
    """Remove a file, and return whether it is gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
