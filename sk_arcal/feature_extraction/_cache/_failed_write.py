"""What to say where rows cannot be saved."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sk_arcal.feature_extraction._cache._sizes import format_size
from sk_arcal.feature_extraction._folders import ENVIRONMENT

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def failed_write_explained(folder: Path, n_bytes: int) -> Iterator[None]:
    """Turn an error of the system into one that says what was lost and what to do.

    Parameters
    ----------
    folder : Path
        Where the rows were to go.
    n_bytes : int
        What they take.

    Raises
    ------
    OSError
        Of the same kind and number.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message = (
            f"Rows could not be saved in {folder}: {reason}. What was saved before is intact. "
            f"{_advice(error, folder, n_bytes)}"
        )
        # With a number, Python picks the same subclass again.
        raise OSError(error.errno, message) from error


def _advice(error: OSError, folder: Path, n_bytes: int) -> str:
    elsewhere = f"choose another `folder` or set {ENVIRONMENT}"
    if error.errno not in _FULL:
        return f"Make the folder writable, or {elsewhere}."
    return (
        f"{format_size(n_bytes)} are needed{_free_space(folder)}. Free some space, by "
        "`RowCache.evict` or `sk-arcal cache --evict-to SIZE` if the cache takes it, or "
        f"{elsewhere}."
    )


def _free_space(folder: Path) -> str:
    with contextlib.suppress(OSError):
        while not os.path.exists(folder):
            folder = folder.parent
        return f", {format_size(shutil.disk_usage(folder).free)} are free on that disk"
    return ""
