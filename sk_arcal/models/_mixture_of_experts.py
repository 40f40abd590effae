r"""A mixture of experts over a shared body, which mixes probabilities.

With features f from the body, gates r from the router and experts :math:`p_m`,

.. math:: p(x) = \sum_m r_m(f)\, p_m(f), \qquad r = \operatorname{softmax}(g(f)),

computed as :math:`\log p = \operatorname{logsumexp}_m (\log r_m + \log p_m)`. With
:math:`\rho_m = r_m p_m(y) / p(y)` the log loss has the gradients :math:`r_m - \rho_m` in the logits
of the router and :math:`\rho_m (p_{mk} - 1\{k = y\})` in those of the experts.

Source: G. Wong et al., "Toward Calibrated Mixture-of-Experts Under Distribution Shift", ICML 2026.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sk_arcal._validation import check_integer, check_number, check_option
from sk_arcal.models._standardise import Standardise

ROUTINGS = ("soft", "hard")


class RouterOutput(NamedTuple):
    """What a router says about every row.

    Attributes
    ----------
    weights : Tensor of shape (n_samples, n_experts)
        Gates; they sum to one.
    logits : Tensor of shape (n_samples, n_experts)
        The gates are their softmax.
    selected : Tensor of int of shape (n_samples, n_selected)
        Experts that are mixed, the one with the largest gate first.
    selected_weights : Tensor of shape (n_samples, n_selected)
        Weights they are mixed with.
    """

    weights: Tensor
    logits: Tensor
    selected: Tensor
    selected_weights: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class ExpertRouting:
    """Gates and experts of a mixture, as returned by :class:`MixtureOfExperts`.

    Attributes
    ----------
    gates : Tensor of shape (n_samples, n_experts)
        Softmax of the router, also with hard routing.
    expert_log_probabilities : Tensor of shape (n_samples, n_experts, n_classes)
        Of every expert.
    """

    gates: Tensor
    expert_log_probabilities: Tensor


class ExpertRouter(nn.Module):
    """A network with one hidden layer whose softmax weighs the experts.

    With hard routing one expert is selected, with soft routing all are.
    """

    route_kind = "router"

    def __init__(self, n_features: int, hidden: int, n_experts: int, routing: str) -> None:
        super().__init__()
        self.hard = routing == "hard"
        self.layers = nn.Sequential(
            nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, n_experts)
        )

    def forward(self, features: Tensor) -> RouterOutput:
        """Return what the router says about features (n_samples, n_features)."""
        logits = self.layers(features)
        weights = logits.softmax(dim=-1)
        ordered, selected = weights.sort(dim=-1, descending=True)
        if self.hard:
            selected = selected[:, :1]
            ordered = torch.ones_like(ordered[:, :1])
        return RouterOutput(weights, logits, selected, ordered)

    def read_routes(self, args: tuple, output: RouterOutput) -> dict[str, Tensor]:
        """Return the fields of what a forward hook on this module saw."""
        return output._asdict()


class MixtureOfExperts(nn.Module):
    r"""Mixture of experts on numbers: a shared body, a router, and experts whose mean is taken.

    The forward pass returns :math:`\log p`, which serves as logits: its softmax is p. The router
    lies at the path "router".

    Parameters
    ----------
    n_features : int or tuple of int
        Number of columns; with a `body` the shape of a row, such as (height, width, channels).
    n_classes : int
        Number of classes, at least 2.
    n_experts : int, default=4
        Experts M.
    body_widths : sequence of int, default=(64,)
        Units of the layers of the shared body, each with a ReLU. ``()`` gives the standardised
        columns to the experts themselves. Not used with a `body`.
    body : torch.nn.Module, default=None
        Shared body of your own. It gets rows standardised along their last axis and returns
        features of shape (n_samples, n_body_features).
    expert_width : int, default=None
        Hidden units of every expert. None makes the experts linear.
    router_width : int, default=128
        Hidden units of the router.
    routing : {"soft", "hard"}, default="soft"
        Mix all experts, or take the one with the largest gate. Hard routing is trained as soft
        routing: the expert is picked in evaluation mode only. So gradients reach all experts, and
        no term has to keep them in use.
    dropout : float, default=0.0
        Share of the features dropped in training.

    Raises
    ------
    ValueError
        If a size is out of range, `routing` is none of the two, or the features of `body` have
        another shape.
    TypeError
        If a size is no number.

    See Also
    --------
    MixtureOfExpertsClassifier : The same as a scikit-learn estimator.

    References
    ----------
    .. [1] G. Wong et al. "Toward Calibrated Mixture-of-Experts Under Distribution Shift".
       ICML 2026.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import MixtureOfExperts
    >>> module = MixtureOfExperts(5, n_classes=3)
    >>> logits, routing = module(torch.randn(2, 5), return_routing=True)
    >>> mixture = (routing.gates[..., None] * routing.expert_log_probabilities.exp()).sum(dim=1)
    >>> torch.allclose(logits.softmax(dim=-1), mixture)
    True
    """

    def __init__(
        self,
        n_features: int | Sequence[int],
        n_classes: int,
        *,
        n_experts: int = 4,
        body_widths: Sequence[int] = (64,),
        body: nn.Module | None = None,
        expert_width: int | None = None,
        router_width: int = 128,
        routing: str = "soft",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_integer("n_classes", n_classes, low=2)
        check_integer("n_experts", n_experts, low=1)
        check_integer("router_width", router_width, low=1)
        self.routing = check_option("routing", routing, ROUTINGS)
        shape = n_features if isinstance(n_features, Sequence) else (n_features,)
        row_shape = tuple(check_integer("n_features", size, low=1) for size in shape)
        self.standardise = Standardise(row_shape[-1])
        if body is None:
            body, width = _layers(row_shape, body_widths)
        else:
            width = _n_features_of(body, row_shape)
        dropped = nn.Dropout(check_number("dropout", dropout, low=0.0, high=1.0))
        self.body, self.dropped = body, dropped
        self.router = ExpertRouter(width, router_width, n_experts, routing)
        self.experts = nn.ModuleList(
            _expert(width, expert_width, n_classes) for _ in range(n_experts)
        )

    def forward(self, x: Tensor, *, return_routing: bool = False) -> Any:
        """Return log-probabilities, and on demand gates and experts.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features) or (n_samples, ...)
            Raw numbers; unsigned bytes are divided by 255.
        return_routing : bool, default=False
            Whether to return gates and experts as well.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
            Log-probabilities of the mixture, or of the expert picked.
        routing : ExpertRouting
            Its `gates` (n_samples, n_experts) and `expert_log_probabilities` (n_samples,
            n_experts, n_classes). Only with `return_routing`.
        """
        if x.dtype == torch.uint8:
            x = x.to(self.standardise.mean.dtype) / 255
        features = self.dropped(self.body(self.standardise(x)))
        router: RouterOutput = self.router(features)
        scores = torch.stack([expert(features) for expert in self.experts], dim=1)
        experts = scores.log_softmax(dim=-1)
        if self.routing == "hard" and not self.training:
            picked = router.selected[:, :, None].expand(-1, -1, experts.shape[-1])
            logits = experts.gather(1, picked)[:, 0]
        else:
            log_gates = router.logits.log_softmax(dim=-1)
            logits = torch.logsumexp(log_gates.unsqueeze(-1) + experts, dim=1)
        return (logits, ExpertRouting(router.weights, experts)) if return_routing else logits


def _layers(row_shape: tuple[int, ...], widths: Sequence[int]) -> tuple[nn.Module, int]:
    """Return layers with a ReLU each, and the units of the last."""
    if len(row_shape) != 1:
        raise ValueError(
            f"Rows of shape {row_shape} need a `body` that makes features of them; the layers of "
            "`body_widths` read columns of numbers."
        )
    sizes = [*row_shape, *(check_integer("body_widths", width, low=1) for width in widths)]
    layers = [
        layer
        for before, after in pairwise(sizes)
        for layer in (nn.Linear(before, after), nn.ReLU())
    ]
    return nn.Sequential(*layers), sizes[-1]


def _n_features_of(body: nn.Module, row_shape: tuple[int, ...]) -> int:
    """Return how many features a body makes of a row, without touching its statistics."""
    was_training = body.training
    parameter = next(body.parameters(), torch.zeros(()))
    with torch.no_grad():
        features = body.eval()(parameter.new_zeros((1, *row_shape)))
    body.train(was_training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            "`body` must return features of shape (n_samples, n_body_features); for one row it "
            f"returned {found}."
        )
    return features.shape[1]


def _expert(n_features: int, hidden: int | None, n_classes: int) -> nn.Module:
    if hidden is None:
        return nn.Linear(n_features, n_classes)
    check_integer("expert_width", hidden, low=1)
    return nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))
