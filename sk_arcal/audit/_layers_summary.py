"""The layers of a network in plain text, phases first."""

import numpy as np

from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.audit._layers_rows import PREFIX
from sk_arcal.audit._text import bullet
from sk_arcal.audit._verdict import SIGNAL

# The text has no room for more; the report and the JSON hold all.
_MOST_SHOWN = 12
_N_NAMED = 4


def summarise_layers(layers: LayersAudit) -> str:
    """Return the layers' part of the summary, at most 100 characters a line."""
    sentences = "\n".join(bullet(one) for one in (layers.summary, depth_sentence(layers)))
    return f"Layers\n{sentences}\n\n{_table(layers)}"


def depth_sentence(layers: LayersAudit) -> str:
    """Say what came of the features of depth."""
    if not layers.features:
        return "No feature of depth differs between rows, so none is audited."
    parts = [_counted(verdict, names) for verdict, names in layers.ordered_verdicts]
    constant = f" {len(layers.constant)} are the same in all rows." if layers.constant else ""
    return (
        f"Of {len(layers.features)} features of depth, audited among the features: "
        f"{'; '.join(parts)}.{constant}"
    )


def _counted(verdict: str, names: tuple[str, ...]) -> str:
    """Say how many have a verdict; signals by name."""
    if verdict != SIGNAL:
        return f"{verdict} in {len(names)}"
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    short = [name.removeprefix(PREFIX) for name in names[:_N_NAMED]]
    return f"{verdict} in {', '.join(short)}{more}"


def marks(layers: LayersAudit) -> dict[int, str]:
    """Return what is special about some layers, by place."""
    if layers.phases is None:
        return {}
    start, peak = layers.phases.plateau_start, layers.phases.peak
    if start == peak:
        return {peak: "plateau, worst calibrated"}
    return {start: "plateau from here", peak: "worst calibrated"}


def _table(layers: LayersAudit) -> str:
    found, said = layers.layerwise.table, marks(layers)
    names = [str(name) for name in layers.names]
    shown = _shown(len(names), said)
    width = max(len("layer"), *(len(names[place]) for place in shown))
    head = (
        f"  {'layer':<{width}}  {'accuracy':>8}  {'confidence':>10}  {'ECE':>7}  {'floor':>7}  "
        f"{'bias-corrected [95 %]':>24}  {'log loss':>8}"
    )
    lines = ["Every layer by its own prediction", head]
    for place in shown:
        row = {name: column[place] for name, column in found.items()}
        interval = f"{row['ece_corrected']:.2%} [{row['ece_low']:.2%}, {row['ece_high']:.2%}]"
        lines.append(
            f"  {names[place]:<{width}}  {row['accuracy']:>8.1%}  {row['confidence']:>10.1%}  "
            f"{row['ece']:>7.2%}  {row['ece_floor']:>7.2%}  {interval:>24}  {row['log_loss']:>8.4f}"
        )
    for place, words in said.items():
        lines.append(f"  {words}: layer {names[place]}")
    if len(shown) < len(names):
        lines.append(f"  {len(shown)} of {len(names)} layers are shown.")
    return "\n".join(lines)


def _shown(n_layers: int, said: dict[int, str]) -> list[int]:
    """Return places spread over depth, those that are special among them."""
    if n_layers <= _MOST_SHOWN:
        return list(range(n_layers))
    spread = np.linspace(0, n_layers - 1, _MOST_SHOWN - len(said)).round().astype(int)
    return sorted({*spread.tolist(), *said})
