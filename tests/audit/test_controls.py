"""The controls of a feature: their order, where they stop, and what they say when not run."""

from importlib.util import find_spec

import numpy as np
import pytest

from sk_arcal.audit import _controls, routing_audit
from sk_arcal.audit._controls import CONTROL_NAMES

FAST = {"n_resamples": 99, "n_shuffles": 20, "random_state": 0}
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="the capacity control needs torch"
)


@pytest.fixture(scope="module")
def audits(strong_effect):
    """The same rows under both extents."""
    event, confidence, features = strong_effect(200, 0)
    routing = {"planted": features[:, 0], "noise": features[:, 1], "flat": np.ones(200)}
    return {
        extent: routing_audit(
            event, confidence=confidence, routing=routing, controls=extent, **FAST
        )
        for extent in ("candidates", "all")
    }


def outcomes(feature):
    return [control.survived for control in feature.controls]


def without_torch(monkeypatch):
    monkeypatch.setattr(_controls, "find_spec", lambda name: None)


def test_controls_stand_in_order(audits):
    for audit in audits.values():
        for feature in audit.features.values():
            assert tuple(control.name for control in feature.controls) == CONTROL_NAMES


def test_planted_feature_survives_every_control(audits):
    feature = audits["candidates"].features["planted"]
    assert feature.verdict == "signal"
    assert outcomes(feature)[:3] == [True, True, True]
    assert feature.bandwidth.gain_survives


@needs_torch
def test_network_gains_from_a_planted_feature(audits):
    feature = audits["candidates"].features["planted"]
    assert feature.controls[3].survived is True
    assert feature.capacity.survives


def test_candidates_stop_after_the_first_failure(audits):
    feature = audits["candidates"].features["noise"]
    assert outcomes(feature) == [False, False, None, None]
    assert feature.bandwidth is None
    assert feature.capacity is None
    assert feature.controls[2].finding == "not run: an earlier control has failed"


@needs_torch
def test_all_goes_on_after_a_failure(audits):
    feature = audits["all"].features["noise"]
    assert None not in outcomes(feature)
    assert feature.bandwidth is not None
    assert feature.capacity is not None


def test_both_extents_give_the_same_verdicts(audits):
    one, other = (
        {name: (f.verdict, f.pvalue_adjusted) for name, f in audits[extent].features.items()}
        for extent in ("candidates", "all")
    )
    assert one["planted"] == other["planted"]
    assert one["noise"] == other["noise"]
    assert one["flat"][0] == other["flat"][0] == "cannot tell"


def test_controls_that_both_extents_run_agree(audits):
    one, other = (audits[extent].features["planted"].controls for extent in ("candidates", "all"))
    assert one == other


def test_feature_without_an_answer_is_not_matched(audits):
    matched, _, bandwidth, capacity = audits["all"].features["flat"].controls
    assert matched.survived is None
    assert matched.finding == "The routing has the same value in every row."
    assert bandwidth.survived is None
    assert capacity.survived is None
    assert bandwidth.finding == "not run: the question has no answer"


def test_without_torch_the_capacity_control_is_not_run_and_blocks_nothing(
    strong_effect, monkeypatch
):
    without_torch(monkeypatch)
    event, confidence, features = strong_effect(200, 0, n_features=1)
    audit = routing_audit(event, confidence=confidence, routing={"z": features[:, 0]}, **FAST)
    feature = audit.features["z"]
    assert feature.controls[3].survived is None
    assert feature.controls[3].finding == "not run: it needs torch"
    assert feature.verdict == "signal"
    assert "(matched confidence, shuffled twins, bandwidth)" in feature.reason


def test_unknown_extent_is_refused(strong_effect):
    event, confidence, _ = strong_effect(60, 0)
    with pytest.raises(ValueError, match="`controls`"):
        routing_audit(event, confidence=confidence, controls="some")
