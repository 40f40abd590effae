"""Features over depth are their formulas, row by row, and the tests take them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy, linregress

from sk_arcal.diagnostics import conditional_calibration_tests
from sk_arcal.diagnostics._layer_features import layer_features

NAMES = [
    *("settling_depth", "confidence_settling_depth", "mean_layer_confidence"),
    *("confidence_variance", "last_correction", "n_flips"),
    *("mean_disagreement", "mean_divergence", "entropy_slope"),
]


def by_hand(path):
    """Features of one row from its probabilities (n_layers, n_classes), in plain loops."""
    last, end = len(path) - 1, path[-1]
    final, tops = int(np.argmax(end)), [int(np.argmax(p)) for p in path]
    own = [p[final] for p in path]
    settled = next(k for k in range(last + 1) if all(t == final for t in tops[k:]))
    sure = next(k for k in range(last + 1) if all(q > own[-1] / 2 for q in own[k:]))
    return {
        "settling_depth": settled / last,
        "confidence_settling_depth": sure / last,
        "mean_layer_confidence": np.mean([max(p) for p in path]),
        "confidence_variance": np.var(own),
        "last_correction": own[-1] - max(own[:-1]),
        "n_flips": sum(a != b for a, b in pairwise(tops)),
        "mean_disagreement": np.mean([np.maximum(p - end, 0).sum() for p in path[:-1]]),
        "mean_divergence": np.mean([entropy(end, p) for p in path[:-1]]),
        "entropy_slope": linregress(np.arange(last + 1) / last, entropy(path, axis=1)).slope,
    }


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("n_layers", [2, 7])
def test_features_are_their_formulas(n_classes, n_layers):
    logits = 2 * np.random.default_rng(0).normal(size=(60, n_layers, n_classes))
    features = layer_features(logits)
    assert list(features) == NAMES
    rows = [by_hand(path) for path in softmax(logits, axis=2)]
    for name, column in features.items():
        np.testing.assert_allclose(column, [row[name] for row in rows], atol=1e-12, err_msg=name)
        assert column.dtype == np.float64


def test_hand_made_paths():
    paths = np.array(
        [
            [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.8, 0.2]],
            [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]],
            [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]],
        ]
    )
    features = layer_features(paths)
    np.testing.assert_allclose(features["settling_depth"], [2 / 3, 0, 1])
    np.testing.assert_allclose(features["confidence_settling_depth"], [2 / 3, 0, 1])
    np.testing.assert_allclose(features["last_correction"], [0.2, 0, 1], atol=1e-12)
    assert features["n_flips"].tolist() == [2, 0, 1]
    np.testing.assert_allclose(features["mean_disagreement"], [0.8 / 3, 0, 1], atol=1e-12)
    np.testing.assert_allclose(features["mean_divergence"][1:], [0, 52 * np.log(2)], atol=1e-12)
    np.testing.assert_allclose(features["entropy_slope"][1:], 0, atol=1e-12)


def test_forms_of_the_same_layers_agree():
    logits = np.random.default_rng(0).normal(size=(20, 3, 4))
    expected = layer_features(logits)
    same = [
        layer_features({"a": logits[:, 0], "b": logits[:, 1], "c": logits[:, 2]}),
        layer_features(softmax(logits, axis=2)),
        layer_features(logits + 5.0),
    ]
    for features in same:
        for name, column in expected.items():
            np.testing.assert_allclose(features[name], column, atol=1e-12)
    odds = logits[:, :, 1] - logits[:, :, 0]
    one, two = layer_features(odds), layer_features(logits[:, :, :2])
    for name, column in two.items():
        np.testing.assert_allclose(one[name], column, atol=1e-12)


def test_rows_do_not_depend_on_each_other():
    logits = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)
    whole, part = layer_features(logits), layer_features(logits[10:20])
    for name, column in whole.items():
        np.testing.assert_array_equal(column[10:20], part[name])


def test_extreme_logits_give_finite_columns():
    logits = np.array([[[1e4, -1e4, 0], [-1e4, 1e4, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=np.float32)
    for column in layer_features(logits).values():
        assert np.isfinite(column).all()


def test_tests_take_them_as_routing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 4, 3))
    y_true = (logits[:, -1] + rng.gumbel(size=(400, 3))).argmax(axis=1)
    last = softmax(logits[:, -1], axis=1)
    features = layer_features(logits, prefix="lens_")
    assert list(features) == ["lens_" + name for name in NAMES]
    event = last.argmax(axis=1) == y_true
    tests = conditional_calibration_tests(event, last.max(axis=1), features, random_state=0)
    assert len(tests.to_frame()) == len(NAMES)


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ([np.zeros((5, 1, 3))], {}, ValueError, "one layer"),
        ([np.zeros((5, 2, 3))], {"prefix": 1}, TypeError, "`prefix`"),
        ([[np.zeros((5, 3)), np.zeros((4, 3))]], {}, ValueError, "has 5 rows where 4"),
        ([np.full((5, 2, 3), np.nan)], {}, ValueError, "must be finite"),
        ([np.zeros((5, 2, 3))], {"score_kind": "p"}, ValueError, "`score_kind`"),
    ],
)
def test_wrong_input_is_refused(args, options, error, message):
    with pytest.raises(error, match=message):
        layer_features(*args, **options)
