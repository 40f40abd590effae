"""What an audit of several runs says: one record a feature, and the audits of the runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sk_arcal._validation import import_optional
from sk_arcal.audit._results import RoutingAudit, plain
from sk_arcal.audit._runs_summary import summarise_runs
from sk_arcal.diagnostics import ConditionalCalibrationRuns, RunsFeatureResult


@dataclass(frozen=True)
class RunsFeatureAudit:
    """What several runs say about one feature.

    One entry of ``RunsAudit.features``, returned by :func:`audit_runs`.

    Attributes
    ----------
    name : str
        Column name, or that of a built-in control.
    role : str
        "routing" or "control" (computed from the class scores).
    verdict : str
        "signal", "no signal" (none larger than `delta`) or "cannot tell", over all runs.
    reason : str
        One sentence that says why.
    result : RunsFeatureResult
        The runs' test: exists, in any run, stable; the mean gap and that of each run.
    run_verdicts : dict of str to str
        Verdict of each run by itself.
    controls : dict of str to tuple of int
        By control: in how many runs the effect survived it, and in how many it was run.
    """

    name: str
    role: str
    verdict: str
    reason: str
    result: RunsFeatureResult
    run_verdicts: Mapping[str, str]
    controls: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class RunsAudit:
    """Result of :func:`audit_runs`.

    Attributes
    ----------
    features : dict of str to RunsFeatureAudit
        Features that all runs have, routing first.
    runs : dict of str to RoutingAudit
        The whole audit of each run.
    tests : dict of str to ConditionalCalibrationRuns
        The runs' tests of each family of features, "routing" and "control".
    n_items : int
        Items that all runs were evaluated on.
    min_runs : int
        Runs that make a signal stable.
    checks : tuple of str
        Remarks on the data.
    settings : dict
        Parameters of the audit.
    """

    features: Mapping[str, RunsFeatureAudit]
    runs: Mapping[str, RoutingAudit]
    tests: Mapping[str, ConditionalCalibrationRuns]
    n_items: int
    min_runs: int
    checks: tuple[str, ...]
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Return the audit in plain text, verdicts first.

        Returns
        -------
        text : str
            Lines of at most 100 characters.
        """
        return summarise_runs(self)

    def to_frame(self) -> Any:
        """Return one row per feature as a pandas DataFrame.

        Returns
        -------
        frame : DataFrame of shape (n_features, n_columns)
            Verdict and reason, the three p-values, the mean gap and that of each run.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="RunsAudit.to_frame")
        return pandas.DataFrame([_row(feature) for feature in self.features.values()])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain lists, dicts, strings and floats; NaN becomes None.

        Returns
        -------
        audit : dict
            Keys `n_items`, `min_runs`, `features`, `runs` (each as
            :meth:`RoutingAudit.to_dict`), `checks` and `settings`.
        """
        features = {
            name: {
                "role": f.role,
                "verdict": f.verdict,
                "reason": f.reason,
                "run_verdicts": f.run_verdicts,
                "controls": {
                    control: {"survived": survived, "run": run}
                    for control, (survived, run) in f.controls.items()
                },
                **asdict(f.result),
            }
            for name, f in self.features.items()
        }
        return plain(
            {
                "n_items": self.n_items,
                "min_runs": self.min_runs,
                "features": features,
                "runs": {name: run.to_dict() for name, run in self.runs.items()},
                "checks": self.checks,
                "settings": self.settings,
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
        from sk_arcal.audit._runs_report import render_runs_report

        Path(path).write_text(render_runs_report(self), encoding="utf-8")


def _row(feature: RunsFeatureAudit) -> dict[str, Any]:
    """Return the numbers of one feature, those of a run in columns like `gap[run_0]`."""
    result = feature.result
    low, high = result.gap_interval
    row = {
        "feature": feature.name,
        "role": feature.role,
        "verdict": feature.verdict,
        "reason": feature.reason,
        "exists": result.exists_adjusted,
        "any_run": result.any_run_adjusted,
        "stable": result.stable_adjusted,
        "gap": result.gap,
        "gap_low": low,
        "gap_high": high,
        "min_detectable_gap": result.min_detectable_gap,
        "equivalent": result.equivalent,
        "sign_agreement": result.sign_agreement,
        "consistent": result.consistent,
    }
    for run, verdict in feature.run_verdicts.items():
        row |= {
            f"verdict[{run}]": verdict,
            f"pvalue[{run}]": result.run_pvalues[run],
            f"gap[{run}]": result.run_gaps[run],
        }
    return row
