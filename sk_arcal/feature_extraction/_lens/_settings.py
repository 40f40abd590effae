"""How layers are read: whatever changes a record of them."""

from dataclasses import dataclass
from typing import Any

from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings

# Raised when the meaning of a record changes, so that records of older versions are not read.
_LAYER_RECORD_VERSION = 1


@dataclass(frozen=True)
class LayerSettings(ExtractionSettings):
    """Everything but the backbone that a record of layers depends on.

    Attributes
    ----------
    readout : {"lens", "hidden"}
        Logits or states.
    layers : "all", or tuple of int or str
        Numbers of layers, or paths of modules.
    """

    readout: str = "lens"
    layers: Any = "all"

    def cache_key(self, backbone: Backbone) -> dict[str, Any]:
        """Return, as plain data, what identifies records made with these settings."""
        version = {"layer_record_version": _LAYER_RECORD_VERSION}
        return super().cache_key(backbone) | version
