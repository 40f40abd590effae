"""What hard and soft routing promise under a shift, as exact statements about populations.

The rows are populations: every rate is a ratio of counts, so the statements hold to rounding.
"""

import numpy as np
import pytest

from sk_arcal.diagnostics._shift_weights import gate_share_weights, share_weights
from sk_arcal.diagnostics._worst_case_error import worst_case_calibration_error
from sk_arcal.metrics import expected_calibration_error
from tests.diagnostics.mixture_fixtures import fixture_a, fixture_b, soft_gate

# No edge of the bins coincides with a confidence of the fixtures, which are exact to rounding.
BINS = 7
QUICK = {"n_bins": BINS, "n_resamples": 2, "n_splits": 2, "random_state": 0}


def mixed(table):
    return (table.gates * table.expert_prob).sum(axis=1)


def error(table, weights=None):
    return expected_calibration_error(table.y, mixed(table), n_bins=BINS, sample_weight=weights)


def hard_slices():
    """Three experts that say .1, .3 and .8 and are right: (y, p, expert, slice)."""
    expert, confidence = np.divmod(np.arange(9), 3)
    tenths = np.array([1, 3, 8])[confidence]
    y = np.concatenate([np.arange(10) < hits for hits in tenths])
    return y, np.repeat(tenths / 10, 10), np.repeat(expert, 10), np.repeat(np.arange(9), 10)


@pytest.mark.parametrize("seed", range(20))
def test_hard_routing_stays_calibrated_however_slices_are_weighted(seed):
    y, p, _, slices = hard_slices()
    shares = np.random.default_rng(seed).dirichlet(np.full(9, 0.5))
    weights = share_weights(slices, shares)
    assert expected_calibration_error(y, p, n_bins=BINS, sample_weight=weights) < 1e-12


@pytest.mark.parametrize("ball", ["kl", "chi2", "cvar", "box"])
def test_hard_routing_has_no_worst_case(ball):
    y, p, expert, _ = hard_slices()
    result = worst_case_calibration_error(y, p, expert, ball=ball, radius=3, **QUICK)
    assert result.in_sample < 1e-12


def test_hard_routing_breaks_when_labels_are_selected_within_a_slice():
    y, p, _, slices = hard_slices()
    keep = np.where(slices == 4, np.where(y, 3.0, 0.5), 1.0)
    weights = keep / keep.mean()
    at = slices == 4
    # Label shift inside one slice of confidence .3.
    rate = 3 * 0.3 / (3 * 0.3 + 0.5 * 0.7)
    assert weights[at] @ y[at] / weights[at].sum() == pytest.approx(rate, abs=1e-14)
    mass = keep[at].sum() / keep.sum()
    found = expected_calibration_error(y, p, n_bins=BINS, sample_weight=weights)
    assert found == pytest.approx(mass * (rate - 0.3), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_error_of_a_hard_mixture_is_at_most_that_of_its_experts(seed):
    rng = np.random.default_rng(seed)
    p, expert, weights = rng.random(300), rng.integers(3, size=300), rng.exponential(size=300)
    y = rng.random(300) < p**2
    whole = expected_calibration_error(y, p, sample_weight=weights)
    parts = [
        expected_calibration_error(
            y[expert == m], p[expert == m], sample_weight=weights[expert == m]
        )
        for m in range(3)
    ]
    shares = np.bincount(expert, weights=weights) / weights.sum()
    assert whole <= shares @ parts + 1e-12
    assert shares @ parts <= max(parts) + 1e-12


def test_b_is_calibrated_until_the_middle_grows():
    table = fixture_b()
    assert error(table) < 1e-12
    doubled = share_weights(table.codes, [1 / 6, 4 / 6, 1 / 6])
    assert error(table, doubled) == pytest.approx((4 * 0.9 + 2 * 0.7) / 6 - 0.8, abs=1e-14)
    alone = share_weights(table.codes, [0, 1, 0])
    assert alone @ table.y / len(table.y) == pytest.approx(0.9)
    assert error(table, alone) == pytest.approx(0.1, abs=1e-14)


@pytest.mark.parametrize("gates", [(0.5, 0.5), (0.35, 0.65)])
def test_b_stands_shifts_of_the_gate_that_leave_the_middle(gates):
    table = fixture_b()
    weights = gate_share_weights(table.gates, gates)
    middle = weights[table.codes == 1].sum() / len(table.y)
    assert error(table, weights) == pytest.approx(abs(middle * 0.2 - 0.1), abs=1e-12)


def test_a_hides_errors_that_cancel():
    table = fixture_a()
    p, rates = mixed(table), [0.6, 0.9, 0.1, 0.4]
    for code, rate in enumerate(rates):
        assert table.y[table.codes == code].mean() == pytest.approx(rate)
    half = np.isclose(p, 0.5)
    assert table.y[half].mean() == pytest.approx(0.5)
    assert error(table) == pytest.approx(0.075, abs=1e-14)
    for code, gap in ((0, 0.1), (3, -0.1)):
        weights = share_weights(table.codes[half], [1 - code / 3, code / 3])
        found = weights @ (table.y - p)[half] / half.sum()
        assert found == pytest.approx(gap, abs=1e-14)


@pytest.mark.parametrize("table", [fixture_a(), soft_gate(0.75)])
def test_experts_are_calibrated_on_what_the_gate_gives_them(table):
    for gate, said in zip(table.gates.T, table.expert_prob.T, strict=True):
        for value in np.unique(said):
            at = said == value
            rate = gate[at] @ table.y[at] / gate[at].sum()
            assert rate == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("s", [0.75, 0.9, 1.0])
def test_soft_gate_is_wrong_by_formula(s):
    assert error(soft_gate(s)) == pytest.approx(2 * s * (1 - s), abs=1e-12)


def test_worst_case_of_b_is_the_middle_alone_or_gone():
    table = fixture_b()
    p = mixed(table)

    def sup(**ball):
        return worst_case_calibration_error(table.y, p, table.codes, **ball, **QUICK).in_sample

    # Middle and rest have half the rows each and gaps +.1 and -.1.
    assert sup(ball="cvar", alpha=0.5) == pytest.approx(0.1, abs=1e-12)
    assert sup(ball="cvar", alpha=0.8) == pytest.approx((0.5 - 0.3) / 0.8 * 0.1, abs=1e-12)
    assert sup(ball="box", bounds=(0.5, 1.5)) == pytest.approx(0.05, abs=1e-12)
    assert sup(ball="chi2", radius=0.25) == pytest.approx(0.05, abs=1e-12)
    tilt = 1.2
    divergence = tilt * np.tanh(tilt) - np.log(np.cosh(tilt))
    assert sup(ball="kl", radius=divergence) == pytest.approx(0.1 * np.tanh(tilt), abs=1e-9)
    assert sup(ball="kl", radius=np.log(2)) == pytest.approx(0.1, abs=1e-9)
    assert sup(ball="kl", radius=0) < 1e-12


def test_worst_case_of_a_adds_what_cancelled():
    table = fixture_a()
    result = worst_case_calibration_error(
        table.y, mixed(table), table.codes, ball="box", bounds=(0, 2), **QUICK
    )
    # Three quarters of the rows are off by .1 anyway; the shift uncovers the last one.
    assert result.plain == pytest.approx(0.075, abs=1e-12)
    assert result.in_sample == pytest.approx(0.1, abs=1e-12)
    frame = result.to_frame().set_index("configuration")
    np.testing.assert_allclose(sorted(frame.loc[[0, 3], "weight"]), [0, 2], atol=1e-12)


def test_cross_fitted_error_finds_the_shift_of_b():
    table = fixture_b(scale=50)
    result = worst_case_calibration_error(
        table.y, mixed(table), table.codes, ball="cvar", alpha=0.5, n_bins=BINS,
        n_resamples=2, random_state=0,
    )  # fmt: skip
    # At most the largest one: a half that takes the wrong sign finds as much, measured on its own.
    assert 0.09 < result.error < 0.1 + 1e-12
    assert result.low > 0.05
