"""Answer: one call from a table of predictions to a verdict, a report and a recommendation."""

from sk_arcal.audit._audit import routing_audit
from sk_arcal.audit._reading import PredictionTable, read_predictions
from sk_arcal.audit._records import FeatureAudit, Recommendation, ScorecardRow
from sk_arcal.audit._results import RoutingAudit

__all__ = [
    "FeatureAudit",
    "PredictionTable",
    "Recommendation",
    "RoutingAudit",
    "ScorecardRow",
    "read_predictions",
    "routing_audit",
]
