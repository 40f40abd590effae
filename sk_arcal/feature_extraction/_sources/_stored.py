"""How much the networks written for other processes take, and their removal."""

import contextlib
import shutil
from pathlib import Path


def stored_bytes(folder: Path) -> tuple[int, int]:
    """Return how many networks and tokenizers lie in a folder, and how many bytes they take."""
    stored = [path for path in folder.glob("*") if path.is_dir()]
    n_bytes = 0
    for path in stored:
        for file in path.glob("*"):
            # Another process may be removing it.
            with contextlib.suppress(FileNotFoundError):
                n_bytes += file.stat().st_size
    return len(stored), n_bytes


def clear_stored(folder: Path) -> int:
    """Remove all of them, and return the bytes freed.

    A process that has mapped one goes on with it; one that still has to load it is told to pickle
    its handle again.
    """
    _, before = stored_bytes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    _, left = stored_bytes(folder)
    return before - left
