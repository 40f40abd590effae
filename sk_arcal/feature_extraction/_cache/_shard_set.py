"""The shards of one folder, as this process knows them."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.feature_extraction._cache._row_digest import Digests
from sk_arcal.feature_extraction._cache._row_index import RowIndex
from sk_arcal.feature_extraction._cache._shard import (
    SUFFIX,
    DamagedShardError,
    Shard,
    Values,
    open_shard,
    write_shard,
)
from sk_arcal.feature_extraction._warning import ExtractionWarning


class ShardSet:
    """Finds rows among shards that other processes add and remove all the time.

    Parameters
    ----------
    folder : Path
        Where the shards lie; it need not exist yet.

    Attributes
    ----------
    form : tuple of (int, dtype) or None
        Columns and kind of all values, once there are any.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.form: tuple[int, np.dtype[Any]] | None = None
        self._index = RowIndex()
        self._shards: dict[int, Shard] = {}
        self._numbers: dict[str, int] = {}
        self._unusable: set[str] = set()
        self._next = 0

    @property
    def n_rows(self) -> int:
        """Number of rows that are known; one that lies in two shards counts twice."""
        return len(self._index)

    def refresh(self) -> None:
        """Notice what came and what went since the last look."""
        names = self._listing()
        self.forget(self._numbers.keys() - names)
        new = sorted(names - self._numbers.keys() - self._unusable)
        self.add(filter(None, map(self._open, new)))

    def add(self, shards: Iterable[tuple[Shard, Digests]]) -> None:
        """Take up shards.

        Parameters
        ----------
        shards : iterable of (Shard, ndarray of shape (n_rows, 16))
            Shards and the keys of their rows.

        Raises
        ------
        ValueError
            If their values have another width or kind than those known.
        """
        entries = []
        for shard, keys in shards:
            self.check_form(shard.shape[1], shard.dtype, f"{shard.path} holds")
            self.form = (shard.shape[1], shard.dtype)
            self._shards[self._next] = shard
            self._numbers[shard.path.name] = self._next
            entries.append((self._next, keys))
            self._next += 1
        self._index.add(entries)

    def forget(self, names: Iterable[str]) -> None:
        """Drop shards that are gone, by the names of their files."""
        numbers = [self._numbers.pop(name) for name in list(names) if name in self._numbers]
        self._index.drop(numbers)
        for number in numbers:
            del self._shards[number]
        if not self._shards:
            self.form = None

    def check_form(self, width: int, dtype: np.dtype[Any], what: str) -> None:
        """Raise if values are not as those known; `what` begins the sentence."""
        if self.form is not None and self.form != (width, dtype):
            known, kind = self.form
            raise ValueError(
                f"{what} rows of {width} {dtype} values, but those known of {self.folder} have "
                f"{known} {kind} values. The settings of a namespace must state everything that "
                "its rows depend on; state it, or delete that folder."
            )

    def read(self, keys: Digests) -> tuple[Values, NDArray[np.bool_]]:
        """Read the rows of some keys.

        Parameters
        ----------
        keys : ndarray of shape (n_rows, 16)
            Digests.

        Returns
        -------
        values : ndarray of shape (n_rows, n_columns)
            NaN in rows that are absent.
        found : ndarray of shape (n_rows,) of bool
            Whether the row is present and intact.
        """
        self.refresh()
        width, dtype = self.form or (0, np.dtype("<f4"))
        values = np.full((len(keys), width), np.nan, dtype=dtype)
        found = np.zeros(len(keys), dtype=bool)
        wanted = np.arange(len(keys))
        # Again for what vanished on the way: a merged shard has the same rows under a new name.
        while wanted.size:
            number, row = self._index.find(keys[wanted])
            there = number >= 0
            wanted, number, row = wanted[there], number[there], row[there]
            lost = []
            for at in _by_shard(number, row):
                got = self._read_shard(self._shards[number[at[0]]], row[at])
                if got is None:
                    lost.append(at)
                else:
                    values[wanted[at]] = got
                    found[wanted[at]] = True
            if not lost:
                break
            self.forget([self._shards[number[at[0]]].path.name for at in lost])
            self.refresh()
            wanted = wanted[np.concatenate(lost)]
        return values, found

    def load(self, path: Path) -> tuple[Digests, Values] | None:
        """Read all intact rows of a shard; None if it is gone or was no good."""
        opened = self._open(path.name)
        if opened is None:
            return None
        shard, keys = opened
        values = self._read_shard(shard, np.arange(shard.shape[0]))
        return None if values is None else (keys, values)

    def _listing(self) -> set[str]:
        try:
            return {name for name in os.listdir(self.folder) if name.endswith(SUFFIX)}
        except FileNotFoundError:
            return set()

    def _open(self, name: str) -> tuple[Shard, Digests] | None:
        with self._failures_noted(self.folder / name):
            return open_shard(self.folder / name)
        return None

    def _read_shard(self, shard: Shard, rows: NDArray[Any]) -> Values | None:
        """Return the values if all of them are intact."""
        with self._failures_noted(shard.path):
            values, intact = shard.read(rows)
            if intact.all():
                return values
            raise DamagedShardError(
                f"{np.count_nonzero(~intact)} of {len(rows)} rows do not have the checksum that "
                "was written with them"
            )
        return None

    @contextlib.contextmanager
    def _failures_noted(self, path: Path) -> Iterator[None]:
        """Go on without a shard: silently if it is gone, else with one warning."""
        try:
            yield
        except FileNotFoundError:
            # Evicted, or merged with others, by this or another process.
            return
        except DamagedShardError as error:
            self._unusable.add(path.name)
            self._replace_by_intact_rows(path)
            problem = f"is damaged: {error}. What it lost"
        except OSError as error:
            self._unusable.add(path.name)
            problem = f"cannot be read: {error}. What it holds"
        else:
            return
        warnings.warn(
            f"The shard {path} {problem} will be computed again.", ExtractionWarning, stacklevel=2
        )

    def _replace_by_intact_rows(self, path: Path) -> None:
        """Save what can be saved of a damaged shard, and remove it."""
        # Where the folder cannot be written, the shard stays and this process ignores it.
        with contextlib.suppress(OSError):
            with contextlib.suppress(DamagedShardError):
                shard, keys = open_shard(path)
                values, intact = shard.read(np.arange(shard.shape[0]))
                if intact.any():
                    write_shard(self.folder, keys[intact], values[intact])
            path.unlink()


def _by_shard(number: NDArray[Any], row: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return positions, those of one shard together and in the order of its rows."""
    if not number.size:
        return []
    order = np.lexsort((row, number))
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
