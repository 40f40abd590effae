"""Finite populations with exact answers: configurations of gates and experts with their rates."""

import numpy as np
import pytest


class Population:
    """Configurations of two experts of an event, each with its share and its true rate.

    Parameters
    ----------
    share : sequence of float
        Share of each configuration.
    first_gate : sequence of float
        Gate of the first expert; the second has the rest.
    experts : sequence of (float, float)
        Probabilities of the experts.
    rate : sequence of float
        True rate of the event.
    """

    def __init__(self, share, first_gate, experts, rate):
        self.columns = {"expert_columns": [0, 1], "gate_columns": [2, 3]}
        self.share, self.rate = np.array(share), np.array(rate)
        gate = np.array(first_gate)
        self.gates, self.experts = np.column_stack([gate, 1 - gate]), np.array(experts)

    @property
    def X(self):
        """One row per configuration: experts, gates."""
        return np.column_stack([self.experts, self.gates])

    @property
    def aggregate(self):
        return (self.gates * self.experts).sum(axis=1)

    def rows(self, n=1.0, share=None):
        """Every configuration with either outcome, weighted by how often it happens in n rows."""
        share = self.share if share is None else np.array(share)
        weight = n * np.concatenate([share * (1 - self.rate), share * self.rate])
        y = np.repeat([0, 1], len(share))
        return np.tile(self.X, (2, 1)), y, weight

    def error(self, p, share=None):
        """Calibration error of predictions p per configuration: sum over levels of |rate - p|."""
        share = self.share if share is None else np.array(share)
        levels = np.unique(p.round(12), return_inverse=True)[1]
        return np.abs(np.bincount(levels, weights=share * (self.rate - p))).sum()


@pytest.fixture
def cancelling():
    """Calibrated experts whose mixture is wrong already: errors cancel at one level only."""
    return Population(
        np.array([1, 3, 3, 1]) / 8,
        [1 / 2, 1 / 3, 1 / 3, 1 / 2],
        [(0.8, 0.2), (0.8, 0.8), (0.2, 0.2), (0.2, 0.8)],
        [0.6, 0.9, 0.1, 0.4],
    )


@pytest.fixture
def agreeing():
    """All is calibrated, until the share of the configurations shifts."""
    return Population([1 / 4, 1 / 2, 1 / 4], [0.2, 0.5, 0.8], [(0.8, 0.8)] * 3, [0.7, 0.9, 0.7])
