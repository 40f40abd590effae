"""Summaries of routing, against their formulas written as loops."""

import contextlib
import math
from itertools import pairwise
from statistics import fmean, pvariance

import numpy as np
import pytest

from sk_arcal._routing import RouteSite, RoutingProfile
from sk_arcal.feature_extraction._summaries import (
    ROUTING_SUMMARIES,
    constant_columns,
    summarize_routing,
)

N_ROWS = 4


def entropy(weights):
    return -sum(w * math.log(w) for w in weights if w > 0)


@pytest.fixture
def depth():
    rng = np.random.default_rng(1)
    return RoutingProfile.from_weights(
        [rng.dirichlet(np.ones(n), size=(N_ROWS, 3)) for n in (1, 2, 3, 4)], kind="depth"
    )


@pytest.fixture
def routers():
    rng = np.random.default_rng(2)
    sites = tuple(RouteSite(f"router_l{i:02d}", "router", n) for i, n in enumerate((4, 4, 6)))
    weights = np.hstack([rng.dirichlet(np.ones(site.n_routes), size=N_ROWS) for site in sites])
    load = np.hstack([rng.dirichlet(np.ones(site.n_routes), size=N_ROWS) for site in sites])
    return RoutingProfile(sites, weights, rng.random((N_ROWS, 3, 4)), load)


def by_row(profile, function):
    """Apply `function` to the list of a row's weights at every site with a choice."""
    sites = [i for i, site in enumerate(profile.sites) if site.n_routes > 1]
    return [
        function([profile.site_weights(i)[row].tolist() for i in sites]) for row in range(N_ROWS)
    ]


def index_variance(weights):
    depth = [i / (len(weights) - 1) for i in range(len(weights))]
    mean = sum(w * x for w, x in zip(weights, depth, strict=True))
    return sum(w * (x - mean) ** 2 for w, x in zip(weights, depth, strict=True))


def overlap(sites):
    return fmean(sum(map(min, earlier, later)) for earlier, later in pairwise(sites))


OVER_SITES = {
    "mean_entropy": lambda sites: fmean(map(entropy, sites)),
    "mean_normalized_entropy": lambda sites: fmean(entropy(w) / math.log(len(w)) for w in sites),
    "entropy_variance": lambda sites: pvariance([entropy(w) for w in sites]),
    "normalized_entropy_variance": lambda sites: pvariance(
        [entropy(w) / math.log(len(w)) for w in sites]
    ),
    "mean_max_weight": lambda sites: fmean(map(max, sites)),
    "mean_margin": lambda sites: fmean(max(w) - sorted(w)[-2] for w in sites),
    "mean_effective_routes": lambda sites: fmean(math.exp(entropy(w)) for w in sites),
    "mean_embedding_weight": lambda sites: fmean(w[0] for w in sites),
    "mean_depth_index_variance": lambda sites: fmean(map(index_variance, sites)),
    "agreement": overlap,
}


@pytest.mark.parametrize("summary", OVER_SITES)
def test_summary_over_depth_sites_follows_its_formula(summary, depth):
    values, names = summarize_routing(depth, summary)
    assert names == [f"depth__{summary}"]
    np.testing.assert_allclose(values[:, 0], by_row(depth, OVER_SITES[summary]), rtol=1e-12)


@pytest.mark.parametrize("summary", ["entropy", "normalized_entropy", "max_weight", "margin"])
def test_mean_of_the_site_columns_is_the_mean_summary(summary, depth):
    per_site, names = summarize_routing(depth, summary)
    assert names == [f"depth_l{layer:02d}__{summary}" for layer in (1, 2, 3)]
    over_sites, _ = summarize_routing(depth, f"mean_{summary}")
    np.testing.assert_allclose(per_site.mean(axis=1), over_sites[:, 0])


def test_one_route_is_no_choice(depth):
    _, names = summarize_routing(depth, ["weights"])
    assert not [name for name in names if name.startswith("depth_l00")]
    assert len(names) == 2 + 3 + 4


def test_weights_and_load_are_passed_on(routers):
    values, names = summarize_routing(routers, ["weights", "load"])
    np.testing.assert_array_equal(values, np.hstack([routers.weights, routers.load]))
    assert names[0] == "router_l00__weight_0"
    assert names[-1] == "router_l02__load_5"


def test_routers_agree_only_with_as_many_experts(routers):
    values, names = summarize_routing(routers, "agreement")
    assert names == ["router__agreement"]
    first, second = routers.site_weights(0), routers.site_weights(1)
    np.testing.assert_allclose(values[:, 0], np.minimum(first, second).sum(axis=1))


def test_largest_load(routers):
    values, _ = summarize_routing(routers, "mean_max_load")
    loads = [routers.site_load(i).max(axis=1) for i in range(3)]
    np.testing.assert_allclose(values[:, 0], np.mean(loads, axis=0))


@pytest.mark.parametrize(
    ("summary", "statistic"),
    [("mean_entropy", 0), ("mean_max_weight", 1), ("mean_margin", 2), ("mean_effective_routes", 3)],
)
def test_token_statistics_are_used_where_asked_for(summary, statistic, depth):
    values, _ = summarize_routing(depth, summary, token_order="statistics_first")
    expected = depth.token_statistics[:, 1:, statistic].mean(axis=1)
    np.testing.assert_allclose(values[:, 0], expected)
    first, _ = summarize_routing(depth, summary)
    assert not np.allclose(values, first)


def test_kinds_are_summarised_apart(depth, routers):
    both = RoutingProfile(
        depth.sites + routers.sites,
        np.hstack([depth.weights, routers.weights]),
        np.concatenate([depth.token_statistics, routers.token_statistics], axis=1),
        routers.load,
    )
    values, names = summarize_routing(both, ["mean_entropy", "mean_embedding_weight"])
    assert names == ["router__mean_entropy", "depth__mean_entropy", "depth__mean_embedding_weight"]
    np.testing.assert_allclose(values[:, 0], summarize_routing(routers, "mean_entropy")[0][:, 0])
    np.testing.assert_allclose(values[:, 1], summarize_routing(depth, "mean_entropy")[0][:, 0])


def test_no_summary_gives_no_column(depth):
    values, names = summarize_routing(depth, ())
    assert values.shape == (N_ROWS, 0)
    assert names == []


def test_every_summary_is_defined_for_some_network(depth, routers):
    for summary in ROUTING_SUMMARIES:
        made = 0
        for profile in (depth, routers):
            with contextlib.suppress(ValueError):
                values, names = summarize_routing(profile, summary)
                assert values.shape == (N_ROWS, len(names))
                assert np.isfinite(values).all()
                made += 1
        assert made, summary


@pytest.mark.parametrize(
    ("summaries", "message"),
    [
        ("entropies", "`summaries` must be one of"),
        (["entropy", "entropy"], "names one twice"),
        ("max_load", "has 3 depth sites"),
        ("load", "not defined for this network"),
    ],
)
def test_summary_that_cannot_be_made_is_refused(summaries, message, depth):
    with pytest.raises(ValueError, match=message):
        summarize_routing(depth, summaries)


def test_variance_over_sites_needs_two_of_them():
    single = RoutingProfile.from_weights([np.full((3, 2), 0.5)])
    assert summarize_routing(single)[1] == ["router__mean_normalized_entropy"]
    with pytest.raises(ValueError, match="not defined for this network: it has 1 router sites"):
        summarize_routing(single, "entropy_variance")


def test_auto_is_aggregate_entropy_and_its_variance(depth):
    auto, names = summarize_routing(depth)
    named, same = summarize_routing(depth, ["mean_normalized_entropy", "entropy_variance"])
    assert names == same
    np.testing.assert_array_equal(auto, named)


def test_unknown_selection_is_refused_not_filled_in():
    profile = RoutingProfile.from_weights([np.full((3, 2), 0.5)])
    for summary in ("load", "max_load", "mean_max_load"):
        with pytest.raises(ValueError, match="which experts were selected is not known"):
            summarize_routing(profile, summary)


def test_network_without_choices_says_so():
    profile = RoutingProfile.from_weights([np.ones((3, 1))])
    with pytest.raises(ValueError, match="no site with more than one route"):
        summarize_routing(profile)


def test_constant_columns_are_found_up_to_rounding():
    rng = np.random.default_rng(0)
    base = np.full(50, 0.7)
    columns = [
        base,
        base + rng.normal(scale=1e-7, size=50),
        base + rng.normal(scale=1e-3, size=50),
        np.zeros(50),
        rng.normal(scale=1e-8, size=50),
    ]
    found = constant_columns(np.column_stack(columns))
    np.testing.assert_array_equal(found, [True, True, False, True, True])
