"""Pictures of calibration and of what routing adds; they compute nothing themselves."""

from sk_arcal.displays._reliability import ReliabilityDisplay
from sk_arcal.displays._routing_gap import RoutingGapDisplay

__all__ = ["ReliabilityDisplay", "RoutingGapDisplay"]
