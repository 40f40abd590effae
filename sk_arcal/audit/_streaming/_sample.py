"""A uniform sample of the rows of a stream, without replacement, whose size is fixed.

Every row gets a random key, and the rows with the smallest keys are kept. Keys depend on the seed,
the number of the shard and the position of the row in it, not on how the shard is cut into chunks;
the smallest keys of several shards are the smallest of their union. (Bottom-k sampling: E. Cohen
and H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._rows import UnderstoodRows, joined


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows with their keys, from one shard."""

    keys: FloatArray
    shard: NDArray[np.intp]
    rows: UnderstoodRows

    def take(self, kept: NDArray[np.intp]) -> "_Part":
        return _Part(self.keys[kept], self.shard[kept], self.rows.take(kept))


class RowSample:
    """The rows with the smallest keys.

    Parameters
    ----------
    size : int
        Rows to keep.
    seed : int
        The same for all shards.
    shard : int
        Number of this one.
    """

    def __init__(self, size: int, seed: int, shard: int) -> None:
        self.size, self.shard = size, shard
        self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(shard,)))
        self._parts: list[_Part] = []
        self._limit = np.inf

    def add(self, rows: UnderstoodRows, n_read: int, first: int) -> None:
        """Add rows of a chunk.

        Parameters
        ----------
        rows : UnderstoodRows
            Rows that take part.
        n_read : int
            Rows of the chunk, each of which uses up a key.
        first : int
            Position of the first of these.
        """
        keys = self._rng.random(n_read)
        if len(rows) < n_read:
            keys = keys[rows.place - first]
        found = np.flatnonzero(keys < self._limit)
        if len(found) > self.size:
            found = np.sort(found[np.argpartition(keys[found], self.size)[: self.size]])
        if len(found):
            shard = np.full(len(found), self.shard, dtype=np.intp)
            self._parts.append(_Part(keys[found], shard, rows.take(found)))
            self._forget(2 * self.size)

    def merge(self, other: "RowSample") -> None:
        """Add the rows of another shard."""
        self._parts += other._parts
        self._forget(2 * self.size)

    def rows(self) -> UnderstoodRows:
        """Return the sample in the order of shards and rows."""
        self._forget(self.size)
        (whole,) = self._parts
        return whole.rows

    def _forget(self, most: int) -> None:
        """Drop what is surely not among the smallest once more than `most` rows are held."""
        if sum(len(part.keys) for part in self._parts) <= most and most > self.size:
            return
        whole = _Part(
            np.concatenate([part.keys for part in self._parts]),
            np.concatenate([part.shard for part in self._parts]),
            joined([part.rows for part in self._parts]),
        )
        kept = np.arange(len(whole.keys))
        if len(kept) > self.size:
            kept = np.argpartition(whole.keys, self.size)[: self.size]
            self._limit = float(whole.keys[kept].max())
        order = np.lexsort((whole.rows.place[kept], whole.shard[kept]))
        self._parts = [whole.take(kept[order])]
