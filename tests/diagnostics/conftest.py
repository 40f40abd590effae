from functools import partial

import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._methods._finding import Table
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import routing_feature
from sk_arcal.diagnostics._conditional._routing_input import read_routing


def _read(routing, kind, outcomes, spline, rng):
    values = read_routing(routing, "routing", kind, outcomes.n_samples)
    return values, routing_feature(values, outcomes.order, spline, rng)


def _make_table(
    events, confidence, *routing, kind="auto", groups=None, n_resamples=199, alpha=0.05, seed=0
):
    order_rng, rng, *tie_rngs = np.random.default_rng(seed).spawn(2 + len(routing))
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
    outcomes = BinnedOutcomes.from_rows(
        np.asarray(events, dtype=float), np.asarray(confidence, dtype=float), codes, order_rng
    )
    spline = ConfidenceSpline(outcomes.rank)
    read = partial(_read, kind=kind, outcomes=outcomes, spline=spline)
    values, features = zip(
        *(read(column, rng=tie_rng) for column, tie_rng in zip(routing, tie_rngs, strict=True)),
        strict=True,
    )
    return Table(outcomes, spline, values, features, alpha, n_resamples, rng)


@pytest.fixture(scope="session")
def make_table():
    """Return a function from rows and routing features to what a method of the test is given."""
    return _make_table


def _make_rows(n=600, effect=0.0, seed=0):
    rng = np.random.default_rng(seed)
    score, noise = rng.normal(size=(2, n))
    confidence = 1 / (1 + np.exp(-1.5 - 1.5 * score))
    truth = 1 / (1 + np.exp(-0.8 * (1.5 + 1.5 * score)))
    truth = truth + effect * np.sign(noise) * confidence * (1 - confidence)
    return (rng.random(n) < truth) * 1.0, confidence, 0.5 * score + noise


@pytest.fixture(scope="session")
def make_rows():
    """Return a function that draws rows of an overconfident model, whose routing may know more."""
    return _make_rows
