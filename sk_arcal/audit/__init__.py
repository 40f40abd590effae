"""Answer: one call from a table of predictions to a verdict, a report and a recommendation."""

from sk_arcal.audit._audit import routing_audit
from sk_arcal.audit._experts_records import (
    ConfigurationRow,
    ExpertsAudit,
    ExpertsVerdict,
    RepairRow,
)
from sk_arcal.audit._layers_records import LayersAudit
from sk_arcal.audit._reading import PredictionTable, read_predictions
from sk_arcal.audit._records import Control, FeatureAudit, Recommendation, ScorecardRow
from sk_arcal.audit._results import RoutingAudit
from sk_arcal.audit._runs_audit import audit_runs
from sk_arcal.audit._runs_records import RunsAudit, RunsFeatureAudit
from sk_arcal.audit._stream_audit import stream_audit
from sk_arcal.audit._stream_records import StreamedGap, StreamedRows
from sk_arcal.audit._stream_tables import StreamedTables

__all__ = [
    "ConfigurationRow",
    "Control",
    "ExpertsAudit",
    "ExpertsVerdict",
    "FeatureAudit",
    "LayersAudit",
    "PredictionTable",
    "Recommendation",
    "RepairRow",
    "RoutingAudit",
    "RunsAudit",
    "RunsFeatureAudit",
    "ScorecardRow",
    "StreamedGap",
    "StreamedRows",
    "StreamedTables",
    "audit_runs",
    "read_predictions",
    "routing_audit",
    "stream_audit",
]
