"""Answer: one call from a table of predictions to a verdict, a report and a recommendation."""

from sk_arcal.audit._audit import routing_audit
from sk_arcal.audit._readers import read_predictions
from sk_arcal.audit._results import FeatureAudit, Recommendation, RoutingAudit, ScorecardRow
from sk_arcal.audit._table import PredictionTable

__all__ = [
    "FeatureAudit",
    "PredictionTable",
    "Recommendation",
    "RoutingAudit",
    "ScorecardRow",
    "read_predictions",
    "routing_audit",
]
