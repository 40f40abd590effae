"""Figures of the report as SVG that stands inside a page.

matplotlib draws; what makes a picture part of a page is done on its text: ink becomes
``currentColor``, so that light, dark and printed pages each show their own; names inside the
figure get a prefix, so that two figures never share one; and everything that would point to an
address elsewhere is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

from sk_arcal._validation import import_optional
from sk_arcal.audit._records import FeatureAudit
from sk_arcal.diagnostics import MatchedProbes
from sk_arcal.displays import ProbeComparisonDisplay, ReliabilityDisplay, RoutingGapDisplay
from sk_arcal.displays._base import shorten
from sk_arcal.displays._gap_numbers import gap_numbers

if TYPE_CHECKING:
    from sk_arcal.audit._results import RoutingAudit

# A colour no figure uses; it stands for the ink of the page.
INK = "#010203"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "hatch.linewidth": 0.6,
}
_CALLER = "The HTML report"
# Bins of confidence have 30 rows, or 20 that are tied; a fifth of these is always a cell.
_FEWEST_ROWS, _FEWEST_IN_CELL = 30, 4


def reliability_svg(audit: RoutingAudit, name: str, *, prefix: str) -> str:
    """Draw the reliability diagram of one row of the scorecard."""
    confidence = audit.calibrated.get(name, audit.confidence)
    with page_style(prefix):
        figure, (ax,) = empty_figure([4.3], 4.7)
        ReliabilityDisplay.from_predictions(
            audit.event, confidence, n_resamples=0, ax=ax, legend=False
        )
        return inline_svg(figure, prefix=prefix, label=f"Reliability diagram of {name}")


def probes_svg(probes: Mapping[str, MatchedProbes], *, prefix: str) -> str:
    """Draw the probes of several runs side by side."""
    names = [score.name for score in next(iter(probes.values())).scores]
    aliases = aliases_of(names)
    drawn = [_renamed(found, aliases) for found in probes.values()]
    runs = aliases_of(probes)
    with page_style(prefix):
        figure, (ax,) = empty_figure([7.5], 1.2 + 0.3 * len(names))
        ProbeComparisonDisplay.from_results(
            drawn, names=[runs.get(name, name) for name in probes], ax=ax
        )
        svg = inline_svg(figure, prefix=prefix, label="Change in log loss by probe and run")
    return with_names(svg, aliases)


def _renamed(probes: MatchedProbes, aliases: Mapping[str, str]) -> MatchedProbes:
    scores = tuple(replace(s, name=aliases.get(s.name, s.name)) for s in probes.scores)
    return replace(probes, scores=scores)


def gap_svg(audit: RoutingAudit, feature: FeatureAudit, *, prefix: str) -> str | None:
    """Draw the gap at equal confidence by stratum of the feature, and by confidence.

    None if there are too few rows for a picture, or the question has no answer.
    """
    if audit.n_evaluated < _FEWEST_ROWS or not feature.test.identifiable:
        return None
    routing = audit.routing[feature.name]
    numbers = gap_numbers(audit.event, audit.confidence, routing, min_count=_FEWEST_IN_CELL)
    if not numbers.usable.any():
        return None
    n_bins, n_strata = numbers.gap.shape
    label = f"Gap at equal confidence by {feature.name}"
    aliases = aliases_of(numbers.strata)
    with page_style(prefix):
        left = 2.3 + 0.08 * max(map(len, numbers.strata))
        widths = [min(left, 4), 0.2 + 0.54 * max(n_bins, 6)]
        figure, panels = empty_figure(widths, 1.2 + 0.42 * max(n_strata, 4))
        strata = tuple(aliases.get(name, name) for name in numbers.strata)
        RoutingGapDisplay(replace(numbers, strata=strata)).plot(panels)
        svg = inline_svg(figure, prefix=prefix, label=label)
    return with_names(svg, aliases)


def aliases_of(names: Iterable[str]) -> dict[str, str]:
    """Return stand-ins for names in scripts that matplotlib's font cannot measure.

    The page has the fonts of its reader, so the names themselves are put in afterwards.
    """
    return {name: f"\N{SECTION SIGN}{i}" for i, name in enumerate(names) if not name.isascii()}


def with_names(svg: str, aliases: Mapping[str, str]) -> str:
    """Put the names of `aliases_of` back in."""
    for name, alias in aliases.items():
        svg = svg.replace(f">{alias}<", f">{_escape(shorten(name))}<")
    return svg


def inline_svg(figure: Any, *, prefix: str, label: str) -> str:
    """Return the figure as one ``<svg>`` element for an HTML page.

    Parameters
    ----------
    figure : matplotlib Figure
        Drawn under the style of the page.
    prefix : str
        Put before every name inside the figure; a letter first.
    label : str
        What the picture shows, for those who cannot see it.

    Returns
    -------
    svg : str
        Markup without scripts, addresses, or names shared with another figure.
    """
    stream = StringIO()
    figure.savefig(
        stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # rules of a style element would hold for the whole page
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=").replace(INK, "currentColor")
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'\bhref="#', f'href="#{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    opening = f'<svg role="img" aria-label="{_escape(label)}"'
    return opening + ' stroke-linejoin="round" stroke-linecap="butt"' + text[len("<svg") :]


def _escape(text: str) -> str:
    return str(import_optional("markupsafe", extra="report", caller=_CALLER).escape(text))


@contextmanager
def page_style(prefix: str) -> Iterator[None]:
    """Draw with the ink of the page, whatever style the user has set."""
    mpl = import_optional("matplotlib", extra="report", caller=_CALLER)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | {"svg.hashsalt": prefix})
        yield


def empty_figure(widths: list[float], height: float) -> tuple[Any, Any]:
    """Return a figure that no window or global list knows, and its axes side by side."""
    module = import_optional("matplotlib.figure", extra="report", caller=_CALLER)
    figure = module.Figure(figsize=(sum(widths), height), layout="constrained")
    return figure, figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]


def stacked_figure(n_panels: int, width: float, height: float) -> tuple[Any, Any]:
    """Return a figure that no window or global list knows, and its axes one below the other."""
    module = import_optional("matplotlib.figure", extra="report", caller=_CALLER)
    figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(n_panels, 1, squeeze=False)[:, 0]
