"""The capacity trap over ten seeds, as the benchmark prints it."""

import pytest

from benchmarks.capacity_trap import METHODS, SCORES, compare

pytestmark = pytest.mark.slow

CONTROLS = ("confidence only", "shuffled profile")


@pytest.fixture(scope="module")
def without_effect():
    return compare("no effect", 10)


@pytest.fixture(scope="module")
def with_effect():
    return compare("effect", 10)


@pytest.mark.parametrize("score", SCORES)
def test_full_profile_beats_the_logistic_fit_without_any_effect(without_effect, score):
    assert without_effect.z("logistic on confidence", score) > 5


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("control", CONTROLS)
def test_full_profile_ties_with_its_controls_without_an_effect(without_effect, control, score):
    column = SCORES.index(score)
    gain = without_effect.gain[:, column]
    own = gain[METHODS.index(control)]
    # not better beyond its standard error, and worse by less than a tenth of the apparent gain
    assert without_effect.z(control, score) < 2
    assert own > -0.1 * gain[METHODS.index("logistic on confidence")]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("control", CONTROLS)
def test_full_profile_beats_its_controls_with_an_effect(with_effect, control, score):
    assert with_effect.z(control, score) > 5
