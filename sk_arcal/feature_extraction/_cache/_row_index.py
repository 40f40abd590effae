"""Which shard holds a row: a search among sorted keys, without an object per row."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Entries sorted by the first half of their key."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.high)

    def take(self, which: NDArray[Any]) -> Self:
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def merged(cls, runs: Iterable[Self]) -> Self:
        runs = list(runs)
        joined = cls(
            *(np.concatenate([getattr(run, field.name) for run in runs]) for field in fields(cls))
        )
        # Stable, because numpy's stable sort merges parts that are sorted already.
        return joined.take(np.argsort(joined.high, kind="stable"))

    def find(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> IntArray:
        """Return the position of every key, -1 where it is absent."""
        found = np.full(len(high), -1, dtype=np.intp)
        place = np.searchsorted(self.high, high)
        pending = np.arange(len(high))
        # One pass as a rule: a second is for keys that share their first half with another.
        while pending.size:
            pending = pending[place[pending] < len(self)]
            pending = pending[self.high[place[pending]] == high[pending]]
            hit = self.low[place[pending]] == low[pending]
            found[pending[hit]] = place[pending[hit]]
            pending = pending[~hit]
            place[pending] += 1
        return found


class RowIndex:
    """Places of rows, by their keys.

    A key may be in several shards; any of them is found, and another one once the first is
    dropped. Entries lie in runs whose lengths at least halve from one to the next, so that adding
    many small shards one by one costs O(n log n) in all, and a search looks at O(log n) runs.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, shards: Iterable[tuple[int, NDArray[np.uint8]]]) -> None:
        """Add rows.

        Parameters
        ----------
        shards : iterable of (int, ndarray of shape (n_rows, 16))
            Number of a shard, not negative, and the keys of its rows.
        """
        new = [_run(number, keys) for number, keys in shards]
        if not new:
            return
        self._runs.append(_Run.merged(new))
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) > len(self._runs[-2]):
            self._runs[-2:] = [_Run.merged(self._runs[-2:])]

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget all rows of some shards.

        Parameters
        ----------
        numbers : iterable of int
            Numbers of the shards.
        """
        gone = np.fromiter(numbers, dtype=np.int32)
        if gone.size:
            kept = (run.take(~np.isin(run.shard, gone)) for run in self._runs)
            self._runs = [run for run in kept if len(run)]

    def find(self, keys: NDArray[np.uint8]) -> tuple[IntArray, IntArray]:
        """Look keys up.

        Parameters
        ----------
        keys : ndarray of shape (n_keys, 16)
            Digests.

        Returns
        -------
        shard : ndarray of shape (n_keys,)
            Number of a shard that holds the row, -1 where there is none.
        row : ndarray of shape (n_keys,)
            Its place in that shard.
        """
        shard = np.full(len(keys), -1, dtype=np.int32)
        row = np.full(len(keys), -1, dtype=np.int32)
        high, low = _halves(keys)
        # Neighbours are looked for in neighbouring memory.
        pending = np.argsort(high)
        for run in self._runs:
            place = run.find(high[pending], low[pending])
            hit = place >= 0
            shard[pending[hit]] = run.shard[place[hit]]
            row[pending[hit]] = run.row[place[hit]]
            pending = pending[~hit]
        return shard, row


def _run(number: int, keys: NDArray[np.uint8]) -> _Run:
    high, low = _halves(keys)
    return _Run(
        high, low, np.full(len(keys), number, np.int32), np.arange(len(keys), dtype=np.int32)
    )


def _halves(keys: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    words = np.ascontiguousarray(keys).view("<u8")
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
