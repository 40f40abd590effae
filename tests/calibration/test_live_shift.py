"""The shift on a live network: what comes out, and that nothing stays behind."""

from collections import namedtuple
from threading import Barrier, Thread

import numpy as np
import pytest

from sk_arcal.calibration import CalibrationDirection, CalibrationWarning, LinearReadout

torch = pytest.importorskip("torch")
WIDTH = 8
Pair = namedtuple("Pair", ["states", "cache"])


class Block(torch.nn.Module):
    """A residual block that returns a tensor, a tuple, a named tuple or text."""

    def __init__(self, kind="tensor"):
        super().__init__()
        self.kind, self.mix = kind, torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, states):
        states = states[0] if isinstance(states, tuple) else states
        states = states + torch.tanh(self.mix(states))
        return {"tensor": states, "tuple": (states, "kept"), "named": Pair(states, "kept")}.get(
            self.kind, "text"
        )


class Network(torch.nn.Module):
    def __init__(self, *kinds, head=3):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(kind) for kind in kinds])
        self.head = torch.nn.Linear(WIDTH, head)

    def forward(self, states):
        for block in self.blocks:
            states = block(states)
        return self.head(states[0] if isinstance(states, tuple) else states)


def _direction(shift=None):
    """A fitted direction whose shift is known."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(60, WIDTH))
    readout = LinearReadout(rng.normal(size=(3, WIDTH)))
    direction = CalibrationDirection(null_space=False, random_state=0)
    direction.fit(hidden, np.arange(60) % 3, readout=readout, reference=hidden + rng.normal(size=8))
    direction.shift_ = rng.normal(size=WIDTH) if shift is None else shift
    return direction


def _network(*kinds):
    torch.manual_seed(0)
    return Network(*kinds).eval(), torch.randn(5, 4, WIDTH)


def _hooks(network):
    return [hook for module in network.modules() for hook in module._forward_hooks]


@torch.no_grad()
def test_last_block_shifted_is_the_head_of_shifted_states():
    network, states = _network("tensor", "tensor")
    direction = _direction()
    before = network(states)
    with direction.applied(network, "blocks.1"):
        after = network(states)
    expected = before + network.head.weight @ torch.from_numpy(direction.shift_).float()
    torch.testing.assert_close(after, expected)
    assert torch.equal(network(states), before)
    assert not _hooks(network)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tuple", "named"])
def test_a_tuple_keeps_its_kind_and_its_other_entries(kind):
    block, states = Block(kind), torch.randn(2, WIDTH)
    before = block(states)
    direction = _direction()
    with direction.applied(block):
        after = block(states)
    assert type(after) is type(before)
    assert after[1] == "kept"
    torch.testing.assert_close(after[0], before[0] + torch.from_numpy(direction.shift_).float())


@torch.no_grad()
def test_all_after_is_the_list_of_the_rest_and_not_what_is_before():
    network, states = _network("tensor", "tuple", "tensor", "tensor")
    direction = _direction()
    with direction.applied(network, "blocks.1", all_after=True):
        every = network(states)
        assert len(_hooks(network)) == 3
    with direction.applied(network, ["blocks.1", "blocks.2", "blocks.3"]):
        named = network(states)
    assert torch.equal(every, named)
    assert not torch.equal(every, network(states))


@torch.no_grad()
def test_nested_shifts_add_and_unwind_in_order():
    network, states = _network("tensor")
    direction, back = _direction(), _direction()
    back.shift_ = -direction.shift_
    before = network(states)
    with direction.applied(network, "blocks.0"):
        outer = network(states)
        with back.applied(network, "blocks.0"):
            torch.testing.assert_close(network(states), before)
        assert torch.equal(network(states), outer)
    assert torch.equal(network(states), before)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_shift_takes_the_precision_of_the_network(dtype):
    block = Block().to(dtype)
    with _direction().applied(block):
        assert block(torch.randn(2, WIDTH, dtype=dtype)).dtype == dtype


def test_gradients_pass_through():
    block, states = Block(), torch.randn(2, WIDTH, requires_grad=True)
    with _direction().applied(block):
        block(states).sum().backward()
    shifted = states.grad.clone()
    states.grad = None
    block(states).sum().backward()
    torch.testing.assert_close(shifted, states.grad)


@torch.no_grad()
def test_an_exception_leaves_nothing_behind():
    network, states = _network("tensor", "tensor")
    before = network(states)
    with pytest.raises(KeyError), _direction().applied(network, "blocks.0", all_after=True):
        raise KeyError
    assert not _hooks(network)
    assert torch.equal(network(states), before)


@torch.no_grad()
def test_another_width_names_both():
    network, states = _network("tensor")
    with (
        pytest.raises(ValueError, match=r"Linear returns states of width 3, .* width 8"),
        _direction().applied(network, "head"),
    ):
        network(states)
    assert not _hooks(network)


@torch.no_grad()
def test_a_block_that_returns_no_tensor_is_named():
    block = Block("text")
    with pytest.raises(TypeError, match="A Block returns a str"), _direction().applied(block):
        block(torch.randn(2, WIDTH))


def test_wrong_places_are_refused():
    network, _ = _network("tensor", "tensor")
    direction = _direction()
    with pytest.raises(ValueError, match=r"`path` 'blocks.7' is no part of the Network"):
        direction.applied(network, "blocks.7")
    with pytest.raises(ValueError, match="needs the `path`"):
        direction.applied(network, all_after=True)
    with pytest.raises(ValueError, match="needs one `path`"):
        direction.applied(network, ["blocks.0", "blocks.1"], all_after=True)
    with pytest.raises(TypeError, match="`module` must be a torch module"):
        direction.applied("network")
    with pytest.raises(TypeError, match="`path` must be text"):
        direction.applied(network, [1])
    assert not _hooks(network)


def test_threads_enter_and_leave_without_losing_a_hook():
    block, direction, seen = Block(), _direction(), []
    barrier = Barrier(4)

    def enter():
        for _ in range(50):
            barrier.wait()
            with direction.applied(block):
                barrier.wait()
                seen.append(len(block._forward_hooks))
                block(torch.zeros(1, WIDTH))
                barrier.wait()

    threads = [Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {4}
    assert not block._forward_hooks


def test_a_block_that_does_not_run_is_no_silent_shift():
    network, states = _network("tensor", "tensor")
    direction, before = _direction(), network(states)
    # a list of blocks is not called itself
    with (
        pytest.warns(CalibrationWarning, match="ModuleList did not run within the context"),
        direction.applied(network, "blocks"),
    ):
        after = network(states)
    assert torch.equal(before, after)
    assert not _hooks(network)


def test_an_exception_is_not_covered_by_a_warning():
    network, _ = _network("tensor")
    with pytest.raises(KeyError), _direction().applied(network, "blocks"):
        raise KeyError("mine")
