import numpy as np
import pytest
import torch
from scipy.special import softmax

from sk_arcal.models import DepthRead
from sk_arcal.models._attention_residual import block_sizes, depth_stream

WIDTH, N_LAYERS = 6, 7


def made_reads(random_reads, n_layers=N_LAYERS, **how):
    reads = torch.nn.ModuleList(DepthRead(WIDTH) for _ in range(n_layers + 1)).double()
    return random_reads(reads, **how)


def made_layers(n_layers=N_LAYERS, seed=1):
    """Sub-layers that are neither linear nor alike."""
    maps = np.random.default_rng(seed).normal(size=(n_layers, WIDTH, WIDTH))
    return [
        lambda h, matrix=matrix: torch.tanh(h @ torch.from_numpy(matrix)) + 0.1 for matrix in maps
    ]


def embedding(seed=2):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 3, WIDTH)))


def run(reads, layers, start, **how):
    """Return the inputs of all layers and of the head, and the weights of all reads."""
    stream, inputs = depth_stream(start, reads, **how), []
    for layer in layers:
        inputs.append(stream.read())
        stream.add(layer(inputs[-1]))
    inputs.append(stream.read())
    return inputs, stream.weights


def attend(sources, read, eps=1e-6):
    """Attention of one token over its sources, by the formula."""
    query, gain = read.query.detach().numpy(), read.key_gain.detach().numpy()
    keys = [gain * v / np.sqrt(np.mean(v**2) + eps) for v in sources]
    alpha = softmax([query @ key for key in keys])
    return sum(a * v for a, v in zip(alpha, sources, strict=True)), alpha


def by_hand(reads, layers, token, sizes):
    """Inputs and weights of one token, with the sources of Block attention written out."""
    finished, inputs, weights, layer = [token], [], [], 0
    for size in sizes:
        partial = None
        for _ in range(size):
            sources = finished if partial is None else [*finished, partial]
            h, alpha = attend(sources, reads[layer])
            output = layers[layer](torch.from_numpy(h)).numpy()
            inputs.append(h)
            weights.append(alpha)
            partial = output if partial is None else partial + output
            layer += 1
        finished = [*finished, partial]
    h, alpha = attend(finished, reads[layer])
    return [*inputs, h], [*weights, alpha]


@pytest.mark.parametrize("two_phase", [False, True])
@pytest.mark.parametrize("n_blocks", [None, 1, 2, 3, N_LAYERS])
def test_stream_is_the_formula_token_by_token(random_reads, n_blocks, two_phase):
    reads, layers, start = made_reads(random_reads), made_layers(), embedding()
    sizes = {None: [1] * 7, 1: [7], 2: [3, 4], 3: [2, 2, 3], 7: [1] * 7}[n_blocks]
    inputs, weights = run(reads, layers, start, n_blocks=n_blocks, two_phase=two_phase)
    for at in np.ndindex(start.shape[:2]):
        expected_inputs, expected_weights = by_hand(reads, layers, start[at].numpy(), sizes)
        for found, expected in zip(inputs, expected_inputs, strict=True):
            np.testing.assert_allclose(found[at].detach(), expected, rtol=1e-10, atol=1e-12)
        for found, expected in zip(weights, expected_weights, strict=True):
            np.testing.assert_allclose(found[at].detach(), expected, rtol=1e-10, atol=1e-12)


def test_as_many_blocks_as_layers_are_full_attention(random_reads):
    reads, layers, start = made_reads(random_reads), made_layers(), embedding()
    full, block = run(reads, layers, start), run(reads, layers, start, n_blocks=N_LAYERS)
    torch.testing.assert_close(full, block, rtol=0, atol=0)


def test_one_block_is_the_plain_stream_with_the_embedding_kept_apart(random_reads):
    reads, layers, start = made_reads(random_reads), made_layers(), embedding()
    inputs, weights = run(reads, layers, start, n_blocks=1)
    outputs = [layer(h) for layer, h in zip(layers, inputs, strict=False)]
    for i in range(1, N_LAYERS + 1):
        total = sum(outputs[:i])
        expected = weights[i][..., :1] * start + weights[i][..., 1:] * total
        torch.testing.assert_close(inputs[i], expected)


def test_one_block_with_zero_queries_is_half_the_plain_stream():
    reads, start = [DepthRead(WIDTH).double() for _ in range(N_LAYERS + 1)], embedding()
    # layers that do not see the scale of their input, as behind a norm
    layers = [lambda h, f=layer: f(h / h.norm(dim=-1, keepdim=True)) for layer in made_layers()]
    plain, plain_inputs = start, []
    for layer in layers:
        plain_inputs.append(plain)
        plain = plain + layer(plain)
    inputs, _ = run(reads, layers, start, n_blocks=1)
    torch.testing.assert_close(inputs[0], start)
    for half, whole in zip(inputs[1:], [*plain_inputs[1:], plain], strict=True):
        torch.testing.assert_close(2 * half, whole)


@pytest.mark.parametrize("n_blocks", [1, 2, 3, N_LAYERS])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
def test_two_phases_give_what_one_does(random_reads, n_blocks, dtype, tolerance):
    reads = made_reads(random_reads, scale=3.0).to(dtype)
    layers = [lambda h: torch.tanh(3 * h).roll(1, -1) + h.mean() for _ in range(N_LAYERS)]
    start = embedding().to(dtype)
    direct = run(reads, layers, start, n_blocks=n_blocks)
    two_phase = run(reads, layers, start, n_blocks=n_blocks, two_phase=True)
    torch.testing.assert_close(direct, two_phase, rtol=0, atol=tolerance)


@pytest.mark.parametrize("two_phase", [False, True])
def test_gradients_are_those_of_finite_differences(random_reads, two_phase):
    reads, layers, start = made_reads(random_reads, 4), made_layers(4), embedding()
    parameters = [start.requires_grad_(), *reads.parameters()]

    def output(*_):
        return run(reads, layers, start, n_blocks=2, two_phase=two_phase)[0][-1]

    assert torch.autograd.gradcheck(output, parameters)


def test_gradients_reach_queries_and_key_gains(random_reads):
    reads, layers = made_reads(random_reads), made_layers()
    run(reads, layers, embedding())[0][-1].square().sum().backward()
    for read in list(reads)[1:]:
        assert (read.query.grad != 0).all()
        assert (read.key_gain.grad != 0).all()
    # a single source has weight one, whatever the query
    assert not reads[0].query.grad.any()


def test_queries_at_zero_weigh_all_sources_alike_and_can_leave():
    reads = [DepthRead(WIDTH).double() for _ in range(N_LAYERS + 1)]
    inputs, weights = run(reads, made_layers(), embedding())
    for n_sources, alpha in enumerate(weights, start=1):
        torch.testing.assert_close(alpha, torch.full_like(alpha, 1 / n_sources))
    inputs[-1].square().sum().backward()
    assert all(read.query.grad.any() for read in reads[1:])


def test_weights_sum_to_one_and_first_read_has_one_source(random_reads):
    _, weights = run(made_reads(random_reads, scale=30.0), made_layers(), embedding())
    assert [alpha.shape[-1] for alpha in weights] == list(range(1, N_LAYERS + 2))
    for alpha in weights:
        assert (alpha >= 0).all()
        torch.testing.assert_close(alpha.sum(-1), torch.ones(4, 3, dtype=torch.float64))


def test_values_are_not_normalised(random_reads):
    reads, start = made_reads(random_reads, 1), embedding()
    _, weights = run(reads, [lambda h: h], start)
    _, scaled_weights = run(reads, [lambda h: h], 1000 * start)
    torch.testing.assert_close(weights, scaled_weights, rtol=1e-5, atol=0)
    (_, small), (_, large) = (run(reads, [lambda h: h], s * start)[0] for s in (1, 1000))
    torch.testing.assert_close(1000 * small, large)


def test_zero_output_is_a_source_like_others(random_reads):
    reads = made_reads(random_reads, 1)
    inputs, weights = run(reads, [torch.zeros_like], embedding().requires_grad_())
    inputs[-1].sum().backward()
    assert torch.isfinite(weights[-1]).all()
    assert torch.isfinite(reads[1].query.grad).all()


@pytest.mark.parametrize("two_phase", [False, True])
@pytest.mark.parametrize("n_blocks", [None, 1, 3])
def test_hook_sees_every_read(random_reads, n_blocks, two_phase):
    reads, seen = made_reads(random_reads), []
    for read in reads:
        assert read.route_kind == "depth"
        read.register_forward_hook(
            lambda module, args, output: seen.append(module.read_routes(args, output)["weights"])
        )
    how = {"n_blocks": n_blocks, "two_phase": two_phase}
    _, weights = run(reads, made_layers(), embedding(), **how)
    assert len(seen) == N_LAYERS + 1
    torch.testing.assert_close(seen, weights, rtol=0, atol=0)


def test_hook_that_changes_weights_changes_the_mixture(random_reads):
    reads, layers, start = made_reads(random_reads, 2), made_layers(2), embedding()
    reads[2].register_forward_hook(lambda *_: torch.eye(3, dtype=torch.float64)[1].expand(4, 3, 3))
    inputs, _ = run(reads, layers, start)
    torch.testing.assert_close(inputs[-1], layers[0](inputs[0]))


@pytest.mark.parametrize(
    ("n_layers", "n_blocks", "sizes"),
    [(12, 4, [3, 3, 3, 3]), (12, 5, [2, 2, 2, 2, 4]), (7, 7, [1] * 7), (7, 1, [7]), (1, 1, [1])],
)
def test_last_block_takes_the_remainder(n_layers, n_blocks, sizes):
    assert block_sizes(n_layers, n_blocks) == sizes


def test_wrong_use_is_refused():
    reads = [DepthRead(WIDTH) for _ in range(3)]
    with pytest.raises(ValueError, match=r"`n_blocks` must not exceed.*got 3 for 2"):
        depth_stream(torch.zeros(1, 1, WIDTH), reads, n_blocks=3)
    with pytest.raises(ValueError, match="`reads` must hold one read for every sub-layer"):
        depth_stream(torch.zeros(1, 1, WIDTH), reads[:1])
    stream = depth_stream(torch.zeros(1, 1, WIDTH), reads)
    for _ in range(2):
        stream.add(stream.read())
    stream.read()
    with pytest.raises(ValueError, match="All `reads` have been made"):
        stream.read()
