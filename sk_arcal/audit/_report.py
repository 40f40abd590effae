"""The audit as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.audit import _report_words as words
from sk_arcal.audit._controls import CONTROL_NAMES
from sk_arcal.audit._experts_report import experts_context
from sk_arcal.audit._figures import gap_svg, reliability_svg
from sk_arcal.audit._layers_report import layers_context
from sk_arcal.audit._records import FeatureAudit, ScorecardRow

if TYPE_CHECKING:
    from sk_arcal.audit._results import RoutingAudit

# Features shown unfolded, and features drawn at all: the page has to stay light.
_N_OPENED = 6
_N_DRAWN = 12
_N_NAMED = 4
# What a gap compares unless its row says otherwise.
USUAL_CONTRAST = "top minus bottom tertile of routing"


def render_report(audit: RoutingAudit) -> str:
    """Return the audit as an HTML page that needs nothing else.

    Pictures are part of the page, there is no script and no address, names from the user's
    data are escaped, and the colours follow the reader's light, dark or printed page.

    Parameters
    ----------
    audit : RoutingAudit
        Result of :func:`sk_arcal.audit.routing_audit`.

    Returns
    -------
    page : str
        HTML, to be written in UTF-8.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is not installed.
    """
    return render("report.html.j2", _context(audit))


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template of the package.

    Parameters
    ----------
    template : str
        Name of its file.
    context : dict
        What it shows.

    Returns
    -------
    page : str
        HTML.
    """
    jinja2 = import_optional("jinja2", extra="report", caller="The HTML report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sk_arcal.audit", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template(template).render(context)


def _context(audit: RoutingAudit) -> dict[str, Any]:
    """Collect what the template shows and does not find in the audit itself."""
    features = list(audit.features.values())
    chosen = chosen_row(audit)
    before_after = [audit.scorecard[0]]
    if chosen is not audit.scorecard[0]:
        before_after.append(chosen)
    drawn = [
        (feature, gap_svg(audit, feature, prefix=f"g{i}") if i < _N_DRAWN else None)
        for i, feature in enumerate(strongest_first(features))
    ]
    return {
        "audit": audit,
        "source": audit.provenance.get("source") or "Predictions held in memory",
        "raw": audit.scorecard[0],
        "chosen": chosen,
        "features": features,
        "verdicts": words.verdict_groups(audit),
        "outcome": "being right" if audit.n_classes > 2 else "the event",
        "calibration": words.calibration_sentence(audit),
        "error": words.error_sentence(audit),
        "has_class_loss": any(row.class_log_loss is not None for row in audit.scorecard),
        "reliability": [
            (row, reliability_svg(audit, row.name, prefix=f"r{i}"))
            for i, row in enumerate(before_after)
        ],
        "opened": drawn[:_N_OPENED],
        "folded": drawn[_N_OPENED:],
        "scale": gap_scale(features),
        "usual_contrast": USUAL_CONTRAST,
        "experts": experts_context(audit.experts),
        "layers": layers_context(audit.layers),
        "control_names": CONTROL_NAMES,
        "components": component_names(features),
        "provenance": provenance_rows(audit),
        "numbers": json.dumps(audit.to_dict(), indent=2, ensure_ascii=False),
        "nan": np.nan,
    }


def chosen_row(audit: RoutingAudit) -> ScorecardRow:
    """Return the scorecard row of the recommended calibrator, the first if there is none."""
    rows = {row.name: row for row in audit.scorecard}
    return rows.get(audit.recommendation.calibrator, audit.scorecard[0])


def strongest_first(features: Iterable[FeatureAudit]) -> list[FeatureAudit]:
    """Sort by verdict and p-value, routing before controls, so that what counts is unfolded."""
    order = ("signal", "cannot tell", "no signal")
    return sorted(
        features,
        key=lambda f: (f.role == "control", order.index(f.verdict), np.nan_to_num(f.pvalue, nan=2)),
    )


def gap_scale(features: Iterable[FeatureAudit]) -> float:
    """Return the largest gap that the bars of the table have to show."""
    reach = [abs(v) for f in features for v in (f.gap_low, f.gap_high, f.delta) if np.isfinite(v)]
    return max(reach, default=1.0)


def component_names(features: Iterable[FeatureAudit]) -> list[str]:
    """Return the components of the tests, in the order in which they first appear."""
    return list(dict.fromkeys(name for f in features for name in f.test.component_pvalues))


def provenance_rows(audit: RoutingAudit) -> list[tuple[str, str]]:
    """Return names and values of provenance and settings, as text."""
    entries = [*audit.provenance.items(), *audit.settings.items()]
    return [(str(key).replace("_", " "), words.plain(value)) for key, value in entries]


def list_names(features: Sequence[FeatureAudit]) -> str:
    """Write the names of features as a list in a sentence, the last ones counted only."""
    shown = [feature.name for feature in features[:_N_NAMED]]
    left = len(features) - len(shown)
    if left:
        shown.append(f"{left} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def shortest(number: str) -> str:
    """Take the zeros off the end of a number with decimals."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _max(values: Any) -> float:
    return float(np.max(values)) if len(values) else float("nan")


_FILTERS = {
    "percent": words.percent,
    "points": words.points,
    "decimal": words.decimal,
    "gain": words.gain,
    "whole": words.whole,
    "pvalue": words.pvalue,
    "equals": words.equals,
    "point_interval": words.point_interval,
    "percent_interval": words.percent_interval,
    "gain_interval": words.gain_interval,
    "names": list_names,
    "shortest": shortest,
    "mean": _mean,
    "max": _max,
}
