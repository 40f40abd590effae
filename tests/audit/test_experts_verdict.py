"""The rule behind the verdict on a mixture, on made-up numbers, and its words."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sk_arcal.audit import ConfigurationRow, RepairRow
from sk_arcal.audit._experts_figure import set_apart
from sk_arcal.audit._experts_records import worst_configuration
from sk_arcal.audit._experts_verdict import decide_experts
from sk_arcal.audit._experts_words import configuration_words, letter

RAW = RepairRow("raw", 0.02, 0.015, 0.03, 0.5, 0.0, 0.0, 0.01, -0.01, 0.03, 0.04, 0.03, True)
BETTER = replace(RAW, name="adversarial", worst=-0.01, worst_low=-0.03, worst_high=0.01)
ROW = ConfigurationRow("B", "expert 1 alone, says 80%", 9, 0.3, 0.8, 0.9, 0.1, 0.02, 0.18, 0.5)


def decided(repairs=(RAW,), low=0.0, excess=(0.01, -0.01, 0.03), delta=0.05):
    collapse = SimpleNamespace(low=low, estimate=0.01, level=0.95)
    return decide_experts(repairs, collapse, excess, ROW, delta)


@pytest.mark.parametrize(("error", "calibrated"), [(0.029, True), (0.03, True), (0.031, False)])
def test_calibrated_is_not_above_the_limit_of_chance(error, calibrated):
    verdict = decided([replace(RAW, ece=error)])
    assert verdict.calibrated is calibrated
    assert ("Not calibrated" in verdict.sentences[0]) is not calibrated


@pytest.mark.parametrize(
    ("low", "excess", "stability"),
    [
        (0.0, (0.01, -0.01, 0.03), "not fragile"),
        (0.0, (0.01, -0.01, 0.05), "cannot tell"),
        (0.001, (0.01, -0.01, 0.03), "fragile"),
        (0.0, (0.02, 0.001, 0.03), "fragile"),
    ],
)
def test_fragile_needs_an_interval_clear_of_zero(low, excess, stability):
    verdict = decided(low=low, excess=excess)
    assert verdict.stability == stability
    assert verdict.sentences[1].startswith(stability[0].upper())


def test_fragile_names_the_worst_configuration_and_its_side():
    sentence = decided(low=0.001).sentences[1]
    assert "Worst is B, expert 1 alone, says 80%: its rate lies 10.0 points above" in sentence


def test_none_where_raw_is_within_a_standard_error_on_both_counts():
    # The interval of raw reaches 0.02 up, so its standard error is 0.0102.
    assert decided([RAW, replace(BETTER, worst=0.0)]).repair == "none"
    assert decided([RAW, BETTER]).repair == "adversarial"
    worse_loss = replace(RAW, within_one_error=False)
    assert decided([worse_loss, replace(BETTER, worst=0.005)]).repair == "adversarial"


def test_a_repair_with_a_worse_log_loss_does_not_stand():
    cheat = replace(BETTER, name="MoCaE", worst=-0.5, within_one_error=False)
    assert decided([RAW, cheat, BETTER]).repair == "adversarial"
    sentence = decided([replace(RAW, worst=0.08), cheat, BETTER]).sentences[2]
    assert "from 8.0% to 0.0%" in sentence


def test_the_worst_configuration_is_the_one_surely_off():
    noisy = replace(ROW, label="A", gap=-0.3, low=-0.6, high=0.01)
    below = replace(ROW, label="C", gap=-0.1, low=-0.12, high=-0.08)
    assert worst_configuration([noisy, ROW, below]) is below


@pytest.mark.parametrize(
    ("gates", "own", "words"),
    [
        ([0.95, 0.05], [0.7, 0.1], "expert a alone, says 70%"),
        ([0.5, 0.5], [0.8, 0.8], "experts a and b (50:50), agreed on 80%"),
        ([0.3, 0.7], [0.2, 0.8], "experts a and b (30:70), divided: 20% and 80%"),
        (
            [0.3, 0.3, 0.3, 0.1],
            [0.2, 0.8, 0.5, 0.1],
            "experts a, b and c (30:30:30), divided: 20%, 80% and 50%",
        ),
        ([0.02, 0.38, 0.6], [0.9, 0.50, 0.54], "experts b and c (38:60), agreed on 52%"),
    ],
)
def test_configurations_in_words(gates, own, words):
    assert configuration_words(np.array(gates), np.array(own), "abcd") == words


def test_letters_go_on_after_z():
    assert [letter(k) for k in (0, 25, 26, 52)] == ["A", "Z", "A1", "A2"]


def test_discs_that_would_cover_each_other_stand_side_by_side():
    x, y, radius = np.array([0.5, 0.5, 0.9, 0.5]), np.array([0.7, 0.7, 0.7, 0.2]), np.full(4, 0.1)
    moved = set_apart(x, y, radius)
    np.testing.assert_allclose(moved, [0.4, 0.6, 0.9, 0.5])
