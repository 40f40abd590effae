import numpy as np
import pytest
import torch

from sk_arcal.models import MixtureOfExperts


def made(**changes):
    settings = {"n_experts": 3, "body_widths": (8,), "router_width": 5} | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = MixtureOfExperts(4, 5, **settings).double().eval()
        with torch.no_grad():
            # far from even gates and alike experts
            for parameter in module.parameters():
                parameter.mul_(3)
            module.router.layers[2].bias.zero_()
    return module


def rows(n=7):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, 4)))


def by_hand(module, x):
    """Gates and the experts' probabilities of one row in numpy."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}

    def affine(name, values):
        return state[f"{name}.weight"] @ values + state[f"{name}.bias"]

    def softmax(values):
        return np.exp(values) / np.exp(values).sum()

    features = np.maximum(affine("body.0", x), 0)
    hidden = np.maximum(affine("router.layers.0", features), 0)
    gates = softmax(affine("router.layers.2", hidden))
    return gates, np.array([softmax(affine(f"experts.{m}", features)) for m in range(3)])


def test_probabilities_are_mixed_and_not_logits():
    module, x = made(), rows()
    logits, routing = module(x, return_routing=True)
    for row in range(len(x)):
        gates, experts = by_hand(module, x[row].numpy())
        np.testing.assert_allclose(routing.gates[row].detach(), gates, rtol=1e-10)
        np.testing.assert_allclose(
            routing.expert_log_probabilities[row].exp().detach(), experts, rtol=1e-10
        )
        np.testing.assert_allclose(logits[row].exp().detach(), gates @ experts, rtol=1e-10)


def test_logits_are_normalised():
    torch.testing.assert_close(made()(rows()).exp().sum(dim=1), torch.ones(7, dtype=torch.float64))


def test_hard_routing_is_the_expert_of_the_largest_gate():
    soft, hard = made(), made(routing="hard")
    _, routing = soft(rows(), return_routing=True)
    chosen = routing.gates.argmax(dim=1)
    assert len(set(chosen.tolist())) > 1
    expected = routing.expert_log_probabilities[torch.arange(7), chosen]
    logits, hard_routing = hard(rows(), return_routing=True)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    assert torch.equal(hard_routing.gates, routing.gates)
    assert torch.equal(hard_routing.expert_log_probabilities, routing.expert_log_probabilities)


def test_hard_routing_is_trained_as_soft_routing():
    soft, hard = made().train(), made(routing="hard").train()
    assert torch.equal(soft(rows()), hard(rows()))
    hard(rows())[:, 0].sum().backward()
    assert all(expert.weight.grad.any() for expert in hard.experts)
    assert hard.router.layers[2].weight.grad.any()


def test_gradients_are_the_published_ones():
    module, x, y = made(), rows(), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    kept = {}

    def keep(name):
        def hook(part, args, output):
            tensor = output.logits if name == "router" else output
            tensor.retain_grad()
            kept[name] = tensor

        return hook

    module.router.register_forward_hook(keep("router"))
    for m, expert in enumerate(module.experts):
        expert.register_forward_hook(keep(m))
    logits, routing = module(x, return_routing=True)
    torch.nn.functional.cross_entropy(logits, y, reduction="sum").backward()
    gates, p = routing.gates.detach(), routing.expert_log_probabilities.detach().exp()
    at = torch.arange(7)
    rho = gates * p[at, :, y] / (gates * p[at, :, y]).sum(dim=1, keepdim=True)
    torch.testing.assert_close(kept["router"].grad, gates - rho)
    one_hot = torch.nn.functional.one_hot(y, 5)
    for m in range(3):
        torch.testing.assert_close(kept[m].grad, rho[:, m, None] * (p[:, m] - one_hot))


def test_cross_entropy_of_the_logits_is_the_log_loss_of_the_mixture():
    module, y = made(), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    logits = module(rows())
    loss = torch.nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(loss, -logits[torch.arange(7), y].mean())


@pytest.mark.parametrize(("routing", "n_selected"), [("soft", 3), ("hard", 1)])
def test_hook_on_the_router_sees_gates_and_selection(routing, n_selected):
    module, seen = made(routing=routing), []
    assert module.router.route_kind == "router"
    module.router.register_forward_hook(
        lambda router, args, output: seen.append(router.read_routes(args, output))
    )
    _, expected = module(rows(), return_routing=True)
    (routes,) = seen
    torch.testing.assert_close(routes["weights"], expected.gates)
    torch.testing.assert_close(routes["logits"].softmax(dim=1), expected.gates)
    assert routes["selected"].shape == routes["selected_weights"].shape == (7, n_selected)
    assert torch.equal(routes["selected"][:, 0], expected.gates.argmax(dim=1))
    torch.testing.assert_close(
        routes["selected_weights"].sum(dim=1), torch.ones(7, dtype=torch.float64)
    )
    if routing == "soft":
        torch.testing.assert_close(
            routes["selected_weights"], expected.gates.gather(1, routes["selected"])
        )


def test_experts_may_have_a_hidden_layer_and_the_body_none():
    module = made(body_widths=(), expert_width=6)
    assert module.experts[0][0].weight.shape == (6, 4)
    assert module.router.layers[0].weight.shape == (5, 4)
    assert module(rows()).shape == (7, 5)


def test_confident_experts_do_not_overflow():
    module = made()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(100)
    logits = module.float()(rows().float())
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"routing": "top2"}, "`routing` must be one of 'soft', 'hard'"),
        ({"n_experts": 0}, "`n_experts` must be at least 1"),
        ({"body_widths": (4, 0)}, "`body_widths` must be at least 1"),
        ({"expert_width": 0}, "`expert_width` must be at least 1"),
        ({"router_width": 0}, "`router_width` must be at least 1"),
        ({"dropout": -0.1}, "`dropout` must lie in"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)
