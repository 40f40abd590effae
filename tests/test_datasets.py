import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata, spearmanr

from sk_arcal.datasets import load_routing_demo, make_routing_data
from sk_arcal.metrics import expected_calibration_error

EFFECTS = ["none", "step", "linear", "u_shape", "crossing", "one_bin", "tail"]


@pytest.fixture(scope="module")
def demo():
    return load_routing_demo()


@pytest.fixture(scope="module")
def right(demo):
    return (demo.logits.argmax(axis=1) == demo.y).astype(float)


@pytest.mark.parametrize("effect", EFFECTS)
def test_probability_averages_to_the_calibrated_one_at_every_confidence(effect):
    data = make_routing_data(40_000, effect=effect, correlation=0.8, random_state=0)
    difference = (data.probability - data.calibrated)[np.argsort(data.confidence)]
    share = difference.reshape(40, -1)
    error = share.std(axis=1) / np.sqrt(share.shape[1])
    assert (np.abs(share.mean(axis=1)) <= 4.2 * error + 1e-15).all()


@pytest.mark.parametrize("effect", EFFECTS)
def test_outcomes_follow_the_probability(effect):
    data = make_routing_data(40_000, effect=effect, random_state=0)
    score = (data.y - data.probability) / np.sqrt(data.probability * (1 - data.probability))
    for part in (np.ones(40_000), np.sign(data.routing[:, 0]), np.sign(data.confidence - 0.9)):
        assert abs(score @ part) / np.sqrt(40_000) < 4


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


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_top_class_has_the_confidence_and_is_right_where_the_event_happened(n_classes):
    data = make_routing_data(5000, n_classes=n_classes, random_state=0)
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
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_routing_data(**options)


def test_demo_is_a_real_overconfident_model(demo, right):
    confidence = softmax(demo.logits, axis=1).max(axis=1)
    assert demo.logits.shape == (1797, 10)
    assert 0.80 < right.mean() < 0.88
    assert 0.05 < expected_calibration_error(right, confidence) < 0.15
    assert np.isfinite(demo.logits).all()


def test_demo_is_the_same_every_time(demo):
    again = load_routing_demo()
    np.testing.assert_array_equal(again.logits, demo.logits)
    np.testing.assert_array_equal(again.routing, demo.routing)


def test_demo_planted_feature_separates_right_from_wrong_and_null_only_follows_confidence(
    demo, right
):
    confidence = softmax(demo.logits, axis=1).max(axis=1)
    planted, null = demo.routing.T
    assert planted[right == 1].mean() - planted[right == 0].mean() > 0.8
    assert spearmanr(null, confidence).statistic > 0.6
    rank = rankdata(confidence) / len(confidence)
    design = np.column_stack([rank**k for k in range(5)])
    residual = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (null, right)]
    assert abs(np.corrcoef(*residual)[0, 1]) < 3 / np.sqrt(len(right))
