import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._past_rows import PastRows
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline


@pytest.fixture
def rows(make_rows):
    events, confidence, routing = make_rows(400)
    return confidence, events, routing, np.arange(400) % 3


@pytest.fixture
def past(rows):
    return PastRows(*rows, n_levels=2, ordered=True)


def _in_order(rows):
    confidence, events, routing, level = (np.asarray(a) for a in rows)
    order = np.argsort(confidence)
    return confidence[order], events[order], routing[order], level[order]


def test_rate_of_past_rows_is_their_regression(rows, past):
    confidence, events, _, _ = _in_order(rows)
    fitted = ConfidenceSpline((np.arange(400) + 0.5) / 400).fit(events)
    np.testing.assert_allclose(past.rate(confidence), np.clip(fitted, 0.01, 0.99))


def test_rate_between_past_rows_is_interpolated(rows, past):
    confidence = _in_order(rows)[0]
    middle = (confidence[100] + confidence[101]) / 2
    assert past.rate(np.array([middle])) == pytest.approx(past.rate(confidence[100:102]).mean())


def test_stakes_of_past_rows_are_what_a_line_in_each_bin_leaves(rows, past):
    confidence, events, routing, level = _in_order(rows)
    rank = (np.arange(400) + 0.5) / 400
    spline = ConfidenceSpline(rank)
    score = ndtri((2 * rankdata(routing)) / 802)
    centre = spline.fit(score)
    residual = (score - centre) / spline.fit(np.abs(score - centre))
    u = 2 * rankdata(residual) / 401 - 1
    columns = np.column_stack([u, (3 * u**2 - 1) / 2, u * (2 * rank - 1), level == 0, level == 1])
    outcomes = BinnedOutcomes.from_rows(events, confidence, None, np.random.default_rng(0))
    left = [outcomes.detrended(columns[outcomes.rows(b)], b) for b in range(outcomes.n_bins)]
    rate = past.rate(confidence)[:, None]
    weight = np.maximum(rate * (1 - rate), 0.05) ** -0.5
    np.testing.assert_allclose(
        past.stakes(confidence, routing, level), weight * np.vstack(left), atol=1e-9
    )


def test_names_have_no_order(rows):
    past = PastRows(*rows, n_levels=3, ordered=False)
    assert past.stakes(rows[0], rows[2], rows[3]).shape == (400, 3)


def test_tied_confidence_gets_no_slope():
    rng = np.random.default_rng(0)
    confidence, events = np.full(200, 0.9), (rng.random(200) < 0.8) * 1.0
    routing, level = rng.normal(size=200), np.full(200, -1)
    past = PastRows(confidence, events, routing, level, n_levels=0, ordered=True)
    stakes = past.stakes(confidence, routing, level)
    np.testing.assert_allclose(stakes.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(past.rate(np.array([0.1, 0.9, 1.0])), events.mean())
