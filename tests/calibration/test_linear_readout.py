"""The read-out: torch's norms and heads, and the row space."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax

from sk_arcal.calibration import LinearReadout
from sk_arcal.calibration._layers._norms import norm_scale
from sk_arcal.calibration._layers._row_space import project_out

WIDTH, CLASSES = 12, 4


def _fields(norm, rng, dtype=np.float64, **other):
    fields = {"weight": rng.normal(size=(CLASSES, WIDTH)), "bias": rng.normal(size=CLASSES)}
    if norm != "none":
        fields |= {"norm_weight": rng.normal(1, 0.3, WIDTH), "norm_bias": rng.normal(size=WIDTH)}
    return {name: value.astype(dtype) for name, value in fields.items()} | {"norm": norm} | other


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_logits_are_those_of_torch(norm, dtype, tolerance):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    fields = _fields(norm, rng, dtype, eps=0.03, scale=0.7)
    if norm == "rms":
        del fields["norm_bias"]
    hidden = rng.normal(0.5, 2, size=(5, 3, WIDTH)).astype(dtype)
    precision = getattr(torch, np.dtype(dtype).name)
    steps = []
    if norm != "none":
        module = {"rms": torch.nn.RMSNorm, "layer": torch.nn.LayerNorm}[norm]
        steps.append(module(WIDTH, eps=0.03, dtype=precision))
        steps[0].weight.data = torch.from_numpy(fields["norm_weight"])
        if norm == "layer":
            steps[0].bias.data = torch.from_numpy(fields["norm_bias"])
    steps.append(torch.nn.Linear(WIDTH, CLASSES, dtype=precision))
    steps[-1].weight.data = torch.from_numpy(fields["weight"])
    steps[-1].bias.data = torch.from_numpy(fields["bias"])
    with torch.no_grad():
        expected = 0.7 * torch.nn.Sequential(*steps)(torch.from_numpy(hidden)).numpy()
    logits = LinearReadout(**fields).logits(hidden)
    assert logits.dtype == dtype
    assert logits.shape == (5, 3, CLASSES)
    np.testing.assert_allclose(logits, expected, rtol=tolerance, atol=tolerance)


def test_normed_is_the_definition():
    rng = np.random.default_rng(1)
    hidden = rng.normal(0.5, 2, size=(7, WIDTH))
    fields = _fields("layer", rng, eps=0.1)
    centred = hidden - hidden.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt(hidden.var(axis=1, keepdims=True) + 0.1)
    expected = expected * fields["norm_weight"] + fields["norm_bias"]
    np.testing.assert_allclose(LinearReadout(**fields).normed(hidden), expected, rtol=1e-12)


def test_the_cap_comes_last_and_is_a_scaled_tangent():
    rng = np.random.default_rng(2)
    fields = _fields("rms", rng)
    hidden = rng.normal(size=(6, WIDTH))
    plain = LinearReadout(**fields, scale=3.0).logits(hidden)
    capped = LinearReadout(**fields, scale=3.0, softcap=2.5).logits(hidden)
    np.testing.assert_allclose(capped, 2.5 * np.tanh(plain / 2.5), rtol=1e-12)


def test_blocks_change_nothing_and_make_no_second_copy():
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=(3000, 1024)).astype(np.float32)
    readout = LinearReadout(rng.normal(size=(3, 1024)).astype(np.float32), norm="rms")
    few = [0, 511, 512, 513, 2999]
    tracemalloc.start()
    logits = readout.logits(hidden)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(logits[few], readout.logits(hidden[few]), rtol=1e-4, atol=1e-5)
    assert peak < hidden.nbytes * 0.75


def test_one_row_and_many_axes_agree():
    readout = LinearReadout(**_fields("layer", np.random.default_rng(4)))
    hidden = np.random.default_rng(5).normal(size=(2, 3, 4, WIDTH))
    np.testing.assert_allclose(readout.logits(hidden)[1, 2, 3], readout.logits(hidden[1, 2, 3]))
    assert readout.logits(np.empty((0, WIDTH))).shape == (0, CLASSES)


@pytest.mark.parametrize(("norm", "rank"), [("none", 3), ("rms", 3), ("layer", 4)])
def test_row_space_is_orthonormal_and_holds_what_moves_the_softmax(norm, rank):
    rng = np.random.default_rng(6)
    readout = LinearReadout(**_fields(norm, rng))
    basis = readout.row_space()
    np.testing.assert_allclose(basis @ basis.T, np.eye(rank), atol=1e-12)
    gain = 1 if norm == "none" else readout.norm_weight
    rows = (readout.weight - readout.weight.mean(axis=0)) * gain
    np.testing.assert_allclose(project_out(rows, basis), 0, atol=1e-12)
    if norm == "layer":
        np.testing.assert_allclose(project_out(np.ones(WIDTH), basis), 0, atol=1e-12)


def test_without_a_norm_an_outside_shift_leaves_the_probabilities():
    rng = np.random.default_rng(7)
    readout = LinearReadout(**_fields("none", rng))
    hidden = rng.normal(size=(5, WIDTH))
    shift = project_out(rng.normal(size=WIDTH), readout.row_space())
    before, after = (softmax(readout.logits(h), axis=1) for h in (hidden, hidden + shift))
    np.testing.assert_allclose(after, before, atol=1e-13)
    assert np.linalg.norm(readout.logits(hidden + shift) - readout.logits(hidden)) > 0.1


def test_a_cap_sees_what_all_classes_share():
    rng = np.random.default_rng(8)
    fields = _fields("none", rng) | {"bias": None}
    assert len(LinearReadout(**fields).row_space()) == CLASSES - 1
    assert len(LinearReadout(**fields, softcap=5.0).row_space()) == CLASSES


def test_more_classes_than_dimensions_go_by_the_product():
    rng = np.random.default_rng(9)
    thin = rng.normal(size=(40, 5)) @ rng.normal(size=(5, WIDTH))
    basis = LinearReadout(thin).row_space()
    assert len(basis) == 5
    centred = thin - thin.mean(axis=0)
    np.testing.assert_allclose(project_out(centred, basis), 0, atol=1e-6)
    leading = np.linalg.svd(centred)[2][:2]
    two = LinearReadout(thin).row_space(rank=2)
    np.testing.assert_allclose(two.T @ two, leading.T @ leading, atol=1e-8)


def test_norm_scale_is_the_divisor():
    rng = np.random.default_rng(11)
    hidden = rng.normal(1, 2, size=(4, WIDTH))
    rms = LinearReadout(rng.normal(size=(2, WIDTH)), norm="rms", eps=0.5)
    layer = LinearReadout(rng.normal(size=(2, WIDTH)), norm="layer", eps=0.5)
    np.testing.assert_allclose(norm_scale(rms, hidden), np.sqrt((hidden**2).mean(axis=1) + 0.5))
    np.testing.assert_allclose(norm_scale(layer, hidden), np.sqrt(hidden.var(axis=1) + 0.5))


def test_the_dictionary_brings_it_back():
    readout = LinearReadout(**_fields("layer", np.random.default_rng(12), softcap=4.0))
    copies = [LinearReadout.from_dict(readout.to_dict()), pickle.loads(pickle.dumps(readout))]
    hidden = np.random.default_rng(13).normal(size=(3, WIDTH))
    for copy in copies:
        np.testing.assert_array_equal(copy.logits(hidden), readout.logits(hidden))
    lists = {name: getattr(v, "tolist", lambda v=v: v)() for name, v in readout.to_dict().items()}
    read = LinearReadout.from_dict(json.loads(json.dumps(lists)))
    np.testing.assert_array_equal(read.logits(hidden), readout.logits(hidden))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weight": np.ones((1, WIDTH))}, "at least two classes"),
        ({"weight": np.full((2, WIDTH), np.nan)}, "`weight` must be finite"),
        ({"bias": np.ones(3)}, r"`bias` must have shape \(4,\)"),
        ({"norm": "batch"}, "`norm` must be one of"),
        ({"norm": "none"}, "`norm_weight` and `norm_bias` belong to a norm"),
        ({"softcap": 0.0}, "`softcap` must lie in"),
        ({"eps": -1.0}, "`eps` must lie in"),
    ],
)
def test_fields_are_checked(change, sentence):
    fields = _fields("rms", np.random.default_rng(14)) | change
    with pytest.raises(ValueError, match=sentence):
        LinearReadout(**fields)


def test_what_cannot_be_read_is_said():
    readout = LinearReadout(**_fields("rms", np.random.default_rng(15)))
    with pytest.raises(ValueError, match=r"must be the width 12 .* width 5"):
        readout.logits(np.ones((2, 5)))
    with pytest.raises(TypeError, match="`hidden` must hold real numbers"):
        readout.logits(np.full((2, WIDTH), "x"))
    with pytest.raises(ValueError, match="'weight'"):
        LinearReadout.from_dict({"weight": np.ones((2, 2)), "gain": 1})
    with pytest.raises(TypeError, match="dictionary"):
        LinearReadout.from_dict([1])
