import hashlib
import itertools

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import LogisticRegression

from sk_arcal.datasets import make_routing_data
from sk_arcal.datasets._effects import EFFECTS as EFFECT_OBJECTS
from sk_arcal.metrics import expected_calibration_error

EFFECTS = ["none", "step", "linear", "u_shape", "crossing", "one_bin", "tail"]


OPTIONS = [
    {"correlation": 0.8},
    {"curve": "waves", "correlation": -0.5},
    {"n_layers": 4, "correlation": 0.6},
    {"ties": True, "correlation": 0.6},
    {"ties": True, "correlation": 0.6, "n_layers": 3, "curve": "waves", "n_classes": 2},
]


def assert_averages_to_the_calibrated_one(data):
    """Sort by confidence, and compare the means of forty blocks of rows."""
    order = np.argsort(data.confidence, kind="stable")
    share = (data.probability - data.calibrated)[order].reshape(40, -1)
    error = share.std(axis=1) / np.sqrt(share.shape[1])
    assert (np.abs(share.mean(axis=1)) <= 4.2 * error + 1e-15).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS)
def test_probability_averages_to_the_calibrated_one_at_every_confidence(effect, options):
    data = make_routing_data(40_000, effect=effect, random_state=0, **options)
    assert_averages_to_the_calibrated_one(data)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS)
def test_outcomes_follow_the_probability(effect, options):
    data = make_routing_data(20_000, effect=effect, random_state=0, **options)
    surplus, spread = data.y - data.probability, data.probability * (1 - data.probability)
    signs = (np.ones(20_000), np.sign(data.routing[:, 0]), np.sign(data.confidence - 0.9))
    for part in (*signs, data.probability > data.calibrated):
        assert abs(surplus @ part) <= 4 * np.sqrt(spread @ part**2)


def test_results_of_the_first_release_are_unchanged():
    digest = hashlib.sha256()
    for effect in EFFECTS:
        for options in (
            {},
            {"correlation": 0.7, "n_noise_features": 2, "n_classes": 10, "overconfidence": 0.0},
            {"correlation": -0.3, "strength": 0.3, "n_classes": 2},
        ):
            data = make_routing_data(300, effect=effect, random_state=7, **options)
            for key in sorted(data):
                value = data[key]
                # six decimals: the last bits of sigmoid and normal differ between platforms
                is_array = isinstance(value, np.ndarray)
                value = np.round(value, 6) + 0.0 if is_array else repr(value).encode()
                digest.update(value.astype(np.float64).tobytes() if is_array else value)
    # computed with the code before profiles, curves and ties were added
    assert digest.hexdigest() == "c502cd98562f7425f3ff7e08731294153a51127cfd2d7c36b62f0ddf6208ad9e"


def test_no_effect_means_the_calibrated_probability_exactly():
    data = make_routing_data(500, correlation=0.9, random_state=0)
    np.testing.assert_array_equal(data.probability, data.calibrated)
    np.testing.assert_allclose(data.calibrated, expit(logit(data.confidence) / 1.4))


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        ("step", [-1, -1, 1, 1]),
        ("linear", [-0.75, -0.25, 0.25, 0.75]),
        ("u_shape", [0.375, -0.375, -0.375, 0.375]),
        ("tail", [1 / 9, 1 / 9, 1 / 9, -1 / 3]),
    ],
)
def test_effect_has_the_stated_shape(effect, expected):
    data = make_routing_data(200_000, effect=effect, strength=0.02, random_state=0)
    free = data.calibrated < 0.95  # the strength is not scaled down here
    quarter = rankdata(data.routing[free, 0]) * 4 // (free.sum() + 1)
    shift = (data.probability - data.calibrated)[free] / 0.02
    means = [shift[quarter == k].mean() for k in range(4)]
    np.testing.assert_allclose(means, expected, atol=0.02)


def test_crossing_changes_its_sign_over_confidence():
    data = make_routing_data(20_000, effect="crossing", random_state=0)
    shift = (data.probability - data.calibrated) * data.routing[:, 0]
    confident = data.confidence > np.median(data.confidence)
    assert (shift[confident] <= 0).mean() > 0.99
    assert (shift[~confident] >= 0).mean() > 0.99


def test_effect_in_one_bin_leaves_other_rows_alone():
    data = make_routing_data(30_000, effect="one_bin", random_state=0)
    assert (data.probability != data.calibrated).mean() == pytest.approx(1 / 15, abs=0.006)


@pytest.mark.parametrize("strength", [0.05, 1.0])
def test_rates_change_by_at_most_four_fifths_of_themselves(strength):
    data = make_routing_data(20_000, effect="step", strength=strength, random_state=0)
    rate = np.minimum(data.calibrated, 1 - data.calibrated)
    assert np.abs(data.probability - data.calibrated).max() <= strength + 1e-12
    assert (np.abs(data.probability - data.calibrated) <= 0.8 * rate + 1e-15).all()


@pytest.mark.parametrize(("overconfidence", "error"), [(0.0, 0.0), (0.4, 0.04)])
def test_overconfidence_sets_the_calibration_error(overconfidence, error):
    data = make_routing_data(100_000, overconfidence=overconfidence, random_state=0)
    ece = expected_calibration_error(data.y, data.confidence)
    assert ece == pytest.approx(error, abs=0.006)


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.9])
def test_features_follow_the_confidence_as_asked(correlation):
    data = make_routing_data(
        20_000, effect="step", correlation=correlation, n_noise_features=1, random_state=0
    )
    expected = 6 / np.pi * np.arcsin(correlation / 2)  # Spearman's rank correlation of normals
    for column in data.routing.T:
        assert spearmanr(column, data.confidence).statistic == pytest.approx(expected, abs=0.03)


def test_noise_features_are_named_and_carry_no_effect():
    data = make_routing_data(20_000, effect="step", n_noise_features=2, random_state=0)
    shift = data.probability - data.calibrated
    assert data.feature_names == ["routing", "noise_1", "noise_2"]
    assert np.corrcoef(shift, data.routing[:, 0])[0, 1] > 0.5
    assert np.abs(np.corrcoef(shift, data.routing[:, 1:].T)[0, 1:]).max() < 0.03


def test_waves_are_the_stated_curve_and_no_line_in_the_log_odds():
    data = make_routing_data(40_000, curve="waves", random_state=0)
    log_odds = logit(data.confidence)
    np.testing.assert_allclose(data.calibrated, expit(log_odds / 1.4 + 2 * np.sin(log_odds)))
    along = data.calibrated[np.argsort(data.confidence)]
    assert (np.maximum.accumulate(along) - along).max() > 0.1
    line = LogisticRegression(C=np.inf).fit(log_odds[:, None], data.y)
    fitted = line.predict_proba(log_odds[:, None])[:, 1]
    assert _log_loss(data.calibrated, fitted) > _log_loss(data.calibrated, data.calibrated) + 0.05


def _log_loss(truth, probability):
    kept = np.clip(probability, 1e-12, 1 - 1e-12)
    return -np.mean(truth * np.log(kept) + (1 - truth) * np.log(1 - kept))


def test_layers_of_a_profile_correlate_with_the_confidence_and_with_each_other():
    data = make_routing_data(
        40_000, correlation=0.6, n_layers=4, n_noise_features=1, random_state=0
    )
    assert data.feature_names == ["layer_1", "layer_2", "layer_3", "layer_4", "noise_1"]
    score = logit((data.confidence - 0.4) / 0.6)
    found = np.corrcoef(np.column_stack([score, data.routing]).T)
    np.testing.assert_allclose(found[0, 1:], 0.6, atol=0.02)
    between = 0.36 + 0.64 * 0.5
    np.testing.assert_allclose(found[1:5, 1:5], np.where(np.eye(4), 1, between), atol=0.02)
    np.testing.assert_allclose(found[5, 1:5], 0.36, atol=0.02)
    np.testing.assert_allclose(data.routing.std(axis=0), 1, atol=0.02)


def test_one_direction_of_a_profile_carries_the_effect_and_its_mean_knows_nothing():
    data = make_routing_data(
        20_000, effect="linear", strength=0.02, correlation=0.6, n_layers=5, random_state=0
    )
    layers = data.routing[:, :5]
    projected = layers @ data.direction
    free = data.calibrated < 0.95
    shift = (data.probability - data.calibrated)[free] / 0.02
    rank = 2 * rankdata(projected) / 20_001 - 1
    assert np.linalg.norm(data.direction) == pytest.approx(1)
    np.testing.assert_allclose(shift, rank[free], atol=0.03)
    assert abs(np.corrcoef(shift, layers.mean(axis=1)[free])[0, 1]) < 4 / np.sqrt(free.sum())
    assert abs(np.corrcoef(projected, data.confidence)[0, 1]) < 4 / np.sqrt(20_000)


def test_ties_make_half_precision_with_a_fifth_at_one_and_few_levels():
    data = make_routing_data(20_000, ties=True, correlation=0.5, n_noise_features=1, random_state=0)
    np.testing.assert_array_equal(data.confidence.astype(np.float16), data.confidence)
    assert (data.confidence == 1).mean() == pytest.approx(0.2, abs=0.02)
    assert data.confidence.min() >= 0.4
    for column in data.routing.T:
        np.testing.assert_array_equal(np.unique(column), np.arange(-4, 5) / 2)
    profile = make_routing_data(500, ties=True, n_layers=2, n_noise_features=1, random_state=0)
    assert [len(np.unique(column)) for column in profile.routing.T] == [500, 500, 9]


@pytest.mark.parametrize("effect", EFFECTS)
def test_truth_of_tied_rows_is_a_function_of_confidence_and_level(effect):
    data = make_routing_data(20_000, effect=effect, ties=True, correlation=0.5, random_state=0)
    seen = np.column_stack([data.confidence, data.routing[:, 0]])
    _, first, code = np.unique(seen, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(data.probability, data.probability[first][code.ravel()])
    _, first, code = np.unique(data.confidence, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(data.calibrated, data.calibrated[first][code])


@pytest.mark.parametrize("effect", EFFECTS)
def test_effect_between_two_ranks_is_the_mean_of_its_shape(effect):
    shape = EFFECT_OBJECTS[effect]
    cuts = np.array([-1, -0.7, -0.2, 0.1, 0.75, 0.9, 1])
    for low, high in itertools.pairwise(cuts):
        u = low + (high - low) * (np.arange(20_000) + 0.5) / 20_000
        assert shape.between(low, high) == pytest.approx(shape.shape(u).mean(), abs=2e-4)
    assert shape.between(-1.0, 1.0) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_top_class_has_the_confidence_and_is_right_where_the_event_happened(n_classes, ties):
    data = make_routing_data(5000, n_classes=n_classes, ties=ties, random_state=0)
    assert data.logits.shape == (5000, n_classes)
    assert np.isfinite(data.logits).all()
    np.testing.assert_allclose(softmax(data.logits, axis=1).max(axis=1), data.confidence)
    np.testing.assert_array_equal(data.logits.argmax(axis=1) == data.labels, data.y == 1)
    assert np.unique(data.labels).tolist() == list(range(n_classes))


def test_wrong_labels_follow_the_remaining_probabilities():
    data = make_routing_data(60_000, overconfidence=0.0, n_classes=4, random_state=0)
    prob = softmax(data.logits, axis=1)
    wrong = data.y == 0
    second = np.argsort(prob, axis=1)[:, -2]
    ranked = np.sort(prob, axis=1)
    share = (ranked[:, -2] / ranked[:, :-1].sum(axis=1))[wrong]
    hit = (second == data.labels)[wrong]
    assert hit.mean() == pytest.approx(share.mean(), abs=4 * 0.5 / np.sqrt(wrong.sum()))


def test_same_seed_same_data():
    first, second = (make_routing_data(50, n_classes=3, random_state=5) for _ in range(2))
    for key in ("confidence", "routing", "y", "logits", "labels"):
        np.testing.assert_array_equal(first[key], second[key])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "`n_samples` must be at least 1"),
        ({"effect": "big"}, "`effect` must be one of"),
        ({"strength": -0.1}, "`strength` must lie in"),
        ({"correlation": 1.0}, "`correlation` must lie in"),
        ({"overconfidence": -1}, "`overconfidence` must lie in"),
        ({"n_classes": 1}, "`n_classes` must be at least 2"),
        ({"n_layers": 1}, "`n_layers` must be at least 2"),
        ({"curve": "line"}, "`curve` must be one of"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_routing_data(**options)
