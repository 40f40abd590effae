"""The audit of several runs as one self-contained HTML page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sk_arcal.audit import _report_words as words
from sk_arcal.audit._controls import CONTROL_NAMES
from sk_arcal.audit._figures import probes_svg
from sk_arcal.audit._report import USUAL_CONTRAST, chosen_row, provenance_rows, render

if TYPE_CHECKING:
    from sk_arcal.audit._runs_records import RunsAudit


def render_runs_report(audit: RunsAudit) -> str:
    """Return the audit of several runs as an HTML page that needs nothing else.

    Parameters
    ----------
    audit : RunsAudit
        Result of :func:`sk_arcal.audit.audit_runs`.

    Returns
    -------
    page : str
        HTML, to be written in UTF-8.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is not installed.
    """
    features = list(audit.features.values())
    first = next(iter(audit.runs.values()))
    context = {
        "audit": audit,
        "features": features,
        "verdicts": words.by_verdict(features),
        "outcome": "being right" if first.n_classes > 2 else "the event",
        "scale": _scale(audit),
        "usual_contrast": USUAL_CONTRAST,
        "control_names": CONTROL_NAMES,
        "probes": probes_svg(
            {name: run.probes for name, run in audit.runs.items() if run.probes is not None},
            prefix="p",
        ),
        "calibration": [(name, run, chosen_row(run)) for name, run in audit.runs.items()],
        "provenance": _provenance(audit),
        "numbers": json.dumps(audit.to_dict(), indent=2, ensure_ascii=False),
        "nan": np.nan,
    }
    return render("runs.html.j2", context)


def _scale(audit: RunsAudit) -> float:
    """Return the largest gap that the bars have to show."""
    intervals = [
        interval
        for feature in audit.features.values()
        for interval in (feature.result.gap_interval, *feature.result.run_gap_intervals.values())
    ]
    reach = [abs(end) for interval in intervals for end in interval if np.isfinite(end)]
    return max([*reach, audit.settings["delta"]])


def _provenance(audit: RunsAudit) -> list[tuple[str, str]]:
    """Return versions and settings once, and source and digest of every run."""
    rows: list[tuple[str, Any]] = []
    for name, run in audit.runs.items():
        source = run.provenance.get("source") or "predictions held in memory"
        digest = run.provenance.get("sha256")
        rows.append((name, f"{source}, sha256 {digest}" if digest else source))
    first = next(iter(audit.runs.values()))
    shared = [row for row in provenance_rows(first) if row[0] not in {"source", "sha256"}]
    return [*rows, *shared]
