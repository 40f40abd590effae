"""Extract: from a network and its inputs to columns of confidence and routing.

Everything here loads without torch; what runs a network needs the extra "torch".
"""

from sk_arcal._routing import RouteSite, RoutingProfile
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._cache import RowCache
from sk_arcal.feature_extraction._extraction._record import Extraction
from sk_arcal.feature_extraction._extractor import RoutingFeatureExtractor
from sk_arcal.feature_extraction._layer_extractor import LayerExtractor
from sk_arcal.feature_extraction._lens._layout import LayerReadout
from sk_arcal.feature_extraction._readers._registry import register_depth_site, register_router
from sk_arcal.feature_extraction._readers._routes import Routes
from sk_arcal.feature_extraction._summaries import summarize_routing
from sk_arcal.feature_extraction._warning import ExtractionWarning

__all__ = [
    "Backbone",
    "Extraction",
    "ExtractionWarning",
    "LayerExtractor",
    "LayerReadout",
    "RouteSite",
    "Routes",
    "RoutingFeatureExtractor",
    "RoutingProfile",
    "RowCache",
    "read_routing",
    "register_depth_site",
    "register_router",
    "summarize_routing",
]


def __getattr__(name: str) -> object:
    if name == "read_routing":
        from sk_arcal._validation import import_optional

        import_optional("torch", extra="torch", caller=name)
        from sk_arcal.feature_extraction._readers._raw import read_routing

        return read_routing
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
