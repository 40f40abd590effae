"""Known shifts do what they say, and a calibrated model answers them by formula."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sk_arcal.diagnostics._shift_weights import gate_share_weights, share_weights, tilt_weights


@pytest.fixture
def gates():
    return np.random.default_rng(0).dirichlet([1.0, 2.0, 0.7], size=60)


@pytest.mark.parametrize(
    "groups", [np.array(["b", "a", "b", "c"]), np.array([2, 1, 2, 7]), [True, False, True, True]]
)
def test_shares_are_those_asked_for(groups):
    names, codes = np.unique(groups, return_inverse=True)
    shares = np.arange(1, len(names) + 1) / sum(range(1, len(names) + 1))
    weights = share_weights(groups, shares)
    np.testing.assert_allclose(np.bincount(codes, weights=weights) / 4, shares, atol=1e-15)
    backwards = dict(zip(names[::-1].tolist(), shares[::-1], strict=True))
    np.testing.assert_array_equal(share_weights(groups, backwards), weights)
    for code in range(len(names)):
        assert len(set(weights[codes == code])) == 1


def test_object_groups_are_named_as_they_are():
    groups = np.array([1, "x", 1], dtype=object)
    weights = share_weights(groups, {1: 0.25, "x": 0.75})
    np.testing.assert_allclose(weights, [0.375, 2.25, 0.375])


def test_share_zero_removes_a_group():
    np.testing.assert_array_equal(share_weights([0, 0, 1, 1], [1, 0]), [2, 2, 0, 0])


@pytest.mark.parametrize(
    ("groups", "shares", "sentence"),
    [
        (["a", "b"], {"a": 1.0}, r"\['b'\] are missing"),
        (["a", "b"], {"a": 0.5, "b": 0.25, "c": 0.25}, r"\['c'\] have no rows"),
        (["a", "b"], [0.5, 0.6], "sum one"),
        (["a", "b"], [1.5, -0.5], "non-negative"),
        (["a", "b"], [1.0], "1 entries for 2 groups"),
        ([], [1.0], "`groups` is empty"),
    ],
)
def test_share_weights_refuses(groups, shares, sentence):
    with pytest.raises(ValueError, match=sentence):
        share_weights(groups, shares)


def test_label_shift_moves_a_calibrated_rate_by_formula():
    # A population: at every p the rate is p, in counts.
    p = np.repeat(np.arange(1, 10) / 10, 10)
    y = np.tile(np.arange(10), 9) < np.repeat(np.arange(1, 10), 10)
    w0, w1 = 0.8, 0.2
    weights = share_weights(y, {False: w0, True: w1})
    w0, w1 = w0 / (1 - y.mean()), w1 / y.mean()
    for value in np.unique(p):
        at = p == value
        rate = weights[at] @ y[at] / weights[at].sum()
        np.testing.assert_allclose(rate, w1 * value / (w1 * value + w0 * (1 - value)), atol=1e-14)


def test_gap_of_a_calibrated_model_is_a_covariance():
    p = np.repeat([0.25, 0.75], 40)
    y = np.concatenate([np.arange(40) < 10, np.arange(40) < 30])
    weights = tilt_weights(np.random.default_rng(0).normal(size=80) + y, 0.7)
    for value in (0.25, 0.75):
        w, r = weights[p == value], (y - p)[p == value]
        gap = w @ y[p == value] / w.sum() - value
        assert abs(gap) > 0.02
        np.testing.assert_allclose(gap, np.cov(w, r, ddof=0)[0, 1] / w.mean(), atol=1e-14)


def test_hard_gates_are_shares_of_the_expert(gates):
    top = gates.argmax(axis=1)
    np.testing.assert_allclose(
        gate_share_weights(np.eye(3)[top], [0.2, 0.7, 0.1]),
        share_weights(top, [0.2, 0.7, 0.1]),
        atol=1e-8,
    )


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
def test_gate_shares_are_the_mildest_weights(gates):
    aims = np.array([0.4, 0.35, 0.25])
    weights = gate_share_weights(gates, aims)
    np.testing.assert_allclose(weights @ gates / len(gates), aims, atol=1e-9)
    found = minimize(
        lambda w: w @ np.log(w),
        np.ones(len(gates)),
        jac=lambda w: np.log(w) + 1,
        bounds=[(1e-9, None)] * len(gates),
        constraints={
            "type": "eq",
            "fun": lambda w: w @ gates / len(gates) - aims,
            "jac": lambda _: gates.T / len(gates),
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(weights, found.x, atol=1e-4)
    assert weights @ np.log(weights) <= found.fun + 1e-7


def test_present_shares_need_no_weights(gates):
    np.testing.assert_allclose(gate_share_weights(gates, gates.mean(axis=0)), 1, atol=1e-8)


def test_far_shares_are_reached(gates):
    corner = gates[gates[:, 0].argmax()] * 0.98 + gates.mean(axis=0) * 0.02
    weights = gate_share_weights(gates, corner)
    np.testing.assert_allclose(weights @ gates / len(gates), corner, atol=1e-7)


def test_a_few_rows_far_from_the_others_can_carry_the_shift():
    gate = np.append(np.linspace(0.49, 0.51, 999), 0.9)
    gates = np.column_stack([gate, 1 - gate])
    weights = gate_share_weights(gates, [0.8, 0.2])
    np.testing.assert_allclose(weights @ gates / 1000, [0.8, 0.2], atol=1e-9)


def test_shares_outside_the_gates_are_refused():
    with pytest.raises(ValueError, match="`shares` cannot be reached"):
        gate_share_weights([[0.3, 0.7], [0.6, 0.4]], [0.9, 0.1])
    with pytest.raises(ValueError, match="2 entries for 3 experts"):
        gate_share_weights([[0.3, 0.6, 0.1]], [0.9, 0.1])


def test_tilt_is_exponential_in_standard_deviations():
    values = np.random.default_rng(1).normal(3, 7, size=30)
    weights = tilt_weights(values, 0.5)
    assert weights.mean() == pytest.approx(1)
    slope = np.diff(np.log(weights)) / np.diff(values)
    np.testing.assert_allclose(slope, 0.5 / values.std(), rtol=1e-9)


def test_tilt_within_groups_keeps_their_shares():
    rng = np.random.default_rng(2)
    groups = rng.integers(4, size=50)
    values = rng.normal(size=50) + groups
    weights = tilt_weights(values, 2.0, groups=groups)
    np.testing.assert_allclose(np.bincount(groups, weights=weights), np.bincount(groups))
    one = groups == 0
    ratio = tilt_weights(values, 2.0)[one] / weights[one]
    np.testing.assert_allclose(ratio, ratio[0])


def test_tilt_of_a_constant_or_by_nothing_is_none():
    np.testing.assert_array_equal(tilt_weights([4.0] * 3, 5.0), 1)
    np.testing.assert_array_equal(tilt_weights([1.0, 2.0, 9.0], 0.0, groups=[0, 0, 1]), 1)


def test_strong_tilt_overflows_nowhere():
    weights = tilt_weights([0.0, 1.0, 1000.0, 1001.0], 5000, groups=[0, 0, 1, 1])
    np.testing.assert_allclose(weights, [0, 2, 0, 2], atol=1e-2)
    with pytest.raises(ValueError, match="`strength` must be finite"):
        tilt_weights([0.0, 1.0], np.inf)
