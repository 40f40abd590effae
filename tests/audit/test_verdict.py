"""Every way from a test and its controls to a verdict."""

from dataclasses import replace

import pytest

from sk_arcal.audit import Control
from sk_arcal.audit._verdict import VERDICTS, decide
from sk_arcal.diagnostics import conditional_calibration_test

NAMES = ("matched confidence", "shuffled twins", "bandwidth", "capacity")


@pytest.fixture(scope="module")
def real(strong_effect):
    event, confidence, features = strong_effect(120, 0, n_features=1)
    found = conditional_calibration_test(
        event, confidence, features[:, 0], n_resamples=19, random_state=0
    )
    return replace(
        found,
        identifiable=True,
        equivalent=False,
        equivalence_interval=(-0.04, 0.03),
        leading="linear: trend of routing",
        leading_interval=(-0.02, 0.045),
        min_detectable_gap=0.123,
        delta=0.05,
        notes=(),
    )


def controls(*survived):
    return [
        Control(name, outcome, f"finding {k}")
        for k, (name, outcome) in enumerate(zip(NAMES, survived, strict=True))
    ]


def test_all_survived_is_a_signal(real):
    verdict, reason = decide(real, 0.012, controls(True, True, True, True))
    assert verdict == "signal"
    assert reason == (
        "The test rejects (adjusted p = 0.012), most clearly the trend of routing, and the effect "
        "survives every control (matched confidence, shuffled twins, bandwidth, capacity)."
    )


def test_control_that_was_not_run_does_not_block_a_signal_and_is_not_claimed(real):
    verdict, reason = decide(real, 0.012, controls(True, True, True, None))
    assert verdict == "signal"
    assert "(matched confidence, shuffled twins, bandwidth)" in reason


@pytest.mark.parametrize("k", [1, 2, 3])
def test_one_failed_control_takes_the_signal_away_and_is_named(real, k):
    survived = [True, True, True, True]
    survived[k] = False
    verdict, reason = decide(real, 0.0004, controls(*survived))
    assert verdict == "cannot tell"
    assert "rejects (adjusted p < 0.001)" in reason
    assert f"does not survive the control of {NAMES[k]} (finding {k})" in reason
    assert "a gap of 12.3% would have shown" in reason


def test_first_failed_control_is_the_one_named(real):
    _, reason = decide(real, 0.01, controls(True, False, None, False))
    assert "shuffled twins" in reason
    assert "capacity" not in reason


def test_rejected_small_effect_that_fails_a_control_is_no_signal(real):
    verdict, reason = decide(
        replace(real, equivalent=True), 0.01, controls(True, True, False, None)
    )
    assert verdict == "no signal"
    assert "smaller than 5.0% and does not survive the control of bandwidth" in reason


@pytest.mark.parametrize("interval", [(-0.02, 0.051), (-0.051, 0.02), (0.05, 0.05)])
def test_leading_part_that_may_be_large_keeps_the_question_open(real, interval):
    test = replace(real, equivalent=True, leading_interval=interval)
    assert decide(test, 0.01, controls(True, False, None, None))[0] == "cannot tell"


def test_small_effect_that_survives_all_is_a_signal_all_the_same(real):
    test = replace(real, equivalent=True)
    assert decide(test, 0.01, controls(True, True, True, True))[0] == "signal"


def test_no_rejection_and_a_small_interval_are_no_signal(real):
    test = replace(real, equivalent=True)
    verdict, reason = decide(test, 0.4, controls(False, True, True, True))
    assert verdict == "no signal"
    assert "does not reject (adjusted p = 0.4)" in reason
    assert "-4.0% to +3.0%, lies inside ±5.0%" in reason


def test_no_rejection_and_a_wide_interval_cannot_tell(real):
    verdict, reason = decide(real, 0.4, controls(False, False, None, None))
    assert verdict == "cannot tell"
    assert "a gap of 5.0% is not excluded; a gap of 12.3% would have shown" in reason


@pytest.mark.parametrize("notes", [("One.", "Two."), ()])
def test_question_without_an_answer_cannot_tell(real, notes):
    test = replace(real, identifiable=False, equivalent=True, notes=notes)
    verdict, reason = decide(test, float("nan"), controls(None, True, True, True))
    assert verdict == "cannot tell"
    assert reason == (" ".join(notes) or "The feature is a function of the confidence.")


def test_verdicts_are_the_three_words():
    assert VERDICTS == ("signal", "no signal", "cannot tell")
