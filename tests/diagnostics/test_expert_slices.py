"""Cells of top expert and its confidence."""

import numpy as np
import pytest

from sk_arcal.diagnostics._expert_slices import expert_confidence_slices
from sk_arcal.metrics import expected_calibration_error


def mixture(n=400, n_experts=3, n_classes=None, seed=0):
    rng = np.random.default_rng(seed)
    gates = rng.dirichlet(np.ones(n_experts), n)
    if n_classes is None:
        return rng.random((n, n_experts)), gates
    return rng.dirichlet(np.ones(n_classes), (n, n_experts)), gates


@pytest.mark.parametrize("n_classes", [None, 2, 4])
def test_code_is_the_expert_and_the_bin_of_its_confidence(n_classes):
    experts, gates = mixture(n_classes=n_classes)
    codes = expert_confidence_slices(experts, gates, n_bins=5)
    said = {None: experts, 2: experts[..., -1], 4: experts.max(axis=-1)}[n_classes]
    for code, row, gate in zip(codes, said, gates, strict=True):
        expert = int(np.argmax(gate))
        assert code // 5 == expert
        assert code % 5 == np.ceil(5 * row[expert]) - 1


def test_code_of_a_row_does_not_depend_on_other_rows():
    experts, gates = mixture()
    codes = expert_confidence_slices(experts, gates)
    np.testing.assert_array_equal(expert_confidence_slices(experts[7:9], gates[7:9]), codes[7:9])


def test_equal_confidences_share_a_bin_at_an_edge():
    near = np.nextafter(0.8, 1)
    codes = expert_confidence_slices([[0.8], [near], [0.5 + 0.3]], np.ones((3, 1)))
    assert codes.tolist() == [7, 7, 7]


def test_zero_is_in_the_first_bin_and_one_in_the_last():
    assert expert_confidence_slices([[0.0], [1.0]], np.ones((2, 1)), n_bins=4).tolist() == [0, 3]


def test_reweighted_slices_leave_a_calibrated_hard_router_calibrated():
    # Fixture C: the event rate in every slice is the confidence; shares of slices may move.
    confidence = np.repeat([0.25, 0.75, 0.25, 0.75], 40)
    gates = np.repeat([[0.9, 0.1], [0.2, 0.8]], 80, axis=0)
    experts = np.column_stack([confidence, confidence[::-1]])
    experts[80:] = experts[80:, ::-1]
    y = np.concatenate([np.arange(40) < k for k in (10, 30, 10, 30)])
    slices = expert_confidence_slices(experts, gates)
    assert len(np.unique(slices)) == 4
    weights = np.random.default_rng(0).random(slices.max() + 1)[slices]
    top = experts[np.arange(160), gates.argmax(axis=1)]
    assert expected_calibration_error(y, top, sample_weight=weights) < 1e-12


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"n_bins": 0}, ValueError, "`n_bins` must be at least 1"),
        ({"n_bins": 2.0}, TypeError, "`n_bins` must be an integer"),
        ({"gates": [[0.5, 0.6]]}, ValueError, "`gates` must sum to one"),
        ({"gates": [[1.0]]}, ValueError, "`gates` must have one column per expert"),
        ({"expert_prob": [0.2, 0.7]}, ValueError, "`expert_prob` must have shape"),
        ({"expert_prob": [[0.2, 1.7]]}, ValueError, "`expert_prob` must lie in"),
    ],
)
def test_refuses(settings, error, match):
    with pytest.raises(error, match=match):
        expert_confidence_slices(**{"expert_prob": [[0.2, 0.7]], "gates": [[0.5, 0.5]]} | settings)
