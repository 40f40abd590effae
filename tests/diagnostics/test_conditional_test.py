from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import entropy, kstest

from sk_arcal.diagnostics import conditional_calibration_test, conditional_calibration_tests
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._components import Components
from sk_arcal.diagnostics._conditional._contrast_covariance import ContrastCovariance
from sk_arcal.diagnostics._conditional._null import WeightedColumns
from sk_arcal.diagnostics._conditional._residual_rank import ConfidenceSpline, residual_rank
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature
from sk_arcal.diagnostics._conditional._step_down import rank_pvalues


def _table(n=1500, effect=0.0, seed=0):
    """Overconfident model; routing shifts P(event) by effect x (its sign)."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    confidence = expit(1.5 + 1.5 * score)
    noise = rng.normal(size=n)
    truth = expit(0.8 * (1.5 + 1.5 * score)) + effect * np.sign(noise) * confidence * (
        1 - confidence
    )
    return (rng.random(n) < truth) * 1.0, confidence, 0.5 * score + noise


def _numbers(result):
    """Everything a result counts, without words."""
    sizes = [result.gap, result.gap_se, *result.gap_interval, result.min_detectable_gap]
    pvalues = [result.pvalue, *result.component_pvalues.values()]
    return np.array([*pvalues, *sizes, result.share_left_open])


# --- against enumeration --------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny():
    """Fourteen rows in one bin, three of them wrong: 364 arrangements of the outcomes."""
    rng = np.random.default_rng(3)
    confidence, routing = np.sort(rng.uniform(0.5, 1, 14)), rng.normal(size=14)
    events = np.ones(14)
    events[[4, 7, 12]] = 0
    return events, confidence, routing


def _exact_pvalues(events, confidence, routing):
    """Component p over all arrangements of the outcomes, and bounds of the overall p.

    Arrangements that share the smallest component p of the data are ordered by chance once the
    component p are estimates, so the overall p lies between the share before and up to them.
    """
    rng = np.random.default_rng(0)
    spline = ConfidenceSpline((np.arange(14) + 0.5) / 14)
    low, high = residual_rank(routing, spline, rng)
    sums = []
    for wrong in [np.flatnonzero(events == 0), *combinations(range(14), 3)]:
        arranged = np.ones(14)
        arranged[list(wrong)] = 0
        outcomes = BinnedOutcomes.from_rows(arranged, confidence, None, rng)
        columns = WeightedColumns(outcomes, [RoutingFeature(low, high)])
        observed, grams = columns.sums_and_grams()
        sums.append(observed)
    known = ContrastCovariance.from_bins(outcomes.variance[:, None, None] * grams, slice(0, 1))
    components = Components(columns.features[0], known)
    sums = np.array(sums)
    statistics = components.statistics(sums, components.squares(sums))
    pvalues = rank_pvalues(statistics)
    smallest = np.round(pvalues.min(axis=1), 9)
    return pvalues[0], (np.mean(smallest < smallest[0]), np.mean(smallest <= smallest[0]))


def test_pvalues_agree_with_all_arrangements(tiny):
    of_components, (below, upto) = _exact_pvalues(*tiny)
    result = conditional_calibration_test(
        *tiny, routing_kind="continuous", n_resamples=20_000, random_state=1
    )
    # The data count once more among the enumerated arrangements than among the draws.
    slack = 4 * np.sqrt(0.25 * of_components / 20_000) + 1 / 365
    found = np.array(list(result.component_pvalues.values()))
    assert (np.abs(found - of_components) < slack).all()
    assert 0.005 < below < upto < 0.5
    assert below - slack.max() < result.pvalue < upto + slack.max()


# --- level and power ------------------------------------------------------------------------


def test_pvalues_are_uniform_without_a_signal():
    pvalues = [
        conditional_calibration_test(
            *_table(400, seed=seed), n_resamples=99, random_state=seed
        ).pvalue
        for seed in range(150)
    ]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_signal_is_found_and_its_interval_covers_it():
    result = conditional_calibration_test(*_table(4000, effect=0.5), random_state=0)
    assert result.pvalue <= 0.002
    assert result.gap_interval[0] > 0
    assert not result.equivalent


def test_no_signal_is_shown_to_be_small():
    result = conditional_calibration_test(*_table(12_000), random_state=0)
    assert result.pvalue > 0.05
    assert result.equivalent
    assert -0.05 < result.equivalence_interval[0] < result.equivalence_interval[1] < 0.05


def test_effect_in_a_range_of_confidence_is_named():
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.5, 1, 6000), rng.normal(size=6000)
    inside = (confidence > 0.6) & (confidence < 0.7)
    events = rng.random(6000) < confidence + 0.25 * np.sign(routing) * inside
    result = conditional_calibration_test(events, confidence, routing, random_state=0)
    words = result.leading.split()
    assert words[:2] == ["scan:", "confidence"]
    assert float(words[2]) == pytest.approx(0.6, abs=0.03)
    assert float(words[4]) == pytest.approx(0.7, abs=0.03)
    assert result.leading_interval[0] < 0.5 < result.leading_interval[1]


def test_bad_decile_is_named():
    rng = np.random.default_rng(0)
    confidence, routing = rng.uniform(0.6, 1, 5000), rng.normal(size=5000)
    events = rng.random(5000) < confidence - 0.2 * (routing > 1.28)
    result = conditional_calibration_test(events, confidence, routing, random_state=0)
    assert result.leading == "part: top decile of routing"
    assert result.leading_interval[0] < -0.2 < result.leading_interval[1] < 0


def test_wide_miscalibration_alone_is_no_signal():
    """Routing follows the confidence closely, and the model is badly overconfident."""
    rng = np.random.default_rng(5)
    score = rng.normal(size=5000)
    routing = 0.95 * score + 0.31 * rng.normal(size=5000)
    events = rng.random(5000) < expit(0.3 * (2 + 2 * score))
    assert conditional_calibration_test(events, expit(2 + 2 * score), routing).pvalue > 0.01


# --- invariances: without ties the answer is the same number for number ---------------------


@pytest.mark.parametrize("null", ["shuffle", "normal"])
def test_row_order_does_not_matter(null):
    table = _table(effect=0.15)
    rows = np.random.default_rng(1).permutation(len(table[0]))
    one = conditional_calibration_test(*table, null=null, random_state=0)
    other = conditional_calibration_test(*(a[rows] for a in table), null=null, random_state=0)
    np.testing.assert_array_equal(_numbers(one), _numbers(other))


@pytest.mark.parametrize("null", ["shuffle", "normal"])
def test_increasing_maps_of_confidence_and_routing_do_not_matter(null):
    events, confidence, routing = _table(effect=0.15)
    one = conditional_calibration_test(events, confidence, routing, null=null, random_state=0)
    other = conditional_calibration_test(
        events, confidence**3, np.exp(routing), null=null, random_state=0
    )
    np.testing.assert_array_equal(_numbers(one), _numbers(other))


@pytest.mark.parametrize("null", ["shuffle", "normal"])
def test_swapping_outcomes_turns_the_gap_and_nothing_else(null):
    events, confidence, routing = _table(effect=0.15)
    one = conditional_calibration_test(events, confidence, routing, null=null, random_state=0)
    other = conditional_calibration_test(1 - events, confidence, routing, null=null, random_state=0)
    assert other.component_pvalues == one.component_pvalues
    assert other.pvalue == one.pvalue
    assert other.gap == pytest.approx(-one.gap)
    assert other.gap_se == pytest.approx(one.gap_se)


def test_decreasing_map_of_routing_turns_the_gap():
    events, confidence, routing = _table(effect=0.15)
    one = conditional_calibration_test(events, confidence, routing, random_state=0)
    other = conditional_calibration_test(events, confidence, -routing, random_state=0)
    assert other.gap == pytest.approx(-one.gap, abs=1e-9)
    assert other.pvalue == one.pvalue


def test_tied_rows_agree_whatever_their_order():
    events, confidence, routing = _table(1500, effect=0.15, seed=4)
    table = events, np.round(confidence, 1), np.round(2 * routing)
    rows = np.argsort(events)
    one = conditional_calibration_test(*table, random_state=0, n_resamples=1999)
    other = conditional_calibration_test(
        *(a[rows] for a in table), random_state=5, n_resamples=1999
    )
    assert other.pvalue == pytest.approx(one.pvalue, abs=0.05)
    assert other.gap == pytest.approx(one.gap, abs=0.3 * one.gap_se)


def test_null_laws_agree():
    table = _table(3000, effect=0.12, seed=2)
    one = conditional_calibration_test(*table, null="shuffle", n_resamples=3999, random_state=0)
    other = conditional_calibration_test(*table, null="normal", n_resamples=3999, random_state=0)
    assert (one.null, other.null) == ("shuffle", "normal")
    for name, pvalue in one.component_pvalues.items():
        assert other.component_pvalues[name] == pytest.approx(pvalue, abs=0.03)


@pytest.mark.parametrize(
    ("shape", "null"),
    [
        (lambda z: z, "normal"),
        (lambda z: np.round(z, 2), "normal"),
        (lambda z: np.round(z).clip(-2, 2), "shuffle"),
        (lambda z: np.maximum(z, 1), "shuffle"),
    ],
)
def test_many_rows_take_the_normal_law_unless_few_rows_decide(shape, null):
    events, confidence, routing = _table(20_001)
    result = conditional_calibration_test(events, confidence, shape(routing), n_resamples=19)
    assert result.null == null


@pytest.mark.parametrize(("n_groups", "null"), [(199, "sign-flip"), (2000, "normal")])
def test_many_groups_take_the_normal_law(n_groups, null):
    table = _table(20_001)
    groups = np.arange(20_001) % n_groups
    assert conditional_calibration_test(*table, groups=groups, n_resamples=19).null == null


# --- groups ---------------------------------------------------------------------------------


def _clustered(seed, n_groups=60, size=10):
    """Outcomes and routing shared within groups, and independent of each other."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    confidence = rng.uniform(0.4, 1, len(groups))
    difficulty = rng.normal(size=n_groups)[groups]
    events = rng.random(len(groups)) < expit(2 * (confidence - 0.5) + 1.5 * difficulty)
    routing = rng.normal(size=n_groups)[groups] + 0.1 * rng.normal(size=len(groups))
    return events, confidence, routing, groups


def test_groups_keep_the_level_where_rows_alone_do_not():
    ignored = counted = 0
    for seed in range(60):
        events, confidence, routing, groups = _clustered(seed)
        table = events, confidence, routing
        ignored += (
            conditional_calibration_test(*table, n_resamples=99, random_state=0).pvalue <= 0.1
        )
        result = conditional_calibration_test(*table, groups=groups, n_resamples=99, random_state=0)
        counted += result.pvalue <= 0.1
    assert ignored > 18
    assert counted < 14


def test_groups_widen_the_interval_of_a_shared_feature():
    events, confidence, routing, groups = _clustered(0)
    one = conditional_calibration_test(events, confidence, routing, n_resamples=99)
    other = conditional_calibration_test(events, confidence, routing, groups=groups, n_resamples=99)
    assert other.gap_se > 1.5 * one.gap_se
    assert (other.n_groups, other.null) == (60, "sign-flip")


def test_groups_of_one_row_agree_with_no_groups():
    table = _table(effect=0.12, seed=7)
    one = conditional_calibration_test(*table, n_resamples=1999, random_state=0)
    other = conditional_calibration_test(
        *table, groups=np.arange(1500), n_resamples=1999, random_state=0
    )
    assert other.component_pvalues["linear"] == pytest.approx(
        one.component_pvalues["linear"], abs=0.04
    )


def test_names_of_groups_do_not_matter():
    events, confidence, routing, groups = _clustered(1)
    kwargs = {"n_resamples": 99, "random_state": 0}
    one = conditional_calibration_test(events, confidence, routing, groups=groups, **kwargs)
    names = np.array([f"g{g:03d}" for g in groups])
    other = conditional_calibration_test(events, confidence, routing, groups=names, **kwargs)
    assert one == other


# --- levels ---------------------------------------------------------------------------------


def _experts(effect=0.0, n=3000, seed=0):
    rng = np.random.default_rng(seed)
    confidence, expert = rng.uniform(0.5, 1, n), rng.integers(0, 6, n)
    return rng.random(n) < confidence - effect * (expert == 3), confidence, expert


@pytest.mark.parametrize("kind", ["discrete", "nominal"])
def test_bad_expert_is_named(kind):
    result = conditional_calibration_test(*_experts(0.15), routing_kind=kind, random_state=0)
    assert result.pvalue <= 0.01
    assert "routing 3" in result.leading
    assert result.leading_interval[0] < -0.15 < result.leading_interval[1]


def test_order_and_names_of_levels_do_not_matter():
    events, confidence, expert = _experts(0.06)
    kwargs = {"routing_kind": "nominal", "random_state": 0}
    one = conditional_calibration_test(events, confidence, expert, **kwargs)
    names = np.array(["e", "b", "f", "a", "d", "c"])[expert]
    other = conditional_calibration_test(events, confidence, names, **kwargs)
    np.testing.assert_allclose(_numbers(one), _numbers(other))
    assert one.gap_contrast == "routing 3 minus the rest"
    assert other.gap_contrast == "routing a minus the rest"


def test_equivalence_of_names_demands_every_level():
    events, confidence, expert = _experts(n=20_000)
    rare = np.where(np.arange(20_000) < 220, 9, expert)
    common = conditional_calibration_test(
        events, confidence, expert, routing_kind="nominal", n_resamples=99, random_state=0
    )
    with_rare = conditional_calibration_test(
        events, confidence, rare, routing_kind="nominal", n_resamples=99, random_state=0
    )
    assert common.equivalent
    assert not with_rare.equivalent
    assert with_rare.min_detectable_gap > 2 * common.min_detectable_gap


def test_two_values_are_upper_minus_lower():
    events, confidence, expert = _experts(0.2)
    result = conditional_calibration_test(events, confidence, (expert == 3) * 1, random_state=0)
    assert result.gap_interval[0] < -0.2 < result.gap_interval[1] < -0.1
    assert result.gap_contrast == "routing 1 minus the rest"


def test_rare_levels_are_noted():
    events, confidence, expert = _experts()
    rare = np.where(np.arange(3000) < 12, 77, expert)
    result = conditional_calibration_test(
        events, confidence, rare, routing_kind="nominal", n_resamples=19
    )
    assert any("1 of 7 routing levels" in note for note in result.notes)


# --- no answer, and little data -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y, c, z: (y, c, np.ones_like(z)), "same value in every row"),
        (lambda y, c, z: (y, c, entropy([c, 1 - c])), "function of the confidence"),
        (lambda y, c, z: (y, c, np.round(4 * c)), "function of the confidence"),
        (lambda y, c, z: (y, c, np.where(c > 0.9, "high", "low")), "function of the confidence"),
        (lambda y, c, z: (np.ones_like(y), c, z), "outcomes are the same"),
        (lambda y, c, z: (y, c, np.arange(len(z)).astype(str)), "No routing level"),
        (lambda y, c, z: (y, c, np.arange(len(z)) < 3), "No routing level"),
    ],
)  # fmt: skip
def test_question_without_an_answer_gets_none(change, words):
    result = conditional_calibration_test(*change(*_table(1000)), n_resamples=19)
    assert not result.identifiable
    assert not result.equivalent
    assert np.isnan([result.pvalue, result.gap, result.min_detectable_gap]).all()
    assert words in result.notes[0]


def test_one_group_is_no_repetition():
    result = conditional_calibration_test(*_table(300), groups=np.zeros(300), n_resamples=19)
    assert not result.identifiable


def test_noise_of_a_tenth_is_identifiable():
    events, confidence, _ = _table()
    routing = confidence + 0.1 * confidence.std() * np.random.default_rng(9).normal(size=1500)
    result = conditional_calibration_test(events, confidence, routing, n_resamples=19)
    assert result.identifiable
    assert 0.003 < result.share_left_open < 0.1


def test_constant_confidence_is_an_unconditional_test():
    rng = np.random.default_rng(0)
    routing = rng.normal(size=1000)
    events = rng.random(1000) < 0.5 + 0.1 * np.sign(routing)
    result = conditional_calibration_test(events, np.full(1000, 0.9), routing, random_state=0)
    assert result.pvalue < 0.01
    assert result.n_bins == 1


def test_little_data_is_noted_and_never_equivalent():
    rng = np.random.default_rng(0)
    events = np.r_[np.zeros(4), np.ones(146)]
    result = conditional_calibration_test(
        events, rng.random(150), rng.normal(size=150), delta=0.5, n_resamples=99
    )
    assert not result.equivalent
    assert "150 rows" in result.notes[0]
    assert "146 events and 4 non-events" in result.notes[1]


def test_shared_routing_value_is_noted():
    events, confidence, routing = _table()
    result = conditional_calibration_test(
        events, confidence, np.maximum(routing, 0), n_resamples=19
    )
    assert any("share one routing value" in note for note in result.notes)


# --- input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"delta": 0}, ValueError, "delta"),
        ({"alpha": 0.7}, ValueError, "alpha"),
        ({"n_resamples": 5}, ValueError, "n_resamples"),
        ({"n_resamples": 99.5}, TypeError, "n_resamples"),
        ({"null": "bootstrap"}, ValueError, "null"),
        ({"routing_kind": "ordered"}, ValueError, "routing_kind"),
        ({"groups": [1, 2]}, ValueError, "groups"),
        ({"random_state": "seed"}, TypeError, "random_state"),
    ],
)
def test_bad_option_is_refused(kwargs, error, words):
    with pytest.raises(error, match=words):
        conditional_calibration_test(*_table(50), **kwargs)


def test_bad_data_are_refused():
    events, confidence, routing = _table(50)
    with pytest.raises(ValueError, match="y_true"):
        conditional_calibration_test(events + 1, confidence, routing)
    with pytest.raises(ValueError, match="y_prob"):
        conditional_calibration_test(events, 2 * confidence, routing)
    with pytest.raises(ValueError, match="routing"):
        conditional_calibration_test(events, confidence, routing[:40])
    with pytest.raises(ValueError, match=r"`routing` must be finite; row 7"):
        conditional_calibration_test(
            events, confidence, np.where(np.arange(50) == 7, np.nan, routing)
        )


def test_arrays_of_the_caller_are_left_alone():
    table = _table(300)
    copies = [array.copy() for array in table]
    conditional_calibration_test(*table, n_resamples=19)
    for array, copy in zip(table, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_seed_decides_everything():
    table = _table(500)
    one = conditional_calibration_test(*table, random_state=3)
    assert one == conditional_calibration_test(*table, random_state=np.random.default_rng(3))
    assert one != conditional_calibration_test(*table, random_state=4)


# --- several features -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(1)
    events, confidence, routing = _table(effect=0.3)
    return events, confidence, {"real": routing, "null": rng.normal(size=1500), "id": confidence}


def test_first_feature_gets_the_pvalue_it_has_alone(features):
    events, confidence, routing = features
    together = conditional_calibration_tests(events, confidence, routing, random_state=0)
    alone = conditional_calibration_test(events, confidence, routing["real"], random_state=0)
    np.testing.assert_allclose(_numbers(together.results["real"]), _numbers(alone))


def test_adjusted_pvalues_are_not_below_the_single_ones(features):
    tests = conditional_calibration_tests(*features, random_state=0)
    assert tests.pvalue_adjusted["real"] <= 0.05 < tests.pvalue_adjusted["null"]
    for name in ("real", "null"):
        assert tests.pvalue_adjusted[name] >= tests.results[name].pvalue
    assert np.isnan(tests.pvalue_adjusted["id"])


@pytest.mark.parametrize("container", ["array", "pandas", "polars"])
def test_container_does_not_matter(features, container):
    events, confidence, routing = features
    expected = conditional_calibration_tests(events, confidence, routing, random_state=0)
    frame = pd.DataFrame(routing)
    given = {"array": frame.to_numpy(), "pandas": frame, "polars": pl.DataFrame(routing)}[container]
    names = {"feature_names": list(routing)} if container == "array" else {}
    found = conditional_calibration_tests(events, confidence, given, random_state=0, **names)
    assert list(found.results) == ["real", "null", "id"]
    assert found.results["real"] == expected.results["real"]
    np.testing.assert_equal(found.pvalue_adjusted, expected.pvalue_adjusted)


def test_kinds_can_differ_by_feature(features):
    events, confidence, _ = features
    rng = np.random.default_rng(0)
    routing = {"expert": rng.integers(0, 4, 1500), "depth": rng.normal(size=1500)}
    tests = conditional_calibration_tests(
        events, confidence, routing, routing_kind={"expert": "nominal"}, n_resamples=19
    )
    assert tests.results["expert"].gap_contrast.endswith("minus the rest")
    assert tests.results["depth"].gap_contrast == "top minus bottom tertile of routing"


@pytest.mark.parametrize("null", ["shuffle", "normal"])
def test_features_with_groups_share_one_set_of_signs(null):
    events, confidence, routing, groups = _clustered(2)
    routing = {"a": routing, "copy": np.exp(routing)}
    tests = conditional_calibration_tests(
        events, confidence, routing, groups=groups, null=null, random_state=0
    )
    a, copy = tests.results.values()
    assert a.pvalue == pytest.approx(copy.pvalue, abs=1e-9)
    assert tests.pvalue_adjusted["a"] == pytest.approx(a.pvalue)


@pytest.mark.parametrize(
    ("routing", "kwargs", "words"),
    [
        (np.ones(50), {}, "conditional_calibration_test"),
        (np.ones((50, 0)), {}, "no columns"),
        (np.ones((50, 2)), {"feature_names": ["a"]}, "1 names for 2"),
        (np.ones((50, 2)), {"feature_names": ["a", "a"]}, "repeated"),
        ({"a": np.ones(50)}, {"feature_names": ["b"]}, "feature_names"),
        ({"a": np.ones(50)}, {"routing_kind": {"b": "nominal"}}, "routing_kind"),
        ({"a": np.full(50, np.nan)}, {}, "routing\\['a'\\]"),
    ],
)
def test_bad_features_are_refused(routing, kwargs, words):
    events, confidence, _ = _table(50)
    with pytest.raises(ValueError, match=words):
        conditional_calibration_tests(events, confidence, routing, **kwargs)
