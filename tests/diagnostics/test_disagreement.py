"""Distance of the experts of a row, and what mixing them cost."""

import numpy as np
import pytest
from scipy.special import softmax

from sk_arcal.calibration._adversary import _relevant_rows
from sk_arcal.calibration._mixture._mixture import Mixture
from sk_arcal.diagnostics._disagreement import expert_disagreement, mixture_regret


def logits_and_gates(n=200, n_experts=3, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    gates = rng.dirichlet(np.ones(n_experts), n)
    gates[:50, 0] = 0
    return rng.normal(size=(n, n_experts, n_classes)), gates / gates.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_agrees_with_the_adversary_of_the_calibrator(n_classes):
    logits, gates = logits_and_gates(n_classes=n_classes)
    experts = softmax(logits, axis=2)
    with np.errstate(divide="ignore"):
        mixture = Mixture(logits, np.log(gates))
    np.testing.assert_allclose(
        expert_disagreement(experts, gates), _relevant_rows.gate_disagreement(mixture), atol=1e-12
    )
    y = np.random.default_rng(1).integers(n_classes, size=len(gates))
    losses = -mixture.log_probabilities(np.ones(3))[np.arange(len(y)), y]
    np.testing.assert_allclose(
        mixture_regret(y, experts, gates, labels=range(n_classes)),
        _relevant_rows.mixture_regret(mixture, losses, y.astype(float)),
        atol=1e-12,
    )


def test_disagreement_is_the_definition():
    logits, gates = logits_and_gates(20)
    experts = softmax(logits, axis=2)
    for row, (p, r) in enumerate(zip(experts, gates, strict=True)):
        mean = r @ p
        expected = sum(w * np.sum((q - mean) ** 2) for w, q in zip(r, p, strict=True))
        assert expert_disagreement(experts, gates)[row] == pytest.approx(expected)


def test_event_counts_as_its_two_classes():
    rng = np.random.default_rng(0)
    experts, gates = rng.random((50, 3)), rng.dirichlet([1, 1, 1], 50)
    y = rng.integers(2, size=50)
    pair = np.stack([1 - experts, experts], axis=2)
    one = expert_disagreement(experts, gates)
    np.testing.assert_allclose(one, expert_disagreement(pair, gates), atol=1e-12)
    mean = (gates * experts).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(one, 2 * (gates * (experts - mean) ** 2).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(
        mixture_regret(y, experts, gates), mixture_regret(y, pair, gates), atol=1e-12
    )


def test_regret_is_the_definition_over_open_experts():
    experts, gates = np.array([[0.9, 0.5, 0.1]] * 2), [[0.0, 0.5, 0.5], [0.5, 0.5, 0.0]]
    regret = mixture_regret([1, 0], experts, gates)
    np.testing.assert_allclose(regret, [np.log(0.5 / 0.3), np.log(0.5 / 0.3)])


def test_regret_lies_between_zero_and_the_gate_of_the_best_expert():
    logits, gates = logits_and_gates()
    y = np.random.default_rng(2).integers(4, size=200)
    experts = softmax(3 * logits, axis=2)
    regret = mixture_regret(y, experts, gates, labels=range(4))
    own = np.where(gates > 0, experts[np.arange(200), :, y], -1)
    best = gates[np.arange(200), own.argmax(axis=1)]
    assert regret.min() >= 0
    assert (regret <= -np.log(best) + 1e-12).all()
    assert regret.max() > 1


def test_equal_experts_have_neither():
    experts, gates = np.full((30, 3), 0.7), np.random.default_rng(0).dirichlet([1, 1, 1], 30)
    assert expert_disagreement(experts, gates).max() < 1e-30
    regret = mixture_regret(np.arange(30) % 2, experts, gates)
    # Rounding of the mixture may fall on either side.
    assert 0 <= regret.min() <= regret.max() < 1e-15


def test_one_expert_has_neither():
    assert expert_disagreement([[0.3], [0.9]], [[1.0], [1.0]]).tolist() == [0, 0]
    assert mixture_regret([0, 1], [[0.3], [0.9]], [[1.0], [1.0]]).tolist() == [0, 0]


def test_no_open_expert_allowed_what_happened():
    # The loss is infinite for the mixture and for its best expert: no difference to speak of.
    assert mixture_regret([1], [[0.0, 0.0, 1.0]], [[0.5, 0.5, 0.0]]).tolist() == [0.0]


def test_labels_name_the_columns():
    experts, gates = np.array([[[0.7, 0.3], [0.1, 0.9]]]), [[0.5, 0.5]]
    by_name = mixture_regret(["no"], experts, gates, labels=["yes", "no"])
    assert by_name == pytest.approx(np.log(0.9 / 0.6))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"y_true": [2]}, "`y_true` must be 0 or 1"),
        ({"y_true": [0, 1]}, "`y_true` has 2 rows where 1"),
        ({"gates": [[0.5, 0.6]]}, "`gates` must sum to one"),
        ({"expert_prob": [[0.2, np.nan]]}, "`expert_prob` must be finite"),
    ],
)
def test_refuses(settings, match):
    good = {"y_true": [1], "expert_prob": [[0.2, 0.7]], "gates": [[0.5, 0.5]]}
    with pytest.raises(ValueError, match=match):
        mixture_regret(**good | settings)
