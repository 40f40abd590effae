"""A name for a row of input that depends on its content alone."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint8]

DIGEST_SIZE = 16
# Rows are hashed from a copy in C order, made for so many bytes at a time.
_BLOCK = 1 << 22
# The longest floats of a platform carry bytes that nobody sets.
_WITHOUT_DEFINED_BYTES = "gG"


def row_digests(rows: Any) -> Digests:
    """Return a digest of 16 bytes for every row of input.

    Two rows have the same digest if and only if they are equal, as far as any program will ever
    see: by chance, two among :math:`10^9` different rows share one with probability
    :math:`10^{-21}`. The digest does not depend on the process, the machine, the other rows, or
    the order in which an array lies in memory.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, ...), sequence of str, or sequence of arrays of int
        Input of a network, one row each. For an array the kind of number and the shape of a row
        enter the digest. Sequences of integers, such as tokens, may differ in length and have the
        same digest whatever their kind of integer.

    Returns
    -------
    digests : ndarray of shape (n_samples, 16) of uint8
        BLAKE2b of the rows [1]_.

    Raises
    ------
    ValueError
        If an array has no rows to tell apart (shape ``()``), or a sequence of integers is not
        1-dimensional or leaves the range of 64-bit integers.
    TypeError
        If the rows are none of these.

    Notes
    -----
    Bytes are compared, so 0.0 and -0.0 are different rows, and so is each kind of NaN.

    References
    ----------
    .. [1] M.-J. Saarinen and J.-P. Aumasson. "The BLAKE2 Cryptographic Hash and Message
       Authentication Code". RFC 7693, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.feature_extraction._cache import row_digests
    >>> digests = row_digests(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    >>> digests.shape
    (3, 16)
    >>> bool((digests[0] == digests[2]).all()), bool((digests[0] == digests[1]).all())
    (True, False)
    """
    parts: Iterable[bytes | memoryview]
    if isinstance(rows, np.ndarray) and not _holds_objects(rows):
        parts = _array_bytes(rows)
        head = f"array {_little_endian(rows.dtype).str} {rows.shape[1:]}"
    else:
        rows = _as_sequence(rows)
        is_text = bool(len(rows)) and isinstance(rows[0], str)
        parts = _text_bytes(rows) if is_text else _integer_bytes(rows)
        head = "text" if is_text else "integers"
    # The byte of zero ends the head, so that no row can continue it.
    return _digests(head.encode() + b"\0", parts)


def _holds_objects(array: NDArray[Any]) -> bool:
    return array.ndim == 1 and array.dtype.kind in "OUT"


def _digests(head: bytes, parts: Iterable[bytes | memoryview]) -> Digests:
    start = blake2b(head, digest_size=DIGEST_SIZE)
    found = bytearray()
    for part in parts:
        digest = start.copy()
        digest.update(part)
        found += digest.digest()
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, DIGEST_SIZE)


def _array_bytes(rows: NDArray[Any]) -> Iterable[memoryview]:
    if rows.dtype.kind not in "biufc" or rows.dtype.char in _WITHOUT_DEFINED_BYTES:
        raise TypeError(f"The rows to digest must hold numbers; got an array of {rows.dtype}.")
    if rows.ndim == 0:
        raise ValueError(
            "The rows to digest must have shape (n_samples, ...); got a single number."
        )
    return _slices(rows)


def _slices(rows: NDArray[Any]) -> Iterable[memoryview]:
    """Yield the bytes of every row, in the same order on every machine."""
    size = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    step = max(1, _BLOCK // max(size, 1))
    dtype = _little_endian(rows.dtype)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        content = memoryview(block.astype(dtype, copy=False).tobytes())
        for row in range(len(block)):
            yield content[row * size : (row + 1) * size]


def _little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _as_sequence(rows: Any) -> Sequence[Any]:
    if isinstance(rows, np.ndarray):
        return rows.tolist()
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence):
        raise TypeError(
            "The rows to digest must be an array, a sequence of texts or a sequence of integer "
            f"arrays; got {type(rows).__name__}."
        )
    return rows


def _text_bytes(texts: Sequence[Any]) -> Iterable[bytes]:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Row {row} to digest is a {type(text).__name__}, the first is a text.")
        yield text.encode("utf-8", "surrogatepass")


def _integer_bytes(sequences: Sequence[Any]) -> Iterable[bytes]:
    for row, sequence in enumerate(sequences):
        array = np.asarray(sequence)
        if array.dtype.kind not in "iu" and array.size:
            raise TypeError(
                f"Row {row} to digest must be a sequence of integers like the first; got "
                f"{sequence!r:.80}."
            )
        if array.ndim != 1:
            raise ValueError(f"Row {row} to digest must be 1-dimensional; got {array.shape}.")
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"Row {row} to digest holds {array.max()}, beyond 64-bit integers.")
        yield array.astype("<i8").tobytes()
