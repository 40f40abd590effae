"""What every method has in common."""

import numpy as np
import pytest

from sk_arcal.diagnostics import conditional_calibration_test, conditional_calibration_tests
from sk_arcal.diagnostics._conditional._methods._by_name import METHODS, check_method

OVERALL = (
    *("gap", "gap_interval", "gap_se", "gap_contrast", "min_detectable_gap", "equivalent"),
    *("equivalence_interval", "share_left_open", "n_bins", "notes"),
    *("noncentrality_bound", "rms_gap_bound", "equivalent_any_shape"),
)


@pytest.mark.parametrize("kind", ["continuous", "nominal"])
@pytest.mark.parametrize("method", METHODS)
def test_size_of_the_gap_does_not_depend_on_the_method(make_rows, method, kind):
    events, confidence, routing = make_rows(600, effect=0.5)
    routing = routing if kind == "continuous" else np.digitize(routing, [-1, 0, 1])
    kwargs = {"routing_kind": kind, "random_state": 3, "n_resamples": 99}
    by_default = conditional_calibration_test(events, confidence, routing, **kwargs)
    result = conditional_calibration_test(events, confidence, routing, method=method, **kwargs)
    for name in OVERALL:
        assert getattr(result, name) == getattr(by_default, name), name
    assert (by_default.method, result.method) == ("default", method)
    assert result.component_pvalues == {method: result.pvalue}
    assert result.component_statistics == {method: result.statistic}
    assert result.leading.startswith(f"{method}: ")
    assert f"({method} {result.pvalue:.3g})" in repr(result)


@pytest.mark.parametrize("method", METHODS)
def test_strong_effect_is_found_by_every_method(make_rows, method):
    result = conditional_calibration_test(
        *make_rows(5000, effect=1.2), method=method, n_resamples=99, random_state=0
    )
    assert result.pvalue <= 0.01


@pytest.mark.parametrize("method", METHODS)
def test_question_without_an_answer_gets_none(make_rows, method):
    events, confidence, routing = make_rows(500)
    tests = conditional_calibration_tests(
        events,
        confidence,
        {"same": confidence, "depth": routing},
        method=method,
        n_resamples=19,
    )
    refused = tests.results["same"]
    assert not refused.identifiable
    assert list(refused.component_pvalues) == [method]
    assert np.isnan([refused.pvalue, refused.gap, tests.pvalue_adjusted["same"]]).all()
    assert tests.pvalue_adjusted["depth"] == tests.results["depth"].pvalue
    alone = conditional_calibration_test(events, confidence, confidence, method=method)
    assert (alone.null, alone.identifiable) == ("none", False)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"cells"}))
def test_several_features_are_adjusted_by_holm(make_rows, method):
    events, confidence, routing = make_rows(400, effect=0.3)
    columns = {"one": routing, "copy": routing}
    tests = conditional_calibration_tests(
        events, confidence, columns, method=method, n_resamples=99, random_state=0
    )
    pvalues = [result.pvalue for result in tests.results.values()]
    assert min(tests.pvalue_adjusted.values()) == pytest.approx(min(1, 2 * min(pvalues)))


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_dependent_rows_are_counted_or_refused(make_rows, method):
    rows, groups = make_rows(400), np.arange(400) // 8
    kwargs = {"groups": groups, "method": method, "n_resamples": 99, "random_state": 0}
    if method == "spline_lr":
        with pytest.raises(ValueError, match="independent rows"):
            conditional_calibration_test(*rows, **kwargs)
        return
    result = conditional_calibration_test(*rows, **kwargs)
    assert result.n_groups == 50
    assert 0 < result.pvalue <= 1


@pytest.mark.parametrize("method", ["gcm", None, 3])
def test_unknown_method_is_refused_with_the_known_ones(method):
    with pytest.raises(ValueError, match="`method` must be one of 'default', 'weighted_gcm'"):
        check_method(method, has_groups=False)
