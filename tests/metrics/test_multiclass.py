import json

import numpy as np
import pytest

from sk_arcal.metrics import (
    classwise_calibration_error,
    expected_calibration_error,
    top_label_calibration_error,
)

CELLS = [
    "cifar10_kerrigan_resnet-110",
    "cifar10_widmann_densenet121",
    "cifar100_netcal_wideresnet-16-4",
    "text_cleanlab_20news",
]


def _class_errors(classes, **params):
    y_true, y_prob = classes
    columns = enumerate(y_prob.T)
    return np.array([expected_calibration_error(y_true == k, p, **params) for k, p in columns])


def _top_label(classes):
    y_true, y_prob = classes
    predicted = y_prob.argmax(axis=1)
    return y_true == predicted, y_prob.max(axis=1), predicted


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_top_label_is_the_error_of_being_right(strategy, norm, classes):
    right, confidence, _ = _top_label(classes)
    error = top_label_calibration_error(*classes, strategy=strategy, norm=norm)
    assert error == pytest.approx(
        expected_calibration_error(right, confidence, strategy=strategy, norm=norm)
    )


def test_top_label_takes_the_first_of_tied_classes():
    assert top_label_calibration_error([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0
    assert top_label_calibration_error([1, 1], [[0.5, 0.5], [0.5, 0.5]], labels=[0, 1]) == 0.5


def test_top_label_of_a_fold_that_lacks_a_class(classes):
    y_true, y_prob = classes
    fold = y_true != 2
    error = top_label_calibration_error(y_true[fold], y_prob[fold], labels=np.arange(5))
    right, confidence, _ = _top_label((y_true[fold], y_prob[fold]))
    assert error == pytest.approx(expected_calibration_error(right, confidence))


def test_top_label_of_a_single_row():
    error = top_label_calibration_error(["b"], [[0.1, 0.9]], labels=["a", "b"])
    assert error == pytest.approx(0.1)


def test_float32_softmax_is_accepted(classes):
    y_true, y_prob = classes
    error = top_label_calibration_error(y_true, y_prob.astype(np.float32))
    assert error == pytest.approx(top_label_calibration_error(y_true, y_prob), abs=1e-6)


@pytest.mark.parametrize("n_bins", [1, 2, 15, 40])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_classwise_is_the_mean_over_classes(strategy, n_bins, classes):
    expected = _class_errors(classes, strategy=strategy, n_bins=n_bins).mean()
    error = classwise_calibration_error(*classes, strategy=strategy, n_bins=n_bins)
    assert error == pytest.approx(expected)


def test_classwise_l2_is_the_root_of_the_mean_square(classes):
    expected = np.sqrt(np.mean(_class_errors(classes, norm="l2") ** 2))
    assert classwise_calibration_error(*classes, norm="l2") == pytest.approx(expected)


def test_classwise_with_exact_0_1_and_values_on_the_first_edge():
    y_prob = np.array([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75], [0.75, 0.25]])
    y_true = np.array([1, 0, 0, 0])
    expected = _class_errors((y_true, y_prob), n_bins=4).mean()
    assert classwise_calibration_error(y_true, y_prob, n_bins=4) == pytest.approx(expected)


def test_classwise_of_many_classes_equals_the_loop(rng):
    y_prob = rng.dirichlet(np.full(300, 0.05), 500)
    y_true = rng.integers(0, 300, 500)
    expected = _class_errors((y_true, y_prob)).mean()
    error = classwise_calibration_error(y_true, y_prob, labels=np.arange(300))
    assert error == pytest.approx(expected)


def test_classwise_predicted_takes_each_predicted_class(classes):
    right, confidence, predicted = _top_label(classes)
    errors = [
        expected_calibration_error(right[predicted == k], confidence[predicted == k])
        for k in np.unique(predicted)
    ]
    error = classwise_calibration_error(*classes, variant="predicted")
    assert error == pytest.approx(np.mean(errors))


def test_classwise_predicted_leaves_out_classes_never_predicted():
    y_prob = [[0.6, 0.3, 0.1], [0.8, 0.1, 0.1]]
    error = classwise_calibration_error([0, 0], y_prob, labels=[0, 1, 2], variant="predicted")
    assert error == pytest.approx(0.3)


def test_classwise_refuses_unknown_variant(classes):
    with pytest.raises(ValueError, match="`variant` must be one of 'all', 'predicted'"):
        classwise_calibration_error(*classes, variant="marginal")


@pytest.mark.parametrize("name", CELLS)
def test_top_label_error_of_real_logits_equals_the_reference(name, shared_data):
    # Reference: independent computation kept beside the predictions, six decimals.
    reference = json.loads((shared_data / "manifest.json").read_text())[f"logits/{name}.npz"]
    with np.load(shared_data / "logits" / f"{name}.npz") as data:
        logits, y_true = data["logits"].astype(np.float64), data["y"]
    y_prob = np.exp(logits - logits.max(axis=1, keepdims=True))
    y_prob /= y_prob.sum(axis=1, keepdims=True)
    labels = np.arange(y_prob.shape[1])
    error = top_label_calibration_error(y_true, y_prob, labels=labels)
    assert error == pytest.approx(reference["all"]["ece15"], abs=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_blocks_equal_the_loop_over_classes(order, weighted, rng):
    # Rows that sum to one within half precision, some with entries near the first edge.
    y_prob = rng.dirichlet(np.full(40, 0.1), 6000)
    y_prob[:500, :15] = rng.uniform(0.999, 1.001, (500, 15)) / 15
    y_prob[:500, 15:] = 0
    y_prob = np.asarray(y_prob * rng.uniform(0.996, 1.004, (6000, 1)), order=order)
    y_true, weight = rng.integers(0, 40, 6000), rng.integers(0, 3, 6000)
    used = {"sample_weight": weight} if weighted else {}
    rescaled = y_prob / y_prob.sum(axis=1, keepdims=True)
    expected = _class_errors((y_true, rescaled), **used).mean()
    assert classwise_calibration_error(y_true, y_prob, **used) == pytest.approx(expected, rel=1e-11)
    right = rescaled.argmax(axis=1) == y_true
    expected = expected_calibration_error(right, rescaled.max(axis=1), **used)
    assert top_label_calibration_error(y_true, y_prob, **used) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("metric", [top_label_calibration_error, classwise_calibration_error])
def test_what_is_wrong_in_a_later_block_is_named_by_its_row(metric):
    y_prob = np.full((50_000, 4), 0.25)
    y_prob[40_000] = [0.5, 0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="must sum to one; row 40000 sums to 2"):
        metric(np.zeros(50_000, dtype=int), y_prob, labels=[0, 1, 2, 3])
    y_prob[40_000] = [np.inf, -np.inf, 0, 0]
    with pytest.raises(ValueError, match="must be finite; row 40000"):
        metric(np.zeros(50_000, dtype=int), y_prob, labels=[0, 1, 2, 3])
