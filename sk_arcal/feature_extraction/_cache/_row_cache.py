"""The cache of extracted rows: a folder, with one table for each kind of rows."""

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from sk_arcal._validation import check_integer
from sk_arcal.feature_extraction._cache._eviction import (
    Bound,
    clear,
    evict,
    namespaces,
    remove_leftovers,
    stored_shards,
)
from sk_arcal.feature_extraction._cache._row_table import RowTable
from sk_arcal.feature_extraction._documents import canonical_text, plain_document
from sk_arcal.feature_extraction._folders import cache_root

# Raised when a shard or its place changes; rows of other formats are then in other namespaces.
_FORMAT = 1


class RowCache:
    """A folder in which extracted rows lie, found by the content of their input.

    Processes share it without locks, also over a network: each of them sees whole rows only, and
    when one is killed, at most the batch it was writing is lost. Every row has a checksum;
    damaged ones count as absent.

    Parameters
    ----------
    folder : str or path, default=None
        Where the cache lies; the rows are in ``rows`` below it. None is the folder that the
        environment variable ``SK_ARCAL_CACHE`` names, else ``sk_arcal`` in the user's cache
        (``$XDG_CACHE_HOME`` or ``~/.cache``).
    max_bytes : int, default=None
        What the rows may take, at least 1: every write evicts the rows that were not used for
        longest, of all namespaces. What other processes write is noticed with a delay of at most
        a 64th of it. None is no bound.

    Attributes
    ----------
    folder : Path
        Where the cache lies, absolute.
    max_bytes : int or None
        What the rows may take.

    Raises
    ------
    ValueError
        If `max_bytes` is below 1.
    TypeError
        If `folder` is no path or `max_bytes` no integer.
    NotADirectoryError
        If `folder` is a file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_arcal.feature_extraction import RowCache
    >>> settings = {"backbone": "0e57", "dtype": "float32"}
    >>> keys = np.arange(48, dtype=np.uint8).reshape(3, 16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     RowCache(folder).namespace(settings).write(keys[:2], np.array([[0.5], [1.5]]))
    ...     # another process, later
    ...     RowCache(folder).namespace(settings).read(keys[1:])
    (array([[1.5],
           [nan]]), array([ True, False]))
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, max_bytes: int | None = None
    ) -> None:
        self.folder = cache_root(folder)
        self.max_bytes = None if max_bytes is None else check_integer("max_bytes", max_bytes, low=1)
        self._rows = self.folder / "rows"
        self._bound = None if self.max_bytes is None else Bound(self._rows, self.max_bytes)

    def __repr__(self) -> str:
        bound = "" if self.max_bytes is None else f", max_bytes={self.max_bytes}"
        return f"RowCache({str(self.folder)!r}{bound})"

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RowCache.__init__(self, **state)

    def namespace(self, settings: Mapping[str, Any]) -> RowTable:
        """Return the table of the rows that depend on some settings.

        Nothing is written before the first row is.

        Parameters
        ----------
        settings : mapping
            Everything but the input that a row depends on, as plain data that JSON can hold: the
            digest of the backbone, what is extracted, the precision. The order of its keys does
            not matter.

        Returns
        -------
        table : RowTable
            The rows of these settings.

        Raises
        ------
        ValueError
            If a number is not finite, or the folder of these settings says that it holds others.
        TypeError
            If JSON cannot hold the settings.
        """
        document = {"format": _FORMAT, "settings": plain_document(settings, "settings")}
        name = blake2b(canonical_text(document).encode(), digest_size=16).hexdigest()
        return RowTable(self._rows / name, document, self._bound)

    def size(self) -> int:
        """Return the bytes that all rows take on disk.

        Returns
        -------
        n_bytes : int
            Sum over all namespaces.
        """
        folders = namespaces(self._rows)
        return sum(shard.n_bytes for folder in folders for shard in stored_shards(folder))

    def evict(self, max_bytes: int) -> int:
        """Remove the rows that were not used for longest, until the others fit.

        Rows that were written together go together. Leftovers of killed processes go too.

        Parameters
        ----------
        max_bytes : int
            What the rows may take, at least 0.

        Returns
        -------
        freed : int
            Bytes of the rows that were removed; what this user may not remove stays.

        Raises
        ------
        ValueError
            If `max_bytes` is negative.
        TypeError
            If `max_bytes` is no integer.
        """
        max_bytes = check_integer("max_bytes", max_bytes, low=0)
        remove_leftovers(self._rows)
        freed, _ = evict(self._rows, max_bytes)
        return freed

    def clear(self) -> int:
        """Remove all rows of all namespaces; processes at work go on with an empty cache.

        Returns
        -------
        freed : int
            Bytes of the rows that were removed.
        """
        remove_leftovers(self._rows)
        return clear(self._rows)
