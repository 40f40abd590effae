"""From the parameters of the reader of layers to an open source of their records."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sk_arcal._validation import check_integer, check_option, import_optional
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._parameters import (
    check_common,
    opened_source,
    option_ids_of,
    pad_token_id_of,
)
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._extraction._run import RecordSource
from sk_arcal.feature_extraction._lens._layout import LayerLayout
from sk_arcal.feature_extraction._lens._settings import LayerSettings

if TYPE_CHECKING:
    from sk_arcal.feature_extraction._lens._forward import LayerForward

READOUTS = ("lens", "hidden")
OUTPUTS = ("logits", "options")
TOKENS = ("last", "mean", "cls")
# Below it a negative number of a layer is a slip.
_MOST_LAYERS = 10_000
# Of the records of one window; bounds the memory of `extract_chunks`.
_WINDOW_BYTES = 256_000_000


class LayerSource(RecordSource):
    """Records of layers: read from a table, and forwarded where it lacks them."""

    settings: LayerSettings

    def windows(self, rows: Rows) -> Iterator[tuple[slice, Any]]:
        """Yield slices of the rows in order, and a LayerReadout of each."""
        return super().windows(rows)

    def _window(self) -> int:
        layout: Any = self.layout
        if layout is None:
            return self.batch_size
        bytes_per_row = layout.width * (8 if layout.dtype == "float64" else 4)
        return max(self.batch_size, min(super()._window(), _WINDOW_BYTES // bytes_per_row))

    def _restored(self, known: Any) -> Any:
        return LayerLayout.from_dict(known)

    def _make_forward(self) -> "LayerForward":
        import_optional("torch", extra="torch", caller="LayerExtractor")
        from sk_arcal.feature_extraction._lens._forward import LayerForward

        return LayerForward(self.backbone, self.settings)


def check_layer_parameters(extractor: Any) -> None:
    """Refuse parameters that cannot be used with any network."""
    check_common(extractor)
    check_option("readout", extractor.readout, READOUTS)
    check_option("outputs", extractor.outputs, OUTPUTS)
    check_option("token", extractor.token, TOKENS)
    _checked_layers(extractor.layers, extractor.readout)


def layer_settings_of(extractor: Any, backbone: Backbone) -> LayerSettings:
    """Return how to forward, and what to keep."""
    return LayerSettings(
        outputs=extractor.outputs,
        option_ids=option_ids_of(extractor, backbone),
        token_reduction=extractor.token,
        dtype=extractor.dtype,
        device=extractor.device,
        padding_side=extractor.padding_side or ("left" if extractor.token == "last" else "right"),
        pad_token_id=pad_token_id_of(extractor.pad_token_id, backbone),
        preprocess=extractor.preprocess,
        readout=extractor.readout,
        layers=_checked_layers(extractor.layers, extractor.readout),
    )


def _checked_layers(layers: Any, readout: str) -> Any:
    if isinstance(layers, str):
        return check_option("layers", layers, ("all",))
    given = tuple(layers)
    if not given:
        raise ValueError("`layers` must name at least one layer, or be 'all'; got none.")
    if all(isinstance(layer, str) for layer in given):
        if readout == "lens":
            raise ValueError(
                "`layers` holds paths of modules, which have no lens; use readout='hidden'."
            )
        if len({*given}) < len(given):
            raise ValueError(f"`layers` names a module twice: {list(given)}.")
        return given
    return tuple(check_integer("layers", layer, low=-_MOST_LAYERS) for layer in given)


@contextmanager
def open_layers(extractor: Any, n_rows: int, progress: bool) -> Iterator[LayerSource]:
    """Yield a source of records for the parameters of an extractor, with a bar if wanted.

    Parameters
    ----------
    extractor : LayerExtractor
        With `backbone_`; its parameters are checked.
    n_rows : int
        Rows to come, for the bar.
    progress : bool
        Whether to show it.
    """
    check_layer_parameters(extractor)
    settings = layer_settings_of(extractor, extractor.backbone_)
    with opened_source(LayerSource, extractor, settings, n_rows, progress) as source:
        yield source
