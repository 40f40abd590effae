"""Data with a known answer: simulated routing, one run or several, and a small real demo."""

from sk_arcal.datasets._degenerate import make_degenerate_features
from sk_arcal.datasets._demo import load_routing_demo
from sk_arcal.datasets._runs import make_routing_runs
from sk_arcal.datasets._simulated import make_routing_data

__all__ = [
    "load_routing_demo",
    "make_degenerate_features",
    "make_routing_data",
    "make_routing_runs",
]
