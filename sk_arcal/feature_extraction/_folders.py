"""Where the cache lies, and folders that only their owner may enter."""

import os
from pathlib import Path

ENVIRONMENT = "SK_ARCAL_CACHE"


def cache_root(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the cache; it need not exist.

    Parameters
    ----------
    folder : str or path, default=None
        Wins where it is given. Otherwise the environment variable ``SK_ARCAL_CACHE`` says, and
        otherwise it is ``sk_arcal`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    Returns
    -------
    root : Path
        Absolute.

    Raises
    ------
    TypeError
        If `folder` is neither a text nor a path.
    NotADirectoryError
        If a file has that name.
    """
    if folder is not None and not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"`folder` must be a path; got {folder!r}.")
    chosen = folder if folder is not None else os.environ.get(ENVIRONMENT)
    root = Path(chosen) if chosen else _user_cache() / "sk_arcal"
    root = Path(os.path.abspath(root.expanduser()))
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"`folder` {root} is a file; a folder for the cache is expected.")
    return root


def _user_cache() -> Path:
    # The standard asks to ignore a relative path.
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path("~/.cache")


def make_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for their owner alone."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
