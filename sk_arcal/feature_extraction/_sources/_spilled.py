"""A module or tokenizer that another process has spilled to disk."""

from pathlib import Path
from typing import Any

from sk_arcal._validation import import_optional
from sk_arcal.feature_extraction._sources._files import spill_folder
from sk_arcal.feature_extraction._sources._source import NO_DOCUMENT, Source


class SpilledSource(Source):
    """A reference to a folder, and the SHA-256 of the only pickle in it that may be loaded.

    Parameters
    ----------
    folder : str
        Where spilled modules lie.
    digest : str
        Digest of the module, and name of its folder.
    skeleton_sha256 : str
        Of the skeleton.
    device : str, default="cpu"
        Where the module was.
    """

    def __init__(self, folder: str, digest: str, skeleton_sha256: str, device: str = "cpu") -> None:
        self._folder, self._digest, self._skeleton = folder, digest, skeleton_sha256
        self._device = device

    def __repr__(self) -> str:
        return f"digest='{self._digest[:12]}'"

    def digest(self) -> str:
        return self._digest

    def load(self) -> Any:
        return read_spilled(self._folder, self._digest, self._skeleton).eval()

    def device(self) -> str:
        return self._device

    def home(self) -> str | None:
        return self._device

    def to_dict(self) -> dict[str, Any]:
        raise TypeError(NO_DOCUMENT)

    def __reduce__(self) -> tuple[Any, ...]:
        # Half as many bytes as in digits.
        hashes = bytes.fromhex(self._digest), bytes.fromhex(self._skeleton)
        device = () if self._device == "cpu" else (self._device,)
        return _restored, (self._folder, *hashes, *device)


def _restored(folder: str, digest: bytes, skeleton: bytes, device: str = "cpu") -> SpilledSource:
    return SpilledSource(folder, digest.hex(), skeleton.hex(), device)


def read_spilled(folder: str, digest: str, skeleton_sha256: str) -> Any:
    """Return what lies under a digest in a folder, or else in this machine's cache folder.

    Parameters
    ----------
    folder : str
        Where it was spilled.
    digest : str
        Name of its folder.
    skeleton_sha256 : str
        What the skeleton has to hash to.

    Returns
    -------
    thing : object
        Module or tokenizer.

    Raises
    ------
    FileNotFoundError
        If it is in neither place.
    PermissionError, ValueError
        If what lies there is not to be trusted.
    """
    import_optional("torch", extra="torch", caller="Backbone")
    from sk_arcal.feature_extraction._sources._spill import read

    target = Path(folder) / digest
    if not target.is_dir() and (spill_folder() / digest).is_dir():
        target = spill_folder() / digest
    try:
        return read(target, skeleton_sha256)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} It was written when the Backbone was pickled, and was deleted since or lies "
            "on another machine. Pickle the Backbone again, or point SK_ARCAL_CACHE, where it is "
            "pickled and here, at a folder that both machines see."
        ) from None
