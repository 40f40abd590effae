"""The audit as a whole: it prints, turns into JSON, a table and a page.

Nothing here computes a statistic; :mod:`sk_arcal.audit._audit` fills the record, the report and
the displays read it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional
from sk_arcal.audit._experts_records import ExpertsAudit
from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.audit._records import FeatureAudit, Recommendation, ScorecardRow, feature_numbers
from sk_arcal.audit._stream_records import StreamedRows
from sk_arcal.audit._summary import summarise
from sk_arcal.diagnostics import MatchedProbes


@dataclass(frozen=True)
class RoutingAudit:
    """Result of :func:`routing_audit`.

    Attributes
    ----------
    n : int
        Rows in the table; of a stream, those of the sample.
    n_evaluated : int
        Rows the statements are about.
    n_classes : int
        Classes of the model; 2 for a single confidence.
    accuracy, mean_confidence : float
        Rate of the event and mean confidence on the evaluated rows.
    scorecard : tuple of ScorecardRow
        Raw confidences first, then the alternatives.
    features : dict of str to FeatureAudit
        In the order of the columns; controls last.
    probes : MatchedProbes or None
        Probes that differ in their feature only; None without features.
    recommendation : Recommendation
        Which calibrator to use, why, and the code.
    checks : tuple of str
        Remarks on the data.
    settings, provenance : dict
        Parameters of the run; versions, source and its digest.
    event, confidence : ndarray of shape (n_evaluated,)
        Outcome and raw confidence of the evaluated rows.
    calibrated : dict of str to ndarray of shape (n_evaluated,)
        Confidences of every alternative, by scorecard name.
    routing : dict of str to ndarray of shape (n_evaluated,)
        The audited features.
    experts : ExpertsAudit or None
        The experts of a mixture; None unless they were asked for.
    layers : LayersAudit or None
        The layers of a network; None unless they were asked for.
    stream : StreamedRows or None
        Figures of all rows of a stream; None unless all else rests on a sample of them.
    """

    n: int
    n_evaluated: int
    n_classes: int
    accuracy: float
    mean_confidence: float
    scorecard: tuple[ScorecardRow, ...]
    features: Mapping[str, FeatureAudit]
    probes: MatchedProbes | None
    recommendation: Recommendation
    checks: tuple[str, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    event: NDArray[np.float64] = field(repr=False)
    confidence: NDArray[np.float64] = field(repr=False)
    calibrated: Mapping[str, NDArray[np.float64]] = field(repr=False)
    routing: Mapping[str, NDArray[Any]] = field(repr=False)
    experts: ExpertsAudit | None = field(default=None, repr=False)
    layers: LayersAudit | None = field(default=None, repr=False)
    stream: StreamedRows | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Return the audit in plain text, verdicts first.

        Returns
        -------
        text : str
            Lines of at most 100 characters.
        """
        return summarise(self)

    def to_frame(self) -> Any:
        """Return one row per feature as a pandas DataFrame.

        Returns
        -------
        frame : DataFrame of shape (n_features, n_columns)
            Verdicts, p-values and gaps.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="RoutingAudit.to_frame")
        rows = [{"feature": f.name, **feature_numbers(f)} for f in self.features.values()]
        return pandas.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain lists, dicts, strings and floats; NaN becomes None.

        Returns
        -------
        audit : dict
            Keys `n`, `n_evaluated`, `n_classes`, `accuracy`, `mean_confidence`, `scorecard`,
            `features`, `probes`, `experts`, `layers`, `stream`, `recommendation`, `checks`,
            `settings`, `provenance`.
        """
        return plain(
            {
                "n": self.n,
                "n_evaluated": self.n_evaluated,
                "n_classes": self.n_classes,
                "accuracy": self.accuracy,
                "mean_confidence": self.mean_confidence,
                "scorecard": [asdict(row) for row in self.scorecard],
                "features": {name: feature_numbers(f) for name, f in self.features.items()},
                "probes": [] if self.probes is None else [asdict(s) for s in self.probes.scores],
                "experts": None if self.experts is None else self.experts.to_dict(),
                "layers": None if self.layers is None else self.layers.to_dict(),
                "stream": None if self.stream is None else self.stream.to_dict(),
                "recommendation": asdict(self.recommendation),
                "checks": self.checks,
                "settings": self.settings,
                "provenance": self.provenance,
            }
        )

    def to_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` to a file.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    def to_html(self, path: str | Path) -> None:
        """Write the report, one page that needs no other file.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        ImportError
            If jinja2 or matplotlib is not installed.
        OSError
            If the file cannot be written.
        """
        from sk_arcal.audit._report import render_report

        Path(path).write_text(render_report(self), encoding="utf-8")


def plain(value: Any) -> Any:
    """Return `value` in the types JSON knows; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
