import numpy as np
import torch
from torch import nn

from sk_arcal.models._training._rectification import (
    rectified,
    set_rectified_gradients,
    soft_calibration_error,
)


def flat(parts):
    return torch.cat([part.ravel() for part in parts])


def parts(values):
    return [values[:2].reshape(1, 2), values[2:]]


def test_opposing_part_is_removed_and_nothing_else():
    main, other = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.0, 1.0, 1.0])
    found = flat(rectified(parts(main), parts(other)))
    # main . other = -1, |other|^2 = 2
    torch.testing.assert_close(found, main + other / 2)
    assert abs(found @ other) < 1e-6


def test_agreeing_gradient_is_left_alone():
    main, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 1.0])
    torch.testing.assert_close(flat(rectified(parts(main), parts(other))), main)
    torch.testing.assert_close(flat(rectified(parts(-main), parts(0 * main))), -main)


def test_soft_error_is_its_formula():
    rng = np.random.default_rng(0)
    logits, labels, weight = rng.normal(0, 3, (50, 3)), rng.integers(0, 3, 50), rng.random(50)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    centres = (np.arange(15) + 0.5) / 15
    member = np.exp(-((confidence[:, None] - centres) ** 2) / 0.01)
    member *= (weight / weight.sum() / member.sum(axis=1))[:, None]
    mass = member.sum(axis=0)
    gap = (right - confidence) @ member / mass
    tensors = (torch.from_numpy(array) for array in (logits, labels, weight))
    np.testing.assert_allclose(soft_calibration_error(*tensors), np.sqrt(mass @ gap**2))


def test_soft_error_falls_where_confidence_meets_accuracy():
    logits = torch.zeros(100, 2, dtype=torch.double)
    labels = torch.tensor([0] * 80 + [1] * 20)
    weight = torch.ones(100, dtype=torch.double)

    def error(log_odds):
        moved = logits.clone()
        moved[:, 0] = log_odds
        return float(soft_calibration_error(moved, labels, weight))

    at_truth = float(np.log(0.8 / 0.2))
    assert error(at_truth) < 1e-5 < error(at_truth + 0.5)
    assert error(at_truth) < error(at_truth - 0.5)


def test_step_does_not_raise_the_calibration_error():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator)
    labels = (x[:, 0] + torch.randn(200, generator=generator) > 0).long()
    net = nn.Linear(5, 2)
    with torch.no_grad():
        # far too sure, so that the log loss of the right rows pulls on
        net.weight.copy_(torch.randn(2, 5, generator=generator))
        net.bias.zero_()
        net.weight[1] = -net.weight[0]
        net.weight[1, 0] += 3
    calibration = soft_calibration_error(net(x), labels, torch.ones(200))
    # a loss whose gradient opposes that of the calibration error
    set_rectified_gradients(net, -2 * calibration + net(x).square().mean(), calibration)
    other = torch.autograd.grad(
        soft_calibration_error(net(x), labels, torch.ones(200)), list(net.parameters())
    )
    inner = flat([p.grad for p in net.parameters()]) @ flat(other)
    assert inner > -1e-5
    assert all(p.grad.stride() == p.stride() for p in net.parameters())
