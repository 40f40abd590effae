import numpy as np
import pytest

from sk_arcal.datasets import make_degenerate_features, make_routing_data
from sk_arcal.diagnostics import conditional_calibration_tests


@pytest.fixture(scope="module")
def data():
    return make_routing_data(1000, random_state=0)


def test_features_are_what_they_say(data):
    c = data.confidence
    features = make_degenerate_features(c, random_state=0)
    assert len(np.unique(features["constant"])) == 1
    np.testing.assert_allclose(features["copy"] + c, 1)
    np.testing.assert_allclose(
        features["entropy"], -c * np.log(c) - (1 - c) * np.log1p(-c), atol=1e-14
    )
    blur = features["noisy_entropy"] - features["entropy"]
    assert blur.std() == pytest.approx(1e-6, rel=0.1)


def test_entropy_of_a_certain_row_is_zero():
    np.testing.assert_array_equal(make_degenerate_features([0.0, 1.0])["entropy"], [0, 0])


def test_the_test_refuses_all_of_them(data):
    features = make_degenerate_features(data.confidence, random_state=0)
    tests = conditional_calibration_tests(
        data.y, data.confidence, features, n_resamples=19, random_state=0
    )
    assert {name: r.identifiable for name, r in tests.results.items()} == dict.fromkeys(
        features, False
    )


def test_with_enough_noise_the_question_has_an_answer(data):
    blurred = make_degenerate_features(data.confidence, noise=0.1, random_state=0)
    tests = conditional_calibration_tests(
        data.y, data.confidence, blurred, n_resamples=19, random_state=0
    )
    assert tests.results["noisy_entropy"].identifiable


@pytest.mark.parametrize(
    ("confidence", "options", "message"),
    [
        ([0.5, 1.5], {}, r"`confidence` must lie in \[0, 1\]"),
        ([], {}, "`confidence` is empty"),
        ([0.5], {"noise": -1}, "`noise` must lie in"),
    ],
)
def test_what_is_out_of_range_is_named(confidence, options, message):
    with pytest.raises(ValueError, match=message):
        make_degenerate_features(confidence, **options)
