"""A module that transformers loads by name, from a hub or a folder."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sk_arcal.feature_extraction._documents import canonical_text, plain_document
from sk_arcal.feature_extraction._sources import _hub
from sk_arcal.feature_extraction._sources._files import Stamp, stamp
from sk_arcal.feature_extraction._sources._source import Source

# Where things come from and go to, which does not change what they are.
_PLACES = {"cache_dir", "local_files_only", "force_download", "proxies"}
_DEVICES = {"device_map", "max_memory", "offload_folder", "low_cpu_mem_usage"}
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_SECRETS = {"token", "use_auth_token"}


class PretrainedSource(Source):
    """A hub name at one commit, or a folder with its present files.

    Parameters
    ----------
    name : str
        Hub name, or absolute path of a folder.
    revision : str or None
        Branch, tag or commit.
    model_class : str
        A class of transformers.
    kwargs : dict
        Further arguments of ``from_pretrained``, plain data.
    known : tuple of (str or None, stamp or None)
        Digest as another process says, and the stamp of the folder that had it.
    """

    def __init__(
        self,
        name: str,
        revision: str | None,
        model_class: str,
        kwargs: Mapping[str, Any],
        known: tuple[str | None, Stamp | None] = (None, None),
    ) -> None:
        self.name, self.revision, self._class, self._kwargs = name, revision, model_class, kwargs
        self._digest, self._stamp = known
        self._commit: str | None = None

    @classmethod
    def checked(
        cls, name: Any, revision: Any, model_class: Any, kwargs: Mapping[str, Any]
    ) -> "PretrainedSource":
        """Return a source for what a user passed, or raise.

        Parameters
        ----------
        name, revision, model_class, kwargs : object
            See :meth:`Backbone.from_pretrained`.

        Returns
        -------
        source : PretrainedSource
            Nothing is loaded yet.

        Raises
        ------
        TypeError
            If one is of the wrong kind.
        ValueError
            If `kwargs` hold a secret.
        """
        for word, value in (("name", name), ("model_class", model_class)):
            if not isinstance(value, str):
                raise TypeError(f"`{word}` must be text; got {value!r}.")
        if not isinstance(revision, str | None):
            raise TypeError(f"`revision` must be text; got {revision!r}.")
        if secret := sorted(_SECRETS & kwargs.keys()):
            raise ValueError(
                f"`{secret[0]}` would be written into every pickle of the Backbone. Set the "
                "environment variable HF_TOKEN instead."
            )
        if _hub.is_folder(name):
            name = str(Path(name).expanduser().absolute())
        plain = plain_document({key: _as_text(value) for key, value in kwargs.items()}, "kwargs")
        return cls(name, revision, model_class, plain)

    def __repr__(self) -> str:
        return repr(self.name) + (f", revision={self.revision!r}" if self.revision else "")

    def digest(self) -> str:
        if not _hub.is_folder(self.name):
            if self._digest is None:
                self._digest = self._digest_of({"name": self.name, "commit": self.commit()})
            return self._digest
        if self._stamp is not None and _folder_stamp(self.name) == self._stamp:
            return str(self._digest)
        found = self._digest_of({"files": _hub.content_digests(self.name)})
        if self._stamp is not None and found != self._digest:
            raise ValueError(
                f"{self.name} has changed since the Backbone was pickled. Pickle it again, or put "
                "the files back."
            )
        return found

    def load(self) -> Any:
        self.digest()
        library = _hub.transformers()
        cls: Any = getattr(library, self._class, None)
        if not hasattr(cls, "from_pretrained"):
            raise ValueError(
                f"`model_class` is {self._class!r}, which transformers {library.__version__} does "
                "not have; it must be the name of a class such as 'AutoModelForCausalLM'."
            )
        options = {"use_safetensors": True, **self._kwargs}
        with _hub.one_sentence(self.name, self.revision):
            return cls.from_pretrained(self.name, revision=self.commit(), **options).eval()

    def to_dict(self) -> dict[str, Any]:
        is_folder = _hub.is_folder(self.name)
        return {
            "kind": "pretrained",
            "name": self.name,
            "revision": self.commit(),
            "model_class": self._class,
            "kwargs": dict(self._kwargs),
            "sha256": self.files_sha256() if is_folder else None,
        }

    def files_sha256(self) -> str:
        """Return one SHA-256 for all files of the folder."""
        return _sha256(_hub.content_digests(self.name))

    def device(self) -> str:
        place = self._kwargs.get("device_map", "cpu")
        if isinstance(place, str) and _DEVICE.fullmatch(place):
            return place
        from sk_arcal.feature_extraction._sources._digest import device_of

        # Where "auto" leads to, shows when the weights are there.
        return device_of(self.module())

    def refresh(self) -> None:
        self._digest = self._stamp = self._commit = None

    def __reduce__(self) -> tuple[Any, ...]:
        known = (self.digest(), _folder_stamp(self.name) if _hub.is_folder(self.name) else None)
        arguments = (self.name, self.commit(), self._class, dict(self._kwargs), known)
        return PretrainedSource, arguments

    def options(self) -> dict[str, Any]:
        """Return where to look, for the settings and the tokenizer of the same model."""
        shared = _PLACES | {"trust_remote_code", "subfolder"}
        return {key: value for key, value in self._kwargs.items() if key in shared}

    def commit(self) -> str | None:
        """Return the commit of a hub name, so that a moving branch stays where it is."""
        if _hub.is_folder(self.name):
            return None
        if self._commit is None:
            options = {k: v for k, v in self.options().items() if k != "trust_remote_code"}
            self._commit = _hub.commit_of(self.name, self.revision, options)
        return self._commit

    def _digest_of(self, content: dict[str, Any]) -> str:
        kept = {k: v for k, v in self._kwargs.items() if k not in _PLACES | _DEVICES}
        what = {"class": self._class, "kwargs": kept, **content}
        return _sha256({"sk-arcal pretrained": 1, **what})


def _sha256(document: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_text(document).encode("ascii")).hexdigest()


def _folder_stamp(folder: str) -> Stamp:
    stamps = [stamp(file) for file in _hub.content_files(folder)]
    return sum(size for size, _ in stamps), max((time for _, time in stamps), default=0)


def _as_text(value: Any) -> Any:
    """Write a precision of torch by its name, which transformers reads and JSON has."""
    is_precision = type(value).__module__ == "torch" and type(value).__name__ == "dtype"
    return str(value).removeprefix("torch.") if is_precision else value
