r"""A network with one hidden layer that corrects a logit, in numpy.

From the log-odds z of a row and its routing r the event gets

.. math:: P = \sigma\big(z + v^\top \tanh(W^\top x + b) + a\big), \qquad x = (\tilde z, \tilde r),

where a tilde stands for standardised log-odds and for ranks of routing. With v = 0 and a = 0 the
logit stays as it is. On m routing columns and with w hidden units there are (m + 3) w + 1
parameters.

Source: the matched networks of Y. Liang et al., "Probing Routing-Conditional Calibration in
Attention-Residual Transformers", arXiv:2605.09850, 2026; the offset is ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._axes import RankAxis, StandardAxis
from sk_arcal.calibration._saving._plain_state import register_helper

# Log-odds beyond look the same to the network; the probability there is 1e-13.
_LARGEST_INPUT = 30.0
# A rank is interpolated between so many points, to one part in a thousand.
_MAX_KNOTS = 256


def count_parameters(n_routing: int, width: int) -> int:
    """Return how many numbers a network on one logit and `n_routing` columns has."""
    return (n_routing + 3) * width + 1


def matched_width(width: int, n_routing: int, n_routing_used: int) -> int:
    """Return the width on some columns whose number of parameters is nearest to that on all.

    Parameters
    ----------
    width : int
        Hidden units of the network on all `n_routing` columns.
    n_routing : int
        Routing columns there are.
    n_routing_used : int
        Routing columns the network reads.

    Returns
    -------
    width : int
        At least 1.
    """
    return max(1, round((n_routing + 3) * width / (n_routing_used + 3)))


@register_helper
@dataclass(frozen=True, slots=True)
class InputScale:
    """Log-odds in standard deviations, routing columns by rank, both with variance one.

    Attributes
    ----------
    mean, deviation : float
        Of the log-odds.
    ranks : tuple of RankAxis
        One per routing column, at a few hundred points of its distribution.
    """

    mean: float
    deviation: float
    ranks: tuple[RankAxis, ...]

    @classmethod
    def fit(
        cls, log_odds: FloatArray, routing: FloatArray, sample_weight: FloatArray
    ) -> "InputScale":
        """Learn from log-odds (n_samples,) and routing (n_samples, n_routing)."""
        axis = StandardAxis.fit(_within_reach(log_odds), sample_weight)
        ranks = (_thinned(RankAxis.fit(column, sample_weight)) for column in routing.T)
        return cls(axis.mean, axis.deviation, tuple(ranks))

    def __call__(self, log_odds: FloatArray, routing: FloatArray) -> FloatArray:
        """Return inputs of shape (n_samples, 1 + n_routing); 0 where `fit` saw a constant."""
        standard = StandardAxis(self.mean, self.deviation)(_within_reach(log_odds))
        ranks = [rank(column) for rank, column in zip(self.ranks, routing.T, strict=True)]
        return np.column_stack([standard, *(np.sqrt(12) * (rank - 0.5) for rank in ranks)])


def _within_reach(log_odds: FloatArray) -> FloatArray:
    return np.clip(log_odds, -_LARGEST_INPUT, _LARGEST_INPUT)


def _thinned(axis: RankAxis) -> RankAxis:
    """Return the axis at no more than some hundred of its values, spaced equally in rank."""
    last = len(axis.values) - 1
    if last < _MAX_KNOTS:
        return axis
    at = np.searchsorted(axis.ranks, np.linspace(0, 1, _MAX_KNOTS))
    kept = np.unique(np.minimum(at, last))
    return RankAxis(axis.values[kept], axis.ranks[kept])


@register_helper
@dataclass(frozen=True, slots=True)
class Network:
    """Weights (n_inputs, width), (width, 1) and biases (width,), (1,) of the correction."""

    coefs: tuple[FloatArray, FloatArray]
    intercepts: tuple[FloatArray, FloatArray]

    @classmethod
    def at_identity(cls, n_inputs: int, width: int, rng: np.random.Generator) -> "Network":
        """Draw a hidden layer, and an output layer that is zero: nothing is corrected yet."""
        hidden = rng.normal(0, 1 / np.sqrt(n_inputs), (n_inputs, width))
        return cls((hidden, np.zeros((width, 1))), (rng.normal(size=width), np.zeros(1)))

    def spread(self, inputs: NDArray[np.intp], n_inputs: int) -> "Network":
        """Return the same network on `n_inputs` inputs, of which it reads some."""
        hidden = np.zeros((n_inputs, self.coefs[0].shape[1]))
        hidden[inputs] = self.coefs[0]
        return Network((hidden, self.coefs[1]), self.intercepts)

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """Return what to add to the logit, (n_samples,), for standardised inputs."""
        hidden = np.tanh(inputs @ self.coefs[0] + self.intercepts[0])
        return (hidden @ self.coefs[1])[:, 0] + self.intercepts[1][0]
