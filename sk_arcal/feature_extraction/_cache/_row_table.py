"""Rows of one kind: those that depend on the same settings and differ by their input alone."""

import contextlib
import copy
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import check_length
from sk_arcal.feature_extraction._cache._eviction import Bound
from sk_arcal.feature_extraction._cache._failed_write import failed_write_explained
from sk_arcal.feature_extraction._cache._row_digest import DIGEST_SIZE, Digests
from sk_arcal.feature_extraction._cache._shard import FLOATS, Shard, Values, write_shard
from sk_arcal.feature_extraction._cache._shard_set import ShardSet
from sk_arcal.feature_extraction._documents import plain_document, read_document, write_once
from sk_arcal.feature_extraction._folders import make_private
from sk_arcal.feature_extraction._warning import ExtractionWarning

SETTINGS_FILE = "settings.json"
LAYOUT_FILE = "layout.json"
# Shards are merged up to this size: enough to be read at full speed, little enough to be evicted.
_MERGED_BYTES = 64_000_000

_T = TypeVar("_T")


class RowTable:
    """Rows that depend on the same settings; made by :meth:`RowCache.namespace`.

    Any number of processes may read, write, merge and evict at the same time, and threads may
    share one table.

    Parameters
    ----------
    folder : Path
        Where the rows lie; it is created by the first write.
    document : dict
        What stands in its ``settings.json``.
    bound : Bound, default=None
        Told of every write.

    Attributes
    ----------
    folder : Path
        Where the rows lie.

    See Also
    --------
    RowCache : Makes it, with an example.
    """

    def __init__(self, folder: Path, document: dict[str, Any], bound: Bound | None = None) -> None:
        self.folder = folder
        self._document = document
        self._bound = bound
        self._shards = ShardSet(folder)
        self._layout: dict[str, Any] | None = None
        self._own: dict[Path, int] = {}
        self._exists = False
        # Between the threads of this process; processes need none.
        self._lock = threading.RLock()
        self._refuse_other_settings(read_document(folder / SETTINGS_FILE))

    def __repr__(self) -> str:
        return f"RowTable({str(self.folder)!r}, n_rows={self.n_rows})"

    @property
    def n_rows(self) -> int:
        """Rows known at the last look; one that lies in two shards counts twice."""
        return self._shards.n_rows

    @property
    def layout(self) -> dict[str, Any] | None:
        """What the columns of a row mean; None if nobody has said so.

        Can be set, to plain data that JSON can hold: whoever does so first, decides, and a
        different one is refused.

        Raises
        ------
        ValueError
            If another layout is there, or a number is not finite.
        TypeError
            If JSON cannot hold it.
        OSError
            If it cannot be written.
        """
        if self._layout is None:
            self._layout = read_document(self.folder / LAYOUT_FILE)
        return copy.deepcopy(self._layout)

    @layout.setter
    def layout(self, layout: Mapping[str, Any]) -> None:
        plain = plain_document(layout, "layout")
        with failed_write_explained(self.folder, len(str(plain))):
            self._in_folder(lambda: self._write_layout(plain))

    def refresh(self) -> None:
        """Look for what other processes wrote and removed; `read` does so by itself.

        Raises
        ------
        ValueError
            If rows of different widths have come together.
        """
        with self._lock:
            self._shards.refresh()

    def read(self, keys: Digests) -> tuple[Values, NDArray[np.bool_]]:
        """Read the rows of some inputs.

        Parameters
        ----------
        keys : ndarray of shape (n_rows, 16) of uint8
            Their digests, from :func:`row_digests`.

        Returns
        -------
        values : ndarray of shape (n_rows, n_columns), float32 or float64
            As they were written, bit by bit; NaN where a row is absent. Without any row in the
            table there are no columns.
        found : ndarray of shape (n_rows,) of bool
            Whether the row is there. One whose checksum fails is not, and is warned about.

        Raises
        ------
        ValueError
            If the keys do not have this shape, or rows of different widths have come together.
        TypeError
            If the keys are no array of uint8.
        """
        keys = _checked_keys(keys)
        with self._lock:
            return self._shards.read(keys)

    def write(self, keys: Digests, values: Values) -> None:
        """Save rows, all of them or none.

        Parameters
        ----------
        keys : ndarray of shape (n_rows, 16) of uint8
            Digests of the inputs.
        values : ndarray of shape (n_rows, n_columns), float32 or float64
            Of the same width and kind as all other rows of the table.

        Raises
        ------
        ValueError
            If a shape is not as described, or the width or kind not that of the other rows.
        TypeError
            If the keys are not uint8 or the values neither float32 nor float64.
        OSError
            If they cannot be written; what was saved before is intact.
        """
        keys = _checked_keys(keys)
        values = _checked_values(values)
        check_length("values", values, len(keys))
        if not len(keys):
            return
        with self._lock:
            if self._shards.form is None:
                self._shards.refresh()
            self._shards.check_form(values.shape[1], values.dtype, "`values` has")
            with failed_write_explained(self.folder, keys.nbytes + values.nbytes):
                shard = self._save(keys, values)
            self._note(shard)

    def compact(self) -> None:
        """Merge the shards that this table wrote, so that they are read faster.

        Only its own, so that processes that do so at the same time do not copy each other's. A
        reader finds every row before, during and after it.
        """
        with self._lock:
            limit = _MERGED_BYTES
            if self._bound is not None:
                limit = min(limit, self._bound.evicted_at_once)
            for group in _groups(dict(self._own), limit):
                try:
                    self._merge(group)
                except OSError as error:
                    # Nothing is lost and nothing is wrong, so nothing is raised.
                    warnings.warn(
                        f"Shards in {self.folder} could not be merged: {error}. Their rows are "
                        "intact.",
                        ExtractionWarning,
                        stacklevel=2,
                    )
                    return

    def _merge(self, paths: list[Path]) -> None:
        loaded = [rows for path in paths if (rows := self._shards.load(path)) is not None]
        if len(loaded) > 1:
            keys, values = (np.concatenate(parts) for parts in zip(*loaded, strict=True))
            # Until the old ones are gone every row is there twice, which does no harm.
            merged = self._save(keys, values)
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink()
            self._note(merged)
        for path in paths:
            del self._own[path]

    def _save(self, keys: Digests, values: Values) -> Shard:
        shard = self._in_folder(lambda: write_shard(self.folder, keys, values))
        self._shards.add([(shard, keys)])
        self._own[shard.path] = shard.n_bytes
        return shard

    def _note(self, shard: Shard) -> None:
        if self._bound is not None:
            self._bound.note(shard.path, shard.n_bytes)

    def _in_folder(self, write: Callable[[], _T], attempts: int = 5) -> _T:
        """Write something into the folder, again if another process clears it meanwhile."""
        try:
            if not self._exists:
                self._create()
            return write()
        except FileNotFoundError:
            if attempts == 1:
                raise
            self._exists = False
            return self._in_folder(write, attempts - 1)

    def _create(self) -> None:
        """Make the folder and what says what it is."""
        make_private(self.folder)
        self._refuse_other_settings(write_once(self.folder / SETTINGS_FILE, self._document))
        if self._layout is not None:
            self._write_layout(self._layout)
        self._exists = True

    def _refuse_other_settings(self, stored: Any) -> None:
        if stored is not None and stored != self._document:
            raise ValueError(
                f"{self.folder / SETTINGS_FILE} does not hold the settings that its folder is "
                "named after, so the rows beside it cannot be trusted; delete that folder."
            )

    def _write_layout(self, layout: dict[str, Any]) -> None:
        stored = write_once(self.folder / LAYOUT_FILE, layout)
        if stored != layout:
            raise ValueError(
                f"The rows in {self.folder} have the layout {stored}, and the one given is "
                f"{layout}. The settings of a namespace must state everything that the layout "
                "depends on; state it, or delete that folder."
            )
        self._layout = layout


def _groups(sizes: Mapping[Path, int], limit: int) -> Iterator[list[Path]]:
    """Yield paths to merge, at least two at a time; shards that are large enough stay."""
    group: list[Path] = []
    total = 0
    for path, n_bytes in sizes.items():
        if n_bytes > limit // 4:
            continue
        if total + n_bytes > limit:
            yield group
            group, total = [], 0
        group.append(path)
        total += n_bytes
    if len(group) > 1:
        yield group


def _checked_keys(keys: Any) -> Digests:
    if not isinstance(keys, np.ndarray) or keys.dtype != np.uint8:
        kind = keys.dtype if isinstance(keys, np.ndarray) else type(keys).__name__
        raise TypeError(f"`keys` must be an array of uint8, from `row_digests`; got {kind}.")
    if keys.ndim != 2 or keys.shape[1] != DIGEST_SIZE:
        raise ValueError(f"`keys` must have shape (n_rows, {DIGEST_SIZE}); got {keys.shape}.")
    return keys


def _checked_values(values: Any) -> Values:
    dtype = np.dtype(getattr(values, "dtype", object)).newbyteorder("<")
    if not isinstance(values, np.ndarray) or dtype not in FLOATS:
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"`values` must be an array of float32 or float64; got {kind}.")
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(
            f"`values` must have shape (n_rows, n_columns) with at least one column; got "
            f"{values.shape}."
        )
    return np.ascontiguousarray(values, dtype=dtype)
