"""Effects of routing: how P(event) depends on the routing among rows of equal confidence.

An effect is strength * place(t) * shape(u). u in (-1, 1) is the rank of the routing among rows of
equal confidence and t in (0, 1) the rank of the confidence. Each shape has a largest absolute
value of one and averages to zero over u, so an effect never moves P(event | confidence).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sk_arcal._validation import FloatArray

Function = Callable[[FloatArray], FloatArray]

# An effect never changes the rate of hits or of errors by more than this share of itself.
_LARGEST_CHANGE = 0.8


@dataclass(frozen=True)
class Effect:
    """An effect: its shape over u, the antiderivative of the shape, and its sign or place over t.

    The antiderivative gives the mean effect of rows of which only an interval of u is known.
    """

    shape: Function
    integral: Function
    place: Function = np.ones_like

    def between(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the mean of the shape over u in (low, high)."""
        return (self.integral(high) - self.integral(low)) / (high - low)


EFFECTS = {
    "none": Effect(np.zeros_like, np.zeros_like),
    "step": Effect(np.sign, np.abs),
    "linear": Effect(lambda u: u, lambda u: u**2 / 2),
    "u_shape": Effect(lambda u: (3 * u**2 - 1) / 2, lambda u: (u**3 - u) / 2),
    "crossing": Effect(lambda u: u, lambda u: u**2 / 2, lambda t: np.sign(0.5 - t)),
    "one_bin": Effect(np.sign, np.abs, lambda t: np.where(np.abs(t - 0.3) < 1 / 30, 1.0, 0.0)),
    "tail": Effect(
        lambda u: np.where(u > 0.8, -1.0, 1 / 9),
        lambda u: u / 9 - 10 / 9 * np.maximum(u - 0.8, 0),
    ),
}


def bounded(strength: float, calibrated: FloatArray) -> FloatArray:
    """Return `strength`, less where it would change a rate by more than 80 % of itself."""
    return np.minimum(strength, _LARGEST_CHANGE * np.minimum(calibrated, 1 - calibrated))
