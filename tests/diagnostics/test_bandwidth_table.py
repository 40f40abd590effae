"""What a table of bandwidths says in one word, and how it is shown."""

from dataclasses import replace

import numpy as np
import pytest

from sk_arcal.diagnostics._probing._bandwidth_table import (
    BandwidthRule,
    BandwidthSensitivity,
)
from sk_arcal.diagnostics._probing._paired import Difference

GAIN, BARE, LOSS = (Difference(m, m - 1, m + 1) for m in (-2.0, -0.5, 0.5))


def rule(name, scott, difference, leaks=False):
    same = Difference(0.0, 0.0, 0.0)
    multiples = ((0.5, 0.5), (2.0, np.inf))
    return BandwidthRule(
        name, leaks, scott, *multiples, 0.3, 0.3, 0.02, 0.01, 0.03, 0.02, difference, same, same
    )


def table(**changes):
    rows = {
        "Scott x 0.25": (0.25, GAIN),
        "Scott x 0.5": (0.5, BARE),
        "Scott x 2": (2.0, BARE),
        "cross-validated log loss": (np.nan, BARE),
        "leave-one-out log loss": (np.nan, GAIN),
        "oracle: global ECE": (np.nan, LOSS),
    }
    rules = tuple(
        rule(name, scott, changes.get(name, difference), leaks=name.startswith("oracle"))
        for name, (scott, difference) in rows.items()
    )
    return BandwidthSensitivity(rules, "residual", 100)


def test_signs_and_one_interval_decide():
    assert table().robust
    assert table().gain_survives


@pytest.mark.parametrize(
    ("name", "difference", "robust", "survives"),
    [
        ("Scott x 0.25", LOSS, False, True),
        ("Scott x 0.5", LOSS, False, True),
        ("Scott x 2", LOSS, False, False),
        ("Scott x 2", Difference(0.0, 0.0, 0.0), False, False),
        ("cross-validated log loss", LOSS, False, False),
        ("leave-one-out log loss", LOSS, False, False),
        ("leave-one-out log loss", BARE, True, False),
        ("oracle: global ECE", GAIN, True, True),
    ],
)
def test_one_row_may_decide(name, difference, robust, survives):
    result = table(**{name: difference})
    assert result.robust is robust
    assert result.gain_survives is survives


def test_frame_has_a_row_per_rule_and_a_column_per_number():
    frame = table().to_frame()
    assert len(frame) == 6
    assert frame["log_loss_difference_high"].iloc[0] == GAIN.high
    assert frame["leaks"].tolist() == [False] * 5 + [True]


def test_text_names_every_rule_and_says_which_one_leaks():
    text = repr(table())
    assert "BandwidthSensitivity: 100 rows, residual estimator" in text
    assert text.splitlines()[-1] == "robust: True, gain survives: True"
    oracle = next(line for line in text.splitlines() if line.startswith("oracle"))
    assert oracle.endswith("(leaks)")
    first = text.splitlines()[2]
    assert first.split()[3:5] == ["0.5", "2/-"]
    changed = replace(table().rules[0], feature_multiples=(np.inf, np.inf))
    assert " - " in repr(BandwidthSensitivity((*table().rules, changed), "residual", 9))
