from types import SimpleNamespace

import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._pooled_gap import PooledGap
from sk_arcal.diagnostics._conditional._runs_summary import sign_agreement


def _gap(mean, *runs):
    """Pool runs given as (low, gap, high)."""
    low, gap, high = np.array(runs, dtype=float).T
    return PooledGap(SimpleNamespace(gap=mean), gap, low, high)


@pytest.mark.parametrize(
    ("gap", "agreement", "consistent"),
    [
        (_gap(2, (1, 2, 3), (-1, 2, 4)), 1, True),
        (_gap(1, (1, 3, 5), (-3, -1, 1), (-1, 1, 3)), 2 / 3, True),
        # One interval lies wholly on the other side.
        (_gap(1, (1, 3, 5), (-3, -1, -0.5), (-1, 1, 3)), 2 / 3, False),
        # Half of the runs are no majority.
        (_gap(1, (-1, 3, 5), (-3, -1, 1)), 1 / 2, False),
        (_gap(-2, (-3, -2, -1), (-4, -2, 1)), 1, True),
        (_gap(-1, (-5, -3, -1), (0.5, 1, 2), (-2, -1, 1)), 2 / 3, False),
        (_gap(1, (0, 1, 2), (np.nan,) * 3), 1, True),
        (_gap(0, (-1, 0, 1)), 0, False),
    ],
)
def test_runs_agree_by_the_documented_rule(gap, agreement, consistent):
    share, answer = sign_agreement(gap)
    assert share == pytest.approx(agreement)
    assert answer is consistent


def test_no_gap_at_all_agrees_with_nothing():
    share, answer = sign_agreement(_gap(np.nan, (np.nan,) * 3))
    assert np.isnan(share)
    assert answer is False
