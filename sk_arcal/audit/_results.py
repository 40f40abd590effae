"""What an audit returns: plain, frozen records that print, turn into JSON and can be drawn.

Nothing here computes a statistic; :mod:`sk_arcal.audit._audit` fills the records, the report
and the displays read them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional
from sk_arcal.audit._summary import summarise
from sk_arcal.diagnostics import (
    ConditionalCalibrationResult,
    MatchedGaps,
    RoutingProbe,
    WorstGroupResult,
)


@dataclass(frozen=True)
class ScorecardRow:
    """Scores of one set of confidences on the evaluated rows.

    Attributes
    ----------
    name : str
        "raw", "temperature", "confidence kernel", "routing kernel: <feature>" or
        "shuffled: <feature>".
    ece : float
        Expected calibration error of the event, 15 equal-width bins.
    ece_floor, ece_floor_95 : float
        Mean and 95th percentile of what perfectly calibrated confidences of the same values
        would score.
    ece_corrected, ece_low, ece_high : float
        Estimate less its bias, with the 95 % interval.
    smooth_ece : float
        Calibration error without bins.
    brier, log_loss : float
        Proper scores of the event; log loss in nats.
    miscalibration, refinement : float
        Parts of the Brier score: what recalibration could win, and what remains.
    class_log_loss : float or None
        Log loss over all classes in nats, where class scores are known.
    """

    name: str
    ece: float
    ece_floor: float
    ece_floor_95: float
    ece_corrected: float
    ece_low: float
    ece_high: float
    smooth_ece: float
    brier: float
    log_loss: float
    miscalibration: float
    refinement: float
    class_log_loss: float | None = None


@dataclass(frozen=True)
class FeatureAudit:
    """Everything the audit found about one feature.

    Attributes
    ----------
    name : str
        Column name, or "predictive entropy" or "margin" for the built-in controls.
    role : str
        "routing" or "control" (computed from the class scores).
    verdict : str
        "signal", "no signal" (none larger than `delta`) or "cannot tell".
    reason : str
        One sentence that says why.
    pvalue, pvalue_adjusted : float
        Of the conditional calibration test, alone and adjusted for the number of features of
        the same role.
    gap, gap_low, gap_high : float
        Event rate of the top less the bottom tertile of the feature at equal confidence, with
        its 95 % interval.
    min_detectable_gap : float
        Smallest such gap the data would have shown with 80 % power.
    delta : float
        Size from which a gap would matter.
    excess_gap : float
        Weighted matched-confidence gap less its mean under shuffled routing.
    test : ConditionalCalibrationResult
        The whole test.
    matched : MatchedGaps
        The table of gaps by confidence bin and stratum.
    worst_tertile : WorstGroupResult
        Calibration error of the worst tertile beside its null mean.
    probe : RoutingProbe
        The routing kernel against its confidence-only and shuffled twins.
    """

    name: str
    role: str
    verdict: str
    reason: str
    pvalue: float
    pvalue_adjusted: float
    gap: float
    gap_low: float
    gap_high: float
    min_detectable_gap: float
    delta: float
    excess_gap: float
    test: ConditionalCalibrationResult
    matched: MatchedGaps
    worst_tertile: WorstGroupResult
    probe: RoutingProbe


@dataclass(frozen=True)
class Recommendation:
    """The calibrator to use.

    Attributes
    ----------
    calibrator : str
        Name of the scorecard row that is recommended.
    reason : str
        One sentence that says why.
    code : str
        The Python lines that build it.
    """

    calibrator: str
    reason: str
    code: str


@dataclass(frozen=True)
class RoutingAudit:
    """Result of :func:`routing_audit`.

    Attributes
    ----------
    n : int
        Rows in the table.
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
    """

    n: int
    n_evaluated: int
    n_classes: int
    accuracy: float
    mean_confidence: float
    scorecard: tuple[ScorecardRow, ...]
    features: Mapping[str, FeatureAudit]
    recommendation: Recommendation
    checks: tuple[str, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    event: NDArray[np.float64] = field(repr=False)
    confidence: NDArray[np.float64] = field(repr=False)
    calibrated: Mapping[str, NDArray[np.float64]] = field(repr=False)
    routing: Mapping[str, NDArray[Any]] = field(repr=False)

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
        rows = [{"feature": f.name, **_feature_numbers(f)} for f in self.features.values()]
        return pandas.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain lists, dicts, strings and floats; NaN becomes None.

        Returns
        -------
        audit : dict
            Keys `n`, `n_evaluated`, `n_classes`, `accuracy`, `mean_confidence`, `scorecard`,
            `features`, `recommendation`, `checks`, `settings`, `provenance`.
        """
        return _plain(
            {
                "n": self.n,
                "n_evaluated": self.n_evaluated,
                "n_classes": self.n_classes,
                "accuracy": self.accuracy,
                "mean_confidence": self.mean_confidence,
                "scorecard": [asdict(row) for row in self.scorecard],
                "features": {name: _feature_numbers(f) for name, f in self.features.items()},
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


def _feature_numbers(feature: FeatureAudit) -> dict[str, Any]:
    """Return the numbers of one feature, flat where they are one and a dict where they are more."""
    test, worst, probe = feature.test, feature.worst_tertile, feature.probe
    return {
        "role": feature.role,
        "verdict": feature.verdict,
        "reason": feature.reason,
        "pvalue": feature.pvalue,
        "pvalue_adjusted": feature.pvalue_adjusted,
        "gap": feature.gap,
        "gap_low": feature.gap_low,
        "gap_high": feature.gap_high,
        "min_detectable_gap": feature.min_detectable_gap,
        "delta": feature.delta,
        "equivalent": test.equivalent,
        "excess_gap": feature.excess_gap,
        "weighted_gap": feature.matched.weighted_gap,
        "component_pvalues": dict(test.component_pvalues),
        "leading": test.leading,
        "identifiable": test.identifiable,
        "share_left_open": test.share_left_open,
        "worst_tertile_error": worst.error,
        "worst_tertile_null_mean": worst.null_mean,
        "worst_tertile_pvalue": worst.pvalue,
        "probe_gain": probe.gain,
        "probe_gain_low": probe.gain_low,
        "probe_gain_high": probe.gain_high,
        "probe_pvalue": probe.pvalue,
    }


def _plain(value: Any) -> Any:
    """Return `value` in the types JSON knows; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
