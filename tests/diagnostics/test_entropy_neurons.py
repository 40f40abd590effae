"""Neurons by what they write and what the classes hear of it."""

import numpy as np
import pytest

from sk_arcal.calibration import LinearReadout
from sk_arcal.calibration._layers._row_space import project_out
from sk_arcal.diagnostics import entropy_neurons

WIDTH, CLASSES = 12, 30


def _thin_head(norm="rms"):
    """A head that reads 8 of 12 dimensions."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(CLASSES, 8)) @ rng.normal(size=(8, WIDTH))
    return LinearReadout(weight, norm=norm, norm_weight=rng.normal(1, 0.2, WIDTH))


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_columns_are_their_definitions(norm):
    readout = _thin_head(norm)
    weight = np.random.default_rng(1).normal(0.3, 1, size=(7, WIDTH))
    neurons = entropy_neurons(weight, readout)
    v = weight - weight.mean(axis=1, keepdims=True) if norm == "layer" else weight
    v = v[neurons.neuron]
    length = np.linalg.norm(v, axis=1)
    effect = (v / length[:, None] * readout.norm_weight) @ readout.weight.T
    np.testing.assert_allclose(neurons.weight_norm, length)
    np.testing.assert_allclose(neurons.logit_variance, effect.var(axis=1), rtol=1e-9)
    np.testing.assert_allclose(neurons.score, length / effect.std(axis=1), rtol=1e-9)
    assert (np.diff(neurons.score) <= 0).all()
    unseen = np.linalg.norm(project_out(v, readout.row_space()), axis=1) / length
    np.testing.assert_allclose(neurons.unseen_share, unseen, atol=1e-6)


def test_a_neuron_that_writes_past_the_head_comes_first():
    readout = _thin_head()
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(20, WIDTH))
    hidden = 3 * project_out(rng.normal(size=WIDTH), readout.row_space())
    weight[13] = hidden + 0.01 * rng.normal(size=WIDTH)
    neurons = entropy_neurons(weight, readout)
    assert neurons.neuron[0] == 13
    assert neurons.unseen_share[0] > 0.99
    assert neurons.score[0] > 20 * neurons.score[1]


def test_order_of_rows_and_scale_of_a_neuron():
    readout, rng = _thin_head(), np.random.default_rng(3)
    weight = rng.normal(size=(9, WIDTH))
    neurons, turned = entropy_neurons(weight, readout), entropy_neurons(weight[::-1], readout)
    np.testing.assert_array_equal(turned.neuron, 8 - neurons.neuron)
    double = entropy_neurons(2 * weight, readout)
    np.testing.assert_allclose(double.score, 2 * neurons.score)
    np.testing.assert_allclose(double.logit_variance, neurons.logit_variance)


def test_zero_weights_come_last_and_unheard_ones_first():
    readout = LinearReadout(np.eye(3, 5), norm="rms")
    weight = np.array([[0.0] * 5, [1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0]])
    neurons = entropy_neurons(weight, readout)
    np.testing.assert_array_equal(neurons.neuron, [2, 1, 0])
    assert neurons.score[0] == np.inf
    assert neurons.score[2] == neurons.unseen_share[2] == 0


def test_a_cap_leaves_the_variance_over_classes():
    rng = np.random.default_rng(4)
    head, weight = rng.normal(2, 1, size=(CLASSES, WIDTH)), rng.normal(size=(5, WIDTH))
    plain, capped = (
        entropy_neurons(weight, LinearReadout(head, norm="rms", softcap=cap)) for cap in (None, 9.0)
    )
    np.testing.assert_allclose(capped.logit_variance, plain.logit_variance)


def test_rank_changes_the_share_and_not_the_ranking():
    readout, weight = _thin_head(), np.random.default_rng(5).normal(size=(6, WIDTH))
    every, three = entropy_neurons(weight, readout), entropy_neurons(weight, readout, rank=3)
    np.testing.assert_array_equal(every.neuron, three.neuron)
    assert (three.unseen_share > every.unseen_share).all()
    assert three.chance_share == pytest.approx(np.sqrt(1 - 3 / 12))
    assert every.chance_share == pytest.approx(np.sqrt(1 - 8 / 12))


def test_table_text_and_errors():
    readout, weight = _thin_head(), np.random.default_rng(6).normal(size=(15, WIDTH))
    neurons = entropy_neurons(weight, readout)
    frame = neurons.to_frame()
    assert frame["neuron"].tolist() == neurons.neuron.tolist()
    assert len(repr(neurons).splitlines()) == 12
    with pytest.raises(ValueError, match=r"`output_weight` .* width 12"):
        entropy_neurons(np.ones((2, 3)), readout)
    with pytest.raises(TypeError, match="`readout`"):
        entropy_neurons(weight, None)
