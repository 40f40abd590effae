import numpy as np
import pytest
from scipy.special import logit

from sk_arcal.datasets import make_routing_data, make_routing_runs

EFFECTS = ["none", "step", "linear", "u_shape", "crossing", "one_bin", "tail"]


def _scores(data):
    """Return the normal score of every confidence, and what the routing adds to it."""
    score = (logit((data.confidence - 0.4) / 0.6) - 2.3) / 3
    return score, (data.routing - 0.5 * score) / np.sqrt(0.75)


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_run_averages_to_its_calibrated_probability_and_outcomes_follow(effect):
    data = make_routing_runs(20_000, 2, effect=effect, correlation=0.8, random_state=0)
    for run in range(2):
        order = np.argsort(data.confidence[run])
        share = (data.probability - data.calibrated)[run][order].reshape(20, -1)
        error = share.std(axis=1) / np.sqrt(share.shape[1])
        assert (np.abs(share.mean(axis=1)) <= 4.2 * error + 1e-15).all()
        spread = data.probability[run] * (1 - data.probability[run])
        for part in (np.ones(20_000), np.sign(data.routing[run])):
            surplus = part @ (data.y - data.probability)[run]
            assert abs(surplus) < 4 * np.sqrt(spread.sum())


def test_one_run_has_the_law_of_make_routing_data():
    data = make_routing_runs(40_000, 1, effect="step", correlation=0.5, random_state=0)
    other = make_routing_data(40_000, effect="step", correlation=0.5, random_state=0)
    levels = np.linspace(0.05, 0.95, 10)
    for name in ("confidence", "probability", "calibrated"):
        found, expected = np.quantile(data[name], levels), np.quantile(other[name], levels)
        np.testing.assert_allclose(found, expected, atol=0.02)
    assert data.y.mean() == pytest.approx(other.y.mean(), abs=0.015)


@pytest.mark.parametrize("shared", [0.0, 0.4, 0.8])
def test_runs_share_score_and_routing_as_asked(shared):
    data = make_routing_runs(20_000, 3, shared=shared, correlation=0.5, random_state=0)
    for part in _scores(data):
        off_diagonal = np.corrcoef(part)[np.triu_indices(3, 1)]
        np.testing.assert_allclose(off_diagonal, shared, atol=0.03)


def test_shared_of_one_means_copies():
    data = make_routing_runs(300, 3, effect="step", shared=1.0, random_state=0)
    for name in ("y", "confidence", "routing", "probability"):
        np.testing.assert_array_equal(data[name][1:], data[name][[0, 0]])


def _statistic_correlation(shared):
    """Correlation between two runs of the statistic sum u (y - g) under no effect."""
    statistics = []
    for seed in range(400):
        data = make_routing_runs(300, 2, shared=shared, random_state=seed)
        statistics.append((data.routing * (data.y - data.calibrated)).sum(axis=1))
    return np.corrcoef(np.transpose(statistics))[0, 1]


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 0.0), (0.6, 0.25), (0.9, 0.6)])
def test_statistics_of_the_runs_correlate_the_more_the_more_is_shared(shared, expected):
    assert _statistic_correlation(shared) == pytest.approx(expected, abs=0.13)


@pytest.mark.parametrize(("n_affected", "expected"), [(None, 4), (0, 0), (1, 1), (4, 4)])
def test_only_the_affected_runs_have_the_effect(n_affected, expected):
    data = make_routing_runs(200, 4, effect="linear", n_affected=n_affected, random_state=0)
    differs = (data.probability != data.calibrated).any(axis=1)
    np.testing.assert_array_equal(differs, np.arange(4) < expected)
    np.testing.assert_array_equal(data.affected, differs)


def test_affected_runs_leave_the_others_as_they_were():
    none = make_routing_runs(200, 3, effect="step", n_affected=0, random_state=0)
    one = make_routing_runs(200, 3, effect="step", n_affected=1, random_state=0)
    np.testing.assert_array_equal(none.routing, one.routing)
    np.testing.assert_array_equal(none.y[1:], one.y[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "`n_samples` must be at least 1"),
        ({"n_runs": 0}, "`n_runs` must be at least 1"),
        ({"effect": "big"}, "`effect` must be one of"),
        ({"strength": 2}, "`strength` must lie in"),
        ({"shared": 1.5}, "`shared` must lie in"),
        ({"n_affected": 6}, "`n_affected` is 6, of only 5 runs"),
        ({"correlation": -1}, "`correlation` must lie in"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_routing_runs(**options)
