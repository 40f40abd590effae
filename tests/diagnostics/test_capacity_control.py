"""A network on the full routing profile against networks of its size that know no routing."""

import numpy as np
import pytest
from joblib import parallel_config
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import capacity_control
from sk_arcal.diagnostics._capacity_control import ARMS, FULL, LOGISTIC

pytest.importorskip("torch")
pytest.importorskip("skorch")

CONTROLS = ("confidence only", "shuffled profile")


def rows(n=1200, **settings):
    data = make_routing_data(n, **{"random_state": 0, "effect": "step", "strength": 0.3} | settings)
    return data.y, data.confidence, data.routing


def control(*data, **settings):
    return capacity_control(*data, **{"n_networks": 1, "random_state": 0} | settings)


@pytest.fixture(scope="module")
def planted():
    return control(*rows())


def trap(n, seed=0):
    """Events that a network predicts better than a line in the logit, and routing does not."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 2, n)
    profile = 0.6 * log_odds[:, None] / 2 + 0.8 * rng.normal(size=(n, 3))
    y = rng.random(n) < expit(log_odds / 2 + 2 * np.sin(log_odds))
    return y.astype(int), expit(log_odds), profile


# --- the answer ----------------------------------------------------------------------------------


def test_planted_effect_survives(planted):
    assert planted.survives
    assert all(gain.low > 0 for gain in planted.gain.values())


def test_bent_confidence_wins_over_the_line_and_does_not_survive():
    found = control(*trap(3000))
    assert found.gain[LOGISTIC].low > 0.02
    assert not found.survives
    assert all(found.gain[name].estimate < 0.005 for name in CONTROLS)


def test_constant_profile_is_its_own_shuffle():
    y, confidence, _ = rows(600)
    found = control(y, confidence, np.ones((600, 3)))
    assert found.gain["shuffled profile"] == (0, 0, 0)
    assert not found.survives


def test_survival_needs_both_controls(planted):
    none = planted.gain["confidence only"]._replace(low=-1e-9)
    for name in CONTROLS:
        changed = type(planted)(
            planted.log_loss, planted.gain | {name: none}, planted.n_parameters, 1, 1
        )
        assert not changed.survives
    kept = type(planted)(planted.log_loss, planted.gain | {LOGISTIC: none}, {}, 1, 1)
    assert kept.survives


# --- definitions ---------------------------------------------------------------------------------


def test_gain_is_the_difference_of_the_losses_and_sizes_match(planted):
    for name, gain in planted.gain.items():
        assert gain.estimate == pytest.approx(planted.log_loss[name] - planted.log_loss[FULL])
    sizes = planted.n_parameters
    assert sizes[FULL] == sizes["shuffled profile"] == (1 + 3) * 16 + 1
    assert abs(sizes["confidence only"] - sizes[FULL]) <= 2
    assert sizes[LOGISTIC] == 2


def test_logistic_arm_is_a_cross_fitted_logistic_regression():
    # Halves that hold the same rows are fitted alike, so folds do not matter.
    y, confidence, routing = (np.repeat(array, 2, axis=0) for array in rows(500))
    found = control(y, confidence, routing, groups=np.tile([0, 1], 500))
    logit = np.log(confidence / (1 - confidence))[:, None]
    plain = LogisticRegression(C=np.inf).fit(logit, y).predict_proba(logit)[:, 1]
    assert found.log_loss[LOGISTIC] == pytest.approx(log_loss(y, plain), abs=1e-5)


def test_rows_of_a_group_stay_in_one_fold():
    # The profile names the group, and the outcome is the group's: of use within a fold only.
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 20)
    log_odds = rng.normal(size=1200)
    y = rng.random(1200) < expit(log_odds + 1.5 * rng.choice([-1, 1], 60)[group])
    data = y, expit(log_odds), rng.normal(size=(60, 3))[group]
    assert control(*data).survives
    found = control(*data, groups=group)
    assert found.gain["confidence only"].estimate < 0
    assert not found.survives


def test_copies_of_rows_do_not_narrow_the_interval_of_their_groups():
    y, confidence, routing = (np.repeat(array, 3, axis=0) for array in rows(400))
    group = np.repeat(np.arange(400), 3)
    with_groups = control(y, confidence, routing, groups=group).gain[LOGISTIC]
    without = control(y, confidence, routing).gain[LOGISTIC]
    assert with_groups.high - with_groups.low > 1.4 * (without.high - without.low)


def test_averaging_networks_is_not_picking_one():
    data = rows(800)
    losses = [control(*data, n_networks=count).log_loss[FULL] for count in (1, 3)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], abs=0.02)


# --- invariances and input -----------------------------------------------------------------------


def test_jobs_and_seeds_do_not_change_the_result(planted):
    # Processes would spend the time of this test on loading torch.
    with parallel_config(backend="threading"):
        again = control(*rows(), n_jobs=2, random_state=np.random.default_rng(0))
    for arm in ARMS:
        assert again.log_loss[arm] == pytest.approx(planted.log_loss[arm], rel=1e-9)


def test_mapping_frame_and_array_are_the_same_profile(planted):
    pandas = pytest.importorskip("pandas")
    y, confidence, routing = rows()
    for profile in ({"depth": routing[:, 0]}, pandas.DataFrame(routing), routing[:, 0]):
        assert control(y, confidence, profile).log_loss == planted.log_loss


def test_names_are_read_as_levels():
    y, confidence, routing = rows()
    names = np.where(routing[:, 0] > 0, "late", "early")
    assert control(y, confidence, names).survives


def test_many_rows_are_thinned_and_keep_their_profiles():
    found = control(*rows(2500), max_samples=1200)
    assert found.n_samples == 1200
    assert found.survives


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"y_true": [0, 2, 1, 1]}, ValueError, "`y_true` must be 0 or 1"),
        ({"y_true": [1, 1, 1, 1]}, ValueError, "both outcomes are needed"),
        ({"y_prob": [0.2, 1.5, 0.1, 0.2]}, ValueError, "`y_prob` must lie in"),
        ({"routing": [[1.0], [2.0]]}, ValueError, r"`routing\[:, 0\]` has 2 rows where 4"),
        ({"groups": [1, 1, 1, 1]}, ValueError, "at least two rows, or two groups"),
        ({"n_networks": 0}, ValueError, "`n_networks` must be at least 1"),
        ({"cv": 1}, ValueError, "`cv` must be at least 2"),
        ({"max_samples": 2.5}, TypeError, "`max_samples` must be an integer"),
    ],
)
def test_refuses(settings, error, match):
    good = {"y_true": [0, 1, 0, 1], "y_prob": [0.2, 0.7, 0.4, 0.6], "routing": [0.0, 1, 2, 3]}
    with pytest.raises(error, match=match):
        control(**good | settings)


def test_text_and_frame(planted):
    pytest.importorskip("pandas")
    frame = planted.to_frame()
    assert tuple(frame["arm"]) == ARMS
    assert np.isnan(frame["gain"][0])
    np.testing.assert_array_equal(frame["gain_low"][1:], [g.low for g in planted.gain.values()])
    assert "survives=True" in repr(planted)
    assert all(arm in repr(planted) for arm in ARMS)
