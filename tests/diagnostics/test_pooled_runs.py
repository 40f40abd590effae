import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._null import WeightedColumns
from sk_arcal.diagnostics._conditional._pooled_runs import (
    PooledFeature,
    SharedSigns,
    common_bins,
    left_out_contributions,
    pooled_statistics,
)
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import routing_feature
from sk_arcal.diagnostics._conditional._routing_input import read_routing


def _outcomes(confidence, items=None, seed=0):
    rng = np.random.default_rng(100 + seed)
    items = np.arange(len(confidence)) if items is None else items
    events = (rng.random(len(confidence)) < confidence) * 1.0
    return BinnedOutcomes.from_rows(events, confidence, items, rng)


def _feature(outcomes, routing, kind="auto"):
    values = read_routing(routing, "routing", kind, outcomes.n_samples)
    rng = np.random.default_rng(0)
    return routing_feature(values, outcomes.order, ConfidenceSpline(outcomes.rank), rng)


def _pooled(runs, kind="auto"):
    """Pool (confidence, routing) pairs."""
    outcomes = [_outcomes(confidence, seed=s) for s, (confidence, _) in enumerate(runs)]
    features = [_feature(o, routing, kind) for o, (_, routing) in zip(outcomes, runs, strict=True)]
    n_bins, bins = common_bins(outcomes)
    return PooledFeature(outcomes, features, bins, n_bins)


# --- common bins ----------------------------------------------------------------------------


def test_runs_without_ties_keep_their_bins():
    confidence = np.random.default_rng(0).uniform(0.5, 1, (3, 700))
    outcomes = [_outcomes(row) for row in confidence]
    n_bins, bins = common_bins(outcomes)
    assert n_bins == outcomes[0].n_bins > 5
    for own in bins:
        assert own.tolist() == list(range(n_bins))


def test_a_run_with_a_heavy_tie_is_matched_by_rank():
    confidence = np.random.default_rng(0).uniform(0.5, 1, (2, 700))
    confidence[1, confidence[1] > 0.8] = 1.0
    outcomes = [_outcomes(row) for row in confidence]
    n_bins, (own, tied) = common_bins(outcomes)
    assert n_bins == outcomes[0].n_bins > outcomes[1].n_bins
    assert own.tolist() == list(range(n_bins))
    assert (np.diff(tied) >= 0).all()
    # The tie holds the upper 40 % of the rows; its middle is at 80 %.
    assert tied[-1] == int(0.8 * n_bins)


def test_the_order_of_runs_does_not_choose_the_bins():
    confidence = np.random.default_rng(0).uniform(0.5, 1, (3, 700))
    confidence[0] = np.round(confidence[0], 1)
    confidence[2, :250] = 0.9
    outcomes = [_outcomes(row) for row in confidence]
    n_bins, bins = common_bins(outcomes)
    again, reversed_bins = common_bins(outcomes[::-1])
    assert n_bins == again
    for own, other in zip(bins, reversed_bins[::-1], strict=True):
        assert own.tolist() == other.tolist()


# --- pooled sums ----------------------------------------------------------------------------


def test_contributions_add_over_runs_bin_by_bin():
    rng = np.random.default_rng(0)
    runs = list(zip(rng.uniform(0.5, 1, (3, 400)), rng.normal(size=(3, 400)), strict=True))
    runs[1] = (np.where(runs[1][0] > 0.7, 0.9, runs[1][0]), runs[1][1])
    pooled = _pooled(runs)
    expected, sums = np.zeros((400, pooled.n_bins, 4)), np.zeros((pooled.n_bins, 4))
    for outcomes, feature, bins in zip(pooled.outcomes, pooled.features, pooled.bins, strict=True):
        columns = WeightedColumns(outcomes, [feature])
        own = left_out_contributions(columns, outcomes.groups).toarray()
        for b, common in enumerate(bins):
            expected[:, common] += own.reshape(400, outcomes.n_bins, 4)[:, b]
            sums[common] += outcomes.events[outcomes.rows(b)] @ columns.block(b)
    assert pooled.bins[1].tolist() != list(range(len(pooled.bins[1])))
    found = pooled.contributions().toarray().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(pooled.sums().reshape(sums.shape), sums, atol=1e-10)


def test_left_out_residuals_are_those_of_a_line_without_the_row():
    outcomes = _outcomes(np.random.default_rng(0).uniform(0.5, 1, 120))
    feature = _feature(outcomes, np.random.default_rng(1).normal(size=120))
    columns = WeightedColumns(outcomes, [feature])
    found = left_out_contributions(columns, outcomes.groups).toarray()
    rows, block = outcomes.rows(1), columns.block(1)
    for k in (0, 11, len(block) - 1):
        others = np.delete(np.arange(120)[rows], k)
        line = np.polyfit(outcomes.rank[others], outcomes.events[others], 1)
        place = rows.start + k
        residual = outcomes.events[place] - np.polyval(line, outcomes.rank[place])
        item = outcomes.groups[place]
        np.testing.assert_allclose(found[item, 4:8], block[k] * residual)


def test_a_run_and_its_negative_cancel():
    """The same outcomes with routing turned round add to nothing in the trend."""
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.5, 1, 500), rng.normal(size=500)
    outcomes = _outcomes(confidence)
    features = [_feature(outcomes, routing), _feature(outcomes, -routing)]
    n_bins, bins = common_bins([outcomes, outcomes])
    sums = PooledFeature([outcomes] * 2, features, bins, n_bins).sums()
    curvature, trend = sums.reshape(n_bins, 4)[:, 1], sums.reshape(n_bins, 4)[:, 0]
    np.testing.assert_allclose(trend, 0, atol=1e-10)
    assert np.abs(curvature).max() > 0.1


def test_levels_are_matched_by_name():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, (2, 600))
    first, second = rng.choice(["b", "c"], 600), rng.choice(["a", "b"], 600)
    pooled = _pooled(list(zip(confidence, [first, second], strict=True)), "nominal")
    assert pooled.layout.level_names == ("b", "c", "a")
    assert not pooled.layout.is_ranked
    assert pooled.places(pooled.features[1]).tolist() == [2, 0]
    assert pooled.contributions().shape == (600, 3 * pooled.n_bins)


def test_levels_too_rare_in_one_run_leave_it_its_trend():
    """Numbers 0, 1, 2: the second run has hardly any but 0 and is ranked, with deciles."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, (2, 600))
    rare = np.zeros(600)
    rare[:8], rare[8:12] = 1, 2
    runs = list(zip(confidence, [rng.integers(0, 3, 600) * 1.0, rare], strict=True))
    pooled = _pooled(runs, "discrete")
    assert pooled.features[1].level is None
    assert pooled.places(pooled.features[1]).tolist() == [0, -1, -1, -1]
    assert pooled.layout.n_columns == 4
    signs = SharedSigns(600, 49, pooled.n_bins * 4, np.random.default_rng(0))
    assert np.isfinite(pooled_statistics(pooled, signs)).all()


# --- signs and statistics -------------------------------------------------------------------


def test_signs_are_the_same_each_time_and_in_blocks():
    signs = SharedSigns(n_groups=1000, n_resamples=30, n_sums=100, rng=np.random.default_rng(0))
    first, second = np.concatenate(list(signs)), np.concatenate(list(signs))
    assert first.shape == (30, 1000)
    assert set(np.unique(first)) == {-1.0, 1.0}
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean()) < 4 / np.sqrt(30_000)
    wide = SharedSigns(n_groups=1000, n_resamples=30, n_sums=100_000, rng=np.random.default_rng(0))
    assert [len(block) for block in wide] == [6] * 5


@pytest.mark.parametrize("kind", ["continuous", "nominal"])
def test_statistics_do_not_change_with_the_number_of_copies(kind):
    rng = np.random.default_rng(0)
    run = rng.uniform(0.5, 1, 500), rng.integers(0, 4, 500) * 1.0
    outcomes = _outcomes(run[0])
    feature = _feature(outcomes, run[1], kind)

    def statistics(copies):
        n_bins, bins = common_bins([outcomes] * copies)
        pooled = PooledFeature([outcomes] * copies, [feature] * copies, bins, n_bins)
        return pooled_statistics(pooled, SharedSigns(500, 49, 400, np.random.default_rng(1)))

    np.testing.assert_allclose(statistics(4), statistics(1), rtol=1e-8)


def test_linear_statistic_by_its_definition():
    """(sum of the runs' trends)^2 over the sum of squares of what each item adds."""
    rng = np.random.default_rng(0)
    runs = list(zip(rng.uniform(0.5, 1, (2, 400)), rng.normal(size=(2, 400)), strict=True))
    pooled = _pooled(runs)
    total, of_items = 0.0, np.zeros(400)
    for outcomes, feature in zip(pooled.outcomes, pooled.features, strict=True):
        for b in range(outcomes.n_bins):
            rows = outcomes.rows(b)
            trend = outcomes.detrended(feature.columns(rows)[:, :1], b)[:, 0]
            left_out = outcomes.detrended(outcomes.events[rows, None], b)[:, 0]
            left_out /= 1 - outcomes.leverage(b)
            total += outcomes.weights[b] * trend @ outcomes.events[rows]
            of_items[outcomes.groups[rows]] += outcomes.weights[b] * trend * left_out
    expected = total**2 / (of_items**2).sum()
    signs = SharedSigns(400, 19, 4 * pooled.n_bins, np.random.default_rng(0))
    assert pooled_statistics(pooled, signs)[0, 0] == pytest.approx(expected)
