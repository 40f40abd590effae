"""Every way from a test over runs to a verdict."""

from dataclasses import replace

import pytest

from sk_arcal.audit._runs_verdict import decide_runs
from sk_arcal.diagnostics import conditional_calibration_runs

RULE = {"min_runs": 2, "delta": 0.05, "alpha": 0.05}
ALL = {"a": "signal", "b": "signal", "c": "signal"}
NONE = dict.fromkeys("abc", "cannot tell")


@pytest.fixture(scope="module")
def real(strong_effect):
    drawn = [strong_effect(90, seed, n_features=1) for seed in range(3)]
    events, confidences, features = zip(*drawn, strict=True)
    found = conditional_calibration_runs(
        list(events),
        list(confidences),
        [{"z": columns[:, 0]} for columns in features],
        run_names=list("abc"),
        n_resamples=19,
        random_state=0,
    )
    return replace(
        found.results["z"],
        exists_adjusted=0.01,
        any_run_adjusted=0.012,
        stable_adjusted=0.02,
        consistent=True,
        equivalent=False,
        equivalence_interval=(-0.04, 0.03),
        min_detectable_gap=0.123,
        identifiable=True,
        notes=(),
    )


def test_effect_of_all_runs_that_survives_the_controls_is_a_signal(real):
    verdict, reason = decide_runs(real, ALL, **RULE)
    assert verdict == "signal"
    assert reason == (
        "The runs together reject (adjusted p = 0.01), at least 2 of 3 do by themselves (adjusted "
        "p = 0.02), the gaps point one way, and 3 of them survive every control."
    )


def test_as_many_signals_as_asked_for_are_enough(real):
    assert decide_runs(real, ALL | {"c": "cannot tell"}, **RULE)[0] == "signal"
    verdict, reason = decide_runs(real, NONE | {"a": "signal"}, **RULE)
    assert verdict == "cannot tell"
    assert reason.endswith("but the effect survives every control in 1 runs only.")


def test_small_effect_that_exists_is_a_signal_all_the_same(real):
    assert decide_runs(replace(real, equivalent=True), ALL, **RULE)[0] == "signal"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stable_adjusted": 0.3}, "not in 2 of 3 runs by themselves (adjusted p = 0.3)"),
        ({"consistent": False}, "the gaps of the runs do not point one way"),
        ({"stable_adjusted": 0.3, "consistent": False}, "not in 2 of 3 runs by themselves"),
    ],
)
def test_what_a_signal_lacks_is_said(real, change, words):
    verdict, reason = decide_runs(replace(real, **change), ALL, **RULE)
    assert verdict == "cannot tell"
    assert reason.startswith("The runs together reject (adjusted p = 0.01), but ")
    assert words in reason


def test_rejection_of_some_run_only_is_no_effect_of_all(real):
    some = replace(real, exists_adjusted=0.4, equivalent=True)
    verdict, reason = decide_runs(some, ALL, **RULE)
    assert verdict == "cannot tell"
    assert reason == (
        "Some run rejects (adjusted p = 0.012), though the runs together do not (p = 0.4), but "
        "that is no effect of all."
    )


def test_nothing_rejects_and_a_small_interval_are_no_signal(real):
    quiet = replace(real, exists_adjusted=0.4, any_run_adjusted=0.5, equivalent=True)
    verdict, reason = decide_runs(quiet, NONE, **RULE)
    assert verdict == "no signal"
    assert "(adjusted p = 0.4)" in reason
    assert "-4.0% to +3.0%, lies inside ±5.0%" in reason


def test_nothing_rejects_and_a_wide_interval_cannot_tell(real):
    quiet = replace(real, exists_adjusted=0.4, any_run_adjusted=0.5)
    verdict, reason = decide_runs(quiet, NONE, **RULE)
    assert verdict == "cannot tell"
    assert "a mean gap of 5.0% is not excluded; one of 12.3% would have shown" in reason


def test_level_is_that_of_the_audit(real):
    assert decide_runs(real, ALL, **RULE | {"alpha": 0.015})[0] == "cannot tell"
    assert decide_runs(real, ALL, **RULE | {"alpha": 0.02})[0] == "signal"


@pytest.mark.parametrize("notes", [("One.", "Two."), ()])
def test_question_without_an_answer_cannot_tell(real, notes):
    verdict, reason = decide_runs(replace(real, identifiable=False, notes=notes), ALL, **RULE)
    assert verdict == "cannot tell"
    assert reason == (" ".join(notes) or "The question has no answer in any run.")
