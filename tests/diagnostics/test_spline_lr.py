import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.special import ndtri
from scipy.stats import chi2, kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.diagnostics._conditional._methods._spline_lr import (
    fit_logistic,
    orthonormal,
    spline_lr,
)


def _log_likelihood(design, events):
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000, fit_intercept=False)
    model.fit(design, events)
    return -log_loss(events, model.predict_proba(design)[:, 1], normalize=False)


def test_fit_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(300), rng.normal(size=(300, 3))])
    events = (rng.random(300) < 1 / (1 + np.exp(-design @ [0.5, 1, -1, 0.2]))) * 1.0
    likelihood, probability = fit_logistic(design, events)
    assert likelihood == pytest.approx(_log_likelihood(design, events), abs=1e-5)
    # the score equations hold
    np.testing.assert_allclose(design.T @ (events - probability), 0, atol=1e-4)


def test_outcomes_that_can_be_told_apart_have_likelihood_one():
    design = np.column_stack([np.ones(60), np.linspace(-1, 1, 60)])
    likelihood, _ = fit_logistic(design, (design[:, 1] > 0) * 1.0)
    assert likelihood == pytest.approx(0, abs=0.01)


def test_statistic_is_the_ratio_of_two_fits_of_scikit_learn(make_rows, make_table):
    table = make_table(*make_rows(400, effect=0.3))
    outcomes, feature = table.outcomes, table.features[0]
    rank, u = outcomes.rank, (feature.low + feature.high) / 2
    knots = np.quantile(rank, np.linspace(0, 1, 7))
    knots = np.r_[[knots[0]] * 3, knots, [knots[-1]] * 3]
    without = np.column_stack([BSpline.design_matrix(rank, knots, 3).toarray(), ndtri(rank)])
    curvature = (3 * u**2 - 1) / 2
    turning = 2 * rank - 1
    added = np.column_stack([u, curvature, u * turning, curvature * turning])
    ratio = 2 * (
        _log_likelihood(np.hstack([without, added]), outcomes.events)
        - _log_likelihood(without, outcomes.events)
    )
    finding = spline_lr(table)[0]
    assert finding.statistic == pytest.approx(ratio, abs=1e-3)
    assert finding.pvalue == pytest.approx(chi2.sf(ratio, 4), rel=1e-2)


def test_levels_add_one_column_less_than_there_are(make_table):
    rng = np.random.default_rng(0)
    confidence, expert = rng.uniform(0.5, 1, 1000), rng.integers(0, 4, 1000)
    finding = spline_lr(
        make_table(rng.random(1000) < confidence, confidence, expert, kind="nominal")
    )[0]
    # three free levels, each with and without turning
    assert finding.pvalue == pytest.approx(chi2.sf(finding.statistic, 6))


def test_orthonormal_columns_are_new_and_as_many_as_are_free():
    rng = np.random.default_rng(0)
    known = orthonormal(rng.normal(size=(50, 2)))
    columns = rng.normal(size=(50, 3))
    columns = np.column_stack([columns, columns[:, 0] + columns[:, 1], known[:, 0]])
    new = orthonormal(columns, apart_from=known)
    assert new.shape == (50, 3)
    np.testing.assert_allclose(new.T @ new / 50, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(new.T @ known, 0, atol=1e-10)


def test_level_is_kept_without_a_signal(make_rows, make_table):
    pvalues = [spline_lr(make_table(*make_rows(400, seed=k)))[0].pvalue for k in range(50)]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_effect_is_named(make_rows, make_table):
    finding = spline_lr(make_table(*make_rows(3000, effect=0.5)))[0]
    assert finding.pvalue < 0.001
    assert finding.leading == "spline_lr: trend of routing over all confidences"


def test_rare_errors_in_a_tie_of_confidence_do_not_break_it(make_table):
    rng = np.random.default_rng(0)
    confidence = np.r_[np.full(900, 1.0), rng.uniform(0.5, 1, 100)]
    events = np.r_[np.ones(900), rng.random(100) < 0.7]
    finding = spline_lr(make_table(events, confidence, rng.normal(size=1000)))[0]
    assert 0 < finding.pvalue <= 1


def test_groups_are_refused_with_the_methods_that_take_them(make_rows):
    with pytest.raises(ValueError, match=r"independent rows.*'default', 'weighted_gcm'"):
        conditional_calibration_test(
            *make_rows(300), groups=np.arange(300) // 3, method="spline_lr"
        )


@pytest.mark.parametrize("change", ["rows", "confidence", "routing", "outcome"])
def test_coding_does_not_matter(make_rows, change):
    events, confidence, routing = make_rows(effect=0.2)
    order = np.random.default_rng(1).permutation(len(events))
    recoded = {
        "rows": (events[order], confidence[order], routing[order]),
        "confidence": (events, confidence**3, routing),
        "routing": (events, confidence, np.exp(routing)),
        "outcome": (1 - events, confidence, routing),
    }[change]
    one = conditional_calibration_test(events, confidence, routing, method="spline_lr")
    other = conditional_calibration_test(*recoded, method="spline_lr")
    assert other.pvalue == pytest.approx(one.pvalue, rel=1e-6)
