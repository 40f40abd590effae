"""Picture of the layers of a network: accuracy and confidence above, calibration below."""

from typing import Any

from sk_arcal.audit._figures import (
    INK,
    aliases_of,
    inline_svg,
    page_style,
    stacked_figure,
    with_names,
)
from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.displays._base import plain_legend
from sk_arcal.displays._layer_panels import (
    Entries,
    draw_accuracy,
    draw_error,
    name_layers,
    shade,
)

_WIDTH, _HEIGHT = 6.2, 5.6
# Of a legend below the axes, in heights of the axes: under the numbers, and under their label.
_BELOW_TICKS, _BELOW_LABEL = -0.13, -0.24


def layers_svg(layers: LayersAudit, *, prefix: str) -> str:
    """Draw accuracy, confidence and calibration error over depth, with the phases shaded."""
    aliases = aliases_of(str(name) for name in layers.names)
    names = tuple(aliases.get(str(name), name) for name in layers.names)
    with page_style(prefix):
        figure, (upper, lower) = stacked_figure(2, _WIDTH, _HEIGHT)
        entries = draw_accuracy(upper, layers.layerwise, INK)
        shade(upper, layers.phases, INK)
        name_layers(upper, names)
        upper.set_xlabel("")
        _legend(upper, entries, _BELOW_TICKS)
        entries = draw_error(lower, layers.layerwise, INK)
        entries += shade(lower, layers.phases, INK)
        name_layers(lower, names)
        _legend(lower, entries, _BELOW_LABEL)
        svg = inline_svg(figure, prefix=prefix, label="Accuracy and calibration of every layer")
    return with_names(svg, aliases)


def _legend(ax: Any, entries: Entries, below: float) -> None:
    handles, labels = zip(*entries, strict=True)
    plain_legend(
        ax,
        handles,
        labels,
        frameon=False,
        fontsize="small",
        ncols=min(3, len(labels)),
        loc="upper left",
        bbox_to_anchor=(0, below),
        borderaxespad=0,
    )
