"""Mixtures of two experts whose event rates are exact, row by row.

Each table repeats its configurations so often that every rate and every share is a ratio of
counts: a population, not a sample. `scale` repeats the whole table.
"""

from typing import NamedTuple

import numpy as np


class MixtureTable(NamedTuple):
    """Rows of a mixture: events, (n, 2) experts, (n, 2) gates, configuration codes."""

    y: np.ndarray
    expert_prob: np.ndarray
    gates: np.ndarray
    codes: np.ndarray


def fixture_a(scale=1):
    """Both experts calibrated on their gate-weighted rows, the mixture wrong (80 rows a copy).

    Shares (1, 3, 3, 1) / 8, first gate (1/2, 1/3, 1/3, 1/2), experts (.8, .8, .2, .2) and
    (.2, .8, .2, .8), event rates (.6, .9, .1, .4). The mixture says (.5, .8, .2, .5): at .8 the
    rate is .9, at .2 it is .1, and at .5 errors of +.1 and -.1 cancel. ECE .075; the variance of
    the rate at fixed confidence is .01 on a quarter of the rows, .0025.
    """
    return _table(
        rows=[10, 30, 30, 10],
        events=[6, 27, 3, 4],
        experts=[[0.8, 0.2], [0.8, 0.8], [0.2, 0.2], [0.2, 0.8]],
        first_gate=[1 / 2, 1 / 3, 1 / 3, 1 / 2],
        scale=scale,
    )


def fixture_b(scale=1):
    """All calibrated until the configurations' shares move (40 rows a copy).

    Shares (1, 2, 1) / 4, first gate (.2, .5, .8), both experts .8 everywhere, event rates
    (.7, .9, .7). ECE 0; the variance of the rate at fixed confidence is .01.
    """
    return _table(
        rows=[10, 20, 10],
        events=[7, 18, 7],
        experts=[[0.8, 0.8]] * 3,
        first_gate=[0.2, 0.5, 0.8],
        scale=scale,
    )


def soft_gate(s, scale=10):
    """Two kinds of rows told apart by the gate alone (2 rows a copy).

    The event happens on every row of the first kind, code 0, and on none of the second. Gates
    (s, 1 - s) and (1 - s, s); the experts always say s and 1 - s, which is calibrated on their
    gate-weighted rows. The mixture says s^2 + (1 - s)^2 and 2s(1 - s): ECE 2s(1 - s).
    """
    return _table(
        rows=[1, 1], events=[1, 0], experts=[[s, 1 - s]] * 2, first_gate=[s, 1 - s], scale=scale
    )


def _table(rows, events, experts, first_gate, scale):
    rows, events = scale * np.asarray(rows), scale * np.asarray(events)
    codes = np.repeat(np.arange(len(rows)), rows)
    y = np.concatenate([np.arange(n) < k for n, k in zip(rows, events, strict=True)])
    gate = np.asarray(first_gate, dtype=float)[codes]
    experts = np.asarray(experts, dtype=float)[codes]
    return MixtureTable(y.astype(int), experts, np.column_stack([gate, 1 - gate]), codes)
