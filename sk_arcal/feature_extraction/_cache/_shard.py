"""A shard: rows that were written together, in one file that is whole or damaged, and says which.

Head
    An array of (key, checksum), and the header of the values, both in numpy's format.
Values
    As that header says, row by row.
Tail
    Length and CRC-32 of the head, as ``<QI``.

So the head is trusted only when its checksum and the size of the file agree, and a row when its own
checksum does. Two calls of ``np.load`` on the open file read it without this library.
"""

import contextlib
import io
import os
import struct
import time
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sk_arcal.feature_extraction._cache._row_digest import DIGEST_SIZE, Digests
from sk_arcal.feature_extraction._documents import TEMPORARY

SUFFIX = ".shard"
FLOATS = (np.dtype("<f4"), np.dtype("<f8"))

_ENTRY = np.dtype([("key", "u1", DIGEST_SIZE), ("checksum", "<u4")])
_TAIL = struct.Struct("<QI")
# A use is noted in the file's time of change, but not at every reading.
_SECONDS_BETWEEN_TOUCHES = 60.0

# Float32 or float64.
Values = NDArray[Any]


class DamagedShardError(Exception):
    """A file is no whole shard; the sentence says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Where the rows of one file lie, and how to tell that they are intact.

    Attributes
    ----------
    path : Path
        The file.
    n_bytes : int
        Its size.
    offset : int
        Where the values begin.
    shape : tuple of (int, int)
        Rows and columns.
    dtype : dtype
        Kind of the values.
    checksums : ndarray of shape (n_rows,) of uint32
        CRC-32 of the bytes of every row.
    """

    path: Path
    n_bytes: int
    offset: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    checksums: NDArray[np.uint32]

    def read(self, rows: NDArray[np.integer[Any]]) -> tuple[Values, NDArray[np.bool_]]:
        """Read some rows, and note that the shard was used.

        Parameters
        ----------
        rows : ndarray of shape (n_wanted,) of int
            Which, at least one; rows that follow each other in the file are read at once.

        Returns
        -------
        values : ndarray of shape (n_wanted, n_columns)
            Float32 or float64.
        intact : ndarray of shape (n_wanted,) of bool
            False for a row that changed since it was written.

        Raises
        ------
        OSError
            If the file cannot be read; `FileNotFoundError` if it is gone.
        DamagedShardError
            If its size has changed.
        """
        values = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        with open(self.path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size != self.n_bytes:
                raise DamagedShardError(f"it has {status.st_size} bytes instead of {self.n_bytes}")
            self._read_into(values, rows, file)
        _touch(self.path, status.st_mtime)
        return values, row_checksums(values) == self.checksums[rows]

    def _read_into(self, values: Values, rows: NDArray[Any], file: io.BufferedReader) -> None:
        """Read rows one stretch after the other.

        Not through a memory map: where a file on a network disk goes away under a map, the
        process dies, and where it goes away under a read, there is an error to handle.
        """
        size = self.dtype.itemsize * self.shape[1]
        target = values.data.cast("B")
        edges = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        for start, stop in pairwise(edges):
            file.seek(self.offset + int(rows[start]) * size)
            file.readinto(target[start * size : stop * size])


def write_shard(folder: Path, keys: Digests, values: Values) -> Shard:
    """Write rows to a new file that appears when it is whole.

    Parameters
    ----------
    folder : Path
        An existing folder.
    keys : ndarray of shape (n_rows, 16) of uint8
        Digests.
    values : ndarray of shape (n_rows, n_columns), little-endian float32 or float64
        At least one row and one column, in C order.

    Returns
    -------
    shard : Shard
        As reading it would give.

    Raises
    ------
    OSError
        If the file cannot be written; nothing of it is left.
    """
    entries = np.empty(len(keys), dtype=_ENTRY)
    entries["key"] = keys
    entries["checksum"] = row_checksums(values)
    head = _head(entries, values)
    name = uuid4().hex
    temporary = folder / (name + TEMPORARY)
    path = folder / (name + SUFFIX)
    try:
        with open_new(temporary) as file:
            file.write(head)
            file.write(values.data.cast("B"))
            file.write(_TAIL.pack(len(head), zlib.crc32(head)))
        # Not forced to the disk first: a power cut leaves a file that is found to be damaged, and
        # its rows can be made again.
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    n_bytes = len(head) + values.nbytes + _TAIL.size
    return Shard(path, n_bytes, len(head), values.shape, values.dtype, entries["checksum"].copy())


def open_new(path: Path) -> BinaryIO:
    """Create a file that nobody has."""
    return open(path, "xb")


def open_shard(path: Path) -> tuple[Shard, Digests]:
    """Read what a file holds, without its values.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    shard : Shard
        Where the rows lie.
    keys : ndarray of shape (n_rows, 16) of uint8
        Their digests.

    Raises
    ------
    OSError
        If the file cannot be read; `FileNotFoundError` if it is gone.
    DamagedShardError
        If it is truncated, is no shard at all, or its head has changed.
    """
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        head = _checked_head(file, n_bytes)
    entries, shape, dtype = _parse(head)
    expected = len(head) + int(np.prod(shape)) * dtype.itemsize + _TAIL.size
    if n_bytes != expected:
        raise DamagedShardError(f"it has {n_bytes} bytes instead of {expected}")
    shard = Shard(path, n_bytes, len(head), shape, dtype, entries["checksum"].copy())
    return shard, entries["key"].copy()


def row_checksums(values: Values) -> NDArray[np.uint32]:
    """Return the CRC-32 of the bytes of every row.

    Faster than a cryptographic hash, and it misses one in 2^32 of the accidents it is for.
    """
    size = values.itemsize * values.shape[1]
    if not len(values):
        return np.empty(0, dtype=np.uint32)
    content = values.data.cast("B")
    sums = (zlib.crc32(content[start : start + size]) for start in range(0, len(content), size))
    return np.fromiter(sums, dtype=np.uint32, count=len(values))


def _head(entries: NDArray[Any], values: Values) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, entries, version=(1, 0))
    npy.write_array_header_1_0(buffer, npy.header_data_from_array_1_0(values))
    return buffer.getvalue()


def _checked_head(file: BinaryIO, n_bytes: int) -> bytes:
    """Return the head of a file if the tail agrees that it is the head of a shard."""
    if n_bytes < _TAIL.size:
        raise DamagedShardError(f"it has {n_bytes} bytes only")
    file.seek(n_bytes - _TAIL.size)
    length, checksum = _TAIL.unpack(file.read(_TAIL.size))
    if length > n_bytes - _TAIL.size:
        raise DamagedShardError("its end is missing or no end of a shard")
    file.seek(0)
    head = file.read(length)
    if zlib.crc32(head) != checksum:
        raise DamagedShardError("its keys do not have the checksum that was written with them")
    return head


def _parse(head: bytes) -> tuple[NDArray[Any], tuple[int, int], np.dtype[Any]]:
    buffer = io.BytesIO(head)
    try:
        entries = npy.read_array(buffer, allow_pickle=False)
        npy.read_magic(buffer)
        shape, by_column, dtype = npy.read_array_header_1_0(buffer)
    except ValueError as error:
        raise DamagedShardError(f"it is no shard ({error})") from None
    sound = entries.dtype == _ENTRY and dtype in FLOATS and not by_column
    if not sound or len(shape) != 2 or entries.shape != shape[:1] or buffer.tell() != len(head):
        raise DamagedShardError("it is no shard of this version")
    return entries, shape, dtype


def _touch(path: Path, last: float) -> None:
    now = time.time()
    if now - last < _SECONDS_BETWEEN_TOUCHES:
        return
    try:
        os.utime(path)
    except OSError:
        # Gone, or someone else's: then someone else decides how long it stays.
        return
