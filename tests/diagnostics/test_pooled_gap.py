import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._effect_size import matched_gaps
from sk_arcal.diagnostics._conditional._gap_summary import summarise_gap
from sk_arcal.diagnostics._conditional._pooled_gap import item_scores, pooled_gap
from sk_arcal.diagnostics._conditional._pooled_runs import PooledFeature, common_bins
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline
from sk_arcal.diagnostics._conditional._routing_feature import routing_feature
from sk_arcal.diagnostics._conditional._routing_input import read_routing


def _run(seed, n=600, kind="continuous", items=None, confidence=None):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, n) if confidence is None else confidence
    routing = rng.normal(size=n) if kind == "continuous" else rng.integers(0, 3, n)
    events = (rng.random(n) < confidence - 0.1 + 0.06 * np.sign(routing)) * 1.0
    items = np.arange(n) if items is None else items
    outcomes = BinnedOutcomes.from_rows(events, confidence, items, rng)
    values = read_routing(routing, "routing", kind, n)
    return outcomes, routing_feature(values, outcomes.order, ConfidenceSpline(outcomes.rank), rng)


def _pooled(*runs):
    outcomes, features = zip(*runs, strict=True)
    n_bins, bins = common_bins(outcomes)
    return PooledFeature(outcomes, features, bins, n_bins)


@pytest.mark.parametrize("items", [None, np.arange(600) // 3])
def test_scores_give_the_gap_and_error_of_grouped_rows(items):
    outcomes, feature = _run(0, items=items)

    def tertiles(b):
        mean, variance = feature.contrast(0, outcomes.rows(b))
        return mean[:, None], variance[:, None]

    estimate, scores = item_scores(outcomes, tertiles, 2.0)
    expected = matched_gaps(outcomes, tertiles, scale=2.0)
    np.testing.assert_allclose(estimate, expected.estimate)
    np.testing.assert_allclose(np.sqrt((scores**2).sum(axis=0)), expected.error)


@pytest.mark.parametrize("kind", ["continuous", "nominal"])
@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_a_run_have_its_summary(kind, copies):
    run = _run(0, kind=kind)
    part_draws = np.random.default_rng(0).chisquare(1, 99)
    found = pooled_gap(_pooled(*[run] * copies), part_draws, 0.05)
    expected = summarise_gap(run[1], run[0], part_draws, 0.05)
    for name, value in vars(expected).items():
        if name == "gap_contrast":
            assert found.summary.gap_contrast == value
        else:
            np.testing.assert_allclose(getattr(found.summary, name), value)
    np.testing.assert_allclose(found.run_gap, expected.gap)


def test_mean_of_independent_runs_has_the_error_of_a_mean():
    runs = [_run(seed, n=3000) for seed in range(4)]
    found = pooled_gap(_pooled(*runs), np.ones(99), 0.05)
    errors = [summarise_gap(feature, o, np.ones(99), 0.05).gap_se for o, feature in runs]
    assert found.summary.gap == pytest.approx(np.mean(found.run_gap))
    assert found.summary.gap_se == pytest.approx(np.sqrt(np.mean(np.square(errors)) / 4), rel=0.08)


def test_interval_covers_with_runs_that_share_their_items():
    """Two runs that agree on 80 % of the outcomes: 60 test sets, within 3 sigma of 95 %."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        confidence, routing = rng.uniform(0.5, 1, 300), rng.normal(size=300)
        first, other = (rng.random((2, 300)) < confidence) * 1.0
        second = np.where(rng.random(300) < 0.8, first, other)
        runs = []
        for events in (first, second):
            outcomes = BinnedOutcomes.from_rows(events, confidence, np.arange(300), rng)
            values = read_routing(routing, "routing", "continuous", 300)
            spline = ConfidenceSpline(outcomes.rank)
            runs.append((outcomes, routing_feature(values, outcomes.order, spline, rng)))
        low, high = pooled_gap(_pooled(*runs), np.ones(99), 0.05).summary.gap_interval
        covered += low <= 0 <= high
    assert abs(covered / 60 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 60)


def test_a_level_is_averaged_over_the_runs_that_have_it():
    first, second = _run(0, kind="nominal"), _run(1, kind="nominal")
    object.__setattr__(second[1], "level_names", ("a", "b", "c"))
    found = pooled_gap(_pooled(first, second), np.ones(99), 0.05)
    assert np.isnan(found.run_gap).tolist() in ([False, True], [True, False])
    assert found.summary.gap == np.nansum(found.run_gap)


def test_of_two_levels_the_better_one_is_named():
    """Their contrasts are mirror images; which comes first must not decide the sign."""
    rng = np.random.default_rng(0)
    confidence, better = rng.uniform(0.5, 1, 800), rng.random(800) < 0.5
    events = (rng.random(800) < confidence - 0.2 + 0.15 * better) * 1.0
    gaps = []
    for names in (["a", "b"], ["b", "a"]):
        outcomes = BinnedOutcomes.from_rows(events, confidence, np.arange(800), rng)
        values = read_routing(np.array(names)[better * 1], "routing", "auto", 800)
        feature = routing_feature(values, outcomes.order, ConfidenceSpline(outcomes.rank), rng)
        gaps.append(pooled_gap(_pooled((outcomes, feature)), np.ones(99), 0.05).summary)
    assert gaps[0].gap == pytest.approx(gaps[1].gap)
    assert gaps[0].gap > 0.05
    assert [gap.gap_contrast for gap in gaps] == [
        "routing b minus the rest",
        "routing a minus the rest",
    ]
