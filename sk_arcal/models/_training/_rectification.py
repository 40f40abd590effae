r"""Gradient rectification: no step that raises the calibration error to first order.

The calibration error of a batch is made differentiable by soft membership in bins of the
confidence :math:`c_i`, with centres :math:`m_b` and :math:`u_{ib} \propto e^{-(c_i - m_b)^2/0.01}`,

.. math:: S = \Big(\sum_b \frac{n_b}{n}
    \Big[\frac{1}{n_b} \sum_i u_{ib} (h_i - c_i)\Big]^2\Big)^{1/2},
    \qquad n_b = \sum_i u_{ib},

with :math:`h_i = 1` where the prediction is right. With the gradients g of the objective and s of
S over all parameters, where :math:`g \cdot s < 0` the step is along
:math:`g - \frac{g \cdot s}{s \cdot s}\, s` instead of g.

Source: the baseline "FGR" (frequency-aware gradient rectification) of G. Wong et al., "Toward
Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026, without its low-pass filter of
images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_N_BINS = 15
_BANDWIDTH = 0.01
# A square root has no slope at zero.
_SMALLEST = 1e-12


def soft_calibration_error(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Return the calibration error of the top label with soft bins.

    Parameters
    ----------
    logits : Tensor of shape (n_rows, n_classes)
        Scores.
    labels : Tensor of int of shape (n_rows,)
        Class codes.
    weight : Tensor of shape (n_rows,)
        Weights of the rows.

    Returns
    -------
    error : Tensor
        A number in [0, 1].
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    gap = (predicted == labels).to(confidence.dtype) - confidence
    centres = (torch.arange(_N_BINS, device=logits.device) + 0.5).to(confidence.dtype) / _N_BINS
    member = (-((confidence[:, None] - centres).square()) / _BANDWIDTH).softmax(dim=1)
    mass = weight / weight.sum() @ member
    gaps = (weight / weight.sum() * gap) @ member
    return (gaps.square() / mass.clamp(min=_SMALLEST)).sum().clamp(min=_SMALLEST).sqrt()


def rectified(main: Sequence[Tensor], calibration: Sequence[Tensor]) -> list[Tensor]:
    """Remove from one gradient what opposes the other.

    Parameters
    ----------
    main : sequence of Tensor
        Gradient of the objective, parameter by parameter.
    calibration : sequence of Tensor
        Gradient of the calibration error.

    Returns
    -------
    gradient : list of Tensor
        `main` where the inner product is not negative, else its projection.
    """
    inner = sum((g * s).sum() for g, s in zip(main, calibration, strict=True))
    length = sum(s.square().sum() for s in calibration)
    along = torch.clamp(torch.as_tensor(inner), max=0) / torch.clamp(
        torch.as_tensor(length), min=_SMALLEST
    )
    return [g - along * s for g, s in zip(main, calibration, strict=True)]


def set_rectified_gradients(module: nn.Module, loss: Tensor, calibration: Tensor) -> None:
    """Set the gradients of a module for a step on `loss` that `calibration` does not suffer from.

    Parameters
    ----------
    module : Module
        Its parameters get gradients.
    loss, calibration : Tensor
        Objective and calibration error of a batch, with their graph.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    main = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    other = torch.autograd.grad(calibration, parameters, materialize_grads=True)
    for parameter, gradient in zip(parameters, rectified(main, other), strict=True):
        # In the memory order of the parameter, which fused optimisers ask for.
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
