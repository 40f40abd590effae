import pytest
import torch
from torch import nn

from sk_arcal.feature_extraction._readers._precision import in_float32

TOKENS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Gate(nn.Linear):
    """Notes what it is given, and fails if told to."""

    error = None

    def forward(self, tokens, *, bias=None, k=2):
        self.given = (tokens, bias, k)
        if self.error is not None:
            raise self.error
        return super().forward(tokens)


@pytest.fixture
def gate():
    torch.manual_seed(0)
    return Gate(3, 4)


@pytest.fixture
def autocast():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        yield


def test_inputs_and_arithmetic_are_float32(gate, autocast):
    rounded = TOKENS.bfloat16()
    with in_float32([gate]):
        logits = gate(rounded, bias=rounded[0], k=torch.tensor(2))
    tokens, bias, k = gate.given
    assert tokens.dtype == bias.dtype == logits.dtype == torch.float32
    assert k.dtype == torch.int64
    with torch.autocast("cpu", enabled=False):
        assert torch.equal(logits, nn.functional.linear(rounded.float(), gate.weight, gate.bias))
    assert gate(TOKENS).dtype == torch.bfloat16


def test_nothing_happens_without_autocast(gate):
    with in_float32([gate]):
        gate(TOKENS.double().float(), bias=TOKENS.double())
    assert gate.given[1].dtype == torch.float64


def test_nothing_happens_to_a_gate_in_half_precision(gate, autocast):
    gate.bfloat16()
    with in_float32([gate]):
        gate(TOKENS.bfloat16())
    assert gate.given[0].dtype == torch.bfloat16


def test_nothing_happens_to_inputs_that_are_no_numbers(autocast):
    class Named(nn.Module):
        def forward(self, name):
            return name

    named = Named()
    with in_float32([named]):
        assert named("gate") == "gate"


def test_autocast_is_back_for_a_model_that_survives_an_error_in_its_router(gate, autocast):
    gate.error = RuntimeError("no")
    with in_float32([gate]):
        with pytest.raises(RuntimeError, match="no"):
            gate(TOKENS)
        assert torch.is_autocast_enabled("cpu")


def test_several_gates_open_and_close_in_turn(autocast):
    gates = [Gate(3, 3) for _ in range(3)]
    with in_float32(gates):
        for gate in gates:
            gate(TOKENS)
            assert torch.is_autocast_enabled("cpu")
    assert not any(gate._forward_pre_hooks or gate._forward_hooks for gate in gates)
