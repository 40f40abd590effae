"""What the report's section on layers shows and does not find in the record itself."""

from typing import Any

from sk_arcal.audit._layers_figure import layers_svg
from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.audit._layers_summary import depth_sentence, marks

# More layers are folded away: the picture shows them.
_MOST_OPENED = 12


def layers_context(layers: LayersAudit | None) -> dict[str, Any] | None:
    """Return names for the template; None if the layers were not audited."""
    if layers is None:
        return None
    table = layers.layerwise.table
    rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    said = marks(layers)
    return {
        "record": layers,
        "chip": _chip(layers),
        "picture": layers_svg(layers, prefix="l"),
        "depth": depth_sentence(layers),
        "rows": [(row, said.get(place, "")) for place, row in enumerate(rows)],
        "folded": len(rows) > _MOST_OPENED,
        "one_event": layers.layerwise.one_event,
    }


def _chip(layers: LayersAudit) -> tuple[str, str]:
    """Return what was found about the phases in a few words, and how they look."""
    phases = layers.phases
    if phases is None:
        return "too few groups", "unsure"
    if phases.present:
        return "corrected", "signal"
    return ("not at once", "unsure") if phases.strength_interval[0] > 0 else ("none shown", "none")
